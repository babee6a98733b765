"""Measure a run folder, a packaged model or a Hub model on any dataset the loader reads, and write `report.json`.

    python -m training.evaluate model_card/fer2013 --dataset fer2013.csv --split validation --flip_tta

Pictures go through the saved image processor and nothing else, so the pixels are those of `pipeline` and of the app.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm
from transformers import BaseImageProcessor, HfArgumentParser, PreTrainedModel
from transformers.image_utils import load_image

from training.data import DataError, duplicates_of, load_fer, provenance
from training.labels import FERPLUS_EMOTIONS, VOTES, LabelError, canonical_label, majority_label
from training.metrics import MetricError, bootstrap_intervals, compute, softmax, vote_cross_entropy
from training.report import (
    SCHEMA_VERSION,
    ReportError,
    format_table,
    library_versions,
    load_report,
    merge,
    sha256_of,
    write_report,
)


class EvaluationError(ValueError):
    """A model and a dataset that do not fit: no such split, or not one picture with a label the model knows."""


@dataclass
class EvaluateArguments:
    """What to measure on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id, see training.data."})
    split: str = field(default="validation", metadata={"help": "train, validation or test."})
    head: str = field(default="fer2013", metadata={"help": "fer2013, or ferplus for majority votes and contempt."})
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv, the votes of the same rows."})
    flip_tta: bool = field(default=False, metadata={"help": "Also average with the mirrored picture."})
    skip_bad_rows: bool = field(default=False, metadata={"help": "Leave out unusable rows instead of stopping."})
    batch_size: int = field(default=64, metadata={"help": "Pictures per forward pass."})
    output: str | None = field(default=None, metadata={"help": "Report file; default: report.json in the model."})


def predict(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    split: Dataset,
    *,
    mirror: bool = False,
    batch_size: int = 64,
) -> np.ndarray:
    """Logits of every picture of a split.

    Args:
        model: a classifier, on the device to use; float32.
        image_processor: the one saved with it.
        split: with an `image` column.
        mirror: also classify each picture mirrored left to right.
        batch_size: pictures per forward pass.

    Returns:
        (1, n, C) float32, or (2, n, C) with the mirrored pictures second.
    """
    model.eval()
    pictures = split.select_columns("image")
    batches = []
    with torch.inference_mode():
        steps = tqdm(range(0, len(split), batch_size), desc="classifying", unit="batch", leave=False)
        for start in steps:
            images = [load_image(image) for image in pictures[start : start + batch_size]["image"]]  # as `pipeline`
            pixels = image_processor(images, return_tensors="pt")["pixel_values"].to(model.device)
            views = [pixels, pixels.flip(-1)] if mirror else [pixels]
            batches.append(torch.stack([model(pixel_values=view).logits.float() for view in views]).cpu())
    return torch.cat(batches, dim=1).numpy()


def references(split: Dataset, labels: Sequence[str], head: str) -> tuple[np.ndarray, list[str]]:
    """What each picture should be called, as indices into the model's labels; names are matched, never positions.

    Args:
        split: with a `label` column and, for the head "ferplus", perhaps `votes`, whose majority then counts.
        labels: the model's, in its order.
        head: "fer2013" or "ferplus".

    Returns:
        (n,) int64, -1 for a picture to leave out, and a message for each reason to leave pictures out.

    Raises:
        LabelError: if the model has a label that is no expression.
        EvaluationError: if no picture is left.
    """
    messages = []
    if head == "ferplus" and "votes" in split.column_names:
        names: Sequence[str] = FERPLUS_EMOTIONS
        index = majority_label(np.asarray(split["votes"][:]))
        if undecided := int((index < 0).sum()):
            messages.append(f"{undecided} pictures without a FER+ majority left out")
    else:
        names, index = split.features["label"].names, np.asarray(split["label"][:])
    rows = {canonical_label(label): row for row, label in enumerate(labels)}
    for code, name in enumerate(names):
        if name not in rows and (count := int((index == code).sum())):
            messages.append(f"{count} pictures of {name} left out: the model has no such label")
    lookup = np.array([rows.get(name, -1) for name in names])
    result = np.where(index < 0, -1, lookup[index]).astype(np.int64)
    if (result < 0).all():
        raise EvaluationError(
            f"expected pictures of {', '.join(labels)}, got {len(split)} pictures and none of those: {messages}"
        )
    return result, messages


def evaluate_model(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    data: DatasetDict,
    *,
    split: str,
    head: str = "fer2013",
    flip_tta: bool = False,
    batch_size: int = 64,
) -> list[dict[str, Any]]:
    """Measure a model on one split.

    Args:
        model: with one head, taking what `image_processor` gives.
        image_processor: the one saved with it.
        data: from `load_fer`; where it has `train`, the subset without pictures seen there is measured too.
        split: which split.
        head: "fer2013", or "ferplus" to measure against the majority of the votes.
        flip_tta: also measure the mean of picture and mirror image.
        batch_size: pictures per forward pass.

    Returns:
        The `results` of a report, see `training.report`, the benchmark itself first.

    Raises:
        EvaluationError: if there is no such split or nothing in it the model knows.
        LabelError: if the model has a label that is no expression.
        MetricError: if the model gives NaN.
    """
    if split not in data:
        raise EvaluationError(f"expected --split to be one of {', '.join(data)}, got {split!r}")
    labels = labels_of(model)
    y, left_out = references(data[split], labels, head)
    rows = np.flatnonzero(y >= 0)
    pictures, y = data[split].select(rows), y[rows]

    votes = None
    if head == "ferplus" and "votes" in pictures.column_names:
        columns = [VOTES.index(canonical_label(label)) for label in labels]
        votes = np.asarray(pictures["votes"][:], np.float64)[:, columns]
    subsets = {"all": np.ones(len(y), bool)}
    if split != "train" and "train" in data:
        subsets["unseen_pixels"] = ~duplicates_of(pictures, data["train"])

    started = time.perf_counter()
    logits = predict(model, image_processor, pictures, mirror=flip_tta, batch_size=batch_size)
    seconds = time.perf_counter() - started

    results = []
    for tta, views in {"none": 1, "flip": 2}.items() if flip_tta else {"none": 1}.items():
        probabilities = softmax(logits[:views]).mean(axis=0)
        for subset, mask in subsets.items():
            if not mask.any():
                continue
            metrics, undefined = compute(probabilities[mask], y[mask], labels)
            if votes is not None:
                metrics["vote_cross_entropy"] = vote_cross_entropy(probabilities[mask], votes[mask])
            results.append(
                {
                    "head": head,
                    "split": split,
                    "tta": tta,
                    "subset": subset,
                    "labels": labels,
                    "dataset": split_provenance(data, split),
                    "counts": {"pictures": int(mask.sum()), "left_out": int(len(data[split]) - mask.sum())},
                    "metrics": metrics,
                    "intervals": bootstrap_intervals(probabilities[mask], y[mask], labels),
                    "warnings": left_out + undefined,
                    "seconds": round(seconds, 2),
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
    return results


def split_provenance(data: DatasetDict, split: str) -> dict[str, Any]:
    """Which data exactly: source, revision, and the fingerprint and number of rows of one split."""
    whole = provenance(data)
    return {**whole, **{key: whole[key][split] for key in ("fingerprint", "rows")}}


def labels_of(model: PreTrainedModel) -> list[str]:
    """The C label names of a model in the order of its outputs."""
    return [name for _, name in sorted((model.config.id2label or {}).items())]


def describe_model(model: PreTrainedModel, weights: Path, name: str, revision: str | None = None) -> dict[str, Any]:
    """The `model` part of a report: which weights, down to the checksum of their file."""
    return {
        "name": name,
        "revision": revision,
        "architecture": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights_sha256": sha256_of(weights),
        "weights_bytes": weights.stat().st_size,
        "temperature": getattr(model.config, "calibration_temperature", None),
    }


def evaluate(spec: str, arguments: EvaluateArguments) -> tuple[dict[str, Any], Path]:
    """Load model and data, measure, and write the report.

    Args:
        spec: a run folder, a packaged folder or a Hub id, `@revision` accepted.
        arguments: what to measure on.

    Returns:
        The report of this measurement, and the file it was merged into.

    Raises:
        EvaluationError, LabelError, MetricError: see `evaluate_model`.
        DataError: if the dataset cannot be read.
        RecognitionError: if the model is not found.
        FoldingError: if it has no such head.
    """
    from gradio_ui.recognition.hub import resolve_model
    from training.model import load_model

    source = resolve_model(spec)
    folder = Path(source.folder)
    model, image_processor = load_model(folder, arguments.head)
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    data = load_fer(arguments.dataset, ferplus=arguments.ferplus, skip_bad_rows=arguments.skip_bad_rows)
    results = evaluate_model(
        model,
        image_processor,
        data,
        split=arguments.split,
        head=arguments.head,
        flip_tta=arguments.flip_tta,
        batch_size=arguments.batch_size,
    )
    report = {
        "schema_version": SCHEMA_VERSION,
        "model": describe_model(model, folder / "model.safetensors", str(source.model_id), source.revision),
        "results": results,
        "environment": {"versions": library_versions(), "device": str(model.device)},
    }
    local = Path(spec).is_dir()
    output = Path(arguments.output or (folder / "report.json" if local else "report.json"))
    write_report(merge(load_report(output), report) if output.exists() else report, output)
    return report, output


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    from gradio_ui.recognition.errors import RecognitionError
    from training.folding import FoldingError

    kinds: Any = EvaluateArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", help="run folder, packaged folder, or Hub id with optional @revision")
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    expected = (EvaluationError, DataError, LabelError, MetricError, ReportError, FoldingError, RecognitionError)
    try:
        report, output = evaluate(positional.model, arguments)
    except (*expected, OSError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"{format_table(report['results'])}\nwritten to {output}\n")


if __name__ == "__main__":
    main()
