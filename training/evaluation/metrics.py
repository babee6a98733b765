"""Metrics of a classifier's probabilities, each an `evaluate.Metric`.

They are classes of ours over scikit-learn because `evaluate.load` fetches its code from the network.

    from training.evaluation.metrics import MacroF1, compute
    MacroF1(labels).compute(predictions=probabilities, references=references)
    compute(probabilities, references, labels)
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import evaluate
import numpy as np
from datasets import Features, List, Value
from sklearn import metrics as sk

from training.errors import MetricError

HEADLINE = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc_ovr_macro", "nll", "brier", "ece")
ECE_BINS = 15


class UndefinedMetricWarning(UserWarning):
    """A metric is undefined for some class, which was left out of it; the message names the class."""


class ProbabilityMetric(evaluate.Metric, ABC):
    """Base of the metrics here: `predictions` are (n, C) probabilities, `references` (n,) indices into `labels`.

    Args:
        labels: the C class names in the order of the columns.
    """

    summary: ClassVar[str]

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.summary,
            citation="",
            inputs_description="predictions: (n, C) probabilities; references: (n,) class indices",
            features=Features({"predictions": List(Value("float64")), "references": Value("int64")}),
        )

    def _compute(self, *, predictions: Any = None, references: Any = None, **_: Any) -> dict[str, Any]:
        p, y = checked(predictions, references, self.labels)
        for message in undefined(p, y, self.labels):
            warnings.warn(message, UndefinedMetricWarning, stacklevel=2)
        return self.score(p, y)

    @abstractmethod
    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        """The metric of (n, C) float64 probabilities and (n,) int64 references, both already checked."""


class Accuracy(ProbabilityMetric):
    summary = "Share of pictures whose most probable class is the reference."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        return {"accuracy": float(sk.accuracy_score(y, p.argmax(axis=1)))}


class BalancedAccuracy(ProbabilityMetric):
    summary = "Mean recall over the classes that occur in the references."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        recall = sk.recall_score(y, p.argmax(axis=1), labels=np.unique(y), average="macro")
        return {"balanced_accuracy": float(recall)}


class MacroF1(ProbabilityMetric):
    summary = "Mean F1 over the classes that occur in the references."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        return {"macro_f1": float(sk.f1_score(y, p.argmax(axis=1), labels=np.unique(y), average="macro"))}


class PerClass(ProbabilityMetric):
    summary = "Precision, recall, F1 and number of references of each class; null where undefined."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        columns = sk.precision_recall_fscore_support(
            y, p.argmax(axis=1), labels=range(len(self.labels)), zero_division=np.nan
        )
        rows = {}
        for name, precision, recall, f1, support in zip(self.labels, *columns, strict=True):
            # Without references F1 would be a 0 that says nothing about the model.
            values = (precision, recall, f1) if support else (np.nan,) * 3
            rows[name] = {
                **dict(zip(("precision", "recall", "f1"), map(_or_none, values), strict=True)),
                "support": int(support),
            }
        return {"per_class": rows}


class RocAuc(ProbabilityMetric):
    summary = "Area under the ROC curve, each class against the rest, and its mean over the classes that occur."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        values: dict[str, float | None] = dict.fromkeys(self.labels)
        for c in np.unique(y):
            if (y != c).any():
                values[self.labels[c]] = float(sk.roc_auc_score(y == c, p[:, c]))
        defined = [value for value in values.values() if value is not None]
        return {"roc_auc_ovr": values, "roc_auc_ovr_macro": float(np.mean(defined)) if defined else None}


class ConfusionMatrix(ProbabilityMetric):
    summary = "Counts, one row per reference and one column per predicted class, in the order of the labels."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        matrix = sk.confusion_matrix(y, p.argmax(axis=1), labels=range(len(self.labels)))
        return {"confusion_matrix": matrix.tolist()}


class NegativeLogLikelihood(ProbabilityMetric):
    summary = "Mean of minus the natural logarithm of the probability given to the reference (nats)."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        return {"nll": float(sk.log_loss(y, p, labels=range(len(self.labels))))}


class Brier(ProbabilityMetric):
    summary = "Mean squared distance between the probabilities and the one-hot reference, summed over classes (0-2)."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        score = sk.brier_score_loss(y, p, labels=range(len(self.labels)), scale_by_half=False)
        return {"brier": float(score)}


class ExpectedCalibrationError(ProbabilityMetric):
    summary = f"Mean gap between confidence and accuracy over {ECE_BINS} equal-width bins (Guo et al. 2017, eq. 3)."

    def score(self, p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        gaps = p.max(axis=1) - (p.argmax(axis=1) == y)
        return {"ece": float(np.abs(np.bincount(confidence_bins(p), weights=gaps)).sum() / len(y))}


CORE = (Accuracy, BalancedAccuracy, MacroF1)
TRAINING_METRICS = (*CORE, NegativeLogLikelihood)
METRICS = (*TRAINING_METRICS, PerClass, RocAuc, ConfusionMatrix, Brier, ExpectedCalibrationError)


def compute(
    probabilities: np.ndarray,
    references: np.ndarray,
    labels: Sequence[str],
    metrics: Sequence[type[ProbabilityMetric]] = METRICS,
) -> tuple[dict[str, Any], list[str]]:
    """Every metric at once.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1, columns in the order of `labels`.
        references: (n,) integers, indices into `labels`.
        labels: the C class names.
        metrics: which metrics.

    Returns:
        The metrics as JSON-ready values, None where one is undefined, and a message for each thing left out.

    Raises:
        MetricError: if the input is empty, of another shape, holds NaN, or rows are not distributions.
    """
    p, y = checked(probabilities, references, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # the caller gets the same messages, once
        values = evaluate.combine([metric(labels) for metric in metrics]).compute(predictions=p, references=y)
    return values, undefined(p, y, labels)


def training_metrics(logits: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """What is cheap enough for every evaluation of a training run: accuracy, balanced_accuracy, macro_f1, nll.

    Args:
        logits: (n, C) of one head.
        references: (n,) integers, columns of `logits`.

    Raises:
        MetricError: as `compute`.
    """
    return compute(softmax(logits), references, [str(c) for c in range(logits.shape[1])], TRAINING_METRICS)[0]


def softmax(logits: np.ndarray) -> np.ndarray:
    """float64 probabilities of (..., C) logits."""
    shifted = np.asarray(logits, np.float64)
    exponentials = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def vote_cross_entropy(probabilities: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """(n,) cross-entropy (nats) of (n, C) probabilities to the distributions that (n, C) vote counts make."""
    distribution = votes / votes.sum(axis=1, keepdims=True)
    logarithms = np.log(np.clip(probabilities, np.finfo(np.float64).tiny, None))
    return -(distribution * logarithms).sum(axis=1)


def vote_entropy(votes: np.ndarray) -> float:
    """Mean entropy (nats) of the distributions that (n, C) vote counts make: no cross-entropy to them is lower."""
    from scipy.stats import entropy

    return float(entropy(votes, axis=1).mean())


def checked(probabilities: Any, references: Any, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The input as float64 rows that sum to exactly 1 and int64 indices, or `MetricError`."""
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
    """What the metrics of these checked arrays leave out, in words; empty when nothing."""
    support, chosen = (np.bincount(index, minlength=len(labels)) for index in (y, p.argmax(axis=1)))
    messages = []
    if absent := [name for name, count in zip(labels, support, strict=True) if not count]:
        messages.append(f"no images of {', '.join(absent)}: left out of every per-class metric and mean")
    if never := [name for name, s, c in zip(labels, support, chosen, strict=True) if s and not c]:
        messages.append(f"{', '.join(never)} never predicted: precision is undefined there")
    if np.count_nonzero(support) == 1:
        messages.append("only one class occurs: ROC-AUC is undefined")
    return messages


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def confidence_bins(p: np.ndarray) -> np.ndarray:
    """(n,) index of the equal-width bin (low, high] that holds the top probability."""
    return np.clip(np.ceil(p.max(axis=1) * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
