"""One color for each apparent expression, wherever it is drawn: page, videos and plots."""

from __future__ import annotations

import numpy as np

# Okabe and Ito's palette, distinguishable with every common kind of color blindness (jfly.uni-koeln.de/color).
# The label's text always stands beside its color, so no meaning depends on the color alone.
COLORS = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#e69f00",
    "sad": "#0072b2",
    "surprise": "#56b4e9",
    "neutral": "#999999",
    "contempt": "#f0e442",
}
OTHER_COLOR = "#999999"


def text_color(background: str) -> str:
    """Choose black or white, whichever reads better on a "#rrggbb" background (WCAG 2 relative luminance)."""
    channels = np.array([int(background[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"
