"""Plots of an evaluation, from the same arrays as its metrics.

    write_figures(draw_figures(probabilities, references, labels, where="fer2013, validation"), Path("figures"))

Classes have the colors of the app. A plot that is undefined for the images at hand, such as the ROC curves of a
single class, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from gradio_ui.recognition.palette import colors_of
from training.evaluation import metrics
from training.evaluation.metrics import ECE_BINS, checked, expected_calibration_error, roc_auc
from training.reporting.plot_style import BLUE, INK, MUTED, ORANGE, ReportFigure, new_figure, styled

GRID = np.linspace(0, 1, 101)  # the points of a ROC or precision-recall curve
FEWEST = 10  # images that a bin of confidence needs for a point in the reliability diagram
COVERAGES = (1.0, 0.8, 0.6, 0.4)


def draw_figures(
    probabilities: np.ndarray,
    references: np.ndarray,
    labels: Sequence[str],
    *,
    where: str,
    uncalibrated: np.ndarray | None = None,
) -> list[ReportFigure]:
    """Draw every plot of one result.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1, columns in the order of `labels`.
        references: (n,) integers, indices into `labels`.
        labels: the C class names.
        where: dataset and split in a few words, shown below each title.
        uncalibrated: (n, C) probabilities before calibration; None for an uncalibrated model.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """
    p, y = checked(probabilities, references, labels)
    where = f"{where}, {len(y):,} images"
    drawings = [
        confusion_matrix(p, y, labels, where),
        per_class(p, y, labels, where),
        reliability(p, y, labels, where, None if uncalibrated is None else checked(uncalibrated, y, labels)[0]),
        coverage(p, y, where),
    ]
    if len(np.unique(y)) > 1:
        drawings[2:2] = [roc_curves(p, y, labels, where), precision_recall_curves(p, y, labels, where)]
    return drawings


@styled
def confusion_matrix(p: np.ndarray, y: np.ndarray, labels: Sequence[str], where: str) -> ReportFigure:
    """Draw counts and shares of each row; arguments as `draw_figures`, checked."""
    counts = sk.confusion_matrix(y, p.argmax(axis=1), labels=range(len(labels)))
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)  # NaN in the row of a class without images
    figure, both = new_figure("Confusion matrix", where, 5.2, 1, 2, sharey=True)
    for axes, matrix, title in zip(both, (counts, shares), ("Images", "Share of each row"), strict=True):
        top = np.nanmax(matrix)
        axes.pcolormesh(matrix, cmap="Blues", vmin=0, vmax=top, edgecolors="white", linewidth=1)
        for (row, column), value in np.ndenumerate(matrix):
            text = "–" if np.isnan(value) else f"{value:,}" if matrix is counts else f"{value:.2f}".lstrip("0") or "0"
            color = "white" if value > 0.55 * top else INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9, color=color)
        axes.set(title=title, xlabel="predicted", ylim=(len(labels), 0))
        axes.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(np.arange(len(labels)) + 0.5, labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(False)
    both[0].set_ylabel("reference")
    mistakes = np.where(np.eye(len(labels), dtype=bool), 0, np.nan_to_num(shares))
    row, column = divmod(int(mistakes.argmax()), len(labels))
    worst = f"{mistakes[row, column]:.2f} of {labels[row]} is called {labels[column]}"
    alt = "Confusion matrix. On the diagonal: " + _listed(labels, np.diagonal(shares))
    alt += f" The most frequent mistake by share: {worst}."
    return ReportFigure("confusion_matrix", "Confusion matrix", alt, figure)


@styled
def per_class(p: np.ndarray, y: np.ndarray, labels: Sequence[str], where: str) -> ReportFigure:
    """Draw precision, recall and F1 of each class, the best on top; arguments as `draw_figures`, checked."""
    from matplotlib.markers import CARETLEFT, CARETRIGHT

    rows = metrics.per_class(p, y, labels)
    order = sorted(labels, key=lambda label: (rows[label]["f1"] is None, -(rows[label]["f1"] or 0)))
    figure, axes = new_figure("Precision, recall and F1 of each class", where, 0.42 * len(labels) + 1.6)
    # The tips of the triangles are at the values, so that none hides another where they are equal.
    kinds = (
        ("precision", "Precision", CARETLEFT, ORANGE),
        ("recall", "Recall", CARETRIGHT, BLUE),
        ("f1", "F1", "|", INK),
    )
    for height, label in enumerate(order):
        values = [rows[label][kind] for kind, *_ in kinds if rows[label][kind] is not None]
        if values:
            axes.plot(
                [min(values), max(values)], [height] * 2, color="#cccccc", linewidth=3, solid_capstyle="butt", zorder=1
            )
        f1, support = rows[label]["f1"], rows[label]["support"]
        text = f"F1 {f1:.2f}   n = {support:,}" if f1 is not None else "no images"
        axes.text(1.02, height, text, va="center", transform=axes.get_yaxis_transform(), fontsize=10)
    for kind, name, marker, color in kinds:
        points = [(rows[label][kind], height) for height, label in enumerate(order) if rows[label][kind] is not None]
        if points:
            marks = {"marker": marker, "color": color, "markersize": 12, "markeredgewidth": 2 if kind == "f1" else 0}
            axes.plot(*zip(*points, strict=True), linestyle="", label=name, zorder=2, **marks)
    axes.set(xlim=(0, 1), ylim=(len(labels) - 0.5, -0.5), xlabel="the tips of the triangles are at the values")
    axes.set_yticks(range(len(labels)), order)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, handletextpad=0.1)
    alt = "Precision, recall and F1 of each class. F1: " + _listed(order, [rows[label]["f1"] for label in order])
    return ReportFigure("per_class", "Precision, recall and F1 by class", alt, figure)


@styled
def roc_curves(p: np.ndarray, y: np.ndarray, labels: Sequence[str], where: str) -> ReportFigure:
    """Draw each class against the rest, micro and macro averages; arguments as `draw_figures`, several classes."""
    areas = roc_auc(p, y, labels)
    mean = float(np.mean([area for area in areas.values() if area is not None]))
    hot = np.eye(len(labels), dtype=bool)[y]
    micro = float(sk.roc_auc_score(hot.ravel(), p.ravel()))

    def line(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
        false, true, _ = sk.roc_curve(truth, score)
        return np.r_[0, np.interp(GRID, false, true)]

    lines = {label: line(hot[:, c], p[:, c]) for c, label in enumerate(labels) if areas[label] is not None}
    averages = {
        "macro": (np.mean(list(lines.values()), axis=0), mean),
        "micro": (line(hot.ravel(), p.ravel()), micro),
    }
    figure, axes = new_figure("ROC curves, each class against the rest", where, 5.2)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
    _class_lines(axes, np.r_[0, GRID], lines, areas, averages, "area under the curve")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.005))
    axes.set_aspect("equal")
    alt = "ROC curves, each class against the rest. Area under the curve: " + _listed(areas, areas.values())
    alt += f" Macro average {mean:.3f}, micro average {micro:.3f}."
    return ReportFigure("roc", "ROC curves", alt, figure)


@styled
def precision_recall_curves(p: np.ndarray, y: np.ndarray, labels: Sequence[str], where: str) -> ReportFigure:
    """Draw each class against the rest, micro and macro averages; arguments as `draw_figures`, several classes."""
    hot = np.eye(len(labels), dtype=bool)[y]

    def line(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
        precision, recall, _ = sk.precision_recall_curve(truth, score)
        found = recall > 0  # before the first hit precision is a matter of convention
        return np.interp(GRID, recall[found][::-1], precision[found][::-1])

    present = np.unique(y)
    lines = {labels[c]: line(hot[:, c], p[:, c]) for c in present}
    areas: dict[str, float | None] = dict.fromkeys(labels)
    areas |= {labels[c]: float(sk.average_precision_score(hot[:, c], p[:, c])) for c in present}
    macro = float(np.mean([area for area in areas.values() if area is not None]))
    micro = float(sk.average_precision_score(hot.ravel(), p.ravel()))
    averages = {
        "macro": (np.mean(list(lines.values()), axis=0), macro),
        "micro": (line(hot.ravel(), p.ravel()), micro),
    }
    figure, axes = new_figure("Precision-recall curves, each class against the rest", where, 5.2)
    _class_lines(axes, GRID, lines, areas, averages, "average precision")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.005))
    axes.set_aspect("equal")
    alt = "Precision-recall curves, each class against the rest. Average precision: " + _listed(areas, areas.values())
    alt += f" Macro average {macro:.3f}, micro average {micro:.3f}."
    return ReportFigure("precision_recall", "Precision-recall curves", alt, figure)


@styled
def reliability(
    p: np.ndarray, y: np.ndarray, labels: Sequence[str], where: str, uncalibrated: np.ndarray | None
) -> ReportFigure:
    """Draw accuracy in each bin of confidence, and a histogram; arguments as `draw_figures`, checked."""
    kinds = [("as served", p, BLUE, "o")]
    if uncalibrated is not None:
        kinds.insert(0, ("before calibration", uncalibrated, ORANGE, "s"))
    figure, (top, bottom) = new_figure(
        "Reliability diagram: accuracy against confidence", where, 5.6, 2, 1, sharex=True, height_ratios=(3, 1)
    )
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfect calibration")
    errors = []
    for name, probabilities, color, marker in kinds:
        confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
        ece = expected_calibration_error(probabilities, y)
        errors.append(f"{ece:.3f} {name}")
        accuracy, mean = calibration_curve(hit, confidence, n_bins=ECE_BINS)
        filled = np.bincount(np.searchsorted(np.linspace(0, 1, ECE_BINS + 1)[1:-1], confidence), minlength=ECE_BINS)
        enough = filled[filled > 0] >= FEWEST
        top.plot(
            mean[enough], accuracy[enough], marker=marker, color=color, markersize=5, label=f"{name}, ECE {ece:.3f}"
        )
        bottom.hist(confidence, ECE_BINS, range=(0, 1), histtype="step", color=color, linewidth=1.8)
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    top.legend(loc="upper left")
    bottom.set(xlabel=f"confidence; points stand for {FEWEST} images or more", ylabel="images")
    alt = "Reliability diagram: accuracy against confidence. Expected calibration error: " + ", ".join(errors) + "."
    return ReportFigure("reliability", "Reliability diagram", alt, figure)


@styled
def coverage(p: np.ndarray, y: np.ndarray, where: str) -> ReportFigure:
    """Draw accuracy on the most confident share of images; arguments as `draw_figures`, checked."""
    confidence = p.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    kept = np.arange(1, len(y) + 1)
    accuracy = np.cumsum((p.argmax(axis=1) == y)[order]) / kept
    figure, axes = new_figure("Accuracy when the model may abstain", where, 4.2)
    shown = np.unique(np.linspace(0, len(y) - 1, 201).astype(int))
    shown = shown[shown >= min(20, len(y)) - 1]  # the accuracy of fewer images is noise
    axes.plot(kept[shown] / len(y), accuracy[shown], color=BLUE)
    shares = []
    for share in COVERAGES:
        last = max(int(np.ceil(share * len(y))), 1) - 1
        shares.append(f"{share:.0%}: {accuracy[last]:.3f}")
        axes.plot((last + 1) / len(y), accuracy[last], "o", color=BLUE)
        axes.annotate(
            f"{accuracy[last]:.2f}\nconfidence ≥ {confidence[order[last]]:.2f}",
            ((last + 1) / len(y), accuracy[last]),
            (0, -12),
            textcoords="offset points",
            ha="right" if share == 1 else "center",
            va="top",
            fontsize=10,
        )
    axes.set(xlabel="share of images answered, the most confident first", ylabel="accuracy on those", xlim=(0, 1.01))
    axes.set_ylim(max(0.0, float(accuracy[shown].min()) - 0.2), 1.01)
    axes.xaxis.set_major_formatter("{x:.0%}")
    alt = "Accuracy against the share of images answered, the most confident first. " + ", ".join(shares) + "."
    return ReportFigure("coverage", "Accuracy against coverage", alt, figure)


def _class_lines(
    axes: Any,
    x: np.ndarray,
    lines: dict[str, np.ndarray],
    areas: dict[str, float | None],
    averages: dict[str, tuple[np.ndarray, float]],
    legend: str,
) -> None:
    """Draw a line for each class and average, with a legend in the order of their areas."""
    from matplotlib.patheffects import Normal, Stroke

    colors = colors_of(list(areas))
    for label in sorted(lines, key=lambda label: -(areas[label] or 0)):
        edge = [Stroke(linewidth=3, foreground=INK), Normal()] if label == "contempt" else None  # yellow on white
        axes.plot(x, lines[label], color=colors[label], label=f"{label}  {areas[label]:.3f}", path_effects=edge)
    for (name, (line, area)), style in zip(averages.items(), ("-", "--"), strict=True):
        axes.plot(x, line, style, color="black", linewidth=1.4, label=f"{name} average  {area:.3f}")
    for label in areas.keys() - lines.keys():
        axes.plot([], [], color=colors[label], label=f"{label}  undefined")
    axes.legend(loc="center left", bbox_to_anchor=(1.03, 0.5), title=legend, alignment="left")


def _listed(names: Any, values: Any) -> str:
    """Format names with their values; "undefined" where there is none."""
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{n} {'undefined' if v is None or np.isnan(v) else f'{v:.3f}'}" for n, v in pairs) + "."
