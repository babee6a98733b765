"""What a part is made from: a list of addresses, a tar shard, or a shard of a dataset; each yields its pictures."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from ..errors import StorageError
from ..tables import printable
from ..telemetry import disable_telemetry
from .storage import MAX_BYTES, local_path, naming_errors, open_storage

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "img_bytes", "image_bytes")  # "jpg": of webdataset


@dataclass(frozen=True)
class Picture:
    """A picture to score.

    Attributes:
        name: what its rows call it.
        source: a local path, an address, or the content of a file.
        error: why there is no picture, where there is none.
    """

    name: str
    source: Path | str | bytes = b""
    error: str = ""


class Work(Protocol):
    """What a part is made from. Its `repr` says all of it, since the name of the part is a digest of that."""

    def pictures(self) -> Iterator[Picture]:
        """Yield the pictures in order; what cannot be read yields one with an error."""
        ...


@dataclass(frozen=True)
class Listing:
    """Pictures by their addresses.

    Attributes:
        addresses: local paths or others.
        states: what changes when a file does, "" where that is not known.
    """

    addresses: tuple[str, ...]
    states: tuple[str, ...]

    def pictures(self) -> Iterator[Picture]:
        """Yield them unread."""
        for address in self.addresses:
            yield Picture(printable(address), local_path(address) or address)


@dataclass(frozen=True)
class TarShard:
    """A tar file of pictures, perhaps compressed, as webdataset has them; its other members are passed over.

    Attributes:
        address: of the file.
        state: what changes when the file does.
    """

    address: str
    state: str

    def pictures(self) -> Iterator[Picture]:
        """Read the file from front to end; a damaged one yields the pictures before the damage, then the error."""
        try:
            yield from self._members()
        except StorageError as error:
            yield Picture(printable(self.address), error=str(error))

    def _members(self) -> Iterator[Picture]:
        fs, path = open_storage(self.address)
        with (
            naming_errors(self.address),
            fs.open(path, "rb") as file,
            tarfile.open(fileobj=file, mode="r|*", tarinfo=_Member) as tar,
        ):
            for member in tar:
                if not member.isfile() or not member.name.lower().endswith(IMAGES):
                    continue
                name = printable(f"{self.address}/{member.name}")
                if member.size > MAX_BYTES:
                    yield Picture(name, error=f"{member.size >> 20} MiB; expected at most {MAX_BYTES >> 20}")
                else:
                    content = tar.extractfile(member)
                    yield Picture(name, content.read() if content else b"")


class _Member(tarfile.TarInfo):
    """A member whose damaged header is an error. `tarfile` takes one for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # two blocks of zeros: the true end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged or cut off after {archive.offset} bytes: {error}") from None


@dataclass(frozen=True)
class DatasetShard:
    """One of the files of a split of a dataset, on the Hub or in a folder, which `datasets` streams.

    Attributes:
        dataset: a Hub id or a folder.
        revision: the commit on the Hub; None for a folder.
        split, index: which split, and which of its shards.
        state: what changes when a folder's files do.
    """

    dataset: str
    revision: str | None
    split: str
    index: int
    state: str = ""

    @property
    def name(self) -> str:
        """Return what the pictures are called: dataset, split and shard; the row comes after it."""
        return f"{self.dataset}/{self.split}/{self.index}"

    def pictures(self) -> Iterator[Picture]:
        """Stream the shard; where that breaks off, the last picture is the error."""
        try:
            with naming_errors(self.name):
                rows = open_dataset(self.dataset, self.revision)[self.split]
                column, rows = _images(rows.shard(rows.num_shards, self.index))
                for number, row in enumerate(rows):
                    yield self._picture(f"{self.name}/{number}", row[column])
        except StorageError as error:
            yield Picture(printable(self.name), error=str(error))

    def _picture(self, name: str, cell: Any) -> Picture:
        content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if content is not None:
            return Picture(name, bytes(content))
        return Picture(name, local_path(path) or path) if path else Picture(name, error="the row has no image")


def open_dataset(dataset: str, revision: str | None) -> Any:
    """Open a dataset for streaming: an `IterableDataset` by split; nothing but its description is read."""
    disable_telemetry()
    import datasets

    return datasets.load_dataset(dataset, revision=revision, streaming=True)


def _images(rows: Any) -> tuple[str, Any]:
    """Find the column of images, and leave its files encoded.

    Returns:
        The column, and the rows with that column alone.

    Raises:
        StorageError: there is none.
    """
    from datasets import Image

    features = rows.features or dict.fromkeys(next(iter(rows.take(1)), {}))
    columns = [name for name, feature in features.items() if isinstance(feature, Image)]
    columns += [name for name in IMAGE_COLUMNS if name in features]
    if not columns:
        raise StorageError(f"expected a column of images such as {IMAGE_COLUMNS[0]}, found {', '.join(features)}")
    rows = rows.select_columns(columns[:1])
    return columns[0], rows.cast_column(columns[0], Image(decode=False))
