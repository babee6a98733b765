"""The dataclasses that everything passes around, validated when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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

    def to_dicts(self) -> list[dict[str, Any]]:
        """Describe each face as a plain, JSON-ready dict; see `tables.face_dict`."""
        return [
            face_dict(i + 1, self.faces.xyxy[i], self.faces.confidence[i], label, self.labels, self.probabilities[i])
            for i, (label, _) in enumerate(self.top())
        ]
