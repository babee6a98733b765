"""Face crops: the only place that cuts a face out of a frame."""

from __future__ import annotations

import math

import numpy as np

MAX_SIDE = 512  # pixels; a larger face is shrunk to this, far above the input size of our models
MAX_ROLL = 60.0  # degrees; a head tilted further is left as it is, landmarks that say so are mostly wrong
MIN_EYE_DISTANCE = 0.2  # of the box's width; nearer eyes (a profile) give no usable angle


def crop_face(frame: np.ndarray, xyxy: np.ndarray, landmarks: np.ndarray | None, margin: float) -> np.ndarray:
    """Cut a square around a face, turned upright by its eyes where they are known.

    The square shares the box's center; its side is (1 + margin) times the longer side of the box. Where it leaves the
    frame the frame's edge is repeated. Nothing is enlarged.

    Args:
        frame: (h, w, 3) uint8, RGB.
        xyxy: (4,) left, top, right, bottom in pixels of the frame.
        landmarks: (5, 2) pixels in the order of `types.LANDMARKS`, or None.
        margin: share of the box's longer side that is added; negative cuts tighter. Greater than -1.

    Returns:
        (s, s, 3) uint8, RGB, with s at most `MAX_SIDE`. Without a turn its pixels are those of the frame.
    """
    import cv2

    left, top, right, bottom = (float(v) for v in xyxy)
    side = max(1.0, (1 + margin) * max(right - left, bottom - top))
    roll = 0.0 if landmarks is None else _roll(landmarks, right - left)
    # The upright square of this side holds the turned one.
    reach = round(side * (abs(math.cos(roll)) + abs(math.sin(roll))))
    middle = np.array([left + right, top + bottom]) / 2
    corner = np.round(middle - reach / 2).astype(int)
    patch = _cut(frame, corner[0], corner[1], reach)

    shrink = min(1.0, MAX_SIDE / side)
    if shrink < 1:
        patch = cv2.resize(patch, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    if roll == 0:
        return patch
    out = round(side * shrink)
    center = (middle - corner) * shrink - 0.5  # OpenCV's coordinates are those of pixel centers
    turn = cv2.getRotationMatrix2D(center.tolist(), math.degrees(roll), 1.0)
    turn[:, 2] += (out - 1) / 2 - center
    return cv2.warpAffine(patch, turn, (out, out), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _roll(landmarks: np.ndarray, width: float) -> float:
    """Compute the head's tilt in radians, clockwise in the image; 0 where the eyes give no usable angle."""
    dx, dy = (float(v) for v in landmarks[1] - landmarks[0])
    roll = math.atan2(dy, dx)
    usable = math.hypot(dx, dy) >= MIN_EYE_DISTANCE * width and abs(math.degrees(roll)) <= MAX_ROLL
    return roll if usable else 0.0


def _cut(frame: np.ndarray, x: int, y: int, side: int) -> np.ndarray:
    """Cut out the square at (x, y); beyond the frame its edge is repeated."""
    height, width = frame.shape[:2]
    rows = np.arange(y, y + side).clip(0, height - 1)
    columns = np.arange(x, x + side).clip(0, width - 1)
    if y >= 0 and x >= 0 and y + side <= height and x + side <= width:
        return np.ascontiguousarray(frame[y : y + side, x : x + side])
    return frame[rows[:, None], columns]
