"""The few dataclasses that everything passes around, validated when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
        """No face: arrays of length 0, never None."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.xyxy)


@dataclass(frozen=True)
class Recognition:
    """What was seen in one frame.

    Attributes:
        faces: the n faces.
        probabilities: (n, C) float32, each row sums to 1; columns in the order of `labels`.
        labels: the C emotion names, in the model's own order.
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
        """The most probable label of each face with its probability."""
        best = self.probabilities.argmax(axis=1) if len(self) else []
        return [(self.labels[j], float(self.probabilities[i, j])) for i, j in enumerate(best)]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain, JSON-ready dict per face: box in pixels, confidence, label, all probabilities."""
        return [
            {
                "face": i + 1,
                "box": [round(float(v), 1) for v in self.faces.xyxy[i]],
                "confidence": float(self.faces.confidence[i]),
                "label": label,
                "probability": probability,
                "probabilities": {name: float(p) for name, p in zip(self.labels, self.probabilities[i], strict=True)},
            }
            for i, (label, probability) in enumerate(self.top())
        ]
