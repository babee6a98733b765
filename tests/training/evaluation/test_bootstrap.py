import numpy as np
import pytest
from sklearn import metrics as sk

from training.evaluation.bootstrap import _tied_ranks, _weighted_auc, bootstrap_intervals, bootstrap_mean, ece_biases
from training.evaluation.metrics import HEADLINE, ExpectedCalibrationError, compute, softmax

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """400 probabilities that lean towards their references."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=400)
    return softmax(rng.normal(size=(400, 3)) + 1.2 * np.eye(3)[y]), y


def test_bootstrap_intervals(sample):
    p, y = sample
    values, _ = compute(p, y, LABELS)
    intervals = bootstrap_intervals(p, y, LABELS)
    assert list(intervals) == list(HEADLINE)
    for name, (low, high) in intervals.items():
        assert low < values[name] < high, name
    low, high = intervals["accuracy"]
    standard_error = np.sqrt(values["accuracy"] * (1 - values["accuracy"]) / len(y))
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)
    assert intervals == bootstrap_intervals(p, y, LABELS)


def test_mean_of_pictures_has_the_interval_of_its_standard_error():
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = bootstrap_mean(values)
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 * 0.1, rel=0.15)


def test_calibration_error_by_chance_is_that_of_a_calibrated_model():
    rng = np.random.default_rng(2)
    p = softmax(1.5 * rng.normal(size=(1000, 3)))
    drawn = [(rng.random(1000)[:, None] > p.cumsum(axis=1)).sum(axis=1) for _ in range(50)]  # references as p says
    errors = [ExpectedCalibrationError(LABELS).score(p, y)["ece"] for y in drawn]
    biases = ece_biases(p, drawn[0])
    assert biases["ece_by_chance"] == pytest.approx(np.mean(errors), rel=0.1)
    assert 0 < biases["ece_bootstrap_bias"] < biases["ece_by_chance"]
    sure = 0.97 * np.eye(3)[p.argmax(axis=1)] + 0.01  # an error far from 0, which resampling can lower as well
    assert abs(ece_biases(sure, drawn[0])["ece_bootstrap_bias"]) < 0.001


def test_weighted_auc_agrees_with_scikit_learn_on_ties():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(8, size=200) / 8, rng.random(200) < 0.4
    weights = rng.integers(4, size=200).astype(float)
    expected = sk.roc_auc_score(positive, scores, sample_weight=weights)
    assert _weighted_auc(*_tied_ranks(scores), weights, positive) == pytest.approx(expected)


def test_one_picture_has_no_interval_where_the_metric_is_undefined():
    intervals = bootstrap_intervals(np.array([[0.7, 0.2, 0.1]]), np.array([0]), LABELS)
    assert intervals["roc_auc_ovr_macro"] is None and intervals["accuracy"] == [1, 1]
