"""Tiny datasets in every format that `load_fer` takes, and a cache of their own."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.labels import EMOTIONS

USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
VOTE_COLUMNS = "neutral happiness surprise sadness anger disgust fear contempt unknown NF".split()


@pytest.fixture(scope="session", autouse=True)
def datasets_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what the tests cache, child processes included, out of the user's own cache."""
    import datasets

    folder = tmp_path_factory.mktemp("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_CACHE", str(folder))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        yield folder


def face(label: int, index: int) -> np.ndarray:
    """Make a (48, 48) uint8 image whose bright band shows its class; a different one for each index."""
    pixels = np.random.default_rng(1000 * label + index).integers(0, 100, (48, 48), dtype=np.uint8)
    pixels[6 * label : 6 * label + 8] += 120
    return pixels


@pytest.fixture(scope="session")
def faces() -> list[tuple[str, int, np.ndarray]]:
    """Make 84 images (split, label, pixels): 8 of each class to train, 2 to validate and 2 to test, classes mixed."""
    counts = {"train": range(8), "validation": range(8, 10), "test": range(10, 12)}
    return [(s, c, face(c, i)) for s, indices in counts.items() for i in indices for c in range(len(EMOTIONS))]


def write_csv(path: Path, rows: list[list], header: tuple[str, ...] = ("emotion", "pixels", "Usage")) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="session")
def csv_rows(faces: list) -> list[list]:
    """Make the rows of the Kaggle CSV."""
    return [[label, " ".join(map(str, pixels.ravel())), USAGES[split]] for split, label, pixels in faces]


@pytest.fixture(scope="session")
def tiny_csv(csv_rows: list[list], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `faces` as the Kaggle CSV."""
    return write_csv(tmp_path_factory.mktemp("csv") / "fer2013.csv", csv_rows)


@pytest.fixture(scope="session")
def tiny_votes(faces: list, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write FER+ votes for `tiny_csv`: eight for the label, one for contempt, one for NF."""
    rows = []
    for index, (split, label, _) in enumerate(faces):
        counts = dict.fromkeys(VOTE_COLUMNS, 0) | {"contempt": 1, "NF": 1}
        counts[("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")[label]] = 8
        rows.append([USAGES[split], f"fer{index:07}.png", *counts.values()])
    path = tmp_path_factory.mktemp("votes") / "fer2013new.csv"
    return write_csv(path, rows, ("Usage", "Image name", *VOTE_COLUMNS))


@pytest.fixture(scope="session")
def tiny_folder(faces: list, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `faces` as Kaggle's folders: validation and test are merged in test/; only file names differ."""
    root = tmp_path_factory.mktemp("kaggle") / "archive"
    for index, (split, label, pixels) in enumerate(faces):
        folder = root / ("train" if split == "train" else "test") / EMOTIONS[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{USAGES[split]}_{index}.png")
    return root


@pytest.fixture(scope="session")
def tiny_repo(faces: list, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `faces` as a dataset repository: parquet, alphabetical ClassLabel, a column of metadata."""
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageFeature

    root = tmp_path_factory.mktemp("hub") / "fer2013"
    names = sorted(EMOTIONS)
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=names), "age": Value("int32")})
    for split in USAGES:
        rows = [(label, pixels) for s, label, pixels in faces if s == split]
        columns = {
            "image": [Image.fromarray(pixels) for _, pixels in rows],
            "label": [names.index(EMOTIONS[label]) for label, _ in rows],
            "age": list(range(len(rows))),
        }
        Dataset.from_dict(columns, features=features).to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")
    return root


@pytest.fixture(scope="session")
def tiny_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a per-person set: 12 people with 8 expressions each, contempt among them."""
    root = tmp_path_factory.mktemp("people")
    names = ("Anger", "Contempt", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprised")
    for person in range(12):
        folder = root / "images" / str(person)
        folder.mkdir(parents=True)
        for label, name in enumerate(names):
            Image.fromarray(face(label % 7, 1000 + 8 * person + label)).convert("RGB").save(folder / f"{name}.jpg")
    rows = [[person, "FEMALE" if person % 2 else "MALE", 20 + person, "JP"] for person in range(12)]
    write_csv(root / "emotions.csv", rows, ("set_id", "gender", "age", "country"))
    return root
