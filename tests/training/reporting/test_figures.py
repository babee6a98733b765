import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax
from sklearn import metrics as sk

from gradio_ui.recognition.palette import COLORS
from training.data.labels import FERPLUS_EMOTIONS
from training.errors import MetricError, ReportError
from training.evaluation.metrics import compute
from training.reporting.curves import curves, kept_evaluation, plot_curves, read_log
from training.reporting.figures import coverage, draw_figures, reliability, roc_curves
from training.reporting.plot_style import write_figures

LABELS = FERPLUS_EMOTIONS
NAMES = ["confusion_matrix", "per_class", "roc", "precision_recall", "reliability", "coverage"]


def sample(n=400, classes=8):
    rng = np.random.default_rng(0)
    y = rng.integers(classes, size=n)
    return softmax(rng.normal(size=(n, len(LABELS))) + 1.5 * np.eye(len(LABELS))[y], axis=1), y


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All figures on disk, with what is told about them."""
    root = tmp_path_factory.mktemp("report")
    p, y = sample()
    drawings = draw_figures(p, y, LABELS, where="fer2013, validation", uncalibrated=p)
    return root, write_figures(drawings, root / "figures" / "here", root)


def test_figures_are_light_legible_and_described(written):
    root, entries = written
    assert [entry.name for entry in entries] == NAMES
    for entry in entries:
        png = root / entry.file
        image = Image.open(png)
        assert 1200 <= image.width <= 1300 and image.info["Description"] == entry.alt
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        svg = ElementTree.parse(png.with_suffix(".svg")).getroot()  # noqa: S314  (our own file)
        assert svg.findtext("{http://www.w3.org/2000/svg}title") == entry.title
        assert "<image" not in png.with_suffix(".svg").read_text()
        assert max(png.stat().st_size, png.with_suffix(".svg").stat().st_size) < 150_000
        assert entry.title and not re.search(r"[\[\]]", entry.alt)


def test_texts_stay_inside_of_the_image(written):
    root, entries = written
    for entry in entries:
        gray = np.asarray(Image.open(root / entry.file).convert("L"))
        for edge in (gray[0], gray[-1], gray[:, 0]):
            assert (edge == 255).all(), entry.name


def test_same_arrays_give_the_same_files(written, tmp_path):
    root, _ = written
    p, y = sample()
    write_figures([draw_figures(p, y, LABELS, where="fer2013, validation")[0]], tmp_path, tmp_path)
    for kind in ("png", "svg"):
        name = f"confusion_matrix.{kind}"
        assert (tmp_path / name).read_bytes() == (root / "figures" / "here" / name).read_bytes()


def test_numbers_are_those_of_the_report(written):
    _, entries = written
    p, y = sample()
    alt = {entry.name: entry.alt for entry in entries}
    metrics = compute(p, y, LABELS)[0]
    for label, value in metrics["roc_auc_ovr"].items():
        assert f"{label} {value:.3f}" in alt["roc"]
    assert f"Macro average {metrics['roc_auc_ovr_macro']:.3f}" in alt["roc"]
    assert f"micro average {sk.roc_auc_score(np.eye(8)[y].ravel(), p.ravel()):.3f}" in alt["roc"]
    assert f"fear {sk.average_precision_score(y == 2, p[:, 2]):.3f}" in alt["precision_recall"]
    assert f"{metrics['ece']:.3f} as served" in alt["reliability"]
    assert f"100%: {metrics['accuracy']:.3f}" in alt["coverage"]
    assert f"happy {metrics['per_class']['happy']['f1']:.3f}" in alt["per_class"]
    assert f"sad {metrics['per_class']['sad']['recall']:.3f}" in alt["confusion_matrix"]


def test_classes_have_the_colors_of_the_app():
    axes = roc_curves(*sample(), LABELS, "").figure.axes[0]
    drawn = {line.get_label().split()[0]: line.get_color() for line in axes.lines}
    assert {label: drawn[label] for label in LABELS} == COLORS


def test_calibration_is_drawn_before_and_after():
    p, y = sample()
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    drawing = reliability(p, y, LABELS, "", sharp)
    before, after = (compute(q, y, LABELS)[0]["ece"] for q in (sharp, p))
    assert f"{before:.3f} before calibration, {after:.3f} as served" in drawing.alt
    for line in drawing.figure.axes[0].lines[1:]:
        assert len(line.get_xdata()) > 3  # points, not only a line of the legend


def test_abstaining_pays_when_the_surest_are_right():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.55, 0.45]])
    assert "100%: 0.600, 80%: 0.750, 60%: 1.000, 40%: 1.000" in coverage(p, np.array([0, 0, 0, 1, 1]), "").alt


def test_absent_class_is_said_to_be_undefined():
    drawings = {d.name: d for d in draw_figures(*sample(classes=7), LABELS, where="")}
    assert "contempt undefined" in drawings["roc"].alt and "contempt undefined" in drawings["confusion_matrix"].alt
    assert "contempt  undefined" in [line.get_label() for line in drawings["roc"].figure.axes[0].lines]


def test_one_class_draws_what_is_defined(tmp_path):
    p, _ = sample(1)
    drawings = draw_figures(p, np.array([3]), LABELS, where="")
    assert [d.name for d in drawings] == ["confusion_matrix", "per_class", "reliability", "coverage"]
    assert len(write_figures(drawings[1:], tmp_path / "figures", tmp_path)) == 3
    with pytest.raises(MetricError, match="expected finite probabilities"):
        draw_figures(p * np.nan, np.array([3]), LABELS, where="")


def test_failure_leaves_old_figures_and_no_half_ones(tmp_path, monkeypatch):
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "coverage.png").write_text("old")
    drawings = draw_figures(*sample(20), LABELS, where="")
    monkeypatch.setattr(drawings[-1].figure, "savefig", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_figures(drawings[-2:], folder, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["figures", "coverage.png"]
    assert (folder / "coverage.png").read_text() == "old"


def test_figures_outside_are_not_referred_to(tmp_path):
    drawings = draw_figures(*sample(20), LABELS, where="")[-1:]
    assert write_figures(drawings, tmp_path / "elsewhere", tmp_path / "model") == []
    assert (tmp_path / "elsewhere" / "coverage.svg").exists()


LOG = [
    {"epoch": 0.5, "loss": 2.0, "accuracy": 0.25},
    {"epoch": 1.0, "loss": 1.5, "accuracy": 0.35},
    {"epoch": 1.0, "eval_loss": 1.8, "eval_accuracy": 0.41, "eval_balanced_accuracy": 0.3},
    {"epoch": 2.0, "eval_loss": 1.9, "eval_accuracy": 0.41, "eval_balanced_accuracy": 0.3},
    {"epoch": 2.0, "train_runtime": 9.0, "train_loss": 1.7},
    {"epoch": 2.0, "eval_loss": 1.8, "eval_accuracy": 0.41, "eval_balanced_accuracy": 0.3},  # the weights kept
]


def test_curves_show_training_against_validation():
    drawing = curves(LOG)
    left, right = drawing.figure.axes
    assert {line.get_label() for line in left.lines} == {"training (augmented)", "validation"}
    assert {line.get_label() for line in right.lines} >= {"training (augmented)", "validation", "validation, balanced"}
    assert "Validation accuracy of the weights that were kept, of epoch 1, is 0.410." in drawing.alt


def test_curves_of_two_heads_name_their_labels():
    log = [entry | ({"eval_ferplus_accuracy": 0.8} if "eval_loss" in entry else {}) for entry in LOG]
    drawing = curves(log, "ferplus")
    names = [line.get_label() for line in drawing.figure.axes[1].lines]
    assert names[:2] == ["training (augmented), FER-2013 labels", "validation, FER-2013 labels"]
    assert "validation, FER+ majority" in names
    assert "on the FER+ majority of the weights that were kept, of epoch 1, is 0.800." in drawing.alt


def test_kept_weights_are_marked_and_not_a_tie():
    (mark,) = [line for line in curves(LOG).figure.axes[1].lines if line.get_marker() == "o"]
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (1.0, 0.41)  # epoch 2 is as accurate
    last = [*LOG[:-1], LOG[-1] | {"eval_loss": 1.9}]
    assert kept_evaluation(last)["epoch"] == 2.0
    between = [*LOG[:-1], LOG[-1] | {"epoch": 2.5, "eval_loss": 1.2}]  # the last step was not evaluated before
    assert kept_evaluation(between)["epoch"] == 2.5
    assert kept_evaluation(LOG[:4])["epoch"] == 2.0  # of a checkpoint
    assert kept_evaluation(LOG[:2]) is None


def test_log_without_training_accuracy_shows_the_rest():
    log = [{key: value for key, value in entry.items() if key != "accuracy"} for entry in LOG]
    assert {line.get_label() for line in curves(log).figure.axes[1].lines} >= {"validation", "validation, balanced"}


def test_long_log_makes_a_small_file(tmp_path):
    log = [{"epoch": step / 1000, "loss": 1 / (1 + step)} for step in range(20_000)]
    plot_curves(log, tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").stat().st_size < 150_000


def test_empty_and_broken_logs(tmp_path):
    assert read_log(tmp_path) == []
    plot_curves([], tmp_path / "curves.png")
    (tmp_path / "trainer_state.json").write_text('{"log')
    with pytest.raises(ReportError, match="expected the trainer's log"):
        read_log(tmp_path)
