"""What the page's modules know of the models that they may run on the visitor's device."""

from __future__ import annotations

from typing import Any

from gradio_ui.model_registry import Models
from gradio_ui.recognition.palette import COLORS, OTHER_COLOR, text_color


def device_props(models: Models, unclear_below: float) -> dict[str, Any]:
    """Give the props of a component whose script recognizes faces; `model` follows the choice of the session.

    Args:
        models: What a visitor may choose from.
        unclear_below: where the threshold of doubt begins, 0-1.
    """
    return {
        "colors": {label: [color, text_color(color)] for label, color in COLORS.items()},
        "other_color": [OTHER_COLOR, text_color(OTHER_COLOR)],
        "model": models.default,
        "models": list(models.names),  # their places are those of `DeviceFiles`
        "unclear_below": unclear_below,
    }
