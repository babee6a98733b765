"""The colors: distinguishable with every common kind of color vision, and visible in both themes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from gradio_ui.recognition.palette import COLORS, DASHES, colors_of, linear_rgb, relative_luminance

# Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# severity 1, on linear RGB.
VISIONS = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
PAGES = {"light": "#ffffff", "dark": "#0a0f1e"}


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(relative_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_expressions_differ_in_color(vision: str) -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab

    def seen(color: str) -> np.ndarray:
        linear = np.clip(np.array(VISIONS[vision]) @ linear_rgb(color), 0, 1)
        return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))

    for one, other in combinations(COLORS, 2):
        assert deltaE_ciede2000(seen(COLORS[one]), seen(COLORS[other])) >= 14, (one, other)


@pytest.mark.parametrize("theme", PAGES)
def test_every_color_stands_out_from_the_page(theme: str) -> None:
    for label, color in COLORS.items():
        assert contrast(color, PAGES[theme]) >= 3, label  # WCAG 2.1, 1.4.11


def test_the_page_has_the_colors_of_the_test() -> None:
    from gradio_ui.demo import theme

    css = theme()._get_theme_css()
    light, dark = css.split(".dark", 1)
    assert f"--neutral-950: {PAGES['dark']}" in css
    assert "--body-background-fill: var(--background-fill-primary)" in light
    assert "--background-fill-primary: white" in light
    assert "--background-fill-primary: var(--neutral-950)" in dark


def test_dashes_tell_lines_of_one_tone_apart() -> None:
    """Where two lines are of about the same lightness, as in a gray print, their dashes differ."""
    for one, other in combinations(COLORS, 2):
        if contrast(COLORS[one], COLORS[other]) < 1.25:
            assert DASHES[one] != DASHES[other], (one, other)


def test_labels_of_any_model_have_colors() -> None:
    colors = colors_of(["joy", "sad", "boredom"])
    assert colors["sad"] == COLORS["sad"]
    assert len(set(colors.values())) == 3
    assert list(colors_of(list(COLORS))) == list(COLORS)
    assert len(colors_of([str(i) for i in range(20)])) == 20
