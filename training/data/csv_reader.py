"""CSV files, plain or gzipped, row by row; whatever is wrong is named with its line."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from training.errors import DataError

MAX_LINE = 1_000_000  # bytes; a row of the Kaggle CSV has about 8,000
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)

Record = dict[str, str | None]


def read_csv(path: Path, required: Iterable[str]) -> Iterator[tuple[int, Record]]:
    """Stream a plain or gzipped CSV file.

    Args:
        path: the file. Blanks around column names and the names' case do not count.
        required: columns that must be there, in lower case.

    Yields:
        The line number in the file and the row by lower-case column name, None where a row is too short.

    Raises:
        DataError: the file is no readable CSV, lacks a column, has one twice, or has no rows.
    """
    with _opened(path) as binary:
        reader = csv.reader(_lines(path, binary), strict=True)
        header = _header(path, reader, required)
        line = end = reader.line_num  # the last line of the row before
        while values := _next_row(path, reader, end + 1):
            end = reader.line_num
            if any(values):
                line = end
                yield line, dict.fromkeys(header) | dict(zip(header, values, strict=False))
    if line == 1:
        raise DataError(f"{path}: expected rows below the header, found none")


def csv_header(path: Path, required: Iterable[str]) -> list[str]:
    """Read the lower-case column names of a CSV file.

    Raises:
        DataError: see `read_csv`.
    """
    with _opened(path) as binary:
        return _header(path, csv.reader(_lines(path, binary), strict=True), required)


def _opened(path: Path) -> BinaryIO:
    """Open a file, which is read once to its end if it is compressed: damage may look like a bad row before that."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        if packed:
            with gzip.open(path) as unpacked:
                while unpacked.read(1 << 20):
                    pass
        return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]
    except DAMAGED as error:
        raise DataError(f"{path}: expected a whole CSV file, plain or gzip; this gzip is damaged: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: expected a readable CSV file: {error.strerror}") from error


def _lines(path: Path, binary: BinaryIO) -> Iterator[str]:
    number = 0
    while line := binary.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DataError(f"{path}, line {number}: expected at most {MAX_LINE:,} bytes in a line, found more")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: expected a whole CSV file in UTF-8: {error}") from error


def _next_row(path: Path, reader: Iterator[list[str]], line: int) -> list[str]:
    """Return the next row; a blank one as [""], and [] after the last."""
    try:
        row = next(reader, None)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: expected a CSV row, its quotes closed and its fields at most "
            f"{csv.field_size_limit():,} characters long; reading it failed: {error}"
        ) from error
    return [] if row is None else row or [""]


def _header(path: Path, reader: Iterator[list[str]], required: Iterable[str]) -> list[str]:
    header = [name.strip().lower() for name in _next_row(path, reader, 1)]
    if missing := [name for name in required if name not in header]:
        found = ", ".join(filter(None, header)) or "an empty file"
        raise DataError(f"{path}: expected the columns {', '.join(missing)}; found {found}")
    if twice := [name for name, count in Counter(filter(None, header)).items() if count > 1]:
        raise DataError(f"{path}: expected each column once; found {', '.join(twice)} more than once")
    return header
