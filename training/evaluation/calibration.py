"""Calibration, fitted on `validation`: none, one temperature or vector scaling, chosen by cross-fitting.

Vector scaling divides each class's logit by a temperature of its own and shifts it by a bias (Guo et al. 2017, section
4.2, https://arxiv.org/abs/1706.04599). Both fold into a linear classifier, see `training.network.surgery`, as does the
logit adjustment that may follow, for the sake of rare classes (Menon et al. 2021, https://arxiv.org/abs/2007.07314).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from training.evaluation.metrics import compute, vote_cross_entropy
from training.evaluation.results import Calibration, CalibrationMethod, CalibrationMetrics

METRICS = ("accuracy", "balanced_accuracy", "nll", "brier", "ece")
LOG_LIMITS = (-3.0, 3.0)  # of the logarithm of a scale, so of a temperature from 0.05 to 20
L2_PENALTY = 1e-3  # nats: shrinks the scaling of a class with few images towards that of the others
CROSS_FIT_REPEATS = 5  # random halvings, averaged, so that no single one decides a metric
METHODS: dict[CalibrationMethod, str] = {
    "none": "none",
    "temperature": "one temperature for all classes",
    "vector": "a temperature and a bias for each class",
}


@dataclass(frozen=True)
class Scaling:
    """Calibration of logits: logits / temperature + bias.

    Attributes:
        temperature: (C,) above 0; above 1 lowers the confidence in a class.
        bias: (C,).
    """

    temperature: np.ndarray
    bias: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Return (..., C) calibrated logits of (..., C) logits."""
        return logits / self.temperature + self.bias

    def undo(self, logits: np.ndarray) -> np.ndarray:
        """Return (..., C) logits as they were before."""
        return (logits - self.bias) * self.temperature

    @property
    def is_identity(self) -> bool:
        """Whether it leaves logits as they are."""
        return bool((self.temperature == 1).all() and (self.bias == 0).all())


def fit_scaling(logits: np.ndarray, references: np.ndarray) -> Scaling:
    """Fit the temperatures and biases with the lowest L2-penalized negative log-likelihood.

    Args:
        logits: (n, C).
        references: (n,) integers.
    """
    logits = np.asarray(logits, np.float64)
    n, classes = logits.shape
    hot = np.eye(classes)[references]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias = np.exp(parameters[:classes]), parameters[classes:]
        log_p = log_softmax(logits * scale + bias, axis=1)  # its logarithm is finite where a probability is 0
        uneven = parameters[:classes] - parameters[:classes].mean()
        value = -log_p[np.arange(n), references].mean() + L2_PENALTY * ((uneven**2).sum() + (bias**2).sum())
        slope = (np.exp(log_p) - hot) / n
        slopes = (
            (slope * logits * scale).sum(axis=0) + 2 * L2_PENALTY * uneven,
            slope.sum(axis=0) + 2 * L2_PENALTY * bias,
        )
        return value, np.concatenate(slopes)

    bounds = [LOG_LIMITS] * classes + [(None, None)] * classes  # a few images may be fitted by ever larger scales
    found = minimize(loss, np.zeros(2 * classes), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Scaling(np.exp(-found[:classes]), found[classes:])


def fit_temperature(logits: np.ndarray, references: np.ndarray) -> Scaling:
    """Fit one temperature for all classes and no bias, the baseline that vector scaling has to beat."""
    logits, rows = np.asarray(logits, np.float64), np.arange(len(references))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, references].mean()

    temperature = np.exp(minimize_scalar(loss, bounds=LOG_LIMITS, method="bounded").x)
    return Scaling(np.full(logits.shape[1], temperature), np.zeros(logits.shape[1]))


def adjust(scaling: Scaling, logits: np.ndarray, share: float) -> Scaling:
    """Favor rare classes: subtract a share of the log of each class's frequency from its calibrated logit.

    The frequency of a class is the mean of its calibrated probability, at least that of one image.

    Args:
        scaling: calibrates the logits.
        logits: (n, C), not yet calibrated.
        share: 0-1; 0 changes nothing, 1 aims at the highest balanced accuracy.
    """
    frequency = softmax(scaling(logits), axis=1).mean(axis=0)
    shift = -share * np.log(np.maximum(frequency, 1 / len(logits)))
    return Scaling(scaling.temperature, scaling.bias + shift)


def no_scaling(logits: np.ndarray, references: np.ndarray) -> Scaling:
    """Return the scaling that leaves logits as they are."""
    return Scaling(np.ones(logits.shape[1]), np.zeros(logits.shape[1]))


Fit = Callable[[np.ndarray, np.ndarray], Scaling]  # of (n, C) logits and (n,) references
FITS: dict[CalibrationMethod, Fit] = {"none": no_scaling, "temperature": fit_temperature, "vector": fit_scaling}


def calibrate(
    logits: np.ndarray,
    references: np.ndarray,
    labels: Sequence[str],
    votes: np.ndarray | None = None,
    *,
    split: str,
    head: str,
    logit_adjustment: float = 0.0,
) -> tuple[Scaling, Calibration]:
    """Choose a method of calibration by cross-fitting, and fit it on all images.

    The method with the lowest cross-fitted negative log-likelihood is used, the simplest of equals: each random half
    is scored with the scaling that the other half gave, and averaged over `CROSS_FIT_REPEATS` halvings.

    Args:
        logits: (n, C).
        references: (n,) integers.
        labels: the C names.
        votes: (n, C) counts of FER+ votes, where the references are their majority.
        split: recorded in the result.
        head: recorded in the result.
        logit_adjustment: share for `adjust`, which follows the chosen method.

    Returns:
        The scaling, fitted on all images and adjusted, and the metrics of every method.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """

    def measured(scaled: np.ndarray) -> dict[str, float]:
        p = softmax(scaled, axis=1)
        values = compute(p, references, labels, METRICS)[0]
        return values | ({} if votes is None else {"vote_cross_entropy": vote_cross_entropy(p, votes).mean()})

    def averaged(fit: Fit) -> dict[str, float]:
        return mean_of([measured(scaled) for scaled in cross_fitted(fit, logits, references)])

    logits = np.asarray(logits, np.float64)
    values: dict[CalibrationMethod, dict[str, float]] = {"none": measured(logits)}  # refuses what cannot be fitted
    values |= {"temperature": averaged(fit_temperature), "vector": averaged(fit_scaling)}
    method = min(values, key=lambda name: values[name]["nll"])  # the first of equals
    calibrated = FITS[method](logits, references)
    scaling = adjust(calibrated, logits, logit_adjustment)
    adjusted = averaged(adjusted_fit(method, logit_adjustment)) if logit_adjustment else None
    return scaling, Calibration(
        split=split,
        head=head,
        method=method,
        temperature=dict(zip(labels, scaling.temperature.tolist(), strict=True)),
        bias=dict(zip(labels, scaling.bias.tolist(), strict=True)),
        images=len(references),
        before=CalibrationMetrics(**values["none"]),
        one_temperature=CalibrationMetrics(**values["temperature"]),
        after=CalibrationMetrics(**values["vector"]),
        logit_adjustment=logit_adjustment,
        shift=dict(zip(labels, (scaling.bias - calibrated.bias).tolist(), strict=True)) if adjusted else {},
        adjusted=CalibrationMetrics(**adjusted) if adjusted else None,
    )


def adjusted_fit(method: CalibrationMethod, share: float) -> Fit:
    """Return what fits a method of calibration and adjusts it, both on the same images."""
    return lambda logits, references: adjust(FITS[method](logits, references), logits, share)


def mean_of(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average metrics by name."""
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}


def cross_fitted(fit: Fit, logits: np.ndarray, references: np.ndarray) -> Iterator[np.ndarray]:
    """Yield calibrated logits, once for each random halving: each half scaled as fitted on the other.

    Args:
        fit: what fits a scaling.
        logits: (n, C), or (views, n, C), of which the first is fitted and all are scaled.
        references: (n,) integers.
    """
    rng, first = np.random.default_rng(0), logits.reshape(-1, *logits.shape[-2:])[0]
    for _ in range(CROSS_FIT_REPEATS):
        order = rng.permutation(len(references))
        scaled = logits.copy()
        for fitted, scored in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            scaled[..., scored, :] = fit(first[fitted], references[fitted])(logits[..., scored, :])
        yield scaled


def format_calibration(calibration: Calibration) -> str:
    """Say for a terminal which method was chosen, and why."""
    rows = ", ".join(f"{METHODS[name]} {metrics.nll:.4f}" for name, metrics in calibration.by_method.items())
    chosen = METHODS[calibration.method]
    text = f"calibration on {calibration.split}: {chosen}, of the lowest cross-fitted negative log-likelihood ({rows})"
    if calibration.adjusted is None:
        return text
    before, after = calibration.chosen, calibration.adjusted
    return (
        f"{text}\nlogit adjustment {calibration.logit_adjustment:g}, cross-fitted: accuracy {before.accuracy:.4f} -> "
        f"{after.accuracy:.4f}, balanced accuracy {before.balanced_accuracy:.4f} -> {after.balanced_accuracy:.4f}"
    )
