"""Tables in parts: parquet files of one schema in a folder or at any fsspec address, each whole or not there at all.

The name of a part is a digest of what it is made from. So a run that was broken off goes on from the parts that are
there, and a picture, model or option that has changed makes a new part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import StorageError
from ..tables import BOX, face_cells, label_columns
from ..types import Recognition
from .storage import naming_errors, open_storage

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]  # of the table: a cell by column

_PREFIX, _SUFFIX = "part-", ".parquet"


def schema_of(labels: Sequence[str]) -> pa.Schema:
    """Return the columns of a part: one row a face; a picture without a face, or that failed, has one row as well.

    path, seconds (of a video), width and height in pixels, face (its number), left, top, right and bottom in pixels,
    confidence, landmarks (x and y of `types.LANDMARKS` points in pixels), label, probability, unclear, shown, a column
    a label, error.
    """
    import pyarrow as pa

    real = pa.float64()
    columns = {"path": pa.string(), "seconds": real, "width": pa.int32(), "height": pa.int32(), "face": pa.int32()}
    columns |= dict.fromkeys((*BOX, "confidence"), real) | {"landmarks": pa.list_(real)}
    columns |= {"label": pa.string(), "probability": real, "unclear": pa.bool_(), "shown": pa.string()}
    columns |= dict.fromkeys(label_columns(labels).values(), real) | {"error": pa.string()}
    return pa.schema(list(columns.items()))


def picture_rows(name: str, recognition: Recognition) -> list[Row]:
    """Return the rows of a picture: one a face, or one with its size alone.

    Args:
        name: of the picture, in the column path.
        recognition: its faces.
    """
    width, height = recognition.size
    place = {"path": name, "width": width, "height": height}
    points = recognition.faces.landmarks
    return [
        place
        | face_cells(face)
        | {"landmarks": None if points is None else [round(float(v), 1) for v in points[index].ravel()]}
        for index, face in enumerate(recognition.to_dicts())
    ] or [place]


def part_name(index: int, content: object) -> str:
    """Name a part.

    Args:
        index: its place among all parts, from 0.
        content: what it is made from, settings included; its `repr` says all of it.
    """
    digest = hashlib.sha256(repr(content).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{_PREFIX}{index:06d}-{digest[:16]}{_SUFFIX}"


class Parts:
    """The parts at one address.

    Args:
        address: a folder, local or at any fsspec address; it is made when the first part is written.
        labels: the C label names, which some columns are named after.

    Attributes:
        address: absolute, so that every process understands it.

    Raises:
        StorageError: nothing is known of such addresses.
    """

    def __init__(self, address: str, labels: Sequence[str]) -> None:
        self._fs, self._root = open_storage(address)
        self.address = str(self._fs.unstrip_protocol(self._root))
        self._schema = schema_of(labels)

    def names(self) -> set[str]:
        """Return the names of the parts that are there.

        Raises:
            StorageError: the folder cannot be read.
        """
        return {name for name in self._files() if name.startswith(_PREFIX) and name.endswith(_SUFFIX)}

    def _files(self) -> set[str]:
        with naming_errors(self.address):
            self._fs.invalidate_cache(self._root)
            if not self._fs.exists(self._root):
                return set()
            if not self._fs.isdir(self._root):
                raise StorageError(f"{self.address} is a file. Expected a folder; move it, or choose another --out.")
            return {str(path).rpartition("/")[2] for path in self._fs.ls(self._root, detail=False)}

    def has(self, name: str) -> bool:
        """Return whether a part is there.

        Raises:
            StorageError: the folder cannot be read.
        """
        with naming_errors(self.address):
            return bool(self._fs.exists(f"{self._root}/{name}"))

    def write(self, name: str, rows: list[Row]) -> None:
        """Write a part, in place of one of that name.

        Raises:
            StorageError: it cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, self._schema), sink, compression="zstd")
        self.write_bytes(name, sink.getvalue().to_pybytes())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file: first under a hidden name, which readers of parquet folders pass over, then renamed.

        Raises:
            StorageError: it cannot be written.
        """
        temporary = f"{self._root}/.{name}.{uuid4().hex}"
        try:
            with naming_errors(f"{self.address}/{name}", "written"):
                self._fs.makedirs(self._root, exist_ok=True)
                self._fs.pipe_file(temporary, content)
                self._fs.mv(temporary, f"{self._root}/{name}")
        except StorageError:
            with suppress(Exception):  # what is left of a write that failed; that failure is the one to tell
                self._fs.rm_file(temporary)
            raise

    def read_bytes(self, name: str) -> bytes | None:
        """Read a file of the folder; None where it is not there.

        Raises:
            StorageError: it cannot be read.
        """
        with naming_errors(f"{self.address}/{name}"):
            try:
                return bytes(self._fs.cat_file(f"{self._root}/{name}"))
            except FileNotFoundError:
                return None

    def read(self, name: str) -> list[Row]:
        """Read the rows of a part; cells without a value are left out.

        Raises:
            StorageError: it cannot be read, or is no such part.
        """
        import pyarrow.parquet as pq

        with naming_errors(f"{self.address}/{name}"), self._fs.open(f"{self._root}/{name}", "rb") as file:
            rows = pq.read_table(file, schema=self._schema).to_pylist()
        return [{column: cell for column, cell in row.items() if cell is not None} for row in rows]

    def remove(self, names: set[str]) -> None:
        """Delete parts.

        Raises:
            StorageError: one cannot be deleted.
        """
        with naming_errors(self.address, "written"):
            for name in sorted(names):
                self._fs.rm_file(f"{self._root}/{name}")

    def remove_folder(self) -> None:
        """Delete all parts, and those that were never finished; then the folder, if nothing else is in it.

        Raises:
            StorageError: a part cannot be deleted.
        """
        self.remove({name for name in self._files() if name.removeprefix(".").startswith(_PREFIX)})
        with suppress(OSError):
            self._fs.rmdir(self._root)
