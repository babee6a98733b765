"""Metrics of a classifier's probabilities; `training.evaluation.results` has their ranges, units and formulas.

    compute(probabilities, references, labels)
    ProbabilityMetrics(labels, ["macro_f1"]).compute(predictions=probabilities, references=references)

`compute` is what this project calls. `ProbabilityMetrics` is the same as one `evaluate.Metric`, for `evaluate.combine`
and other tools of that library; `evaluate.load` cannot give it, since it fetches code from the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import Features, List, Value
from scipy import special
from scipy.stats import entropy
from sklearn import metrics as sk

from training.errors import MetricError

CORE = ("accuracy", "balanced_accuracy", "macro_f1")
HEADLINE = (*CORE, "roc_auc_ovr_macro", "nll", "brier", "ece")
ECE_BINS = 15


class UndefinedMetricWarning(UserWarning):
    """A metric is undefined for some class, which was left out of it; the message names the class."""


def core_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Compute `CORE` from confusion matrices; means are over the classes that occur in the references.

    Args:
        confusion: (..., C, C) counts, a row for each reference; of many draws at once in `evaluation.bootstrap`.

    Returns:
        (...) floats in 0-1 by name.
    """
    hits, support, predicted = confusion.diagonal(axis1=-2, axis2=-1), confusion.sum(axis=-1), confusion.sum(axis=-2)
    with np.errstate(invalid="ignore"):  # 0 / 0 in the row of an absent class
        recall = hits / support
    f1 = np.where(support > 0, 2 * hits / np.maximum(support + predicted, 1), np.nan)
    return {
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "balanced_accuracy": np.nanmean(recall, axis=-1),
        "macro_f1": np.nanmean(f1, axis=-1),
    }


def confusion_matrix(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Count (C, C) references by predicted class, of (n, C) probabilities and (n,) references."""
    return sk.confusion_matrix(y, p.argmax(axis=1), labels=range(p.shape[1]))


def per_class(p: np.ndarray, y: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Compute precision, recall, F1 and support by label; None where undefined."""
    columns = sk.precision_recall_fscore_support(y, p.argmax(axis=1), labels=range(len(labels)), zero_division=np.nan)
    rows = {}
    for name, precision, recall, f1, support in zip(labels, *columns, strict=True):
        # Without references F1 would be a 0 that says nothing about the model.
        values = {"precision": precision, "recall": recall, "f1": f1} if support else dict.fromkeys(PER_CLASS, np.nan)
        rows[name] = {
            **{key: None if np.isnan(value) else float(value) for key, value in values.items()},
            "support": int(support),
        }
    return rows


PER_CLASS = ("precision", "recall", "f1")


def roc_auc(p: np.ndarray, y: np.ndarray, labels: Sequence[str]) -> dict[str, float | None]:
    """Compute the area under the ROC curve of each class against the rest; None where undefined."""
    values: dict[str, float | None] = dict.fromkeys(labels)
    for c in np.unique(y):
        if (y != c).any():
            values[labels[c]] = float(sk.roc_auc_score(y == c, p[:, c]))
    return values


def macro(values: dict[str, float | None]) -> float | None:
    """Average the values that are defined; None where none is."""
    defined = [value for value in values.values() if value is not None]
    return float(np.mean(defined)) if defined else None


def expected_calibration_error(p: np.ndarray, y: np.ndarray) -> float:
    """Compute the expected calibration error of (n, C) probabilities over `ECE_BINS` bins."""
    gaps = p.max(axis=1) - (p.argmax(axis=1) == y)
    return float(np.abs(np.bincount(confidence_bins(p), weights=gaps)).sum() / len(y))


def _core(name: str) -> Callable[..., float]:
    return lambda p, y, labels: float(core_metrics(confusion_matrix(p, y))[name])


# name -> function of (n, C) float64 probabilities, (n,) int64 references and C labels, all checked
METRICS: dict[str, Callable[[np.ndarray, np.ndarray, Sequence[str]], Any]] = {
    **{name: _core(name) for name in CORE},
    "nll": lambda p, y, labels: float(sk.log_loss(y, p, labels=range(len(labels)))),
    "per_class": per_class,
    "roc_auc_ovr": roc_auc,
    "roc_auc_ovr_macro": lambda p, y, labels: macro(roc_auc(p, y, labels)),
    "confusion_matrix": lambda p, y, labels: confusion_matrix(p, y).tolist(),
    "brier": lambda p, y, labels: float(sk.brier_score_loss(y, p, labels=range(len(labels)), scale_by_half=False)),
    "ece": lambda p, y, labels: expected_calibration_error(p, y),
}


def compute(
    probabilities: np.ndarray, references: np.ndarray, labels: Sequence[str], names: Sequence[str] = tuple(METRICS)
) -> tuple[dict[str, Any], list[str]]:
    """Compute metrics.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1, columns in the order of `labels`.
        references: (n,) integers, indices into `labels`.
        labels: the C class names.
        names: keys of `METRICS`.

    Returns:
        JSON-ready values by name, None where a metric is undefined, and a message for each thing left out.

    Raises:
        MetricError: the input is empty, of another shape, holds NaN, rows are not distributions, or a name is unknown.
    """
    if unknown := set(names) - METRICS.keys():
        raise MetricError(f"expected metrics among {', '.join(METRICS)}, got {', '.join(sorted(unknown))}")
    p, y = checked(probabilities, references, labels)
    return {name: METRICS[name](p, y, labels) for name in names}, undefined(p, y, labels)


class ProbabilityMetrics(evaluate.Metric):
    """`compute` as an `evaluate.Metric`: `predictions` are (n, C) probabilities, `references` (n,) class indices.

    Args:
        labels: the C class names in the order of the columns.
        names: keys of `METRICS`.
    """

    def __init__(self, labels: Sequence[str], names: Sequence[str] = HEADLINE) -> None:
        self.labels, self.names = tuple(labels), tuple(names)
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"Of class probabilities: {', '.join(self.names)}.",
            citation="",
            inputs_description="predictions: (n, C) probabilities; references: (n,) class indices",
            features=Features({"predictions": List(Value("float64")), "references": Value("int64")}),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **_: Any) -> dict[str, Any]:
        values, messages = compute(predictions, references, self.labels, self.names)
        for message in messages:
            warnings.warn(message, UndefinedMetricWarning, stacklevel=2)
        return values


def training_metrics(logits: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Compute what is cheap enough for every evaluation of a training run: `CORE` and nll.

    Args:
        logits: (n, C) of one head.
        references: (n,) integers, columns of `logits`.

    Raises:
        MetricError: as `compute`.
    """
    p = special.softmax(np.asarray(logits, np.float64), axis=1)
    return compute(p, references, [str(c) for c in range(p.shape[1])], (*CORE, "nll"))[0]


def vote_cross_entropy(probabilities: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Compute the (n,) cross-entropy (nats) of (n, C) probabilities to the distributions of (n, C) vote counts."""
    distribution = votes / votes.sum(axis=1, keepdims=True)
    logarithms = np.log(np.clip(probabilities, np.finfo(np.float64).tiny, None))
    return -(distribution * logarithms).sum(axis=1)


def vote_entropy(votes: np.ndarray) -> float:
    """Compute the mean entropy (nats) of the distributions of (n, C) vote counts: no cross-entropy is lower."""
    return float(entropy(votes, axis=1).mean())


def checked(probabilities: Any, references: Any, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the input as float64 rows that sum to exactly 1 and int64 indices, or raise `MetricError`."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(references)
    if p.ndim != 2 or p.shape[1] != len(labels) or y.shape != p.shape[:1] or not len(y):
        raise MetricError(
            f"expected probabilities (n, {len(labels)}) and references (n,) with n > 0, got {p.shape} and {y.shape}"
        )
    if not np.isfinite(p).all():
        row = int(np.flatnonzero(~np.isfinite(p).all(axis=1))[0])
        raise MetricError(f"expected finite probabilities, got {p[row]} in row {row}: the model's weights are broken")
    if (p < 0).any() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise MetricError("expected rows of probabilities in 0-1 that sum to 1; did you pass logits?")
    if y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= len(labels):
        raise MetricError(f"expected integer references in 0-{len(labels) - 1}, got {y.dtype} {y.min()}-{y.max()}")
    return p / p.sum(axis=1, keepdims=True), y.astype(np.int64)


def undefined(p: np.ndarray, y: np.ndarray, labels: Sequence[str]) -> list[str]:
    """Say what the metrics of these checked arrays leave out; empty when nothing."""
    support, chosen = (np.bincount(index, minlength=len(labels)) for index in (y, p.argmax(axis=1)))
    messages = []
    if absent := [name for name, count in zip(labels, support, strict=True) if not count]:
        messages.append(f"no images of {', '.join(absent)}: left out of every per-class metric and mean")
    if never := [name for name, s, c in zip(labels, support, chosen, strict=True) if s and not c]:
        messages.append(f"{', '.join(never)} never predicted: precision is undefined there")
    if np.count_nonzero(support) == 1:
        messages.append("only one class occurs: ROC-AUC is undefined")
    return messages


def confidence_bins(p: np.ndarray) -> np.ndarray:
    """Return the (n,) indices of the equal-width bins (low, high] that hold the top probabilities."""
    return np.clip(np.ceil(p.max(axis=1) * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
