"""One color for each apparent expression, wherever it is drawn: page, videos and plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Found by annealing under two conditions that a test checks. Any two differ by a CIEDE2000 of 14 or more, as seen with
# full color vision, protanopia, deuteranopia and tritanopia; and each has a contrast of 3:1 (WCAG 2, graphics) to the
# page, light and dark.
COLORS = {
    "angry": "#e83569",
    "disgust": "#167c59",
    "fear": "#9f4d8b",
    "happy": "#c08b06",
    "sad": "#2d5df6",
    "surprise": "#229fd0",
    "neutral": "#939393",
    "contempt": "#6d6204",
}
# Of lines, beside the colors: an "on off on off" length in pixels each, "solid" for none.
DASHES = {
    "angry": "solid",
    "disgust": "8px,3px",
    "fear": "3px,3px",
    "happy": "solid",
    "sad": "12px,3px,3px,3px",
    "surprise": "8px,3px",
    "neutral": "1px,4px",
    "contempt": "1px,4px",
}
OTHER_COLOR = "#939393"
UNCLEAR_COLOR = "#ffffff"  # of a box and a label that speak for no expression; drawn between dark edges, and dashed


def colors_of(labels: Sequence[str]) -> dict[str, str]:
    """Choose a color for each label of any model: a known label's own, and for the others those that are left.

    Args:
        labels: in the model's order.

    Returns:
        label -> "#rrggbb". All differ as long as there are no more labels than `COLORS`; further ones are
        `OTHER_COLOR`, so their text has to stand beside them.
    """
    unknown = [label for label in labels if label not in COLORS]
    spare = [color for label, color in COLORS.items() if label not in labels]
    spare += [OTHER_COLOR] * (len(unknown) - len(spare))
    colors = COLORS | dict(zip(unknown, spare, strict=False))
    return {label: colors[label] for label in labels}


def text_color(background: str) -> str:
    """Choose black or white, whichever reads better on a "#rrggbb" background (WCAG 2)."""
    luminance = relative_luminance(background)
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"


def relative_luminance(color: str) -> float:
    """Give the relative luminance of a "#rrggbb" color, 0-1 (WCAG 2)."""
    return float(linear_rgb(color) @ (0.2126, 0.7152, 0.0722))


def linear_rgb(color: str) -> np.ndarray:
    """Give the linear-light channels of a "#rrggbb" color, (3,) in 0-1 (IEC 61966-2-1)."""
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
