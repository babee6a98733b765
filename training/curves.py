"""The loss and accuracy curves of a run, from the Trainer's own log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.canvas import BLUE, GREEN, MUTED, ORANGE, Drawing, new_figure, save, styled
from training.report import ReportError

LOG = "trainer_state.json"
MOST_POINTS = 400  # of a line; more cannot be seen, and weigh


def read_log(run: Path) -> list[dict[str, Any]]:
    """The Trainer's log of a run folder or checkpoint; empty where the folder is neither.

    Raises:
        ReportError: if there is a log that cannot be read.
    """
    if not (run / LOG).exists():
        return []
    try:
        return json.loads((run / LOG).read_text(encoding="utf-8"))["log_history"]
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(f"{run / LOG}: expected the trainer's log, got {error!r}") from error


@styled
def curves(log_history: list[dict[str, Any]]) -> Drawing:
    """Training against validation, loss and accuracy over epochs.

    Args:
        log_history: `TrainerState.log_history`. The accuracy on the augmented training pictures is drawn where the
            trainer logged it (`accuracy` beside `loss`).
    """
    # the weights that were kept are evaluated once more at the end, which is no further point of the curve
    log_history = list({("loss" in entry, entry["epoch"]): entry for entry in reversed(log_history)}.values())[::-1]
    figure, (left, right) = new_figure("Loss and accuracy over the epochs of training", "", 3.7, 1, 2)
    lines = (
        (left, "loss", "training (augmented)", ORANGE),
        (left, "eval_loss", "validation", BLUE),
        (right, "accuracy", "training (augmented)", ORANGE),
        (right, "eval_accuracy", "validation", BLUE),
        (right, "eval_balanced_accuracy", "validation, balanced", MUTED),
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
            axes.legend()
    alt = "Loss and accuracy by epoch, training against validation."
    if scores := [(entry["eval_accuracy"], entry["epoch"]) for entry in log_history if "eval_accuracy" in entry]:
        best, epoch = max(scores)
        right.plot(epoch, best, "o", color=BLUE)
        right.annotate(f"{best:.3f}", (epoch, best), (0, 7), textcoords="offset points", ha="right", color=BLUE)
        alt += f" Validation accuracy is best, {best:.3f}, at epoch {epoch:g}."
    return Drawing("training_curves", "Training curves", alt, figure)


def plot_curves(log_history: list[dict[str, Any]], path: Path) -> None:
    """Draw the curves of a run into one file.

    Args:
        log_history: `TrainerState.log_history`.
        path: the PNG or SVG to write.
    """
    save(curves(log_history), path)
