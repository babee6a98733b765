"""Faces in a frame: YuNet where its file can be had, otherwise the Haar cascade that OpenCV's wheel carries."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import DetectorError
from .types import Faces

YUNET_REPO = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
PATH_VARIABLE = "FER_DETECTOR"


class Detector(Protocol):
    """Finds the faces of a frame. Safe to call from several threads.

    Attributes:
        name: "yunet", "haar" or "whole"; the key of the crop margin in a model's config.
        notice: one sentence for the user when this is not the detector that was wanted, otherwise "".
    """

    name: str
    notice: str

    def __call__(self, frame: np.ndarray) -> Faces:
        """Finds the faces of an RGB uint8 (h, w, 3) frame, largest first; boxes may reach beyond the frame."""
        ...


class YuNetDetector:
    """YuNet through OpenCV, with five landmarks (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y).

    It was made for faces of 10 to 300 pixels: a larger one gets a wrong box. So a frame is searched at two sizes, once
    shrunk until even a close-up is small, once for small faces. A small frame is enlarged; FER-2013's 48-pixel
    pictures are found in 98 % instead of 89 % that way (200 of `validation`). Neither search can be left out: of 294
    faces, 12 to 470 pixels high in 640x480, both find 205, the large size alone 193 and the small one alone 167, which
    costs a quarter of the large one.

    Args:
        path: the ONNX file, from `opencv/face_detection_yunet` or from libfacedetection; both have the same layout.
        score_threshold: the least confidence (0-1) of a face.

    Raises:
        DetectorError: the file is missing or is no YuNet.
    """

    name = "yunet"
    LONG_SIDES = (320, 1280)  # pixels
    SMALL = 160  # pixels; frames with a shorter long side are enlarged to this
    LEAST_SIDE = 64  # pixels, two cells of the coarsest grid
    IOU_THRESHOLD = 0.3

    def __init__(self, path: str | Path, score_threshold: float = 0.7) -> None:
        import cv2

        path = Path(path).expanduser()
        if not path.is_file():
            raise DetectorError(f"There is no face detector file at {path}. Expected {YUNET_FILE} from {YUNET_REPO}.")
        self.notice = ""
        self._lock = threading.Lock()  # OpenCV's object keeps the input size and its buffers between calls
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(path), "", (self.SMALL, self.SMALL), score_threshold, self.IOU_THRESHOLD
            )
            self(np.zeros((self.SMALL, self.SMALL, 3), np.uint8))  # a file of another kind fails only when it runs
        except cv2.error as error:
            raise DetectorError(f"{path.name} is no YuNet model ({error.err}). Expected {YUNET_FILE}.") from None

    def __call__(self, frame: np.ndarray) -> Faces:
        """See `Detector`."""
        import cv2

        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        long_side = max(bgr.shape[:2])
        targets = sorted({min(max(long_side, self.SMALL), limit) for limit in self.LONG_SIDES})
        with self._lock:
            rows = np.concatenate([self._search(bgr, target / long_side) for target in targets])
        rows = rows[_distinct(_xyxy(rows[:, :4]), rows[:, 14])]
        return Faces(
            _xyxy(rows[:, :4]), rows[:, 14].clip(0, 1), landmarks=np.ascontiguousarray(rows[:, 4:14].reshape(-1, 5, 2))
        )

    def _search(self, bgr: np.ndarray, scale: float) -> np.ndarray:
        """(n, 15) float32: x, y, w, h, five landmarks in frame pixels, score."""
        import cv2

        size = _scaled(bgr, scale)
        # a grid of one cell makes OpenCV read memory of nobody: boxes out of nowhere, other ones each time
        below, beside = (max(0, self.LEAST_SIDE - side) for side in size.shape[:2])
        padded = cv2.copyMakeBorder(size, 0, below, 0, beside, cv2.BORDER_CONSTANT)
        self._net.setInputSize((padded.shape[1], padded.shape[0]))
        rows = self._net.detect(padded)[1]
        if rows is None:
            return np.zeros((0, 15), np.float32)
        rows[:, :14] *= np.tile([bgr.shape[1] / size.shape[1], bgr.shape[0] / size.shape[0]], 7)
        return rows


class HaarDetector:
    """The frontal-face cascade inside OpenCV's wheel (Viola & Jones 2001): no download, no landmarks.

    Args:
        notice: see `Detector`.
        score_threshold: the least confidence (0-1) of a face.
    """

    name = "haar"
    LONG_SIDE = 800  # pixels; larger frames are shrunk to this
    SMALL = 160  # pixels; frames with a shorter long side are enlarged to this

    def __init__(self, notice: str = "", score_threshold: float = 0.5) -> None:
        import cv2

        self.notice = notice
        self.score_threshold = score_threshold
        self._lock = threading.Lock()
        self._cascade = cv2.CascadeClassifier(
            os.path.join(os.path.dirname(cv2.__file__), "data", "haarcascade_frontalface_default.xml")
        )

    def __call__(self, frame: np.ndarray) -> Faces:
        """See `Detector`."""
        import cv2

        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        long_side = max(grey.shape)
        small = _scaled(grey, min(max(long_side, self.SMALL), self.LONG_SIDE) / long_side)
        with self._lock:
            boxes, _, weights = self._cascade.detectMultiScale3(
                small, scaleFactor=1.1, minNeighbors=5, minSize=(24, 24), outputRejectLevels=True
            )
        if not len(boxes):
            return Faces.empty()
        ratio = [grey.shape[1] / small.shape[1], grey.shape[0] / small.shape[0]]
        xyxy = _xyxy(np.asarray(boxes, np.float32) * np.tile(ratio, 2).astype(np.float32))
        # A weight is the sum of the cascade's last stage: 0 or more, without an upper end. On FER-2013 pictures placed
        # in larger ones 95 % of the faces come out above 0.7 here, most false finds below 0.5.
        confidence = (1 - np.exp(-np.asarray(weights, np.float32).reshape(-1).clip(0) / 2)).astype(np.float32)
        sure = confidence >= self.score_threshold
        xyxy, confidence = xyxy[sure], confidence[sure]
        keep = _distinct(xyxy, confidence)
        return Faces(xyxy[keep], confidence[keep])


class WholePictureDetector:
    """Takes the picture itself as the one face: for crops such as FER-2013's own pictures."""

    name = "whole"
    notice = ""

    def __call__(self, frame: np.ndarray) -> Faces:
        """See `Detector`."""
        height, width = frame.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


def load_detector(name: str = "auto", path: str | Path | None = None) -> Detector:
    """Loads a face detector.

    Args:
        name: "yunet", "haar", "whole", or "auto": YuNet where its file can be had, otherwise Haar with a notice.
        path: YuNet's ONNX file. Without it, the environment variable `FER_DETECTOR`, then the Hub's cache, then the
            Hub are asked; offline that takes no time.

    Raises:
        DetectorError: the name is unknown, a file that was named is missing or wrong, or "yunet" was asked for and
            cannot be had. A file that was named and does not work never falls back to Haar.
    """
    if name == "whole":
        return WholePictureDetector()
    if name == "haar":
        return HaarDetector()
    if name not in ("auto", "yunet"):
        raise DetectorError(f"Unknown face detector {name!r}. Choose auto, yunet, haar or whole.")
    path = path or os.environ.get(PATH_VARIABLE)
    if path:
        return YuNetDetector(path)
    try:
        return YuNetDetector(_fetch_yunet())
    except DetectorError as error:
        if name == "yunet":
            raise
        return HaarDetector(notice=f"Faces are found with OpenCV's older Haar cascade, frontal faces only: {error}")


def _fetch_yunet() -> str:
    import httpx2
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(YUNET_REPO, YUNET_FILE, revision=YUNET_REVISION)
    if isinstance(cached, str):
        return cached
    try:
        # Asked once and briefly first: without a network the download alone would try for 20 s and more.
        get_hf_file_metadata(hf_hub_url(YUNET_REPO, YUNET_FILE, revision=YUNET_REVISION), timeout=5)
        return hf_hub_download(YUNET_REPO, YUNET_FILE, revision=YUNET_REVISION)
    except (OSError, httpx2.HTTPError):
        raise DetectorError(
            f"YuNet could not be fetched from the Hub ({YUNET_REPO}). "
            f"Connect to the Internet once, or set {PATH_VARIABLE} to a copy of {YUNET_FILE}."
        ) from None


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    import cv2

    if scale == 1:
        return image
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _xyxy(xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def _distinct(xyxy: np.ndarray, confidence: np.ndarray, overlap: float = 0.5) -> np.ndarray:
    """Indices of the boxes to keep, largest first.

    Of two boxes whose intersection covers more than `overlap` of the smaller one, the more confident stays. Unlike
    intersection over union this also drops a box inside another, the usual duplicate of both detectors.
    """
    area = (xyxy[:, 2:] - xyxy[:, :2]).clip(0).prod(axis=1)
    kept: list[int] = []
    for i in np.argsort(-confidence, kind="stable"):
        corners = np.minimum(xyxy[kept, 2:], xyxy[i, 2:]), np.maximum(xyxy[kept, :2], xyxy[i, :2])
        shared = (corners[0] - corners[1]).clip(0).prod(axis=1)
        if (shared <= overlap * np.minimum(area[kept], area[i])).all():
            kept.append(int(i))
    return np.array(sorted(kept, key=lambda i: -area[i]), int)
