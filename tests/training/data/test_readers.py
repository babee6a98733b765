"""Bad input ends with one error that names the file and row, or is dropped and counted."""

import gzip
import shutil
from pathlib import Path

import datasets
import pytest
from PIL import Image

from tests.support.dataset_fixtures import face, write_csv
from training.data.load import load_fer, provenance
from training.errors import DataError

BAD_ROWS = {
    "pixel count": (1, "1 2 3", "expected 2304 pixels, found 3"),
    "emotion": (0, 7, "expected an emotion from 0 to 6, found '7'"),
    "pixel value": (1, " ".join(["0"] * 2303 + ["256"]), "expected pixel values from 0 to 255, found '256'"),
    "signed pixel": (1, " ".join(["0"] * 2303 + ["+5"]), r"expected pixel values from 0 to 255, found '\+5'"),
    "underscore": (1, " ".join(["1_0"] + ["0"] * 2303), "expected pixel values from 0 to 255, found '1_0'"),
    "other digits": (1, " ".join(["٣"] + ["0"] * 2303), "expected pixel values from 0 to 255, found '٣'"),
    "emotion in other digits": (0, "٣", "expected an emotion from 0 to 6, found '٣'"),
    "split": (2, "Holdout", "expected a split among .* found 'Holdout'"),
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_bad_csv_row_is_named_or_dropped(
    reason: str, csv_rows: list[list], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    column, value, message = BAD_ROWS[reason]
    counted = ("emotion", "pixel value", "split")[column] if reason != "pixel count" else reason
    rows = [list(row) for row in csv_rows]
    rows[4][column] = value
    path = write_csv(tmp_path / "faces.csv", rows)
    with pytest.raises(DataError, match=rf"faces\.csv, line 6: {message}"):
        load_fer(path)
    for _ in range(2):  # read, and from the cache
        data = load_fer(path, skip_bad_rows=True)
        assert len(data["train"]) == 55
        assert provenance(data)["dropped"] == {counted: 1}
    assert f"dropped 1 bad rows: 1 x {counted}" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"emotion,Usage\n0,Training\n", "expected pixels, as in the Kaggle CSV, or a column of image files"),
        (b"", "expected the columns emotion, pixels; found an empty file"),
        (b"emotion,pixels,Usage\n", "expected rows below the header, found none"),
        (b"emotion,pixels,Usage\n0\n", "line 2: expected a value in the column pixels"),
        (b"\x89PNG\r\n\x1a\n\xff", "expected a whole CSV file"),
        (gzip.compress(b"emotion,pixels,Usage\n" + bytes(9999), mtime=0)[:-20], "expected a whole CSV file"),
    ],
)
def test_broken_csv(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"broken\.csv.*{message}"):
        load_fer(path)


@pytest.mark.parametrize(
    ("file", "reason", "message"),
    [
        ("train/angry/broken.jpg", "picture", "expected a readable image"),
        ("train/bored/fine.png", "label", "unknown label name 'bored'"),
    ],
)
def test_bad_image_is_named_or_dropped(
    file: str, reason: str, message: str, tiny_folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "archive"
    shutil.copytree(tiny_folder, root)
    (root / file).parent.mkdir(exist_ok=True)
    image = sorted((root / "train" / "angry").iterdir())[0].read_bytes()
    (root / file).write_bytes(image[:200] if "broken" in file else image)
    with pytest.raises(DataError, match=rf"{file}: {message}"):
        load_fer(root)
    assert provenance(load_fer(root, skip_bad_rows=True))["dropped"] == {reason: 1}


def test_empty_split(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder / "train", tmp_path / "train")
    (tmp_path / "test" / "angry").mkdir(parents=True)
    with pytest.raises(DataError, match=r"test: expected pictures in folders named after their labels, found none"):
        load_fer(tmp_path)


def test_person_without_a_row_or_images(tiny_people: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_people, tmp_path / "people")
    (tmp_path / "people" / "images" / "3").rename(tmp_path / "people" / "images" / "77")
    with pytest.raises(DataError, match=r"emotions\.csv, line 5: expected pictures in .*3, found none"):
        load_fer(tmp_path / "people")
    dropped = provenance(load_fer(tmp_path / "people", skip_bad_rows=True))["dropped"]
    assert dropped == {"pictures": 1, "metadata": 1}


def test_bare_numbers_in_a_repository_are_refused(tmp_path: Path) -> None:
    rows = {"image": [Image.fromarray(face(0, 0))], "label": [4]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"expected label names in the column label .*cast the column to ClassLabel"):
        load_fer(tmp_path)


def test_neither_file_nor_folder_nor_id() -> None:
    with pytest.raises(DataError, match=r"nothing\.csv: expected a CSV file, a folder or a Hub id"):
        load_fer("nothing.csv")


def test_nothing_usable(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", [[0, "1", "Training"]])
    with pytest.raises(DataError, match="expected at least one usable row, found 1 bad ones"):
        load_fer(path, skip_bad_rows=True)
