"""How far a metric would move had other pictures been drawn, and what an expected calibration error is by chance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from training.evaluation.metrics import HEADLINE, checked, confidence_bins
from training.evaluation.results import Interval


def bootstrap_intervals(
    probabilities: np.ndarray, references: np.ndarray, labels: Sequence[str], resamples: int = 1000, seed: int = 0
) -> dict[str, Interval | None]:
    """95 % percentile intervals of the headline metrics, from resampling pictures with replacement (Efron 1979).

    Those of `ece` are moved by what resampling itself adds to it, see `ece_biases`.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1.
        references: (n,) integers.
        labels: the C class names.
        resamples: how many times the pictures are drawn.
        seed: of the draws.

    Returns:
        (low, high) for each name in `HEADLINE`, None where the metric is undefined.
    """
    p, y = checked(probabilities, references, labels)
    n, classes = p.shape
    predicted = p.argmax(axis=1)
    pair = y * classes + predicted  # cell of the confusion matrix
    log_loss = -np.log(np.clip(p[np.arange(n), y], np.finfo(p.dtype).eps, None))
    brier = ((p - np.eye(classes)[y]) ** 2).sum(axis=1)
    bins, gaps = confidence_bins(p), p.max(axis=1) - (predicted == y)
    ranks = [_tied_ranks(p[:, c]) for c in range(classes)]

    rng = np.random.default_rng(seed)
    draws = np.empty((resamples, len(HEADLINE)))
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nanmean of nothing: undefined, and said so by None
        for draw in draws:
            weights = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
            confusion = np.bincount(pair, weights=weights, minlength=classes**2).reshape(classes, classes)
            hits, support, chosen = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
            recall = hits / support
            f1 = np.where(support > 0, 2 * hits / (support + chosen), np.nan)
            auc = [_weighted_auc(*ranks[c], weights, y == c) for c in range(classes)]
            ece = np.abs(np.bincount(bins, weights=weights * gaps)).sum() / n
            draw[:] = (
                *(hits.sum() / n, np.nanmean(recall), np.nanmean(f1), np.nanmean(auc)),
                *(weights @ log_loss / n, weights @ brier / n, ece),
            )
        bounds = np.nanpercentile(draws, (2.5, 97.5), axis=0)
    last = HEADLINE.index("ece")
    bounds[:, last] = np.maximum(
        bounds[:, last] - draws[:, last].mean() + np.abs(np.bincount(bins, gaps)).sum() / n, 0
    )
    return {
        name: None if np.isnan(low) else (float(low), float(high))
        for name, low, high in zip(HEADLINE, *bounds, strict=True)
    }


def bootstrap_mean(values: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """95 % percentile interval of the mean of (n,) values, each of a picture."""
    rows = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[rows].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def ece_biases(probabilities: np.ndarray, references: np.ndarray, draws: int = 1000) -> dict[str, float]:
    """How much of an expected calibration error is there without any miscalibration.

    A mean of absolute gaps is above 0 on any finite number of pictures, and drawing them with replacement widens the
    gaps once more (Roelofs et al. 2022, https://arxiv.org/abs/2012.08668).

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1.
        references: (n,) integers.
        draws: of both simulations.

    Returns:
        `ece_by_chance`, the mean error of a perfectly calibrated model that is as sure on as many pictures, and
        `ece_bootstrap_bias`, by how much the mean of the bootstrap exceeds the error itself.
    """
    rng, n = np.random.default_rng(0), len(references)
    confidence, bins = probabilities.max(axis=1), confidence_bins(probabilities)
    gaps = confidence - (probabilities.argmax(axis=1) == references)

    def ece(of: np.ndarray, values: np.ndarray) -> float:
        return np.abs(np.bincount(of, weights=values)).sum() / n

    chance, drawn = np.empty(draws), np.empty(draws)
    for draw in range(draws):
        chance[draw] = ece(bins, confidence - (rng.random(n) < confidence))
        rows = rng.integers(n, size=n)
        drawn[draw] = ece(bins[rows], gaps[rows])
    return {"ece_by_chance": float(chance.mean()), "ece_bootstrap_bias": float(drawn.mean() - ece(bins, gaps))}


def _tied_ranks(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts the scores, and where each group of equal ones starts in it."""
    order = np.argsort(scores, kind="stable")
    return order, np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])


def _weighted_auc(order: np.ndarray, starts: np.ndarray, weights: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of weighted pictures, ties counted half (Mann-Whitney U); NaN where undefined."""
    ordered, positive = weights[order], positive[order]
    ups = np.add.reduceat(ordered * positive, starts)
    downs = np.add.reduceat(ordered * ~positive, starts)
    return (ups * (np.cumsum(downs) - downs / 2)).sum() / (ups.sum() * downs.sum())
