"""Draw results on copies of frames: boxes, labels and heat maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradio_ui.language import drawn, label_name, shown_name, t
from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.palette import UNCLEAR_COLOR, colors_of, text_color
from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.types import Recognition
from gradio_ui.recognition.video_analysis import Draw
from gradio_ui.views.label_layout import Label, label_texts, line_width, place_labels

if TYPE_CHECKING:
    from PIL import ImageFont

SHOWN_LONG_SIDE = (480, 2048)  # pixels, least and most
HEAT_COLORS = "inferno"  # of matplotlib: perceptually uniform, so equal steps of the map look equal
HEAT_OPACITY = 0.6
DASH = 6  # length of a dash, in widths of the line


@dataclass(frozen=True)
class _Mark:
    """What is drawn for one face: its box in pixels, its texts with the longest first, and "#rrggbb" colors."""

    box: Sequence[float]
    texts: list[str]
    color: str
    unclear: bool


def display_scale(size: tuple[int, int]) -> float:
    """Give the factor by which an image of (width, height) pixels is enlarged to be shown.

    A small one grows, so that the label does not hide the face; a huge one shrinks to what a screen can show.
    """
    long_side = max(size)
    return min(max(long_side, SHOWN_LONG_SIDE[0]), SHOWN_LONG_SIDE[1]) / long_side


def annotate(frame: np.ndarray, recognition: Recognition, threshold: float = UNCLEAR_BELOW) -> np.ndarray:
    """Draw a box and a label for every face.

    Args:
        frame: (h, w, 3) uint8 RGB; left as it is.
        recognition: The result for this very frame.
        threshold: Probability below which a label is unclear.

    Returns:
        (h', w', 3) uint8 RGB, a copy scaled by `display_scale`.
    """
    from PIL import Image

    scale = display_scale(recognition.size)
    width, height = (max(1, round(side * scale)) for side in recognition.size)
    image = np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))
    alone = len(recognition) == 1
    colors = colors_of(recognition.labels)
    with drawn():
        marks = [
            _mark(None if alone else face["face"], [v * scale for v in box], face, colors)
            for box, face in zip(recognition.faces.xyxy.tolist(), recognition.to_dicts(threshold), strict=True)
        ]
    _draw_faces(image, marks)
    return image


def face_drawer(labels: Sequence[str]) -> Draw:
    """Make the function that draws boxes and labels into the frames of a video.

    Args:
        labels: The expressions; each has a color of its own.

    Returns:
        (frame (h, w, 3) uint8 RGB, faces) -> a new frame of the same shape.
    """
    colors, places = colors_of(labels), {label: i for i, label in enumerate(labels)}

    def draw(frame: np.ndarray, faces: Sequence[TrackedFace]) -> np.ndarray:
        if not faces:
            return frame
        told = [
            {
                "label": face.label,
                "probability": float(face.probabilities[places[face.label]]),
                "unclear": face.unclear,
                "shown": face.shown,
            }
            for face in faces
        ]
        image = frame.copy()
        with drawn():
            marks = [_mark(face.face, face.box, one, colors) for face, one in zip(faces, told, strict=True)]
        _draw_faces(image, marks)
        return image

    return draw


def _mark(number: int | None, box: Sequence[float], told: dict[str, Any], colors: dict[str, str]) -> _Mark:
    """Make the mark of a face; `told` has the label, probability, unclear and shown of `tables.face_dict`."""
    names = label_name(told["label"]), told["probability"], told["unclear"], shown_name(told), t("face.unclear")
    texts = label_texts(number, *names)
    return _Mark(box, texts, UNCLEAR_COLOR if told["unclear"] else colors[told["label"]], told["unclear"])


def _draw_faces(image: np.ndarray, marks: Sequence[_Mark]) -> None:
    """Draw all boxes and then all labels into an image, (h, w, 3) uint8 RGB."""
    size = (image.shape[1], image.shape[0])
    for mark in marks:
        _draw_box(image, mark, max(1, round(line_width(size, mark.box))))
    labels = place_labels(size, [mark.box for mark in marks], [[_em_width(t) for t in mark.texts] for mark in marks])
    for mark, label in zip(marks, labels, strict=True):
        if label is not None:
            _draw_label(image, mark, label)


def _draw_box(image: np.ndarray, mark: _Mark, line: int) -> None:
    """Draw a box whose dark edges, outside and inside, keep it visible on any background."""
    edge = -(-line // 2)
    for rows, columns in _bands(mark.box, line // 2 + edge, line + 2 * edge):
        image[rows, columns] = 0
    for rows, columns in _bands(mark.box, line // 2, line):
        band = image[rows, columns]
        band[:] = _rgb(mark.color)
        if mark.unclear:
            along = np.arange(max(band.shape[:2])) // (DASH * line) % 2 == 1
            if band.shape[1] >= band.shape[0]:
                band[:, along] = 0
            else:
                band[along] = 0


def _bands(box: Sequence[float], outside: int, width: int) -> Iterable[tuple[slice, slice]]:
    """Cut the four sides of a box out of an image: rows and columns of each."""
    left, top, right, bottom = (round(v) for v in box)
    left, top, right, bottom = left - outside, top - outside, right + outside, bottom + outside

    def part(start: int, end: int) -> slice:
        return slice(max(0, start), max(0, end))

    yield part(top, top + width), part(left, right)
    yield part(bottom - width, bottom), part(left, right)
    yield part(top, bottom), part(left, left + width)
    yield part(top, bottom), part(right - width, right)


def _draw_label(image: np.ndarray, mark: _Mark, label: Label) -> None:
    left, top, right, bottom = (round(v) for v in label.box)
    patch = _patch(mark.texts[label.text], label.font, (right - left, bottom - top), mark.color)
    image[top:bottom, left:right] = patch[: image.shape[0] - top, : image.shape[1] - left]


@lru_cache(maxsize=512)
def _patch(text: str, font: int, size: tuple[int, int], color: str) -> np.ndarray:
    """Draw a text on its color: (h, w, 3) uint8 RGB. Frames of a video show the same ones again and again."""
    from PIL import Image, ImageDraw

    patch = Image.new("RGB", size, color)
    draw = ImageDraw.Draw(patch)
    draw.rectangle((0, 0, size[0] - 1, size[1] - 1), outline="#000000", width=max(1, font // 16))
    draw.text((size[0] / 2, size[1] / 2), text, font=_font(font, text.isascii()), fill=text_color(color), anchor="mm")
    return np.asarray(patch)


@lru_cache(maxsize=1024)
def _em_width(text: str) -> float:
    """Measure a text in units of the font's size."""
    return float(_font(100, text.isascii()).getlength(text)) / 100


@lru_cache(maxsize=32)
def _font(size: int, ascii_only: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's own font, or DejaVu Sans of matplotlib, which has more letters."""
    from PIL import ImageFont

    if ascii_only:
        return ImageFont.load_default(size=size)
    import matplotlib

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def heat_overlay(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over a gray copy of a face, whose own colors would be taken for the map's.

    Args:
        crop: (h, w, 3) uint8 RGB; left as it is.
        heat: (h, w) float32 in 0-1.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    import matplotlib

    gray = crop @ np.array([0.299, 0.587, 0.114])  # BT.601 luma, as PIL and the model's stem take it
    colors = matplotlib.colormaps[HEAT_COLORS](heat)[..., :3] * 255
    return (HEAT_OPACITY * colors + (1 - HEAT_OPACITY) * gray[..., None]).round().astype(np.uint8)


def heat_scale(steps: int = 8) -> list[str]:
    """Give the colors of the heat map as "#rrggbb", from 0 to 1."""
    import matplotlib
    from matplotlib.colors import to_hex

    return [to_hex(color) for color in matplotlib.colormaps[HEAT_COLORS](np.linspace(0, 1, steps))]
