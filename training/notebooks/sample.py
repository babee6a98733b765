"""The data of the notebooks: a dataset of your own, a small sample of it, or faces drawn on the spot.

FER_DATASET=fer2013.csv FER_FERPLUS=fer2013new.csv jupyter lab training/notebooks
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gradio_ui.recognition.tables import write_csv
from training.data.labels import EMOTIONS, VOTES
from training.data.load import load_fer

USAGES = {"train": "Training", "validation": "PublicTest"}
VOTE_HEADER = ("Usage", *VOTES[:-1], "NF")  # the columns of fer2013new.csv
# What a drawn face does: inner brows lifted, mouth corners lifted, mouth open, eyes open (48 x 48 pixels).
EXPRESSIONS = {
    "angry": (-4, -3, 0, 3),
    "disgust": (-2, -5, 2, 1),
    "fear": (4, -3, 4, 5),
    "happy": (1, 6, 2, 2),
    "sad": (5, -5, 0, 2),
    "surprise": (3, 0, 7, 5),
    "neutral": (0, 0, 0, 3),
}


def open_data(folder: Path) -> tuple[str, str | None]:
    """Which data to look at: what `FER_DATASET` and `FER_FERPLUS` name, or else faces drawn into a folder.

    Returns:
        The dataset and its FER+ votes, as `training.data.load.load_fer` takes them.
    """
    if dataset := os.environ.get("FER_DATASET"):
        return dataset, os.environ.get("FER_FERPLUS")
    return draw_faces(folder)


def write_sample(dataset: str, votes: str | None, folder: Path, rows: int = 600) -> tuple[str, str | None]:
    """Write a random sample of a dataset, small enough to train on at once; the test split stays untouched.

    Args:
        dataset, votes: as `open_data` gives them.
        folder: gets a dataset repository, and the votes as a CSV file.
        rows: pictures to train on; half as many to validate on.

    Returns:
        The sample, in the form of `open_data`.
    """
    data = load_fer(dataset, ferplus=votes)
    lines = []
    for split, count in (("train", rows), ("validation", rows // 2)):
        picked = data[split].shuffle(seed=0).select(range(min(count, len(data[split]))))
        if votes:
            lines += [(split, *counts) for counts in picked["votes"][:]]
            picked = picked.remove_columns("votes")
        picked.remove_columns("pixel_hash").to_parquet(folder / "sample" / f"{split}.parquet")
    return str(folder / "sample"), _write_csv(folder / "votes.csv", VOTE_HEADER, lines) if votes else None


def draw_faces(folder: Path, per_class: int = 60) -> tuple[str, str]:
    """Draw a tiny FER-2013 in the format of Kaggle, with FER+ votes; its annotators err, and some pictures recur."""
    rng = np.random.default_rng(0)
    rows, votes = [], []
    for index in range(per_class * len(EMOTIONS)):
        label = index % len(EMOTIONS)
        usage = USAGES["validation" if index % 3 == 0 else "train"]
        opinion = np.full(len(VOTES), 0.02)
        opinion[label] = 0.5 + 0.5 * rng.random()
        ballots = rng.multinomial(10, opinion / opinion.sum())
        pixels = " ".join(map(str, _face(*EXPRESSIONS[EMOTIONS[label]], rng).ravel()))
        noted = label if rng.random() < 0.85 else int(rng.integers(len(EMOTIONS)))
        rows.append((noted, pixels, usage))
        votes.append((usage, *ballots))
        if index % 9 == 0:  # a second copy of the same picture
            rows.append((label, pixels, USAGES["train"]))
            votes.append((USAGES["train"], *ballots))
    return (
        _write_csv(folder / "faces.csv", ("emotion", "pixels", "Usage"), rows),
        _write_csv(folder / "votes.csv", VOTE_HEADER, votes),
    )


def _face(brows: int, corners: int, mouth: int, eyes: int, rng: np.random.Generator) -> np.ndarray:
    """A (48, 48) uint8 drawing, a little different every time."""
    image = Image.new("L", (48, 48), int(rng.integers(40, 110)))
    draw = ImageDraw.Draw(image)
    x, y = rng.integers(-3, 4, 2)
    draw.ellipse((6 + x, 3 + y, 42 + x, 46 + y), fill=int(rng.integers(170, 230)))
    for side in (-1, 1):
        eye, brow = 24 + x + 9 * side, 13 + y
        draw.ellipse((eye - 3, 20 + y - eyes, eye + 3, 20 + y + eyes), fill=30)
        draw.line((eye - 5 * side, brow - brows, eye + 5 * side, brow + brows // 2), fill=20, width=2)
    lips = [(14 + x, 36 + y - corners), (24 + x, 36 + y + mouth), (34 + x, 36 + y - corners), (24 + x, 36 + y - mouth)]
    draw.polygon(lips, fill=60, outline=20)
    return np.clip(np.asarray(image, float) + rng.normal(0, 12, (48, 48)), 0, 255).astype(np.uint8)


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        write_csv(file, header, (dict(zip(header, row, strict=True)) for row in rows))
    return str(path)
