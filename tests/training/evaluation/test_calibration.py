from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from training.card import render_card
from training.data.labels import EMOTIONS
from training.errors import MetricError
from training.evaluation import calibration
from training.evaluation.bootstrap import ece_biases
from training.evaluation.calibration import (
    Scaling,
    adjust,
    calibrate,
    cross_fitted,
    fit_scaling,
    fit_temperature,
    format_calibration,
)
from training.evaluation.metrics import vote_cross_entropy
from training.reporting.report import Report

WHERE = {"split": "validation", "head": "fer2013"}
TEMPERATURE = np.array([2.5, 1.5, 2, 3, 2, 2.5, 1.8])
BIAS = np.array([0.4, -0.4, 0, 0.3, -0.3, 0, 0])


@pytest.fixture(scope="module")
def sample():
    """Overconfident logits, each class in its own way, and references drawn from the calibrated ones."""
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


def test_class_without_images_stays_within_reason(sample):
    _, y, calibrated = sample
    seen = y != 1
    scaling = fit_scaling(calibrated[seen] * 2.5, y[seen])
    assert np.isfinite([scaling.temperature, scaling.bias]).all()
    assert 1 < scaling.temperature[1] < 10 and -5 < scaling.bias[1] < 0


def test_gain_is_measured_on_images_not_fitted_to(sample):
    logits, y = sample[0][:1500], sample[1][:1500]
    scaling, report = calibrate(logits, y, EMOTIONS, **WHERE)
    assert list(report.temperature) == list(report.bias) == list(EMOTIONS)
    assert report.before.ece > 0.15 > report.one_temperature.ece
    assert report.after.nll < report.one_temperature.nll < report.before.nll
    assert report.after.ece < 2 * ece_biases(softmax(scaling(logits), axis=1), y)["ece_by_chance"]
    noise = np.random.default_rng(1).permutation(y)[:40]  # nothing to learn, and few images to learn it from
    _, report = calibrate(np.zeros((40, 7)), noise, EMOTIONS, **WHERE)
    assert report.after.nll > report.before.nll  # an in-sample metric could only fall


def test_votes_are_measured_before_and_after(sample):
    logits, y = sample[0][:500], sample[1][:500]
    votes = 8 * np.eye(7)[y] + 1
    _, report = calibrate(logits, y, EMOTIONS, votes, **WHERE)
    assert report.before.vote_cross_entropy == pytest.approx(vote_cross_entropy(softmax(logits, axis=1), votes).mean())
    assert report.after.vote_cross_entropy < report.before.vote_cross_entropy


def test_broken_logits_are_refused(sample):
    logits, y, _ = sample
    with pytest.raises(MetricError, match="expected finite probabilities"):
        calibrate(np.where(logits > 5, np.nan, logits), y, EMOTIONS, **WHERE)


def test_scaling_divides_then_shifts():
    scaling = Scaling(np.array([2.0, 0.5]), np.array([0.25, -1.0]))
    np.testing.assert_allclose(scaling(np.array([[4.0, 3.0]])), [[2.25, 5.0]])
    np.testing.assert_allclose(scaling.undo(np.array([[2.25, 5.0]])), [[4.0, 3.0]])


def test_fit_minimizes_the_penalized_likelihood(sample):
    logits, y = sample[0][:300, :3], sample[1][:300] % 3

    def loss(parameters):  # without a gradient of our own, so a wrong one shows
        log_scale, bias = parameters[:3], parameters[3:]
        p = softmax(logits * np.exp(log_scale) + bias, axis=1)
        penalty = ((log_scale - log_scale.mean()) ** 2).sum() + (bias**2).sum()
        return -np.log(p[np.arange(300), y]).mean() + 1e-3 * penalty

    expected = minimize(loss, np.zeros(6), method="BFGS").x
    scaling = fit_scaling(logits, y)
    np.testing.assert_allclose(-np.log(scaling.temperature), expected[:3], atol=0.01)
    np.testing.assert_allclose(scaling.bias, expected[3:], atol=0.01)


def test_temperature_has_the_lowest_likelihood_loss(sample):
    logits, y = sample[0][:300], sample[1][:300]
    found = fit_temperature(logits, y).temperature
    assert (found == found[0]).all()
    grid = np.linspace(0.5, 6, 1101)
    losses = [-np.log(softmax(logits / t, axis=1)[np.arange(300), y]).mean() for t in grid]
    assert found[0] == pytest.approx(grid[np.argmin(losses)], abs=0.01)


def test_cross_fitting_scores_each_half_with_the_other(sample, monkeypatch):
    logits, y = sample[0][:200], sample[1][:200]
    monkeypatch.setattr(calibration, "CROSS_FIT_REPEATS", 2)
    _, found = calibrate(logits, y, EMOTIONS, **WHERE)
    rng, losses = np.random.default_rng(0), []
    for _ in range(2):
        order = rng.permutation(200)
        for fitted, scored in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            p = softmax(fit_scaling(logits[fitted], y[fitted])(logits[scored]), axis=1)
            losses += list(-np.log(p[np.arange(100), y[scored]]))
    assert found.after.nll == pytest.approx(np.mean(losses))
    assert found.images == 200 and (found.split, found.head) == ("validation", "fer2013")


def test_the_loss_includes_the_penalty_on_the_biases(sample, monkeypatch):
    """The value and the slopes that the optimizer gets belong together, far from zero as well."""
    seen = {}

    def check(loss, start, **options):
        seen["loss"] = loss
        return minimize(loss, start, **options)

    monkeypatch.setattr(calibration, "minimize", check)
    fit_scaling(sample[0][:50, :3], sample[1][:50] % 3)
    at, step = np.array([0.3, -0.2, 0.1, 40.0, -30.0, 20.0]), 1e-4
    for name, direction in zip("scale scale scale bias bias bias".split(), np.eye(6), strict=True):
        rise = (seen["loss"](at + step * direction)[0] - seen["loss"](at - step * direction)[0]) / (2 * step)
        assert rise == pytest.approx(seen["loss"](at)[1] @ direction, abs=1e-5), name


def test_method_with_the_lowest_cross_fitted_nll_is_used(sample):
    logits, y, calibrated = sample
    few, cases = slice(0, 60), {}
    cases["vector"] = calibrate(logits, y, EMOTIONS, **WHERE)
    cases["temperature"] = calibrate(calibrated[few] * 3, y[few], EMOTIONS, **WHERE)
    cases["none"] = calibrate(calibrated[few], y[few], EMOTIONS, **WHERE)
    for method, (scaling, found) in cases.items():
        assert found.method == method
        assert found.chosen.nll == min(metrics.nll for metrics in found.by_method.values())
        assert scaling.temperature.tolist() == list(found.temperature.values())
        assert scaling.bias.tolist() == list(found.bias.values())
    scaling, found = cases["temperature"]
    assert len(set(scaling.temperature)) == 1 and not scaling.bias.any()
    assert found.after.nll > found.chosen.nll  # one for each class is worse on so few images
    scaling, found = cases["none"]
    assert scaling.is_identity and np.array_equal(scaling(calibrated), calibrated)
    text = f"validation: none, of the lowest cross-fitted negative log-likelihood (none {found.before.nll:.4f}, one"
    assert text in format_calibration(found)


@pytest.fixture(scope="module")
def skewed(sample):
    """The sample with the fourth class eight times as frequent as the others."""
    logits, y, _ = sample
    kept = np.flatnonzero((y == 3) | (np.arange(len(y)) % 8 == 0))
    return logits[kept], y[kept]


def test_adjustment_subtracts_a_share_of_the_log_frequency():
    scaling = Scaling(np.array([2.0, 1.0]), np.array([0.5, 0.0]))
    logits = np.log([[0.81, 0.3], [0.36, 0.6]] * 10)
    p = softmax(scaling(logits), axis=1)
    half, whole = adjust(scaling, logits, 0.5), adjust(scaling, logits, 1)
    np.testing.assert_allclose(whole.bias, [0.5, 0] - np.log(p.mean(axis=0)))
    np.testing.assert_allclose(half.bias - scaling.bias, (whole.bias - scaling.bias) / 2)
    np.testing.assert_array_equal(half.temperature, scaling.temperature)
    np.testing.assert_allclose(half.undo(half(logits)), logits)
    never = np.array([[0.0, -500.0]] * 10)
    assert adjust(Scaling(np.ones(2), np.zeros(2)), never, 1).bias[1] == pytest.approx(np.log(10))


def test_adjusted_metrics_are_of_what_is_published(skewed):
    logits, y = skewed
    plain, before = calibrate(logits, y, EMOTIONS, **WHERE)
    scaling, found = calibrate(logits, y, EMOTIONS, **WHERE, logit_adjustment=0.5)
    assert before.adjusted is None and before.published == before.chosen and not before.shift
    assert (found.method, found.by_method, found.chosen) == (before.method, before.by_method, before.chosen)
    shift = np.array(list(found.shift.values()))
    np.testing.assert_allclose(scaling.bias, plain.bias + shift)
    assert list(found.bias.values()) == scaling.bias.tolist() and found.logit_adjustment == 0.5
    assert shift.argmin() == 3
    runs = cross_fitted(lambda logits, y: adjust(fit_scaling(logits, y), logits, 0.5), logits, y)
    losses = [-np.log(softmax(run, axis=1)[np.arange(len(y)), y]).mean() for run in runs]
    assert found.published.nll == found.adjusted.nll == pytest.approx(np.mean(losses))
    assert found.published.nll > found.chosen.nll and found.published.ece > found.chosen.ece  # the price
    assert found.published.balanced_accuracy > found.chosen.balanced_accuracy + 0.02
    text = format_calibration(found).splitlines()[1]
    assert f"logit adjustment 0.5, cross-fitted: accuracy {found.chosen.accuracy:.4f} -> " in text


def test_card_says_what_the_adjustment_changes(root, skewed):
    report = Report.load(root / "model_card" / "fer2013" / "report.json")
    _, found = calibrate(*skewed, EMOTIONS, **WHERE, logit_adjustment=0.5)
    card = render_card(replace(report, calibration=found))
    assert "In favor of rare classes, 0.5 of the log of each class's frequency" in card
    before, after = (metrics.balanced_accuracy for metrics in (found.chosen, found.adjusted))
    assert f"balanced accuracy from {before:.3f} to {after:.3f} (cross-fitted)" in card
    assert f"| published: with logit adjustment 0.5 | {found.adjusted.accuracy:.3f} |" in card
    assert "rare classes" not in render_card(replace(report, calibration=calibrate(*skewed, EMOTIONS, **WHERE)[1]))


@pytest.mark.parametrize("model", ["fer2013", "ferplus"])
def test_published_reports_keep_vector_scaling(root, model):
    calibration = Report.load(root / "model_card" / model / "report.json").calibration
    assert calibration.method == "vector" and calibration.chosen == calibration.after
    assert calibration.after.nll == min(metrics.nll for metrics in calibration.by_method.values())


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("vector", "each class has a temperature and a bias, fitted on validation"),
        ("temperature", "all classes share one temperature, fitted on validation"),
        ("none", "None: neither one temperature nor vector scaling"),
    ],
)
def test_card_names_the_method(root, method, words):
    report = Report.load(root / "model_card" / "fer2013" / "report.json")
    card = render_card(replace(report, calibration=replace(report.calibration, method=method)))
    assert words in card and "cross-fitted: each random half" in card
    assert ("selected and calibrated on" in card) == (method != "none")


def test_a_handful_of_images_is_fitted_without_overflow() -> None:
    """Logits that separate three images per class would be fitted by ever larger scales."""
    references = np.arange(12) % 4
    logits = np.eye(4)[references] * 1e-3
    scaling = fit_scaling(logits, references)
    assert np.isfinite(scaling.temperature).all() and (scaling.temperature > 0.04).all()
    assert np.isfinite(scaling.bias).all()
