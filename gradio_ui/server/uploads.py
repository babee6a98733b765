"""The gate to the disk: no file that a visitor names is opened except through this module.

Gradio passes on whatever path a request holds. Only files that this app keeps in its own upload folder pass here, and
they leave as bytes or as an open file, never as a path. Everything else gets one and the same answer, so that nobody
learns which files the server has.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, BinaryIO
from urllib.parse import unquote

from gradio.utils import get_upload_folder

from gradio_ui.recognition.errors import ImageError, RecognitionError

REFUSAL = (
    "Expected a file that was uploaded to this app within the last half hour, got something else. Upload it in the "
    "page, with gradio_client.handle_file(path) or to /gradio_api/upload, then try again."
)
MAX_IMAGE_BYTES = 256 * 2**20  # an image is read whole; 50 megapixels of three uncompressed bytes are 150 MB
NAME_LENGTH, STEM_LENGTH = 255, 50  # characters kept of the name of an upload, and of that of a result
_URL_PREFIX = "/gradio_api/file="  # agents that upload a file get its URL in this app
_STORED = re.compile(r"(?P<folder>[0-9a-f]{64})/(?P<name>[^/\0]+)")  # Gradio's layout: a folder for each content


class UploadError(RecognitionError):
    """A request names something else than a file that was uploaded to this app."""

    def __init__(self) -> None:
        super().__init__(REFUSAL)


def open_upload(file: Any) -> BinaryIO:
    """Open an uploaded file for reading.

    Args:
        file: What a request holds for a file, unchecked: Gradio's dictionary with the "path" of an upload.

    Returns:
        The open file; the caller closes it.

    Raises:
        UploadError: It is anything else, for whatever reason.
    """
    folder, name = _locate(file)
    descriptors: list[int] = []
    try:
        # Step by step without following links, and without waiting for the other end of a pipe.
        for step, flags in ((get_upload_folder(), os.O_DIRECTORY), (folder, os.O_DIRECTORY), (name, os.O_NONBLOCK)):
            within = descriptors[-1] if descriptors else None
            descriptors.append(os.open(step, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=within))
        if not stat.S_ISREG(os.fstat(descriptors[-1]).st_mode):
            raise UploadError
        return os.fdopen(descriptors.pop(), "rb")
    except OSError:
        raise UploadError from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _locate(file: Any) -> tuple[str, str]:
    """Give the folder, within the upload folder, and the name of an upload that need not be there."""
    path = file.get("path") if isinstance(file, dict) else None
    if not isinstance(path, str):
        raise UploadError
    if path.startswith(("http://", "https://")) and _URL_PREFIX in path:
        path = unquote(path.partition(_URL_PREFIX)[2])
    found = _STORED.fullmatch(path.removeprefix(f"{get_upload_folder()}/"))
    if not found or found["name"] in (".", ".."):
        raise UploadError
    return found["folder"], found["name"]


def read_upload(file: Any) -> bytes:
    """Read an uploaded image whole.

    Args:
        file: As for `open_upload`.

    Raises:
        UploadError: It is no upload.
        ImageError: It is larger than `MAX_IMAGE_BYTES`.
    """
    with open_upload(file) as opened:
        content = opened.read(MAX_IMAGE_BYTES + 1)
    if len(content) > MAX_IMAGE_BYTES:
        raise ImageError(f"Expected an image of up to {MAX_IMAGE_BYTES // 2**20} MB, got more. Make it smaller first.")
    return content


class UploadedImages(Sequence[bytes]):
    """The contents of several uploaded images, each read when it is asked for and not kept.

    Args:
        files: Each as for `open_upload`.
    """

    def __init__(self, files: Sequence[Any]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Any) -> Any:
        return UploadedImages(self._files[index]) if isinstance(index, slice) else read_upload(self._files[index])


def name_of(file: Any) -> str:
    """Give the name that an uploaded file has on its owner's machine: one line, at most `NAME_LENGTH` characters."""
    name = (file.get("orig_name") or file.get("path")) if isinstance(file, dict) else None
    printable = "".join(sign for sign in str(name or "") if sign.isprintable())
    name = re.split(r"[/\\]", printable)[-1][-NAME_LENGTH:]
    return name if name.strip(". ") else "file"


def stem_of(file: Any) -> str:
    """Give the name of an uploaded file without its ending, short enough for the names of files made from it."""
    return PurePath(name_of(file)).stem.strip(". ")[:STEM_LENGTH]


def admit(value: Any) -> Any:
    """Check all files within a value of a request, before Gradio sees it.

    Args:
        value: Any JSON; what has a "path" is a file.

    Returns:
        The same value, of its files only the path, the name and Gradio's mark.

    Raises:
        UploadError: One of the files is no upload.
    """
    if isinstance(value, list):
        return [admit(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "path" not in value:
        return {key: admit(item) for key, item in value.items()}
    open_upload(value).close()
    path = "/".join((get_upload_folder(), *_locate(value)))
    return {"path": path, "orig_name": name_of(value), "meta": {"_type": "gradio.FileData"}}
