import numpy as np
import pytest
from scipy.special import softmax

from training.data.labels import EMOTIONS
from training.errors import MetricError
from training.evaluation.bootstrap import ece_biases
from training.evaluation.calibration import Scaling, calibrate, fit_scaling, fit_temperature
from training.evaluation.metrics import vote_cross_entropy

WHERE = {"split": "validation", "head": "fer2013"}
TEMPERATURE = np.array([2.5, 1.5, 2, 3, 2, 2.5, 1.8])
BIAS = np.array([0.4, -0.4, 0, 0.3, -0.3, 0, 0])


@pytest.fixture(scope="module")
def sample():
    """Logits that are too sure, class by class in another way, and references drawn from what they should say."""
    rng = np.random.default_rng(0)
    calibrated = rng.normal(size=(4000, 7)) * 1.5
    y = np.array([rng.choice(7, p=row) for row in softmax(calibrated, axis=1)])
    return Scaling(TEMPERATURE, BIAS).undo(calibrated), y, calibrated


def test_fit_finds_what_calibrates(sample):
    logits, y, _ = sample
    scaling = fit_scaling(logits, y)
    np.testing.assert_allclose(scaling.temperature, TEMPERATURE, rtol=0.15)
    np.testing.assert_allclose(scaling.bias, BIAS, atol=0.25)
    np.testing.assert_allclose(scaling.undo(scaling(logits)), logits)


def test_one_temperature_undoes_overconfidence(sample):
    _, y, calibrated = sample
    scaling = fit_temperature(calibrated * 2.5, y)
    np.testing.assert_allclose(scaling.temperature, 2.5, rtol=0.06)
    assert not scaling.bias.any()


def test_class_without_pictures_stays_within_reason(sample):
    _, y, calibrated = sample
    seen = y != 1
    scaling = fit_scaling(calibrated[seen] * 2.5, y[seen])
    assert np.isfinite([scaling.temperature, scaling.bias]).all()
    assert 1 < scaling.temperature[1] < 10 and -5 < scaling.bias[1] < 0


def test_what_it_buys_is_measured_on_pictures_not_fitted_to(sample):
    logits, y = sample[0][:1500], sample[1][:1500]
    scaling, report = calibrate(logits, y, EMOTIONS, **WHERE)
    assert list(report.temperature) == list(report.bias) == list(EMOTIONS)
    assert report.before.ece > 0.15 > report.one_temperature.ece
    assert report.after.nll < report.one_temperature.nll < report.before.nll
    assert report.after.ece < 2 * ece_biases(softmax(scaling(logits), axis=1), y)["ece_by_chance"]
    noise = np.random.default_rng(1).permutation(y)[:40]  # nothing to learn, and few pictures to learn it from
    _, report = calibrate(np.zeros((40, 7)), noise, EMOTIONS, **WHERE)
    assert report.after.nll > report.before.nll  # an in-sample figure could only fall


def test_votes_are_told_before_and_after(sample):
    logits, y = sample[0][:500], sample[1][:500]
    votes = 8 * np.eye(7)[y] + 1
    _, report = calibrate(logits, y, EMOTIONS, votes, **WHERE)
    assert report.before.vote_cross_entropy == pytest.approx(vote_cross_entropy(softmax(logits, axis=1), votes).mean())
    assert report.after.vote_cross_entropy < report.before.vote_cross_entropy


def test_broken_logits_are_refused(sample):
    logits, y, _ = sample
    with pytest.raises(MetricError, match="expected finite probabilities"):
        calibrate(np.where(logits > 5, np.nan, logits), y, EMOTIONS, **WHERE)
