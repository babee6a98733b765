"""Limits of a dataset: label noise, exact duplicates, and the range of colors and sizes.

These are the numbers behind the limits that a model card states.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from training.data.labels import FERPLUS_EMOTIONS, label_key, majority_label

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


def data_limits(data: DatasetDict, split: str) -> dict[str, Any]:
    """Measure the report's `data`.

    Args:
        data: from `load_fer`.
        split: the one to describe.

    Returns:
        JSON-ready: `split`, `images`, `grayscale` (how many are), `sizes` ("48 x 48" pixels to how many), and
        `votes` where there are any, see `vote_limits`. Where `data` has `train`: `seen_in_train`, how many of the
        split have their exact pixels there, and `relabeled`, how many of those carry another label there.
    """
    images = data[split]
    grayscale, sizes = 0, Counter[str]()
    for row in images.select_columns("image"):
        image = row["image"]
        sizes[f"{image.width} x {image.height}"] += 1
        channels = np.asarray(image.convert("RGB"))
        grayscale += bool((channels == channels[..., :1]).all())
    found = {
        "split": split,
        "images": len(images),
        "grayscale": grayscale,
        "sizes": dict(sizes.most_common(3)),
    }
    if split != "train" and "train" in data:
        labels = defaultdict(set)
        for key, label in zip(data["train"]["pixel_hash"], data["train"]["label"], strict=True):
            labels[key].add(label)
        copies = [
            labels[key] != {label}
            for key, label in zip(images["pixel_hash"], images["label"], strict=True)
            if key in labels
        ]
        found |= {"seen_in_train": len(copies), "relabeled": sum(copies)}
    if "votes" in images.column_names:
        found["votes"] = vote_limits(images)
    return found


def vote_limits(images: Dataset) -> dict[str, Any]:
    """Measure how far the ten annotators of FER+ agree, with each other and with the labels of the dataset.

    Args:
        images: with `votes` and `label`.

    Returns:
        `majority`, how many images have one by the published rule; `agreement`, the mean share of all ten votes that
        went to the most frequent answer; `same_label`, the share of the images with a majority whose label of the
        dataset is the same.
    """
    votes = np.asarray(images["votes"][:], np.float64)
    majority, names = majority_label(votes), images.features["label"].names
    codes = [FERPLUS_EMOTIONS.index(key) if (key := label_key(name)) in FERPLUS_EMOTIONS else -2 for name in names]
    labels = np.array(codes)[images["label"][:]]
    clear = majority >= 0
    return {
        "majority": int(clear.sum()),
        "agreement": float((votes.max(axis=1) / votes.sum(axis=1)).mean()),
        "same_label": float((majority == labels)[clear].mean()) if clear.any() else None,
    }
