"""The dataclasses that everything passes around, validated when made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .doubt import UNCLEAR_BELOW
from .tables import face_dict

LANDMARKS = 5  # right eye, left eye, nose tip, right mouth corner, left mouth corner; "right" is the person's right


@dataclass(frozen=True)
class Faces:
    """The faces of one frame, as a struct of arrays; n may be 0.

    Attributes:
        xyxy: (n, 4) float32, left, top, right, bottom in pixels of the frame; a box may reach beyond its edges.
        confidence: (n,) float32 in 0-1, the detector's own.
        landmarks: (n, 5, 2) float32 pixels in the order of `LANDMARKS`, or None where the detector gives none.
        tracker_id: (n,) int, stable over frames, or None where nothing tracks.
    """

    xyxy: np.ndarray
    confidence: np.ndarray
    landmarks: np.ndarray | None = None
    tracker_id: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        for name, shape in (
            ("xyxy", (n, 4)),
            ("confidence", (n,)),
            ("landmarks", (n, LANDMARKS, 2)),
            ("tracker_id", (n,)),
        ):
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"Faces.{name}: expected shape {shape}, got {array.shape}")

    @classmethod
    def empty(cls) -> Faces:
        """Return no face: arrays of length 0, never None."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.xyxy)

    def scaled(self, factor: float) -> Faces:
        """Give the same faces in a frame that is larger by a factor."""
        if factor == 1:
            return self
        landmarks = None if self.landmarks is None else self.landmarks * np.float32(factor)
        return replace(self, xyxy=self.xyxy * np.float32(factor), landmarks=landmarks)


def reading_order(xyxy: np.ndarray) -> list[int]:
    """Order faces as one reads: row by row from the top, each from left to right; static/labels.js has the same rule.

    A row is the highest face that is left, by its center, and all whose centers lie above its lower edge.

    Args:
        xyxy: (n, 4) left, top, right, bottom.

    Returns:
        The n indices in that order.
    """
    x, y = (xyxy[:, 0] + xyxy[:, 2]) / 2, (xyxy[:, 1] + xyxy[:, 3]) / 2
    waiting = sorted(range(len(xyxy)), key=lambda i: y[i])
    order: list[int] = []
    while waiting:
        row = [i for i in waiting if i == waiting[0] or y[i] < xyxy[waiting[0], 3]]
        order += sorted(row, key=lambda i: x[i])
        waiting = [i for i in waiting if i not in row]
    return order


@dataclass(frozen=True)
class Recognition:
    """The faces of one frame with the probabilities of their labels.

    Attributes:
        faces: the n faces.
        probabilities: (n, C) float32, each row sums to 1; columns in the order of `labels`.
        labels: the C label names, in the model's own order.
        size: (width, height) of the frame in pixels.
    """

    faces: Faces
    probabilities: np.ndarray
    labels: tuple[str, ...]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        expected = (len(self.faces), len(self.labels))
        if self.probabilities.shape != expected:
            raise ValueError(f"Recognition.probabilities: expected shape {expected}, got {self.probabilities.shape}")

    def __len__(self) -> int:
        return len(self.faces)

    def top(self) -> list[tuple[str, float]]:
        """Return the most probable label of each face with its probability."""
        best = self.probabilities.argmax(axis=1) if len(self) else []
        return [(self.labels[j], float(self.probabilities[i, j])) for i, j in enumerate(best)]

    def numbers(self) -> list[int]:
        """Number the faces from 1 in `reading_order`."""
        numbers = {index: number for number, index in enumerate(reading_order(self.faces.xyxy), start=1)}
        return [numbers[index] for index in range(len(self))]

    def to_dicts(self, threshold: float = UNCLEAR_BELOW) -> list[dict[str, Any]]:
        """Describe each face, in the order they are in, as a plain, JSON-ready dict; see `tables.face_dict`.

        Args:
            threshold: probability below which a label is unclear.
        """
        return [
            face_dict(number, box, confidence, label, self.labels, probabilities, threshold)
            for number, box, confidence, (label, _), probabilities in zip(
                self.numbers(), self.faces.xyxy, self.faces.confidence, self.top(), self.probabilities, strict=True
            )
        ]
