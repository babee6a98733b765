import json
import socket

import evaluate
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy
from sklearn import metrics as sk

from training.errors import MetricError
from training.evaluation.metrics import (
    ProbabilityMetrics,
    UndefinedMetricWarning,
    checked,
    compute,
    core_metrics,
    expected_calibration_error,
    training_metrics,
    vote_cross_entropy,
    vote_entropy,
)

LABELS = ("angry", "happy", "sad")


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """400 probabilities that lean towards their references."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=400)
    return softmax(rng.normal(size=(400, 3)) + 1.2 * np.eye(3)[y], axis=1), y


def test_every_metric_against_its_definition(sample):
    p, y = sample
    values, messages = compute(p, y, LABELS)
    predicted = p.argmax(axis=1)
    assert messages == []
    assert values["accuracy"] == pytest.approx((predicted == y).mean())
    assert values["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, predicted))
    assert values["macro_f1"] == pytest.approx(sk.f1_score(y, predicted, average="macro"))
    assert values["nll"] == pytest.approx(-np.log(p[np.arange(400), y]).mean())
    assert values["brier"] == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(axis=1).mean())
    assert values["roc_auc_ovr_macro"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
    assert values["confusion_matrix"] == sk.confusion_matrix(y, predicted).tolist()
    assert values["per_class"]["happy"]["recall"] == pytest.approx((predicted[y == 1] == 1).mean())
    assert values["per_class"]["sad"]["support"] == (y == 2).sum()
    json.dumps(values, allow_nan=False)


def test_calibration_error_by_hand():
    # Three images of confidence 0.9, one right: gap 0.57. One of confidence 0.6, right: gap 0.4.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert expected_calibration_error(p, np.array([0, 1, 1, 1])) == pytest.approx((3 * (0.9 - 1 / 3) + 0.4) / 4)


def test_confidence_on_an_edge_is_in_the_lower_bin():
    # 0.6 = 9 / 15 closes bin 9, 0.61 opens bin 10: in one bin the gaps of a miss and a hit would cancel.
    p = np.array([[0.6, 0.4], [0.61, 0.39]])
    assert expected_calibration_error(p, np.array([1, 0])) == pytest.approx((0.6 + 0.39) / 2)
    assert expected_calibration_error(np.array([[1.0, 0.0], [0.99, 0.01]]), np.array([1, 0])) == pytest.approx(0.495)


def test_core_metrics_by_hand():
    # Recalls 8/10 and 3/5, no third class; precisions 8/10 and 3/4; one of class 1 is called 2.
    confusion = np.array([[8, 1, 1], [1, 3, 1], [0, 0, 0]])
    found = core_metrics(confusion)
    f1 = (2 * 8 / (10 + 9), 2 * 3 / (5 + 4))
    assert found["accuracy"] == pytest.approx(11 / 15)
    assert found["balanced_accuracy"] == pytest.approx((0.8 + 0.6) / 2)
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    many = core_metrics(np.stack([confusion, confusion.T]))
    assert many["macro_f1"][0] == pytest.approx(found["macro_f1"])
    assert many["balanced_accuracy"][1] == pytest.approx(np.mean([8 / 9, 3 / 4, 0]))


def test_every_number_of_a_class_against_scikit_learn(sample):
    p, y = sample
    values, _ = compute(p, y, LABELS)
    rows = sk.precision_recall_fscore_support(y, p.argmax(axis=1))
    for c, name in enumerate(LABELS):
        row = values["per_class"][name]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx([r[c] for r in rows])
        assert values["roc_auc_ovr"][name] == pytest.approx(sk.roc_auc_score(y == c, p[:, c]))


def test_combines_with_other_metrics_of_evaluate(sample):
    p, y = sample
    both = evaluate.combine([ProbabilityMetrics(LABELS, ["macro_f1"]), ProbabilityMetrics(LABELS, ["ece", "nll"])])
    expected, _ = compute(p, y, LABELS, ["macro_f1", "ece", "nll"])
    assert both.compute(predictions=p, references=y) == pytest.approx(expected)
    with pytest.raises(MetricError, match=r"expected metrics among accuracy, .*got kappa"):
        compute(p, y, LABELS, ["kappa"])


def test_absent_class_is_named_and_left_out(sample):
    p, y = sample
    p, y = p[y != 2], y[y != 2]
    values, messages = compute(p, y, LABELS)
    assert any("no images of sad" in message for message in messages)
    assert values["per_class"]["sad"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert values["roc_auc_ovr"]["sad"] is None
    recalls = [values["per_class"][name]["recall"] for name in ("angry", "happy")]
    assert values["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert values["macro_f1"] == pytest.approx(np.mean([values["per_class"][n]["f1"] for n in ("angry", "happy")]))
    with pytest.warns(UndefinedMetricWarning, match="no images of sad"):
        ProbabilityMetrics(LABELS).compute(predictions=p, references=y)


def test_class_never_predicted_has_no_precision():
    p = np.array([[0.8, 0.1, 0.1]] * 3)
    values, messages = compute(p, np.array([0, 1, 2]), LABELS)
    assert "happy, sad never predicted: precision is undefined there" in messages
    assert values["per_class"]["happy"] == {"precision": None, "recall": 0.0, "f1": 0.0, "support": 1}


def test_one_image():
    values, messages = compute(np.array([[0.7, 0.2, 0.1]]), np.array([0]), LABELS)
    assert values["accuracy"] == 1 and values["roc_auc_ovr_macro"] is None
    assert "only one class occurs: ROC-AUC is undefined" in messages


@pytest.mark.parametrize(
    ("probabilities", "references", "message"),
    [
        ([[np.nan, 0.5, 0.5]], [0], r"expected finite probabilities.*row 0"),
        ([[2.0, -1.0, 0.0]], [0], "did you pass logits"),
        ([[0.5, 0.5]], [0], r"expected probabilities \(n, 3\).*got \(1, 2\)"),
        ([[0.2, 0.3, 0.5]], [3], "expected integer references in 0-2"),
        ([[0.2, 0.3, 0.5]], [0.0], "expected integer references"),
        (np.zeros((0, 3)), [], "with n > 0"),
    ],
)
def test_bad_input_is_named(probabilities, references, message):
    with pytest.raises(MetricError, match=message):
        compute(np.array(probabilities), np.array(references), LABELS)


def test_rows_are_made_to_sum_to_one():
    p, y = checked([[0.7, 0.2, 0.1005]], [0], LABELS)
    assert p.sum() == pytest.approx(1, abs=1e-12) and p[0, 0] == pytest.approx(0.7 / 1.0005, abs=1e-12)
    assert y.dtype == np.int64


def test_needs_no_network(sample, monkeypatch):
    def refuse(*_):
        raise AssertionError("a metric opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = ProbabilityMetrics(LABELS, ["accuracy"]).compute(predictions=sample[0], references=sample[1])
    assert found["accuracy"] > 0.5


def test_vote_cross_entropy_is_entropy_plus_divergence():
    votes = np.array([[3, 1, 0], [0, 2, 2]])
    p = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]])
    share = votes / votes.sum(axis=1, keepdims=True)
    assert vote_cross_entropy(p, votes) == pytest.approx(entropy(share.T) + entropy(share.T, p.T))
    assert vote_cross_entropy(share, votes).mean() == pytest.approx(vote_entropy(votes))


def test_training_metrics_take_logits(sample):
    p, y = sample
    values = training_metrics(np.log(p) + 5, y)
    assert set(values) == {"accuracy", "balanced_accuracy", "macro_f1", "nll"}
    assert values["nll"] == pytest.approx(compute(p, y, LABELS)[0]["nll"])
