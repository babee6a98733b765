"""YuNet in onnxruntime: whole images at two scales, video near the faces that are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .errors import DetectorError
from .onnx_session import THREADS, cores, cpu_session
from .types import LANDMARKS, Faces
from .yunet_network import OUTPUTS, STRIDES, YUNET_FILE, YUNET_REPO, merged_heads

Window: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom in pixels of a scaled frame


@dataclass(frozen=True)
class Search:
    """A search of a frame at one scale.

    Attributes:
        scale: by which the frame is resized.
        near: (n, 4) boxes in pixels of the frame, in whose surroundings faces are searched; None searches all of it.
    """

    scale: float
    near: np.ndarray | None = None


@dataclass(frozen=True)
class Found:
    """What searches found.

    Attributes:
        faces: the n faces, largest first.
        scales: (n,) the scale at which each was found.
    """

    faces: Faces
    scales: np.ndarray


class YuNetDetector:
    """YuNet in onnxruntime, with five landmarks (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y).

    It was trained on faces of 10 to 300 pixels: a larger one gets a wrong box. So each frame is searched at two
    scales: shrunk until even a close-up is small, and large enough for small faces. Small frames are enlarged, which
    raises the recall on FER-2013's 48-pixel images from 89 % to 98 % (200 of `validation`). Of 400 faces, 12 to 470
    pixels high in 640x480, both scales together find 251, the large one alone 246, the small one alone 188; a small
    scale of 320 pixels costs half as much again and finds no more.

    The boxes are those of OpenCV's `FaceDetectorYN` on the same file, in a third of its time: OpenCV's convolutions
    are slower, and it rebuilds its network at every change of size.

    Args:
        path: the ONNX file, from `opencv/face_detection_yunet` or from libfacedetection; both have the same layout.
        score_threshold: the least confidence of a face, between 0 and 1.
        threads: as for `cpu_session`; with 1 the scales are searched one after the other, too.

    Raises:
        DetectorError: the file is missing or is no YuNet.
    """

    name = "yunet"
    LONG_SIDES = (256, 1280)  # pixels
    SMALL = 160  # pixels; frames with a shorter long side are enlarged to this
    IOU_THRESHOLD = 0.3
    # The least pixels around a face that are searched with it, and no less than its own side; as in on_device.
    CONTEXT = 64

    def __init__(self, path: str | Path, score_threshold: float = 0.7, threads: int = THREADS) -> None:
        path = Path(path).expanduser()
        if not path.is_file():
            raise DetectorError(f"there is no face detector file at {path}; expected {YUNET_FILE} from {YUNET_REPO}")
        self.path = path
        self.score_threshold = score_threshold
        # Both factors of a score are at least its square, so most cells need no exponential function.
        self._least = math.log(score_threshold**2 / (1 - score_threshold**2))
        self._session = cpu_session(merged_heads(path), threads)
        self._pool = ThreadPoolExecutor(cores(), "detector") if min(threads, cores()) > 1 else None

    def __call__(self, frame: np.ndarray) -> Faces:
        """See `Detector`."""
        return self.search(frame, [Search(scale) for scale in self.scales(frame)]).faces

    def scales(self, frame: np.ndarray) -> list[float]:
        """List the scales at which a frame is searched, the smaller one first."""
        long_side = max(frame.shape[:2])
        return [side / long_side for side in sorted({min(max(long_side, self.SMALL), s) for s in self.LONG_SIDES})]

    def search(self, frame: np.ndarray, searches: Sequence[Search], large_enough: float = math.inf) -> Found:
        """Search a frame at some scales.

        Args:
            frame: (h, w, 3) uint8 RGB.
            searches: at least one.
            large_enough: of a face found at two scales the box of the smaller one is kept where its longer side has at
                least so many pixels there, and otherwise the more confident box.
        """
        ordered = sorted(searches, key=lambda one: one.scale)
        scaled: list[_Scaled] = []
        source = frame
        for one in reversed(ordered):
            scaled.insert(0, _Scaled(frame, one.scale, source))
            if one.near is None and one.scale < 1:
                source = scaled[0].whole  # the next smaller one is made from this
        # While the largest is searched, which leaves parts of both cores idle, so are the others.
        run = self._pool.submit if self._pool else _at_once
        smaller = [run(self._rows, part, one.near) for part, one in zip(scaled[:-1], ordered[:-1], strict=True)]
        largest = self._rows(scaled[-1], ordered[-1].near)
        found = [*(rows.result() for rows in smaller), largest]
        rows = np.concatenate(found)
        scales = np.repeat([one.scale for one in ordered], [len(one) for one in found])
        preferred = (scales < ordered[-1].scale) & (scales * rows[:, 2:4].max(axis=1) >= large_enough)
        kept = _distinct(_xyxy(rows[:, :4]), rows[:, 14] + preferred)
        rows = rows[kept]
        landmarks = np.ascontiguousarray(rows[:, 4:14].reshape(-1, LANDMARKS, 2))
        return Found(Faces(_xyxy(rows[:, :4]), rows[:, 14], landmarks=landmarks), scales[kept])

    def _rows(self, scaled: _Scaled, near: np.ndarray | None) -> np.ndarray:
        """Search at one scale: (n, 15) float32 of x, y, w, h, five landmarks in frame pixels, score."""
        import cv2

        windows = scaled.windows(near, self.CONTEXT, STRIDES[-1])
        rows = np.concatenate([np.zeros((0, 15), np.float32), *(self._window(scaled, window) for window in windows)])
        if len(rows) > 1:
            kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, self.IOU_THRESHOLD)
            rows = rows[np.array(kept, np.intp)]
        rows[:, :14] *= np.tile(scaled.to_frame, 7)
        return rows

    def _window(self, scaled: _Scaled, window: Window) -> np.ndarray:
        """Search one part of a scaled frame; the same columns, in its pixels."""
        found = [np.zeros((0, 15), np.float32)]
        levels = self._session.run(None, {"input": _input(scaled.cut(window), STRIDES[-1])})
        for stride, level in zip(STRIDES, levels, strict=True):
            columns, values = level.shape[3], level.reshape(OUTPUTS, -1)
            cells = np.flatnonzero((values[:2] >= self._least).all(axis=0))
            if not len(cells):
                continue
            cls, obj, *box = values[:6, cells]
            corner = np.stack([cells % columns, cells // columns])
            size = np.exp(box[2:])
            xywh = np.concatenate([corner + box[:2] - size / 2, size])
            landmarks = values[6:, cells] + np.tile(corner, (LANDMARKS, 1))
            scores = np.sqrt(_sigmoid(cls) * _sigmoid(obj))
            rows = np.concatenate([stride * xywh, stride * landmarks, scores[None]]).T.astype(np.float32)
            found.append(rows[scores >= self.score_threshold])
        rows = np.concatenate(found)
        rows[:, [0, *range(4, 14, 2)]] += window[0]
        rows[:, [1, *range(5, 14, 2)]] += window[1]
        return rows[scaled.holds(window, _xyxy(rows[:, :4]))]


class _Scaled:
    """A frame at some scale, resized only where it is looked at.

    Args:
        frame: (h, w, 3) uint8 RGB.
        scale: its size, as a factor.
        source: the frame, or a smaller copy of it that is at least as large as this.
    """

    def __init__(self, frame: np.ndarray, scale: float, source: np.ndarray) -> None:
        self._frame = frame
        self._source = source
        self.shrinks = scale < 1
        self.height, self.width = (max(1, round(side * scale)) for side in frame.shape[:2])
        self.to_frame = frame.shape[1] / self.width, frame.shape[0] / self.height

    def windows(self, near: np.ndarray | None, context: int, grid: int) -> list[Window]:
        """Give the parts to search.

        Those around faces lie on the network's grid and so give the boxes that the whole image gives; where they are
        larger than the whole, that is taken.
        """
        whole = (0, 0, self.width, self.height)
        if near is None:
            return [whole]
        limits = np.array([self.width, self.height] * 2)
        boxes = near * limits / np.array([*self._frame.shape[1::-1]] * 2)
        around = np.maximum(context, boxes[:, 2:] - boxes[:, :2])
        first = np.floor((boxes[:, :2] - around) / grid).clip(0) * grid
        last = np.minimum(np.ceil((boxes[:, 2:] + around) / grid) * grid, limits[2:])
        windows = np.concatenate([first, last], axis=1).astype(int)[(last > first).all(axis=1)]
        area = (windows[:, 2:] - windows[:, :2]).prod(axis=1).sum()
        return [tuple(window) for window in windows.tolist()] if area < self.width * self.height else [whole]

    def cut(self, window: Window) -> np.ndarray:
        """Cut out a part: (h, w, 3) uint8 RGB."""
        left, top, right, bottom = window
        rows, columns = self._frame.shape[:2]
        if (rows, columns) == (self.height, self.width):
            return self._frame[top:bottom, left:right]
        places = [columns * left / self.width, columns * right / self.width]
        places += [rows * top / self.height, rows * bottom / self.height]
        part = (left, top, right, bottom) != (0, 0, self.width, self.height)
        # A pixel is the mean of its own area, so a part of the frame gives the same where it begins with a pixel.
        if self.shrinks and part and all(place.is_integer() for place in places):
            x0, x1, y0, y1 = map(int, places)
            return _resized(self._frame[y0:y1, x0:x1], right - left, bottom - top)
        return self.whole[top:bottom, left:right]

    @cached_property
    def whole(self) -> np.ndarray:
        """All of the frame: (h, w, 3) uint8 RGB."""
        return _resized(self._source, self.width, self.height)

    def holds(self, window: Window, xyxy: np.ndarray) -> np.ndarray:
        """Tell which boxes lie within a window, or leave it only where the frame ends, too.

        What is cut off by a window has a wrong box.
        """
        left, top, right, bottom = window
        before = (xyxy[:, :2] >= (left, top)) | (np.array([left, top]) == 0)
        after = (xyxy[:, 2:] <= (right, bottom)) | (np.array([right, bottom]) == (self.width, self.height))
        return (before & after).all(axis=1)


def _at_once(call: Callable[..., np.ndarray], *arguments: Any) -> Future[np.ndarray]:
    done: Future[np.ndarray] = Future()
    done.set_result(call(*arguments))
    return done


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    shrinks = width < image.shape[1] or height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _input(pixels: np.ndarray, grid: int) -> np.ndarray:
    """Make the network's input: (1, 3, H, W) float32, BGR, 0-255, with zeros up to the next multiples of the grid."""
    import cv2

    height, width = pixels.shape[:2]
    made = np.zeros((1, 3, -(-height // grid) * grid, -(-width // grid) * grid), np.float32)
    for plane, values in zip(made[0, ::-1], cv2.split(pixels), strict=True):  # three times as fast as a transposition
        plane[:height, :width] = values
    return made


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _xyxy(xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def _distinct(xyxy: np.ndarray, rank: np.ndarray, overlap: float = 0.5) -> np.ndarray:
    """Select the boxes to keep, as indices, largest first.

    Of two boxes whose intersection covers more than `overlap` of the smaller one, that of the higher rank stays.
    Unlike intersection over union this also drops a box inside another, the usual duplicate of the two scales.
    """
    area = (xyxy[:, 2:] - xyxy[:, :2]).clip(0).prod(axis=1)
    kept: list[int] = []
    for i in np.argsort(-rank, kind="stable"):
        corners = np.minimum(xyxy[kept, 2:], xyxy[i, 2:]), np.maximum(xyxy[kept, :2], xyxy[i, :2])
        shared = (corners[0] - corners[1]).clip(0).prod(axis=1)
        if (shared <= overlap * np.minimum(area[kept], area[i])).all():
            kept.append(int(i))
    return np.array(sorted(kept, key=lambda i: -area[i]), int)
