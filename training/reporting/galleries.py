"""Pictures of what a model gets right, gets wrong, and cannot decide, for the eyes of those who evaluate it.

The pictures of FER-2013 are research data of people who were never asked. So galleries go only into a folder named for
the purpose, and never into a package, a report or a repository.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from training.errors import ReportError
from training.reporting.plot_style import ReportFigure, new_figure, styled, write_figures

if TYPE_CHECKING:
    from training.evaluation.predictions import Predictions

COLUMNS = 8


def check_unpublished(folder: Path) -> None:
    """Refuse a folder that galleries must not go into.

    Raises:
        ReportError: if it belongs to a package.
    """
    for parent in (folder.resolve(), *folder.resolve().parents):
        if (parent / "README.md").exists() and (parent / "model.safetensors").exists():
            raise ReportError(
                f"galleries: expected a folder outside of any package, got {folder}, which would be published with "
                f"{parent.name}; the pictures show people who were never asked"
            )


def write_galleries(predictions: Predictions, folder: Path) -> None:
    """Write three PNGs: the most confident hits and misses and the nearest ties of each class.

    Args:
        predictions: what `training.evaluation.predictions.classify` gave.
        folder: made if need be; one that `check_unpublished` lets pass.
    """
    p = softmax(predictions.logits[0], axis=1)
    best, labels = p.argmax(axis=1), predictions.labels
    hit = best == predictions.references
    confidence = p.max(axis=1)
    second, first = np.sort(p, axis=1)[:, -2:].T
    runner_up = np.argsort(p, axis=1)[:, -2]

    def says(row: int) -> str:
        return f"{labels[best[row]]} {confidence[row]:.2f}"

    def wavers(row: int) -> str:
        return f"{labels[best[row]]} {first[row]:.2f}\n{labels[runner_up[row]]} {second[row]:.2f}"

    kinds = (
        ("confident_hits", "The surest hits of each class", np.where(hit, -confidence, np.inf), says),
        ("confident_misses", "The surest misses of each class", np.where(hit, np.inf, -confidence), says),
        ("near_ties", "The nearest ties of each class", first - second, wavers),
    )
    write_figures([_gallery(predictions, *kind) for kind in kinds], folder, folder)


@styled
def _gallery(
    predictions: Predictions, name: str, title: str, rank: np.ndarray, caption: Callable[[int], str]
) -> ReportFigure:
    """A row of pictures for each class, the lowest rank first; pictures of infinite rank are left out."""
    labels = predictions.labels
    figure, panels = new_figure(
        f"{title}, by reference", "Not to be published.", 1.3 * len(labels) + 0.6, len(labels), COLUMNS, squeeze=False
    )
    for c, label in enumerate(labels):
        rows = np.flatnonzero((predictions.references == c) & np.isfinite(rank))
        rows = rows[np.argsort(rank[rows], kind="stable")][:COLUMNS]
        for axes in panels[c]:
            axes.set_axis_off()
        panels[c, 0].text(-0.08, 0.5, label, ha="right", va="center", transform=panels[c, 0].transAxes)
        for axes, row in zip(panels[c], rows, strict=False):
            axes.imshow(predictions.pictures[int(row)]["image"].convert("L"), cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption(int(row)), fontsize=8, loc="center", pad=2)
    return ReportFigure(name, title, f"{title}: photographs of faces.", figure, vector=False)
