"""Predictions of a model on a split: logits, and the reference of each image.

Images go through the saved image processor and nothing else, so the pixels are those of `pipeline` and of the app.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm
from transformers import BaseImageProcessor, PreTrainedModel
from transformers.image_utils import load_image

from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS, VOTES, label_key, majority_label
from training.errors import EvaluationError, LabelError


@dataclass(frozen=True)
class Predictions:
    """Logits and references of the images of a split.

    Attributes:
        labels: the C names that model and dataset share, in the order of the model's outputs.
        images: n rows of the split, those with a label that the model knows.
        references: (n,) int64, indices into `labels`.
        logits: (views, n, C) float64; a second view is the mirror image.
        left_out: a message for each reason to leave images out.
        seconds: duration of reading and classifying.
    """

    labels: list[str]
    images: Dataset
    references: np.ndarray
    logits: np.ndarray
    left_out: list[str]
    seconds: float


def predict(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    split: Dataset,
    *,
    mirror: bool = False,
    batch_size: int = 64,
) -> np.ndarray:
    """Compute the logits of every image of a split; processes that `accelerate launch` started share the batches.

    Args:
        model: a classifier, on the device to use; float32.
        image_processor: the one saved with it.
        split: with an `image` column.
        mirror: also classify each image mirrored left to right.
        batch_size: images per forward pass.

    Returns:
        (1, n, C) float64, or (2, n, C) with the mirrored images second; all of them in every process.
    """
    processes, rank = launched_processes()
    model.eval()
    rows = split.select_columns("image")
    batches = []
    with torch.inference_mode():
        starts = range(rank * batch_size, len(split), processes * batch_size)
        for start in tqdm(starts, desc="classifying", unit="batch", leave=False, disable=None):
            images = [load_image(image) for image in rows[start : start + batch_size]["image"]]  # as `pipeline`
            pixels = image_processor(images, return_tensors="pt")["pixel_values"].to(model.device)
            views = [pixels, pixels.flip(-1)] if mirror else [pixels]
            logits = torch.stack([model(pixel_values=view).logits.float() for view in views])
            batches.append((start, logits.cpu()))
    if processes > 1:
        batches = sorted(gather_object(batches), key=lambda batch: batch[0])
    return torch.cat([logits for _, logits in batches], dim=1).double().numpy()


def launched_processes() -> tuple[int, int]:
    """Return how many processes `accelerate launch` or `torchrun` started, and which of them this is, from 0."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return 1, 0
    state = PartialState()  # meets the others
    return state.num_processes, state.process_index


def shared_outputs(split: Dataset, labels: Sequence[str], head: str) -> list[int]:
    """Return the model's outputs whose class the dataset has, or could have; arguments as `references`.

    The seven of `EMOTIONS` always count: an image of another class that is taken for one of them is an error.
    """
    votes = head == "ferplus" and "votes" in split.column_names
    known = {*EMOTIONS, *(FERPLUS_EMOTIONS if votes else map(label_key, split.features["label"].names))}
    return [index for index, label in enumerate(labels) if label_key(label) in known]


def references(split: Dataset, labels: Sequence[str], head: str) -> tuple[np.ndarray, list[str]]:
    """Return the reference of each image as an index into the model's labels; names are matched, never positions.

    Args:
        split: with a `label` column and, for the head "ferplus", perhaps `votes`, whose majority then counts.
        labels: the model's, in its order.
        head: "fer2013" or "ferplus".

    Returns:
        (n,) int64, -1 for an image to leave out, and a message for each reason to leave images out.

    Raises:
        EvaluationError: no image is left.
    """
    messages = []
    if head == "ferplus" and "votes" in split.column_names:
        names: Sequence[str] = FERPLUS_EMOTIONS
        index = majority_label(np.asarray(split["votes"][:]))
        if undecided := int((index < 0).sum()):
            messages.append(f"{undecided} images without a FER+ majority left out")
    else:
        names, index = split.features["label"].names, np.asarray(split["label"][:])
    rows = {label_key(label): row for row, label in enumerate(labels)}
    for code, name in enumerate(names):
        if label_key(name) not in rows and (count := int((index == code).sum())):
            messages.append(f"{count} images of {name} left out: the model has no such label")
    lookup = np.array([rows.get(label_key(name), -1) for name in names])
    result = np.where(index < 0, -1, lookup[index]).astype(np.int64)
    if (result < 0).all():
        raise EvaluationError(
            f"expected images of {', '.join(labels)}, got {len(split)} images and none of those: {messages}"
        )
    return result, messages


def classify(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    data: DatasetDict,
    *,
    split: str,
    head: str = "fer2013",
    flip_tta: bool = False,
    batch_size: int = 64,
) -> Predictions:
    """Run a model over one split.

    Args:
        model: with one head, taking what `image_processor` gives.
        image_processor: the one saved with it.
        data: from `load_fer`.
        split: which split.
        head: "fer2013", or "ferplus" to be measured against the majority of the votes.
        flip_tta: also classify the mirror images.
        batch_size: images per forward pass.

    Raises:
        EvaluationError: there is no such split, or no image in it has a label that the model knows.
    """
    if split not in data:
        raise EvaluationError(f"expected --split to be one of {', '.join(data)}, got {split!r}")
    labels = labels_of(model)
    columns = shared_outputs(data[split], labels, head)
    left_out = []
    if foreign := [label for index, label in enumerate(labels) if index not in columns]:
        left_out.append(
            f"{', '.join(foreign)} left out: the dataset has no such class, the others share its probability"
        )
        labels = [labels[index] for index in columns]
    y, messages = references(data[split], labels, head)
    left_out += messages
    rows = np.flatnonzero(y >= 0)
    images = data[split].select(rows)
    started = time.perf_counter()
    logits = predict(model, image_processor, images, mirror=flip_tta, batch_size=batch_size)
    return Predictions(labels, images, y[rows], logits[..., columns], left_out, time.perf_counter() - started)


def votes_of(predictions: Predictions, head: str) -> np.ndarray | None:
    """Return the (n, C) FER+ votes of the images where those are the reference, else None."""
    if head != "ferplus" or "votes" not in predictions.images.column_names:
        return None
    columns = [VOTES.index(label_key(label)) for label in predictions.labels]
    return np.asarray(predictions.images["votes"][:], np.float64)[:, columns]


def head_of(model: Any) -> str:
    """Return the head that a package was made for; "fer2013" for any other model."""
    return (getattr(model.config, "provenance", None) or {}).get("head", "fer2013")


def check_expressions(model: Any, name: str, ours: bool = False) -> None:
    """Refuse a classifier of something else.

    Args:
        model: with a `config`. A package of ours may have classes of its own.
        name: what the message calls the model.
        ours: whether it was trained by `training.train`, and so may have such classes as well.

    Raises:
        LabelError: none of its labels is a known expression.
    """
    labels = labels_of(model)
    ours = ours or bool(getattr(model.config, "provenance", None))
    if not ours and not any(label_key(label) in FERPLUS_EMOTIONS for label in labels):
        shown = ", ".join([*labels[:5], *(["..."] if len(labels) > 5 else [])])
        raise LabelError(f"{name}: expected expressions such as happy and sad in id2label of config.json, got {shown}")


def labels_of(model: PreTrainedModel) -> list[str]:
    """Return the C label names of a model in the order of its outputs."""
    return [name for _, name in sorted((model.config.id2label or {}).items())]
