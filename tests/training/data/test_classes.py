"""Any set of classes: those of the dataset, or those that --labels and --label_map ask for."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from tests.support.dataset_fixtures import face, write_csv
from training.data.classes import Classes
from training.data.labels import EMOTIONS
from training.data.load import load_fer, provenance
from training.errors import DataError, LabelError


def folders(root: Path, *names: str, count: int = 3) -> Path:
    """Write folders of classes without a split above them."""
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(face(label, 50 * label + index)).save(root / name / f"{index}.png")
    return root


def names_of(data: dict) -> list[str]:
    return next(iter(data.values())).features["label"].names


def test_dataset_defines_the_classes(tmp_path: Path) -> None:
    data = load_fer(folders(tmp_path / "faces", "Surprised", "anger", "sad", "happy", "neutral"))
    assert names_of(data) == ["angry", "happy", "sad", "surprise", "neutral"]
    assert len(data["train"]) == 10 and len(data["validation"]) == 5
    assert set(data["train"]["label"]) == set(range(5))


def test_kaggle_csv_has_all_seven(csv_rows: list[list], tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", [row for row in csv_rows if row[0] in (3, 4)])
    assert names_of(load_fer(path)) == list(EMOTIONS)
    merged = load_fer(path, classes=Classes.parse(label_map="happy=joy,fear=surprise,disgust="))
    assert names_of(merged) == ["angry", "joy", "sad", "surprise", "neutral"]


def test_foreign_class_when_asked_for(tmp_path: Path) -> None:
    root = folders(tmp_path / "faces", "excited", "happy", "bored")
    with pytest.raises(DataError, match=r"unknown label name 'bored'.*--labels.*--label_map bored=NAME"):
        load_fer(root)
    asked = Classes.parse("bored,Happy,excited")
    data = load_fer(root, classes=asked)
    assert names_of(data) == ["bored", "Happy", "excited"]
    labels = [label for rows in data.values() for label in rows["label"]]
    assert sorted(labels) == [0] * 3 + [1] * 3 + [2] * 3
    again = load_fer(root, classes=Classes.of_model({"id2label": dict(enumerate(asked.labels))}))
    assert names_of(again) == ["happy", "bored", "excited"]
    by_name = ({names_of(d)[i].lower() for i in d["train"]["label"]} for d in (data, again))
    assert len({frozenset(names) for names in by_name}) == 1


def test_labels_are_renamed_merged_and_left_out(tmp_path: Path) -> None:
    root = folders(tmp_path / "faces", "happiness", "joyful", "sad", "bored")
    data = load_fer(root, classes=Classes.parse(label_map="happy=joy,joyful=joy,bored="))
    assert names_of(data) == ["joy", "sad"]
    assert sum(map(len, data.values())) == 9
    assert provenance(data)["dropped"] == {"left out by --label_map": 3}


def test_a_label_that_is_not_listed_is_an_error(tmp_path: Path) -> None:
    root = folders(tmp_path / "faces", "happy", "sad", "fear")
    with pytest.raises(DataError, match=r"label 'fear': expected one of --labels happy, sad; .* leave .* fear="):
        load_fer(root, classes=Classes.parse("happy,sad"))
    assert names_of(load_fer(root, classes=Classes.parse("sad,happy", "fear="))) == ["sad", "happy"]


@pytest.mark.parametrize(
    ("labels", "label_map", "message"),
    [
        (None, "happy", r"expected old=new,\.\.\., or old= to leave images out, got 'happy'"),
        (None, "joy=a,happy=b", "expected each label once"),
        ("joy,happy", None, "expected each class once, in one spelling, got joy, happy"),
        ("happy", None, "expected two classes or more, got happy"),
        ("happy,ferplus/sad", None, "expected the name of a class without any of"),
        ("happy,sad", "fear=angry", "expected names among --labels happy, sad, got angry"),
    ],
)
def test_wrong_flags(labels: str | None, label_map: str | None, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        Classes.parse(labels, label_map)


def test_two_spellings_of_one_class_are_refused(tmp_path: Path) -> None:
    root = folders(tmp_path / "faces", "happy", "amused")
    with pytest.raises(LabelError, match="expected each class in one spelling"):
        load_fer(root, classes=Classes(label_map={"amused": "joy"}))


def table_of(root: Path, header: tuple[str, ...], **columns: list) -> Path:
    return write_csv(root / "faces.csv", list(map(list, zip(*columns.values(), strict=True))), header)


@pytest.fixture
def images(tmp_path: Path) -> dict[str, list]:
    """Files and labels of six images, one of them given by its absolute path."""
    root = folders(tmp_path / "any", "x", "y")
    files = [f"any/{folder}/{index}.png" for folder in "xy" for index in range(3)]
    return {"file": [str(root / "x/0.png"), *files[1:]], "label": ["Happy"] * 3 + ["sadness"] * 3}


@pytest.mark.parametrize("header", [("file", "label"), ("Path", "Emotion")])
def test_table_of_files_and_labels(header: tuple[str, str], images: dict, tmp_path: Path) -> None:
    import pandas as pd

    path = table_of(tmp_path, header, **images)
    parquet = tmp_path / "faces.parquet"
    pd.read_csv(path).to_parquet(parquet)
    for table in (path, parquet):
        data = load_fer(table)
        assert names_of(data) == ["happy", "sad"]
        assert {split: len(rows) for split, rows in data.items()} == {"train": 4, "validation": 2}


def test_table_with_splits_and_metadata(images: dict, tmp_path: Path) -> None:
    splits = ["train", "val", "test"] * 2
    path = table_of(tmp_path, ("file", "label", "Split", "age"), **images, split=splits, age=list(range(6)))
    data = load_fer(path)
    assert set(data) == {"train", "validation", "test"} and data["test"]["age"][:] == ["2", "5"]
    (tmp_path / "any/x/2.png").write_bytes((tmp_path / "any/y/2.png").read_bytes())
    changed = load_fer(path)  # the images count, not only the table
    assert changed["test"]["pixel_hash"][0] == changed["test"]["pixel_hash"][1]


def test_table_keeps_people_on_one_side(images: dict, tmp_path: Path) -> None:
    path = table_of(tmp_path, ("file", "label", "set_id"), **images, set_id=["a", "b", "c"] * 2)
    people = [set(rows["set_id"]) for rows in load_fer(path).values()]
    assert not people[0] & people[1]


def test_wrong_tables_are_named(images: dict, tmp_path: Path) -> None:
    images["file"][4] = "gone.png"
    with pytest.raises(DataError, match=r"faces\.csv, line 6: expected a readable file"):
        load_fer(table_of(tmp_path, ("file", "label"), **images))
    with pytest.raises(DataError, match=r"expected pixels, as in the Kaggle CSV, or a column of image files"):
        load_fer(table_of(tmp_path, ("where", "label"), **images))
    with pytest.raises(DataError, match=r"expected a column of labels \(label, .*found file, what"):
        load_fer(table_of(tmp_path, ("file", "what"), **images))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="expected a whole parquet file"):
        load_fer(tmp_path / "cut.parquet")


def test_16_bit_gray_is_scaled_as_in_the_app(tmp_path: Path) -> None:
    root = folders(tmp_path / "faces", "happy", "sad")
    pixels = face(2, 7)
    Image.fromarray(pixels.astype(np.uint16) * 257).save(root / "happy/deep.png")
    Image.fromarray(pixels).save(root / "happy/plain.png")
    rows = [row for split in load_fer(root).values() for row in split if (np.asarray(row["image"]) == pixels).all()]
    assert len(rows) == 2 and rows[0]["pixel_hash"] == rows[1]["pixel_hash"]
    assert {row["image"].mode for row in rows} == {"L"}


def test_map_of_a_config_is_read_again() -> None:
    config = MappingProxyType({"id2label": {0: "joy", 1: "bored"}, "label_map": {"happy": "joy", "sad": ""}})
    classes = Classes.of_model(config)
    assert [classes.class_of(name) for name in ("Happiness", "sad", "Bored", "fear")] == ["joy", None, "bored", "fear"]
