"""Bootstrap confidence intervals (Efron 1979), and the bias of the expected calibration error.

Images are drawn with replacement, or whole people with all their images where the dataset names them, since images of
one person resemble each other. Intervals are 95 % percentile intervals.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from training.evaluation.metrics import (
    HEADLINE,
    checked,
    confidence_bins,
    core_metrics,
    expected_calibration_error,
    vote_cross_entropy,
)
from training.evaluation.results import Interval, Intervals

RESAMPLES = 1000


def bootstrap_intervals(
    probabilities: np.ndarray,
    references: np.ndarray,
    labels: Sequence[str],
    votes: np.ndarray | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Intervals:
    """Estimate the intervals of the headline metrics over images; None where a metric is undefined.

    The interval of `ece` is moved by the bias that resampling adds to it, see `ece_biases`.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1.
        references: (n,) integers.
        labels: the C class names.
        votes: (n, C) counts of FER+ votes, for the interval of the cross-entropy to them.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """
    p, y = checked(probabilities, references, labels)
    extra = {} if votes is None else {"vote_cross_entropy": vote_cross_entropy(p, votes)}
    draws = headline_draws(p, y, extra, np.random.default_rng(seed), resamples)
    found = {name: interval_of(values) for name, values in draws.items()}
    shift = expected_calibration_error(p, y) - draws["ece"].mean()
    low, high = np.percentile(draws["ece"], (2.5, 97.5)) + shift
    return Intervals(**found | {"ece": (max(float(low), 0), max(float(high), 0))})


def paired_intervals(
    probabilities: Sequence[np.ndarray], references: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Interval | None]]:
    """Estimate the intervals of the differences between the first model's headline metrics and each other's.

    All models are measured on the same resamples, so the interval is of the difference itself: narrower than two
    intervals side by side suggest, since models err on the same images. That of `ece` is moved as in
    `bootstrap_intervals`.

    Args:
        probabilities: (n, C) floats in 0-1 of each model on the same images, rows sum to 1.
        references: (n,) integers.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        For each model but the first, the 95 % interval of its metric minus the first's, by name; None where undefined.
    """
    draws = [headline_draws(p, references, {}, np.random.default_rng(seed), resamples) for p in probabilities]
    ece = [expected_calibration_error(p, references) for p in probabilities]
    found = []
    for index in range(1, len(draws)):
        differences = {name: draws[index][name] - draws[0][name] for name in HEADLINE}
        differences["ece"] += ece[index] - ece[0] - differences["ece"].mean()
        found.append({name: interval_of(values) for name, values in differences.items()})
    return found


def core_draws(
    p: np.ndarray, y: np.ndarray, units: np.ndarray, rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, np.ndarray]:
    """Draw accuracy, balanced accuracy and macro F1 of resampled units.

    Args:
        p, y: checked, (n, C) and (n,).
        units: (n,) integers, equal for images that belong to one person; `np.arange(n)` to resample images.
        rng: for the draws.
        resamples: their number.

    Returns:
        (resamples,) by name; NaN where a metric is undefined.
    """
    classes = p.shape[1]
    cells = y * classes + p.argmax(axis=1)
    index = np.unique(units, return_inverse=True)[1]
    confusions = np.empty((resamples, classes, classes))
    for confusion in confusions:
        weights = _weights(index, rng)
        confusion[:] = np.bincount(cells, weights=weights, minlength=classes**2).reshape(classes, classes)
    return core_metrics(confusions)


def headline_draws(
    p: np.ndarray,
    y: np.ndarray,
    extra: dict[str, np.ndarray],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> dict[str, np.ndarray]:
    """Draw the headline metrics of resampled images.

    Args:
        p, y: checked, (n, C) and (n,).
        extra: further metrics that are means over images, (n,) values by name.
        rng: for the draws.
        resamples: their number.

    Returns:
        (resamples,) by name, those of `HEADLINE` first; NaN where a metric is undefined.
    """
    n, classes = p.shape
    predicted = p.argmax(axis=1)
    cells = y * classes + predicted
    means = {
        "nll": -np.log(np.clip(p[np.arange(n), y], np.finfo(p.dtype).eps, None)),
        "brier": ((p - np.eye(classes)[y]) ** 2).sum(axis=1),
        **extra,
    }
    values = np.stack(list(means.values()))
    bins, gaps = confidence_bins(p), p.max(axis=1) - (predicted == y)
    ranks = [_tied_ranks(p[:, c]) for c in range(classes)]

    confusions = np.empty((resamples, classes, classes))
    areas, averages, ece = np.empty((resamples, classes)), np.empty((resamples, len(means))), np.empty(resamples)
    for draw in range(resamples):
        weights = _weights(np.arange(n), rng)
        confusions[draw] = np.bincount(cells, weights=weights, minlength=classes**2).reshape(classes, classes)
        areas[draw] = [_weighted_auc(*ranks[c], weights, y == c) for c in range(classes)]
        averages[draw] = values @ weights / n
        ece[draw] = np.abs(np.bincount(bins, weights=weights * gaps)).sum() / n
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no defined area is NaN
        auc = np.nanmean(areas, axis=1)
    found = core_metrics(confusions) | {"roc_auc_ovr_macro": auc, "ece": ece}
    found |= dict(zip(means, averages.T, strict=True))
    return {name: found[name] for name in (*HEADLINE, *extra)}


def interval_of(draws: np.ndarray) -> Interval | None:
    """Return the 95 % percentile interval of (n,) draws, leaving out NaN; None where all are."""
    if np.isnan(draws).all():
        return None
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return float(low), float(high)


def ece_biases(probabilities: np.ndarray, references: np.ndarray, draws: int = RESAMPLES) -> dict[str, float]:
    """Estimate how much of an expected calibration error is there without any miscalibration.

    A mean of absolute gaps is above 0 on any finite number of images, and drawing them with replacement widens the
    gaps once more (Roelofs et al. 2022, https://arxiv.org/abs/2012.08668).

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1.
        references: (n,) integers.
        draws: of both simulations.

    Returns:
        `ece_by_chance` and `ece_bootstrap_bias`, see `training.evaluation.results.Metrics`.
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


def _weights(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw as many units as there are, with replacement; return (n,) how often each image is among them."""
    count = int(units.max()) + 1
    return np.bincount(rng.integers(count, size=count), minlength=count)[units].astype(np.float64)


def _tied_ranks(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that sorts the scores, and where each group of equal ones starts in it."""
    order = np.argsort(scores, kind="stable")
    return order, np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])


def _weighted_auc(order: np.ndarray, starts: np.ndarray, weights: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve of weighted images, ties counted half (Mann-Whitney U); NaN if undefined."""
    ordered, positive = weights[order], positive[order]
    ups = np.add.reduceat(ordered * positive, starts)
    downs = np.add.reduceat(ordered * ~positive, starts)
    pairs = ups.sum() * downs.sum()
    return float((ups * (np.cumsum(downs) - downs / 2)).sum() / pairs) if pairs else np.nan
