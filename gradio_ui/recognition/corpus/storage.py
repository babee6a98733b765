"""Files at any address that fsspec knows: local paths, https://, s3://, hf:// and others.

A file system raises the errors of its client library; here they become a `StorageError` of one line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RecognitionError, StorageError
from ..tables import printable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MAX_BYTES = 256 * 2**20  # of an image file that is read into memory; far more than `image_io.MAX_PIXELS` need


def local_path(address: str) -> Path | None:
    """Return the path of a local address, also of file://; None for any other."""
    if address.startswith("file://"):
        return Path(address.removeprefix("file://"))
    return None if "://" in address else Path(address).expanduser()


def one_line(error: BaseException) -> str:
    """Name an error in one line: the first line of its text, or its type where it has none."""
    text = (getattr(error, "strerror", None) or str(error)).strip()
    return printable(text.splitlines()[0] if text else type(error).__name__)


@contextlib.contextmanager
def naming_errors(address: str, what: str = "read") -> Iterator[None]:
    """Turn whatever a file system or an archive raises into one line that names the address.

    Raises:
        StorageError: the address cannot be read, or written.
    """
    try:
        yield
    except RecognitionError:
        raise
    except Exception as error:  # fsspec has no base class: each file system raises what its client library does
        raise StorageError(f"{printable(address)} cannot be {what} ({one_line(error)})") from error


def open_storage(address: str) -> tuple[AbstractFileSystem, str]:
    """Find the file system of an address.

    Returns:
        The file system, and the address as it names it.

    Raises:
        StorageError: nothing is known of such addresses, or the package that opens them is not installed.
    """
    from fsspec import url_to_fs

    with naming_errors(address):
        path = local_path(address)
        found: tuple[AbstractFileSystem, str] = url_to_fs(address if path is None else str(path))
    return found


def read_bytes(address: str) -> bytes:
    """Read a file whole.

    Raises:
        StorageError: it cannot be read, or is larger than `MAX_BYTES`.
    """
    fs, path = open_storage(address)
    with naming_errors(address), fs.open(path, "rb") as file:
        content: bytes = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise StorageError(f"{printable(address)} has more than {MAX_BYTES >> 20} MiB; expected an image file")
    return content


def state_of(info: dict[str, Any]) -> str:
    """Describe what changes when a file does, from what its file system says of it; each says something else."""
    names = ("size", "mtime", "ETag", "etag", "LastModified", "last_modified", "created")
    return " ".join(str(info[name]) for name in names if info.get(name) is not None)
