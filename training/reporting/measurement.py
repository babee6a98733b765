"""Results of a report from predictions: metrics with intervals, and the plots of the benchmark itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from datasets import DatasetDict
from scipy.special import softmax
from transformers import PreTrainedModel

from training.data.load import duplicates_of, provenance
from training.evaluation.bootstrap import bootstrap_intervals, ece_biases
from training.evaluation.calibration import Scaling
from training.evaluation.metrics import compute, vote_cross_entropy, vote_entropy
from training.evaluation.predictions import Predictions, votes_of
from training.evaluation.results import FigureRecord, Intervals, Metrics
from training.reporting.figures import draw_figures
from training.reporting.plot_style import write_figures
from training.reporting.provenance import split_info
from training.reporting.report import Counts, Result, Subset, Tta

TTA_VIEWS: dict[Tta, int] = {"none": 1, "flip": 2}


def score(
    probabilities: np.ndarray, references: np.ndarray, labels: Sequence[str], votes: np.ndarray | None = None
) -> tuple[Metrics, Intervals, list[str]]:
    """Compute every metric with its interval.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1, columns in the order of `labels`.
        references: (n,) integers, indices into `labels`.
        labels: the C class names.
        votes: (n, C) counts of FER+ votes, where the references are their majority.

    Returns:
        Metrics, 95 % intervals, and a message for each metric that is undefined.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """
    values, undefined = compute(probabilities, references, labels)
    values |= ece_biases(probabilities, references)
    if votes is not None:
        losses = vote_cross_entropy(probabilities, votes)
        values |= {"vote_cross_entropy": losses.mean(), "vote_entropy": vote_entropy(votes)}
    return Metrics(**values), bootstrap_intervals(probabilities, references, labels, votes), undefined


def measure(predictions: Predictions, data: DatasetDict, *, split: str, head: str = "fer2013") -> list[Result]:
    """Compute the results of a report.

    Args:
        predictions: what `training.evaluation.predictions.classify` gave; with a second view, the mean over image and
            mirror image is measured too.
        data: that they were made on; where it has `train`, the subset without images seen there is measured too.
        split: of the data.
        head: "fer2013", or "ferplus" to measure against the majority of the votes.

    Returns:
        The `results` of a report, the benchmark itself first.

    Raises:
        MetricError: the model gives NaN.
    """
    y, labels = predictions.references, predictions.labels
    votes = votes_of(predictions, head)
    notes = [f"{count} bad rows of the dataset dropped: {why}" for why, count in provenance(data)["dropped"].items()]
    if head == "ferplus" and votes is None:
        notes.append("no FER+ votes given: measured against the labels of the dataset")
    subsets: dict[Subset, np.ndarray] = {"all": np.ones(len(y), bool)}
    if split != "train" and "train" in data:
        subsets["unseen_pixels"] = ~duplicates_of(predictions.images, data["train"])

    results = []
    for tta, views in TTA_VIEWS.items():
        if views > len(predictions.logits):
            continue
        probabilities = softmax(predictions.logits[:views], axis=-1).mean(axis=0)
        for subset, mask in subsets.items():
            if not mask.any():
                continue
            metrics, intervals, undefined = score(
                probabilities[mask], y[mask], labels, None if votes is None else votes[mask]
            )
            results.append(
                Result(
                    head=head,
                    split=split,
                    tta=tta,
                    subset=subset,
                    labels=labels,
                    dataset=split_info(data, split, head),
                    counts=Counts(images=int(mask.sum()), left_out=int(len(data[split]) - mask.sum())),
                    metrics=metrics,
                    intervals=intervals,
                    warnings=notes + predictions.left_out + undefined,
                    seconds=round(predictions.seconds, 2),
                    date=datetime.now(UTC).isoformat(timespec="seconds"),
                )
            )
    return results


def draw(
    predictions: Predictions, result: Result, model: PreTrainedModel, folder: Path, root: Path
) -> list[FigureRecord]:
    """Write the plots of the benchmark itself.

    Args:
        predictions: what `classify` gave.
        result: the first that `measure` gave for them.
        model: the same; where it is calibrated, before and after are drawn.
        folder: gets a folder `<head>_<split>` with the plots.
        root: where the report lies.
    """
    logits, scaling = predictions.logits[0], scaling_of(model, predictions.labels)
    drawings = draw_figures(
        softmax(logits, axis=-1),
        predictions.references,
        predictions.labels,
        where=f"{result.dataset.source}, {result.split}",
        uncalibrated=softmax(scaling.undo(logits), axis=-1) if scaling else None,
    )
    return write_figures(drawings, folder / f"{result.head}_{result.split}", root)


def scaling_of(model: PreTrainedModel, labels: Sequence[str]) -> Scaling | None:
    """Return how the logits of these labels were calibrated at packaging; None where they were not."""
    if not (found := getattr(model.config, "calibration", None)):
        return None
    scaling = Scaling(*(np.array([found[key][label] for label in labels]) for key in ("temperature", "bias")))
    return None if scaling.is_identity else scaling
