"""Every format comes out alike, bad input is named, and the splits keep their promises."""

import gzip
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from tests.support.dataset_fixtures import face, write_csv
from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS, VOTES, majority_label
from training.data.load import duplicates_of, load_fer, pixel_hash, provenance
from training.errors import DataError


def contents(data: datasets.DatasetDict) -> dict[str, Counter]:
    """What each split holds, whatever its order: (pixels, label name) pairs."""
    return {
        split: Counter(
            (key, rows.features["label"].int2str(i)) for key, i in zip(rows["pixel_hash"], rows["label"], strict=True)
        )
        for split, rows in data.items()
    }


def padded_copy(csv_rows: list[list], folder: Path) -> Path:
    rows = [[emotion, usage, pixels] for emotion, pixels, usage in csv_rows]
    return write_csv(folder / "icml_face_data.csv", rows, ("emotion", " Usage", " pixels"))


def test_every_copy_of_the_images_comes_out_alike(
    tiny_csv: Path, csv_rows: list[list], tiny_folder: Path, tiny_repo: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "copy"  # recognized by content, not by name
    packed.write_bytes(gzip.compress(tiny_csv.read_bytes()))
    expected = load_fer(tiny_csv)
    assert {split: len(rows) for split, rows in expected.items()} == {"train": 56, "validation": 14, "test": 14}
    for copy in (packed, padded_copy(csv_rows, tmp_path), tiny_folder, tiny_repo):
        data = load_fer(copy)
        assert contents(data) == contents(expected), copy
        assert {tuple(rows.features["label"].names) for rows in data.values()} == {EMOTIONS}
    assert provenance(load_fer(tiny_repo))["fingerprint"] == provenance(expected)["fingerprint"]  # the order too


def test_images_and_labels_are_those_of_the_rows(tiny_csv: Path, faces: list) -> None:
    rows = load_fer(tiny_csv)["test"]
    expected = [(label, pixels) for split, label, pixels in faces if split == "test"]
    assert rows["label"][:] == [label for label, _ in expected]
    for row, (_, pixels) in zip(rows, expected, strict=True):
        assert row["image"].mode == "L"
        np.testing.assert_array_equal(np.asarray(row["image"]), pixels)


def test_repository_keeps_its_metadata(tiny_repo: Path) -> None:
    assert load_fer(tiny_repo)["validation"]["age"][:] == list(range(14))


def test_people_keep_their_metadata_and_their_side(tiny_people: Path) -> None:
    data = load_fer(tiny_people)
    assert set(data) == {"train", "validation"}
    assert tuple(data["train"].features["label"].names) == FERPLUS_EMOTIONS
    people = {split: set(rows["set_id"]) for split, rows in data.items()}
    assert people["validation"] and not people["train"] & people["validation"]
    row = data["train"][0]
    assert (row["gender"], row["country"]) == ("FEMALE" if int(row["set_id"]) % 2 else "MALE", "JP")
    assert int(row["age"]) == 20 + int(row["set_id"])


@pytest.mark.parametrize(
    ("columns", "splits"),
    [
        ({"image": "img", "label": "emotion"}, ("training", "publicTest")),
        ({"image": "img_bytes", "label": "labels"}, ("train", "valid")),
    ],
)
def test_other_names_of_columns_and_splits(
    columns: dict[str, str], splits: tuple[str, str], faces: list, tmp_path: Path
) -> None:
    for split, name in zip(("train", "validation"), splits, strict=True):
        (tmp_path / "data").mkdir(exist_ok=True)
        rows = [(EMOTIONS[label].title(), pixels) for s, label, pixels in faces if s == split]
        encoded = []
        for _, pixels in rows:
            Image.fromarray(pixels).save(tmp_path / "one.png")
            encoded.append((tmp_path / "one.png").read_bytes())
        (tmp_path / "one.png").unlink()
        columns_of_split = {columns["image"]: encoded, columns["label"]: [label for label, _ in rows]}
        datasets.Dataset.from_dict(columns_of_split).to_parquet(tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(f"  - split: {name}\n    path: data/{name}.parquet\n" for name in splits)
        + "---\n"
    )
    data = load_fer(tmp_path)
    assert {split: rows["label"][:] for split, rows in data.items()} == {
        split: [label for s, label, _ in faces if s == split] for split in ("train", "validation")
    }


def test_raw_csv_in_a_repository(tiny_csv: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_csv, tmp_path / "fer2013.csv")
    assert contents(load_fer(tmp_path)) == contents(load_fer(tiny_csv))


def test_hub_id_is_pinned_and_its_commit_recorded(tiny_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, load_local, commit = [], datasets.load_dataset_builder, "0123456789abcdef" * 2 + "01234567"

    def hub(path: str, revision: str | None = None, **options: Any) -> Any:
        asked.append((path, revision))
        builder = load_local(str(tiny_repo), **options)
        builder.hash = commit
        return builder

    monkeypatch.setattr(datasets, "load_dataset_builder", hub)
    record = provenance(load_fer("someone/fer2013@v1"))
    assert asked == [("someone/fer2013", "v1")]
    assert (record["source"], record["revision"]) == ("someone/fer2013", commit)
    with pytest.raises(DataError, match=f"expected revision {'f' * 40}; only {commit}"):
        load_fer(f"someone/fer2013@{'f' * 40}")


def test_unreachable_hub_id_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"no-such-owner/no-such-set: expected a CSV file, a folder, or the id"):
        load_fer("no-such-owner/no-such-set")


# Votes


def test_votes_join_by_row_and_map_by_name(tiny_csv: Path, tiny_votes: Path) -> None:
    for rows in load_fer(tiny_csv, ferplus=tiny_votes).values():
        votes = np.array(rows["votes"][:])
        assert votes.shape == (len(rows), 10)
        np.testing.assert_array_equal(majority_label(votes), rows["label"][:])
        assert (votes[:, [VOTES.index("contempt"), VOTES.index("not_a_face")]] == 1).all()


def test_votes_survive_dropped_rows(csv_rows: list[list], tiny_votes: Path, tmp_path: Path) -> None:
    rows = [list(row) for row in csv_rows]
    rows[3][0] = 9
    data = load_fer(write_csv(tmp_path / "f.csv", rows), ferplus=tiny_votes, skip_bad_rows=True)
    assert len(data["train"]) == 55
    np.testing.assert_array_equal(majority_label(np.array(data["train"]["votes"][:])), data["train"]["label"][:])


def test_votes_may_have_splits_the_dataset_lacks(csv_rows: list[list], tiny_votes: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", [row for row in csv_rows if row[2] != "PrivateTest"])
    assert "votes" in load_fer(path, ferplus=tiny_votes)["validation"].column_names


def edited(source: Path, target: Path, edit: Callable[[list[str]], list[str]]) -> Path:
    target.write_text("\n".join(edit(source.read_text().splitlines())) + "\n")
    return target


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda lines: lines[:-1],
            r"expected votes for 84 rows \(56 train, 14 validation, 14 test\), found .* 13 test",
        ),
        (lambda lines: [*lines[:56], lines[57], lines[56], *lines[58:]], "line 57: expected Usage train .*validation"),
        (lambda lines: [line.replace("NF", "x") for line in lines], "line 2: expected vote counts .*not_a_face: None"),
        (lambda lines: [*lines[:9], lines[9].replace("8", "-8"), *lines[10:]], "line 10: expected vote counts.*'-8'"),
        (
            lambda lines: [*lines[:9], lines[9].replace("Training", "x"), *lines[10:]],
            "line 10: expected a split .*'x'",
        ),
        (lambda lines: lines[1:], "expected the columns usage"),
        (lambda lines: [], "expected the columns usage; found an empty file"),
    ],
)
def test_wrong_votes(edit: Callable, message: str, tiny_csv: Path, tiny_votes: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"votes\.csv.*{message}"):
        load_fer(tiny_csv, ferplus=edited(tiny_votes, tmp_path / "votes.csv", edit))


def test_votes_for_another_order_are_refused(tiny_votes: Path, tmp_path: Path) -> None:
    labels = np.repeat(np.arange(7), 20)
    header, *lines = tiny_votes.read_text().splitlines()
    votes = tmp_path / "votes.csv"
    votes.write_text("\n".join([header, *(lines[label] for label in labels)]))
    shuffled = np.random.default_rng(0).permutation(labels)
    rows = [[label, " ".join(map(str, face(label, i).ravel())), "Training"] for i, label in enumerate(shuffled)]
    with pytest.raises(DataError, match=r"expected votes that fit the labels; from row 0 to 139 only \d+% agree"):
        load_fer(write_csv(tmp_path / "f.csv", rows), ferplus=votes)


# Splits, duplicates and the cache


@pytest.fixture
def unsplit(tmp_path: Path) -> Path:
    """Kaggle's train.csv: no Usage; two classes, 60 and 20 pictures, each in two exact copies."""
    rows = [[label, " ".join(map(str, face(label, i).ravel()))] for label, n in ((3, 30), (1, 10)) for i in range(n)]
    return write_csv(tmp_path / "train.csv", rows * 2, ("emotion", "pixels"))


def test_validation_is_stratified_without_duplicates(unsplit: Path) -> None:
    data = load_fer(unsplit, validation_fraction=0.1)
    assert Counter(data["validation"]["label"]) == {3: 6, 1: 2}  # 3 of 30 pictures and 1 of 10, twice each
    assert len(data["train"]) == 72
    assert not duplicates_of(data["validation"], data["train"]).any()
    assert duplicates_of(data["validation"], data["validation"]).all()


def test_seed_chooses_the_validation_split(unsplit: Path) -> None:
    first, again, other = (set(load_fer(unsplit, seed=seed)["validation"]["pixel_hash"]) for seed in (1, 1, 2))
    assert first == again != other


def test_second_load_does_not_read_the_rows_again(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_fer(tiny_csv, cache_dir=tmp_path)
    monkeypatch.setattr("training.data.readers.kaggle_row", None)
    assert contents(load_fer(tiny_csv, cache_dir=tmp_path)) == contents(first)


def test_interrupted_load_leaves_nothing_behind(
    tiny_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(record: dict) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("training.data.readers.kaggle_row", interrupt)
        load_fer(tiny_csv, cache_dir=tmp_path)
    assert not list(tmp_path.rglob("*.arrow"))
    assert len(load_fer(tiny_csv, cache_dir=tmp_path)["train"]) == 56


def test_provenance_outlives_a_selection(tiny_csv: Path) -> None:
    data = load_fer(tiny_csv)
    part = datasets.DatasetDict({"train": data["train"].select(range(10))})
    whole, record = provenance(data), provenance(part)
    assert (record["source"], record["rows"]) == ("fer2013.csv", {"train": 10})
    assert record["revision"] == whole["revision"] != ""
    assert record["fingerprint"]["train"] != whole["fingerprint"]["train"]


def test_pixel_hash_sees_pixels_and_size_only() -> None:
    gray = Image.fromarray(face(0, 0))
    assert pixel_hash(gray) == pixel_hash(gray.convert("RGB"))
    assert pixel_hash(gray) != pixel_hash(Image.fromarray(face(0, 1)))
    assert pixel_hash(Image.new("L", (4, 9))) != pixel_hash(Image.new("L", (9, 4)))


def test_command_prints_a_table_or_one_error(tiny_csv: Path, root: Path) -> None:
    def command(dataset: Path) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "training.data", "--dataset", str(dataset)]
        return subprocess.run(line, cwd=root, capture_output=True, text=True)

    good, bad = command(tiny_csv), command(tiny_csv.parent / "nothing.csv")
    assert good.returncode == 0 and "disgust           8           2           2" in good.stdout
    assert bad.returncode == 1 and "Traceback" not in bad.stderr and "error: " in bad.stderr


def test_importing_costs_nothing(root: Path) -> None:
    code = (
        "import sys, training.data.load; print(*{'datasets', 'torch', 'PIL', 'sklearn', 'scipy'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=root, text=True).strip() == ""


# The real data


def test_published_counts_of_publictest(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(next((shared / "data/fer2013-hub/data").glob("validation-*")), tmp_path / "data")
    data = load_fer(tmp_path, ferplus=shared / "data/fer2013/fer2013new.csv")
    assert set(data) == {"validation"}
    counts = Counter(data["validation"]["label"])
    assert [counts[code] for code in range(7)] == [467, 56, 496, 895, 653, 415, 607]
    assert (majority_label(np.array(data["validation"]["votes"][:])) >= 0).sum() == 3_199
