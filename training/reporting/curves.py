"""Training curves, from the Trainer's own log."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from training.errors import ReportError
from training.reporting.plot_style import BLUE, GREEN, MUTED, ORANGE, ReportFigure, new_figure, save, styled

LOG = "trainer_state.json"
MOST_POINTS = 400  # of a line; more would not be visible and make the file larger
# by head: the accuracy that is marked at the epoch of the kept weights, its name, its color
MARKED = {
    "fer2013": ("eval_accuracy", "Validation accuracy", BLUE),
    "ferplus": ("eval_ferplus_accuracy", "Validation accuracy on the FER+ majority", GREEN),
}


def read_log(run: Path) -> list[dict[str, Any]]:
    """Read the Trainer's log of a run folder or checkpoint; empty where the folder is neither.

    Raises:
        ReportError: there is a log that cannot be read.
    """
    if not (run / LOG).exists():
        return []
    try:
        return json.loads((run / LOG).read_text(encoding="utf-8"))["log_history"]
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(f"{run / LOG}: expected the trainer's log, got {error!r}") from error


def kept_evaluation(log_history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the evaluation, during training, of the weights that the run kept; None where nothing was evaluated.

    A finished run evaluates those weights once more; theirs is the evaluation with the same loss. Accuracies would not
    do, as epochs share them. The last evaluation in a checkpoint's log is the checkpoint's own.

    Args:
        log_history: `TrainerState.log_history`.
    """
    evaluations = [entry for entry in log_history if "eval_loss" in entry]
    if not evaluations:
        return None
    *during, last = evaluations
    if during and any("train_runtime" in entry for entry in log_history):  # it is finished
        nearest = min(during, key=lambda entry: abs(entry["eval_loss"] - last["eval_loss"]))
        if math.isclose(nearest["eval_loss"], last["eval_loss"], rel_tol=1e-4):
            return nearest
    return last


@styled
def curves(log_history: list[dict[str, Any]], head: str = "fer2013") -> ReportFigure:
    """Draw loss and accuracy over epochs, training against validation.

    Args:
        log_history: `TrainerState.log_history`. The accuracy on the augmented training images is drawn where the
            trainer logged it (`accuracy` beside `loss`).
        head: the one whose accuracy is marked at the epoch of the weights that were kept, "fer2013" or "ferplus".
    """
    kept = kept_evaluation(log_history)
    # the weights that were kept are evaluated once more at the end, which is no further point of the curve
    evaluated = {entry["epoch"]: entry for entry in reversed(log_history) if "eval_loss" in entry}
    log_history = [entry for entry in log_history if "loss" in entry] + list(evaluated.values())[::-1]
    figure, (left, right) = new_figure("Loss and accuracy over the epochs of training", "", 4.2, 1, 2)
    figure.get_layout_engine().set(w_pad=0.15)  # the legends mislead the layout about the room that tick labels need
    two = any(MARKED["ferplus"][0] in entry for entry in log_history)
    labels = ", FER-2013 labels" if two else ""
    lines = (
        (left, "loss", "training (augmented)", ORANGE),
        (left, "eval_loss", "validation", BLUE),
        (right, "accuracy", f"training (augmented){labels}", ORANGE),
        (right, "eval_accuracy", f"validation{labels}", BLUE),
        (right, "eval_balanced_accuracy", f"validation, balanced{labels}", MUTED),
        (right, "eval_ferplus_accuracy", "validation, FER+ majority", GREEN),
    )
    for axes, key, name, color in lines:
        points = [(entry["epoch"], entry[key]) for entry in log_history if key in entry]
        if points:
            step = -(-len(points) // MOST_POINTS)
            axes.plot(
                *zip(*points[::step], strict=True), color=color, label=name, marker="." if len(points) == 1 else ""
            )
    left.set(title="Loss", xlabel="epoch")
    right.set(title="Accuracy", xlabel="epoch", ylim=(0, 1))
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.lines:
            # below, for there is no telling which corner a run leaves free
            axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.2), borderaxespad=0)
    alt = "Loss and accuracy by epoch, training against validation."
    key, of, color = MARKED[head]
    if kept and key in kept:
        value, epoch = kept[key], kept["epoch"]
        right.plot(epoch, value, "o", color=color)
        aside = 7 if head == "ferplus" else -26  # above the uppermost curve, or below the lowest
        at = {"xytext": (0, aside), "textcoords": "offset points", "ha": "center"}
        right.annotate(f"{value:.3f}", (epoch, value), color=color, **at)
        alt += f" {of} of the weights that were kept, of epoch {epoch:g}, is {value:.3f}."
    return ReportFigure("training_curves", "Training curves", alt, figure)


def plot_curves(log_history: list[dict[str, Any]], path: Path) -> None:
    """Draw the curves of a run into one file.

    Args:
        log_history: `TrainerState.log_history`.
        path: the PNG or SVG to write.
    """
    save(curves(log_history), path)
