"""Draw results on copies of frames: boxes, labels and heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradio_ui.recognition.palette import COLORS, OTHER_COLOR, text_color
from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.types import Recognition
from gradio_ui.recognition.video_analysis import Draw

if TYPE_CHECKING:
    import supervision as sv

SHOWN_LONG_SIDE = (480, 2048)  # pixels, least and most
HEAT_COLORS = "inferno"  # of matplotlib: perceptually uniform, so equal steps of the map look equal
HEAT_OPACITY = 0.6


def display_scale(size: tuple[int, int]) -> float:
    """Give the factor by which an image of (width, height) pixels is enlarged to be shown.

    A small one grows, so that the label does not hide the face; a huge one shrinks to what a screen can show.
    """
    long_side = max(size)
    return min(max(long_side, SHOWN_LONG_SIDE[0]), SHOWN_LONG_SIDE[1]) / long_side


def annotate(frame: np.ndarray, recognition: Recognition) -> np.ndarray:
    """Draw a box and a label for every face.

    Args:
        frame: (h, w, 3) uint8 RGB; left as it is.
        recognition: The result for this very frame.

    Returns:
        (h', w', 3) uint8 RGB, a copy scaled by `display_scale`.
    """
    from PIL import Image, ImageDraw, ImageFont

    scale = display_scale(recognition.size)
    width, height = (max(1, round(side * scale)) for side in recognition.size)
    image = Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    side = (width * height) ** 0.5
    line = max(2, round(side / 250))
    font = ImageFont.load_default(size=max(12, round(side / 25)))
    pad = 2 * line
    for number, (box, (label, probability)) in enumerate(
        zip(recognition.faces.xyxy * scale, recognition.top(), strict=True), start=1
    ):
        left, top, right, bottom = (round(float(v)) for v in box)
        color = COLORS.get(label, OTHER_COLOR)
        # A dark edge inside and outside keeps the box visible on any background.
        draw.rectangle((left - line, top - line, right + line, bottom + line), outline="#000000", width=3 * line)
        draw.rectangle((left, top, right, bottom), outline=color, width=line)
        text = f"{label} {probability:.0%}" if len(recognition) == 1 else f"{number} {label} {probability:.0%}"
        x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font)
        w, h = x1 - x0 + 2 * pad, y1 - y0 + 2 * pad
        x = min(max(0, left - line), max(0, width - w))
        y = top - line - h if top - line >= h else min(bottom + line, height - h)
        draw.rectangle((x, y, x + w, y + h), fill=color, outline="#000000", width=max(1, line // 2))
        draw.text((x + pad - x0, y + pad - y0), text, font=font, fill=text_color(color))
    return np.asarray(image)


def heat_overlay(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over a grey copy of a face, whose own colours would be taken for the map's.

    Args:
        crop: (h, w, 3) uint8 RGB; left as it is.
        heat: (h, w) float32 in 0-1.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    import matplotlib

    grey = crop @ np.array([0.299, 0.587, 0.114])  # BT.601 luma, as PIL and the model's stem take it
    colors = matplotlib.colormaps[HEAT_COLORS](heat)[..., :3] * 255
    return (HEAT_OPACITY * colors + (1 - HEAT_OPACITY) * grey[..., None]).round().astype(np.uint8)


def heat_scale(steps: int = 8) -> list[str]:
    """Give the colours of the heat map as "#rrggbb", from 0 to 1."""
    import matplotlib
    from matplotlib.colors import to_hex

    return [to_hex(color) for color in matplotlib.colormaps[HEAT_COLORS](np.linspace(0, 1, steps))]


def face_drawer(labels: Sequence[str]) -> Draw:
    """Make the function that draws boxes and labels into the frames of a video.

    Args:
        labels: The expressions; each has a color of its own.

    Returns:
        (frame (h, w, 3) uint8 RGB, faces) -> a new frame of the same shape.
    """

    @lru_cache(maxsize=1)
    def annotators(size: tuple[int, int]) -> tuple[sv.BoxAnnotator, sv.LabelAnnotator]:
        import supervision as sv

        def palette(colors: Sequence[str]) -> sv.ColorPalette:
            # supervision writes blue first; the frame has red first, so the colours are swapped and not the pixels.
            rgb = [sv.Color.from_hex(color) for color in colors]
            return sv.ColorPalette([sv.Color(r=color.b, g=color.g, b=color.r) for color in rgb])

        colors = [COLORS.get(label, OTHER_COLOR) for label in labels]
        line = sv.calculate_optimal_line_thickness(size)
        return sv.BoxAnnotator(palette(colors), thickness=line), sv.LabelAnnotator(
            palette(colors),
            text_color=palette([text_color(color) for color in colors]),
            text_scale=max(0.5, 1.5 * sv.calculate_optimal_text_scale(size)),  # legible on a phone
            text_thickness=max(1, line // 2),
            text_padding=2 * line,
            smart_position=True,  # also keeps the text of a face at the edge inside the frame
        )

    def draw(frame: np.ndarray, faces: Sequence[TrackedFace]) -> np.ndarray:
        import supervision as sv

        if not faces:
            return frame
        box, label = annotators((frame.shape[1], frame.shape[0]))
        detections = sv.Detections(
            np.array([face.box for face in faces], np.float32),
            class_id=np.array([labels.index(face.label) for face in faces]),
        )
        texts = [f"{f.face} {f.label} {f.probabilities[labels.index(f.label)]:.0%}" for f in faces]
        return label.annotate(box.annotate(frame.copy(), detections), detections, texts)

    return draw
