"""Probabilities that can be believed: fitted on `validation`, measured on pictures that the fit did not see.

Each class's logit is divided by a temperature of its own and shifted by a bias. That is the vector scaling of Guo et
al. 2017, section 4.2, https://arxiv.org/abs/1706.04599; both fold into a linear classifier (`network.surgery`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation.metrics import (
    Accuracy,
    BalancedAccuracy,
    Brier,
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    compute,
    softmax,
    vote_cross_entropy,
)
from training.evaluation.results import Calibration, CalibrationMetrics

METRICS = (Accuracy, BalancedAccuracy, NegativeLogLikelihood, Brier, ExpectedCalibrationError)
RIDGE = 1e-3  # nats: draws a class of few pictures towards what the others want
HALVINGS = 5  # random ones, so that the luck of one does not decide a figure


@dataclass(frozen=True)
class Scaling:
    """What turns logits into calibrated ones: logits / temperature + bias.

    Attributes:
        temperature: (C,) above 0; above 1 makes a class less sure.
        bias: (C,).
    """

    temperature: np.ndarray
    bias: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """(..., C) calibrated logits of (..., C) logits."""
        return logits / self.temperature + self.bias

    def undo(self, logits: np.ndarray) -> np.ndarray:
        """(..., C) logits as they were before."""
        return (logits - self.bias) * self.temperature


def fit_scaling(logits: np.ndarray, references: np.ndarray) -> Scaling:
    """The temperatures and biases with the least negative log-likelihood, with a small ridge.

    Args:
        logits: (n, C).
        references: (n,) integers.
    """
    from scipy.optimize import minimize

    logits = np.asarray(logits, np.float64)
    n, classes = logits.shape
    hot = np.eye(classes)[references]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias = np.exp(parameters[:classes]), parameters[classes:]
        p = softmax(logits * scale + bias)
        uneven = parameters[:classes] - parameters[:classes].mean()
        value = -np.log((p * hot).sum(axis=1)).mean() + RIDGE * ((uneven**2).sum() + (bias**2).sum())
        slope = (p - hot) / n
        slopes = (slope * logits * scale).sum(axis=0) + 2 * RIDGE * uneven, slope.sum(axis=0) + 2 * RIDGE * bias
        return value, np.concatenate(slopes)

    found = minimize(loss, np.zeros(2 * classes), jac=True, method="L-BFGS-B").x
    return Scaling(np.exp(-found[:classes]), found[classes:])


def fit_temperature(logits: np.ndarray, references: np.ndarray) -> Scaling:
    """The same with one temperature for all classes and no bias: what the rest is worth is measured against it."""
    from scipy.optimize import minimize_scalar

    logits, rows = np.asarray(logits, np.float64), np.arange(len(references))

    def loss(log_temperature: float) -> float:
        return -np.log(softmax(logits / np.exp(log_temperature))[rows, references]).mean()

    temperature = np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x)
    return Scaling(np.full(logits.shape[1], temperature), np.zeros(logits.shape[1]))


def calibrate(
    logits: np.ndarray,
    references: np.ndarray,
    labels: Sequence[str],
    votes: np.ndarray | None = None,
    *,
    split: str,
    head: str,
) -> tuple[Scaling, Calibration]:
    """Fit on all pictures, and measure honestly what fitting buys.

    The figures "after" are cross-fitted: each random half is scored with what the other half gave, and the means over
    `HALVINGS` halvings are reported.

    Args:
        logits: (n, C).
        references: (n,) integers.
        labels: the C names.
        votes: (n, C) counts of FER+ votes, where the references are their majority.
        split: recorded in the result.
        head: recorded in the result.

    Returns:
        The scaling, fitted on all images, and what it changes.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """

    def measured(scaled: np.ndarray) -> dict[str, float]:
        p = softmax(scaled)
        values = compute(p, references, labels, METRICS)[0]
        return values | ({} if votes is None else {"vote_cross_entropy": vote_cross_entropy(p, votes).mean()})

    def cross_fitted(fit: Callable[[np.ndarray, np.ndarray], Scaling]) -> dict[str, float]:
        rng, runs = np.random.default_rng(0), []
        for _ in range(HALVINGS):
            order = rng.permutation(len(references))
            scaled = np.array(logits, np.float64)
            for fitted, scored in ((order[::2], order[1::2]), (order[1::2], order[::2])):
                scaled[scored] = fit(logits[fitted], references[fitted])(scaled[scored])
            runs.append(measured(scaled))
        return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}

    before = measured(logits)  # first, since it refuses what cannot be fitted
    scaling = fit_scaling(logits, references)
    return scaling, Calibration(
        split=split,
        head=head,
        temperature=dict(zip(labels, scaling.temperature.tolist(), strict=True)),
        bias=dict(zip(labels, scaling.bias.tolist(), strict=True)),
        images=len(references),
        before=CalibrationMetrics(**before),
        one_temperature=CalibrationMetrics(**cross_fitted(fit_temperature)),
        after=CalibrationMetrics(**cross_fitted(fit_scaling)),
    )
