"""Image reading: any file or array a user may bring -> one RGB uint8 array, or an error of one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

ImageSource: TypeAlias = "str | Path | bytes | Image.Image | np.ndarray"

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 50_000_000
_ORIENTATION = 0x0112  # EXIF; from 5 to 8 the sides change places
_ACCEPTED = "a JPEG, PNG, WebP, BMP, TIFF or GIF file"
# The bytes from the fifth on of files that phones write (ISO/IEC 23008-12): only named, so that one knows what to do.
_BRANDS = {f"ftyp{brand}".encode(): "HEIC" for brand in ("heic", "heix", "heim", "heis", "hevc", "mif1", "msf1")}
_BRANDS |= {b"ftypavif": "AVIF", b"ftypavis": "AVIF"}


@dataclass(frozen=True)
class Reduced:
    """An image that was decoded at a part of its size.

    Attributes:
        image: (h, w, 3) uint8 RGB, as `read_image` gives it, but smaller.
        divisor: pixels of the whole image to one of these, along each side: 1, 2, 4 or 8.
        size: (width, height) of the whole image.
    """

    image: np.ndarray
    divisor: int
    size: tuple[int, int]


def read_reduced(source: ImageSource, long_side: int) -> Reduced:
    """Read an image of which no more than some size is needed.

    JPEG files are decoded at a half, a quarter or an eighth of their size, where that leaves enough: half the time.
    Everything else is read whole.

    Args:
        source: as for `read_image`.
        long_side: pixels that the longer side keeps at least, if the image has as many.

    Raises:
        ImageError: as for `read_image`; limits are those of the whole image.
    """
    if isinstance(source, bytes):
        return _from_file(io.BytesIO(source), len(source), "the picture", long_side)
    if isinstance(source, (str, Path)):
        return _from_path(source, long_side)
    return _whole(read_image(source))


def read_image(source: ImageSource) -> np.ndarray:
    """Read an image as it is meant to be seen.

    EXIF orientation is applied, transparent parts are laid on white, 16-bit values are scaled to 8 bits, CMYK and
    palettes are converted, and of an animation the first frame is taken.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array: uint8 of shape (h, w), (h, w, 1), (h, w, 3) in
            RGB order or (h, w, 4) in RGBA order.

    Returns:
        (h, w, 3) uint8, RGB, C-contiguous. An RGB array comes back as it is, not copied.

    Raises:
        ImageError: the picture is missing, empty, truncated, of another format, or larger than `MAX_PIXELS`.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the picture")
    if isinstance(source, bytes):
        return _from_file(io.BytesIO(source), len(source), "the picture").image
    if isinstance(source, (str, Path)):
        return _from_path(source).image
    raise ImageError(f"Expected a path, bytes, a PIL image or an RGB uint8 array, got {type(source).__name__}.")


def _whole(image: np.ndarray) -> Reduced:
    return Reduced(image, 1, (image.shape[1], image.shape[0]))


def _from_path(path: str | Path, long_side: int | None = None) -> Reduced:
    if str(path).startswith(("http://", "https://", "data:")):
        raise ImageError("Expected a picture file, got a URL. Download the picture first, then pass its path.")
    path = Path(path).expanduser()
    if path.is_dir():
        raise ImageError(f"{path.name}: expected a picture file, got a folder. Pass one of the pictures in it.")
    try:
        with path.open("rb") as file:
            return _from_file(file, path.stat().st_size, path.name, long_side)
    except FileNotFoundError:
        raise ImageError(f"{path.name}: there is no such file. Check the path.") from None
    except PermissionError:
        raise ImageError(f"{path.name}: the file may not be read. Check its permissions.") from None


def _from_file(file: io.IOBase, size: int, name: str, long_side: int | None = None) -> Reduced:
    from PIL import Image

    if size == 0:
        raise ImageError(f"{name} is empty (0 bytes). Save or download it again.")
    try:
        image = Image.open(file, formats=FORMATS)  # type: ignore[arg-type]  # reads the header only
    except Image.UnidentifiedImageError:
        file.seek(0)
        kind = _BRANDS.get(file.read(12)[4:])
        known = f"is a picture of the format {kind}, which is not read" if kind else "is no picture of a known format"
        raise ImageError(f"{name} {known}. Expected {_ACCEPTED}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name} is too large. {_LIMIT}") from None
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise _broken(name, error) from None
    with image:
        whole = image.size
        _check_size(*whole, name)
        if long_side is not None:
            width, height = (max(1, side * long_side // max(whole)) for side in whole)
            image.draft(None, (width, height))  # only JPEG has it
        divisor = round(whole[0] / image.width)
        read = _from_pil(image, name)
        turned = image.getexif().get(_ORIENTATION, 1) in range(5, 9)  # asked last: it decodes images of some formats
        return Reduced(read, divisor, whole[::-1] if turned else whole)


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    from PIL import ImageOps

    _check_size(image.width, image.height, name)  # before anything is decoded
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point values. Expected 8 or 16 bits per channel; save it as PNG.")
    try:
        if image.getexif().get(_ORIENTATION, 1) != 1:  # Pillow would copy an image that needs no turn
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            return _from_deep(np.asarray(image), name)
        if image.has_transparency_data:
            return _on_white(np.asarray(image.convert("RGBA")))
        return np.ascontiguousarray(image if image.mode == "RGB" else image.convert("RGB"))
    # What Pillow's decoders raise on damaged files, found by cutting and altering files of every format.
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error, zlib.error) as error:
        if isinstance(error, ImageError):
            raise
        raise _broken(name, error) from None


def _from_deep(values: np.ndarray, name: str) -> np.ndarray:
    """Convert 16-bit gray to RGB. Pillow's own conversion would clip everything above 255 to white."""
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(f"{name} has values outside 0-65535. Expected 8 or 16 bits per channel; save it as PNG.")
    return _gray((values >> 8).astype(np.uint8))


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise ImageError(
            f"Expected an array of uint8 in 0-255, got {array.dtype}. Scale to 0-255 and use .astype('uint8')."
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ImageError(f"Expected an array of shape (height, width, 3), got {array.shape}.")
    _check_size(array.shape[1], array.shape[0], "the picture")
    if array.shape[2] == 1:
        return _gray(array[..., 0])
    return _on_white(array) if array.shape[2] == 4 else np.ascontiguousarray(array)


def _gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def _on_white(rgba: np.ndarray) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(rgba)
    return np.ascontiguousarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


_LIMIT = f"The limit is {MAX_PIXELS // 1_000_000} megapixels; make it smaller first."


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {width * height / 1e6:.0f} megapixels ({width}x{height}). {_LIMIT}")


def _broken(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name} is damaged or cut off ({error}). Expected {_ACCEPTED}; save or download it again.")
