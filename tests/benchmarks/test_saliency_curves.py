"""Deletion curves rank a map that marks what the score rests on before random cells, and those before its opposite."""

import numpy as np
import pytest

from tests.benchmarks.saliency import SHARES, deletion_curve, hidings, interval, measure

CORNER = np.zeros((48, 48), np.float32)
CORNER[4:12, 8:16] = 1


def logits(pixels: np.ndarray) -> np.ndarray:
    """Output 0 rests on the brightness of one corner alone."""
    score = 8 * (pixels * CORNER).sum(axis=(1, 2, 3)) / (3 * CORNER.sum())
    return np.stack([score - 4, 4 - score], axis=1)


def test_the_right_map_has_the_smallest_area() -> None:
    pixels = np.broadcast_to(CORNER, (1, 3, 48, 48)).copy()
    noise = np.random.default_rng(0).random((48, 48))
    for hidden in hidings(pixels).values():
        assert hidden.shape == pixels.shape
        right, random, wrong = (deletion_curve(logits, pixels, hidden, 0, heat) for heat in (CORNER, noise, -CORNER))
        areas = [np.trapezoid(curve, SHARES) for curve in (right, random, wrong)]
        assert areas[0] < 0.15 < areas[1] < 0.85 < areas[2]
        assert right[0] == pytest.approx(1 / (1 + np.exp(-8))) and right[1] < 0.1  # all that counts is gone at once
        assert right[-1] == random[-1] == wrong[-1]  # nothing is left of the image
        assert deletion_curve(logits, pixels, hidden, 1, CORNER) == pytest.approx(1 - right, abs=1e-6)


def test_a_coarse_map_covers_the_image() -> None:
    """A map of 2 x 2 cells marks a quarter of the image, wherever its values lie."""
    pixels = np.broadcast_to(CORNER, (1, 3, 48, 48)).copy()
    hidden = np.zeros_like(pixels)
    curves = [deletion_curve(logits, pixels, hidden, 0, np.eye(4)[i].reshape(2, 2)) for i in range(4)]
    quarter = int(np.flatnonzero(SHARES <= 0.25)[-1])
    assert curves[0][quarter] < 0.1 and all(curve[quarter] > 0.99 for curve in curves[1:])


def test_differences_are_from_the_served_map() -> None:
    served = {"mean": np.full(50, 0.2), "blur": np.full(50, 0.3)}
    row = measure("other", {"mean": np.full(50, 0.5), "blur": np.full(50, 0.3)}, served, np.array([3.0, 5.0, 4.0]))
    assert row == {
        "map": "other",
        "median_ms": 4.0,
        "mean": 0.5,
        "mean_difference": [0.3, 0.3],
        "blur": 0.3,
        "blur_difference": [0.0, 0.0],
    }
    low, high = interval(np.random.default_rng(0).normal(1, 1, 400))
    assert low < 1 < high and high - low == pytest.approx(4 * 1 / 20, rel=0.2)
