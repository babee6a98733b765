"""How far the on-device engine is from Python's, and images to compare them on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from skimage.data import astronaut, cat

from gradio_ui.recognition.types import Recognition


@dataclass(frozen=True)
class Difference:
    """The difference between two results for one image.

    Attributes:
        expected: the number of faces that Python finds.
        found: the number that the browser finds.
        pixels: the largest of all sides of all boxes.
        iou: the smallest of all pairs of boxes.
        probability: the largest of all labels of all faces.
        labels: the number of faces with the same label.
    """

    expected: int
    found: int
    pixels: float = 0.0
    iou: float = 1.0
    probability: float = 0.0
    labels: int = 0


def compare(expected: Recognition, found: dict[str, Any]) -> Difference:
    """Compare results face by face; both list the largest first."""
    faces = found["faces"]
    if len(faces) != len(expected) or not faces:
        return Difference(len(expected), len(faces))
    boxes = np.array([face["box"] for face in faces])
    scores = np.array([[face["probabilities"][label] for label in expected.labels] for face in faces])
    return Difference(
        len(expected),
        len(faces),
        float(np.abs(boxes - expected.faces.xyxy).max()),
        float(_ious(boxes, expected.faces.xyxy).min()),
        float(np.abs(scores - expected.probabilities).max()),
        sum(face["label"] == label for face, (label, _) in zip(faces, expected.top(), strict=True)),
    )


def _ious(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    shared = (np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])).clip(0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    return np.asarray(shared / (areas[0] + areas[1] - shared))


def portrait(width: int, height: int, place: tuple[int, int], side: int, turn: float = 0.0) -> np.ndarray:
    """Place the astronaut's portrait on a plain background.

    Args:
        width: of the image in pixels.
        height: of the image in pixels.
        place: the left upper corner of the portrait.
        side: of the portrait in pixels.
        turn: in degrees, counterclockwise.
    """
    image = Image.new("RGB", (width, height), "#405060")
    whole = Image.fromarray(astronaut()).rotate(turn, Image.Resampling.BICUBIC, fillcolor="#405060")
    image.paste(whole.resize((side, side)), place)
    return np.asarray(image)


def group(width: int = 640, height: int = 480, mirror: bool = True) -> np.ndarray:
    """Make an image of six faces of different sizes and brightness."""
    image = Image.new("RGB", (width, height), "#405060")
    cell = width // 3
    head = astronaut()[0:230, 110:340]
    for number in range(6):
        side = cell - 12 * number
        tile = Image.fromarray((head * (1 - 0.08 * number)).astype(np.uint8)).resize((side, side))
        if mirror and number % 2:
            tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.paste(tile, (cell * (number % 3), (height // 2) * (number // 3)))
    return np.asarray(image)


def images() -> dict[str, np.ndarray]:
    """Images that try each part: both scales, turned heads, faces cut by the edge, thin strips, none at all."""
    close = Image.fromarray(astronaut()[40:200, 150:310])
    return {
        "portrait": astronaut(),
        **{f"turned by {turn}": portrait(640, 480, (80, 0), 480, turn) for turn in (-70, -30, 15, 45)},
        "left edge": portrait(640, 480, (-200, 0), 480),
        "top edge": portrait(640, 480, (100, -90), 480),
        "corner": portrait(400, 300, (220, 160), 300),
        "close-up": np.asarray(close.resize((1100, 1100))),
        "1080p": portrait(1920, 1080, (500, 0), 1000),
        "tiny": np.asarray(close.resize((48, 48))),
        "upright phone": portrait(360, 640, (0, 100), 360),
        "group": group(),
        "large group": group(1500, 1100),
        "strip": np.ascontiguousarray(np.asarray(astronaut())[100:104]),
        "pixel": astronaut()[:1, :1].copy(),
        "no face": cat(),
    }
