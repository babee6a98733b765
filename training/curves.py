"""The accuracy and loss curves of a run, from the Trainer's own log."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot_curves(log_history: list[dict[str, Any]], path: Path) -> None:
    """Draw training against validation loss and the validation metrics over epochs.

    Args:
        log_history: `TrainerState.log_history`.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    steps = [entry for entry in log_history if "loss" in entry]
    evaluations = [entry for entry in log_history if "eval_loss" in entry]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([e["epoch"] for e in steps], [e["loss"] for e in steps], color="#9aa5b1", label="training (augmented)")
    left.plot(
        [e["epoch"] for e in evaluations], [e["eval_loss"] for e in evaluations], color="#0b6bcb", label="validation"
    )
    left.set(title="Loss", xlabel="epoch")
    names = {
        "eval_accuracy": ("accuracy", "#0b6bcb"),
        "eval_balanced_accuracy": ("balanced accuracy", "#d9730d"),
        "eval_ferplus_accuracy": ("FER+ majority accuracy", "#2e7d32"),
    }
    for key, (name, colour) in names.items():
        points = [(e["epoch"], e[key]) for e in evaluations if key in e]
        if points:
            right.plot(*zip(*points, strict=True), color=colour, label=f"{name}, best {max(p[1] for p in points):.3f}")
    right.set(title="Validation", xlabel="epoch", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
