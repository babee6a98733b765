"""Images to measure on, all made from one public-domain portrait that scikit-image carries."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.data import astronaut


def portrait_frame() -> np.ndarray:
    """(480, 640, 3) uint8 RGB with one face 84 pixels high."""
    return np.pad(astronaut()[:480], ((0, 0), (64, 64), (0, 0)), mode="edge")


def group_frame(rows: int = 2, columns: int = 3) -> np.ndarray:
    """(480, 640, 3) uint8 RGB with rows * columns faces, two sevenths of a cell high."""
    head = cv2.resize(astronaut()[:275, 80:325], (640 // columns, 480 // rows), interpolation=cv2.INTER_AREA)
    frame = np.tile(head, (rows, columns, 1))
    return np.pad(frame, ((0, 480 - len(frame)), (0, 640 - frame.shape[1]), (0, 0)), mode="edge")


def face_crops(count: int) -> list[np.ndarray]:
    """Crops (48, 48, 3) uint8 RGB around the face, no two alike up to 64."""
    return [np.ascontiguousarray(astronaut()[60 + y % 64 : 108 + y % 64, 200:248]) for y in range(count)]
