"""Galleries of confident hits, confident misses and near-ties, for error analysis; not to be published.

The images of FER-2013 are research data of people who never consented. So galleries go only into a folder named for
the purpose, never into a package, a report or a repository.
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
        ReportError: it belongs to a package.
    """
    for parent in (folder.resolve(), *folder.resolve().parents):
        if (parent / "README.md").exists() and (parent / "model.safetensors").exists():
            raise ReportError(
                f"galleries: expected a folder outside of any package, got {folder}, which would be published with "
                f"{parent.name}; the images show people who never consented"
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

    def predicted(row: int) -> str:
        return f"{labels[best[row]]} {confidence[row]:.2f}"

    def top_two(row: int) -> str:
        return f"{labels[best[row]]} {first[row]:.2f}\n{labels[runner_up[row]]} {second[row]:.2f}"

    kinds = (
        ("confident_hits", "The most confident hits of each class", np.where(hit, -confidence, np.inf), predicted),
        ("confident_misses", "The most confident misses of each class", np.where(hit, np.inf, -confidence), predicted),
        ("near_ties", "The nearest ties of each class", first - second, top_two),
    )
    write_figures([_gallery(predictions, *kind) for kind in kinds], folder, folder)


@styled
def _gallery(
    predictions: Predictions, name: str, title: str, rank: np.ndarray, caption: Callable[[int], str]
) -> ReportFigure:
    """Draw a row of images for each class, the lowest rank first; images of infinite rank are left out."""
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
            axes.imshow(predictions.images[int(row)]["image"].convert("L"), cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption(int(row)), fontsize=8, loc="center", pad=2)
    return ReportFigure(name, title, f"{title}: photographs of faces.", figure, vector=False)
