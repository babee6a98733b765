"""What the webcam page sends: frames and requests for a recording, checked before anything is decoded or kept."""

from __future__ import annotations

import base64
import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.errors import ImageError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.server.sessions import RequestError

MAX_BYTES = 500_000  # of a frame's file; the page sends about 30 kB
MAX_REQUEST = MAX_BYTES * 4 // 3 + 10_000  # bytes: a frame as base64, and the rest of the JSON
MAX_PIXELS = 1_000_000
MAX_SMOOTHING = 2.0  # seconds
FORMATS = ("JPEG", "WEBP", "PNG")
_FILE = f"a JPEG, WebP or PNG file of up to {MAX_BYTES // 1000} kB and {MAX_PIXELS // 1_000_000} megapixel"
_LARGEST = 1e12  # of a time or a number, so that float64 still tells milliseconds apart


@dataclass(frozen=True)
class LiveFrame:
    """A frame of the camera.

    Attributes:
        image: a JPEG, WebP or PNG file of at most `MAX_BYTES`, not yet decoded; it comes as a data URL.
        start: number that grows with each start of the camera; faces are tracked from one start to the next.
        seconds: when the page showed the frame, on the page's own clock.
        smoothing: time constant in seconds, 0 to `MAX_SMOOTHING`.
        threshold: probability below which a label is unclear, 0-1.
        recording: number of the recording it belongs to, counted from 1 as they come; 0 for none.
    """

    image: bytes
    start: float
    seconds: float
    smoothing: float
    threshold: float
    recording: int

    @classmethod
    def parse(cls, data: Any) -> LiveFrame:
        """Read the page's JSON.

        Raises:
            RequestError: a value is missing, of another type, or out of range.
            ImageError: the file is too large.
        """
        data = _object(data)
        return cls(
            image=_file(data.get("image")),
            start=_number(data, "start", _LARGEST),
            seconds=_number(data, "seconds", _LARGEST / 1000),
            smoothing=_number(data, "smoothing", MAX_SMOOTHING),
            threshold=_number({"threshold": UNCLEAR_BELOW} | data, "threshold", 1),
            recording=_integer(data, "recording"),
        )

    def decode(self) -> np.ndarray:
        """Decode the image: (h, w, 3) uint8 RGB.

        Raises:
            ImageError: it is no JPEG, WebP or PNG file, has more than `MAX_PIXELS`, or is damaged.
        """
        from PIL import Image

        try:
            image = Image.open(io.BytesIO(self.image), formats=FORMATS)  # reads the header only
        except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
            raise ImageError(f"Expected a frame as {_FILE}, got another or damaged file. Reload the page.") from None
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"Expected a frame as {_FILE}, got {image.width}x{image.height} pixels.")
            return read_image(image)


@dataclass(frozen=True)
class PartRequest:
    """A request for the next part of a recording.

    Attributes:
        number: of the recording.
        have: number of pieces received so far.
        finish: whether to end the recording first.
    """

    number: int
    have: int
    finish: bool

    @classmethod
    def parse(cls, data: Any) -> PartRequest:
        """Read the page's JSON.

        Raises:
            RequestError: a value is missing, of another type, or out of range.
        """
        data = _object(data)
        finish = data.get("finish")
        if not isinstance(finish, bool):
            raise RequestError("finish: expected true or false; reload the page")
        return cls(_integer(data, "number"), _integer(data, "have"), finish)


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise RequestError("expected a JSON object; reload the page")
    return data


def _file(url: Any) -> bytes:
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise RequestError("image: expected a data URL; reload the page")
    text = url.partition(";base64,")[2]
    if len(text) > -(-MAX_BYTES // 3) * 4:
        raise ImageError(f"Expected a frame as {_FILE}, got a larger one.")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise RequestError("image: expected base64; reload the page") from None


def _number(data: dict[str, Any], name: str, most: float) -> float:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise RequestError(f"{name}: expected a number from 0 to {most:g}; reload the page")
    return float(value)


def _integer(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise RequestError(f"{name}: expected a whole number from 0 to {_LARGEST:g}; reload the page")
    return value
