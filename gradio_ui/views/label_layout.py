"""Where the labels of faces stand: beside their faces, on no other face and on no other label.

Plain geometry in pixels, the same for pictures, videos and recordings. static/labels.js has the same rules for what
the browser draws; tests/gradio_ui/views/label_cases.json holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

FONTS = (8, 9, 10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 57, 68, 81, 96, 114, 136, 160)  # in steps, so none trembles
FONT_OF_FACE = 0.18  # of its height
FONT_OF_IMAGE = (1 / 50, 1 / 24)  # of its long side: least and most
BADGE_OF_IMAGE = 1 / 100  # of its long side: least of a number alone
LINE_OF_FACE = 0.02
LINE_OF_IMAGE = (1 / 1000, 1 / 300)
TEXT_HEIGHT, TEXT_PADDING = 1.4, 0.35  # of a label, in units of its font
INSIDE = 0.5  # of its height, the most of a face that its own label may cover

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Label:
    """A label that has a place.

    Attributes:
        text: which of the face's texts it shows, counted from 0.
        font: size in pixels.
        box: left, top, right, bottom in pixels.
    """

    text: int
    font: int
    box: Box


def line_width(size: tuple[float, float], box: Sequence[float]) -> float:
    """Give the width of a face's box in pixels; a dark edge of half of it goes along either side."""
    least, most = (share * max(size) for share in LINE_OF_IMAGE)
    return max(1.0, min(max(LINE_OF_FACE * (box[3] - box[1]), least), most))


def place_labels(
    size: tuple[float, float], boxes: Sequence[Sequence[float]], widths: Sequence[Sequence[float]]
) -> list[Label | None]:
    """Find a place for the label of every face.

    First each face, the largest first, gets its shortest text, its number; then each gets the longest text for which
    there is room.

    Args:
        size: width and height of the image in pixels.
        boxes: left, top, right, bottom of each face.
        widths: of each face, the widths of its texts, the longest text first, in units of the font's size.

    Returns:
        A label for each face, inside the image and over no other face's box and no other label; None where no text
        of the face has such a place.
    """
    places = _Places(size, boxes)
    largest_first = sorted(range(len(boxes)), key=lambda i: -_area(boxes[i]))
    for face in largest_first:
        places.put(face, [len(widths[face]) - 1], widths[face], badge=True)
    for face in largest_first:
        places.put(face, range(len(widths[face]) - 1), widths[face], badge=False)
    return places.labels


class _Places:
    """The faces of one image, and the labels that have a place so far."""

    def __init__(self, size: tuple[float, float], boxes: Sequence[Sequence[float]]) -> None:
        self.size = size
        self.labels: list[Label | None] = [None] * len(boxes)
        self._boxes = [_grown(box, line_width(size, box)) for box in boxes]
        # The boxes of the faces, then those of their labels; what is not there yet is empty and overlaps nothing.
        self._taken = np.zeros((2 * len(boxes), 4))
        self._taken[: len(boxes)] = np.reshape(self._boxes, (-1, 4))

    def put(self, face: int, texts: Sequence[int], widths: Sequence[float], *, badge: bool) -> None:
        """Give a face the first of these texts that has a place; where none has, its label stays as it is."""
        for text in texts:
            for font in _fonts(self.size, self._boxes[face], badge):
                width, height = (widths[text] + 2 * TEXT_PADDING) * font, TEXT_HEIGHT * font
                for x, y in _candidates(self.size, self._boxes[face], width, height):
                    if self._free(face, box := (x, y, x + width, y + height)):
                        self.labels[face] = Label(text, font, box)
                        self._taken[len(self.labels) + face] = box
                        return

    def _free(self, face: int, box: Box) -> bool:
        left, top, right, bottom = box
        if left < 0 or top < 0 or right > self.size[0] or bottom > self.size[1]:
            return False
        taken = self._taken
        hit = (taken[:, 0] < right) & (taken[:, 2] > left) & (taken[:, 1] < bottom) & (taken[:, 3] > top)
        hit[face] = hit[len(self.labels) + face] = False  # its own
        return not hit.any()


def _fonts(size: tuple[float, float], box: Box, badge: bool) -> list[int]:
    """List the sizes to try, the largest first."""
    least, most = (share * max(size) for share in FONT_OF_IMAGE)
    wanted = [min(max(FONT_OF_FACE * (box[3] - box[1]), least), most), least]
    wanted += [BADGE_OF_IMAGE * max(size)] if badge else []
    return [max((font for font in FONTS if font <= most), default=FONTS[0]) for most in wanted]


def _candidates(size: tuple[float, float], box: Box, width: float, height: float) -> Iterator[tuple[float, float]]:
    """Yield the left and top of a label above, below, right, left of and inside a face, the best first."""
    left, top, right, bottom = box
    for x in (left, right - width, (left + right - width) / 2):
        yield min(max(x, 0.0), size[0] - width), top - height
    for x in (left, right - width, (left + right - width) / 2):
        yield min(max(x, 0.0), size[0] - width), bottom
    for y in (top, bottom - height):
        yield right, min(max(y, 0.0), size[1] - height)
    for y in (top, bottom - height):
        yield left - width, min(max(y, 0.0), size[1] - height)
    seen = (max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1]))
    if width <= seen[2] - seen[0] and height <= INSIDE * (seen[3] - seen[1]):
        for y in (seen[1], seen[3] - height):
            yield seen[0], y
            yield seen[2] - width, y


def _grown(box: Sequence[float], by: float) -> Box:
    left, top, right, bottom = (float(v) for v in box)
    return left - by, top - by, right + by, bottom + by


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def percent(probability: float) -> str:
    """Write a probability in whole percent, halves upwards as JavaScript rounds them."""
    return f"{math.floor(100 * probability + 0.5)}%"


def label_texts(
    number: int | None, label: str, probability: float, unclear: bool, shown: str, doubt: str = "unclear"
) -> list[str]:
    """Give the texts of a face, the longest first.

    Args:
        number: of the face; None where there is no other.
        label: the one to report.
        probability: of that label, 0-1.
        unclear: whether it is too low.
        shown: the label, or the two most probable ones where it is unclear; see `doubt.verdict`.
        doubt: the word for unclear.
    """
    texts = [f"{doubt}: {shown}", doubt] if unclear else [f"{label} {percent(probability)}", label]
    return texts if number is None else [*(f"{number} {text}" for text in texts), str(number)]
