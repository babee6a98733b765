"""Faces in a frame: YuNet where its file can be had, otherwise the Haar cascade that OpenCV's wheel carries."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .errors import DetectorError
from .onnx_session import cpu_session
from .types import Faces

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

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
    """YuNet in onnxruntime, with five landmarks (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y).

    It was made for faces of 10 to 300 pixels: a larger one gets a wrong box. So a frame is searched at two sizes, once
    shrunk until even a close-up is small, once for small faces. A small frame is enlarged; FER-2013's 48-pixel
    pictures are found in 98 % instead of 89 % that way (200 of `validation`). Of 400 faces, 12 to 470 pixels high in
    640x480, both searches find 251, the large one alone 246, the small one alone 188; at 320 pixels the small one
    costs half as much again and they find no more.

    The boxes are those of OpenCV's `FaceDetectorYN` on the same file, in a third of its time: OpenCV's convolutions
    are slower, and it sets its network up anew at every change of size.

    Args:
        path: the ONNX file, from `opencv/face_detection_yunet` or from libfacedetection; both have the same layout.
        score_threshold: the least confidence (0-1) of a face.

    Raises:
        DetectorError: the file is missing or is no YuNet.
    """

    name = "yunet"
    notice = ""
    LONG_SIDES = (256, 1280)  # pixels
    SMALL = 160  # pixels; frames with a shorter long side are enlarged to this
    STRIDES = (8, 16, 32)  # pixels to a cell of each of its grids
    OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))
    IOU_THRESHOLD = 0.3

    def __init__(self, path: str | Path, score_threshold: float = 0.7) -> None:
        path = Path(path).expanduser()
        if not path.is_file():
            raise DetectorError(f"There is no face detector file at {path}. Expected {YUNET_FILE} from {YUNET_REPO}.")
        self.score_threshold = score_threshold
        self._session = _open_yunet(path, self.OUTPUTS)

    def __call__(self, frame: np.ndarray) -> Faces:
        """See `Detector`."""
        long_side = max(frame.shape[:2])
        targets = sorted({min(max(long_side, self.SMALL), limit) for limit in self.LONG_SIDES})
        rows = np.concatenate([self._search(frame, target / long_side) for target in targets])
        rows = rows[_distinct(_xyxy(rows[:, :4]), rows[:, 14])]
        return Faces(_xyxy(rows[:, :4]), rows[:, 14], landmarks=np.ascontiguousarray(rows[:, 4:14].reshape(-1, 5, 2)))

    def _search(self, frame: np.ndarray, scale: float) -> np.ndarray:
        """(n, 15) float32: x, y, w, h, five landmarks in frame pixels, score."""
        import cv2

        scaled = _scaled(frame, scale)
        height, width = scaled.shape[:2]
        coarsest = self.STRIDES[-1]
        padded = np.zeros((1, 3, -(-height // coarsest) * coarsest, -(-width // coarsest) * coarsest), np.float32)
        padded[0, :, :height, :width] = scaled[..., ::-1].transpose(2, 0, 1)  # BGR, 0-255
        outputs = dict(zip(self.OUTPUTS, self._session.run(self.OUTPUTS, {"input": padded}), strict=True))

        found = []
        for stride in self.STRIDES:
            cls, obj, box, points = (outputs[f"{kind}_{stride}"][0] for kind in ("cls", "obj", "bbox", "kps"))
            scores = np.sqrt(cls * obj)[:, 0]
            cells = np.flatnonzero(scores >= self.score_threshold)
            corner = np.stack([cells % (padded.shape[3] // stride), cells // (padded.shape[3] // stride)], axis=1)
            size = np.exp(box[cells, 2:])
            xywh = np.concatenate([corner + box[cells, :2] - size / 2, size], axis=1)
            landmarks = points[cells] + np.tile(corner, 5)
            found.append(np.column_stack([stride * xywh, stride * landmarks, scores[cells]]))
        rows = np.concatenate(found).astype(np.float32)
        kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), 0.0, self.IOU_THRESHOLD)
        rows = rows[np.array(kept, np.intp)]
        rows[:, :14] *= np.tile([frame.shape[1] / width, frame.shape[0] / height], 7)
        return rows


def _open_yunet(path: Path, outputs: Sequence[str]) -> InferenceSession:
    """A session that takes (1, 3, h, w) with any multiples of 32; the published file says 640 x 640."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        model = onnx.ModelProto()
    if [value.name for value in model.graph.input] != ["input"] or {v.name for v in model.graph.output} != {*outputs}:
        raise DetectorError(f"{path.name} is no YuNet model. Expected {YUNET_FILE} from {YUNET_REPO}.")
    _, _, height, width = model.graph.input[0].type.tensor_type.shape.dim
    height.dim_param, width.dim_param = "height", "width"
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[1].dim_param = f"cells of {value.name}"
    del model.graph.value_info[:]  # shapes that followed from the fixed size
    return cpu_session(model.SerializeToString())


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
