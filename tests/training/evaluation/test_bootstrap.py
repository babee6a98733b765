import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk

from training.evaluation.bootstrap import (
    _tied_ranks,
    _weighted_auc,
    bootstrap_intervals,
    core_draws,
    ece_biases,
    headline_draws,
    interval_of,
    paired_intervals,
)
from training.evaluation.metrics import CORE, HEADLINE, compute, expected_calibration_error, vote_cross_entropy

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """400 probabilities that lean towards their references."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=400)
    return softmax(rng.normal(size=(400, 3)) + 1.2 * np.eye(3)[y], axis=1), y


def test_intervals_hold_the_metrics(sample):
    p, y = sample
    values, _ = compute(p, y, LABELS)
    intervals = bootstrap_intervals(p, y, LABELS)
    for name in HEADLINE:
        low, high = getattr(intervals, name)
        assert low < values[name] < high, name
    low, high = intervals.accuracy
    standard_error = np.sqrt(values["accuracy"] * (1 - values["accuracy"]) / len(y))
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)
    assert intervals == bootstrap_intervals(p, y, LABELS)
    assert intervals.vote_cross_entropy is None


def test_paired_intervals_are_of_the_difference(sample):
    """Models that err on the same images differ by less than their own intervals suggest."""
    p, y = sample
    other = softmax(np.log(p) + np.random.default_rng(3).normal(scale=0.2, size=p.shape), axis=1)
    same, found = paired_intervals([p, p, other], y)
    assert all(interval == (0, 0) for interval in same.values()) and list(found) == list(HEADLINE)
    alone = bootstrap_intervals(p, y, LABELS)
    values, first = compute(other, y, LABELS)[0], compute(p, y, LABELS)[0]
    for name, (low, high) in found.items():
        assert low < values[name] - first[name] < high, name
        assert high - low < 0.7 * np.diff(getattr(alone, name))[0] or name == "ece"
    losses = np.log(p[np.arange(400), y]) - np.log(other[np.arange(400), y])
    low, high = found["nll"]
    assert (low + high) / 2 == pytest.approx(losses.mean(), abs=0.2 * (high - low))
    assert high - low == pytest.approx(2 * 1.96 * losses.std() / np.sqrt(400), rel=0.15)


def test_means_have_their_standard_error(sample):
    p, y = sample
    votes = np.random.default_rng(4).integers(1, 5, size=p.shape)
    intervals = bootstrap_intervals(p, y, LABELS, votes)
    losses = {
        "nll": -np.log(p[np.arange(400), y]),
        "brier": ((p - np.eye(3)[y]) ** 2).sum(axis=1),
        "vote_cross_entropy": vote_cross_entropy(p, votes),
    }
    for name, loss in losses.items():
        low, high = getattr(intervals, name)
        assert (low + high) / 2 == pytest.approx(loss.mean(), abs=0.2 * (high - low))
        assert high - low == pytest.approx(2 * 1.96 * loss.std() / np.sqrt(400), rel=0.15), name


def test_draws_are_the_metrics_of_resampled_images(sample):
    p, y = sample
    draws = headline_draws(p, y, {}, np.random.default_rng(7), resamples=3)
    core = core_draws(p, y, np.arange(len(y)), np.random.default_rng(7), resamples=3)
    rng = np.random.default_rng(7)
    for draw in range(3):
        rows = rng.integers(len(y), size=len(y))
        values, _ = compute(p[rows], y[rows], LABELS)
        for name in HEADLINE:
            assert draws[name][draw] == pytest.approx(values[name]), name
        for name in CORE:
            assert core[name][draw] == pytest.approx(values[name]), name


def test_draws_of_people_take_all_their_images(sample):
    p, y = sample[0][:60], sample[1][:60]
    people = np.repeat([5, 3, 9], (10, 20, 30))  # of unequal size, in no order
    draws = core_draws(p, y, people, np.random.default_rng(7), resamples=4)
    rng = np.random.default_rng(7)
    for draw in range(4):
        drawn = np.array([3, 5, 9])[rng.integers(3, size=3)]
        rows = np.concatenate([np.flatnonzero(people == person) for person in drawn])
        values, _ = compute(p[rows], y[rows], LABELS, CORE)
        for name in CORE:
            assert draws[name][draw] == pytest.approx(values[name]), name


def test_interval_is_the_middle_95_percent():
    assert interval_of(np.arange(1001.0)) == pytest.approx((25, 975))
    assert interval_of(np.r_[np.nan, np.arange(1001.0)]) == pytest.approx((25, 975))
    assert interval_of(np.full(3, np.nan)) is None


def test_interval_of_ece_is_moved_by_its_bias(sample):
    p, y = sample
    draws = headline_draws(p, y, {}, np.random.default_rng(0))["ece"]
    low, high = np.percentile(draws, (2.5, 97.5))
    bias = draws.mean() - expected_calibration_error(p, y)
    assert bias > 0
    assert bootstrap_intervals(p, y, LABELS).ece == pytest.approx((max(low - bias, 0), high - bias))
    assert ece_biases(p, y)["ece_bootstrap_bias"] == pytest.approx(bias, rel=0.15)


def test_ece_by_chance_is_that_of_calibration():
    rng = np.random.default_rng(2)
    p = softmax(1.5 * rng.normal(size=(1000, 3)), axis=1)
    drawn = [(rng.random(1000)[:, None] > p.cumsum(axis=1)).sum(axis=1) for _ in range(50)]  # references as p says
    errors = [expected_calibration_error(p, y) for y in drawn]
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


def test_one_image_has_no_interval_of_roc_auc():
    intervals = bootstrap_intervals(np.array([[0.7, 0.2, 0.1]]), np.array([0]), LABELS)
    assert intervals.roc_auc_ovr_macro is None and intervals.accuracy == (1, 1)
