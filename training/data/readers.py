"""Where the pictures come from: every format that `--dataset` takes, read row by row.

Each reader yields one `(where, read)` pair per picture: `where` names the file and row for error messages, `read()`
returns the row or raises a `RowError`, so that one bad row can be dropped without ending the reading.
"""

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from training.data.labels import EMOTIONS, canonical_label
from training.errors import DataError, LabelError, RowError

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "publictest"),
    "test": ("test", "testing", "privatetest"),
}
KAGGLE_COLUMNS = ("emotion", "pixels")
SIDE = 48  # pixels: the Kaggle CSV holds SIDE * SIDE grey values a row


@dataclass(frozen=True)
class Row:
    """One labelled picture.

    Attributes:
        split: train, validation or test.
        emotion: A name from `FERPLUS_EMOTIONS`.
        image: The encoded picture file.
        metadata: What else the source knows, by column.
    """

    split: str
    emotion: str
    image: bytes
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A recognised dataset.

    Attributes:
        name: Hub id, or the bare name of a file or folder.
        revision: Commit on the Hub, or the SHA-256 of the content.
        rows: Starts reading from the first row; see the module's docstring.
        metadata: `datasets` features of the metadata columns.
    """

    name: str
    revision: str
    rows: Callable[[], Iterable[tuple[str, Callable[[], Row]]]]
    metadata: dict[str, Any] = field(default_factory=dict)


def open_source(dataset: str | Path, cache_dir: str | Path | None = None) -> Source:
    """Recognises a dataset by its content.

    Args:
        dataset: A Kaggle CSV (plain or gzip), a folder (Kaggle's `train/<label>/`, a per-person set, a dataset
            repository), or a Hub id `owner/name`, optionally `@revision`.
        cache_dir: Where `datasets` keeps what it downloads; its own default if None.

    Returns:
        The source, nothing but Hub repositories read yet.

    Raises:
        DataError: If the dataset is of none of these kinds.
    """
    from datasets import Value

    from training.data.hub_reader import open_repository

    path = Path(dataset).expanduser().absolute()
    if path.is_file():
        return Source(path.name, _content_hash([path], path.parent), partial(_csv_rows, path))
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        revision = _content_hash(files, path)
        if (table := path / "emotions.csv").is_file() and (path / "images").is_dir():
            columns = {name: Value("string") for name in _header(table, ("set_id",))}
            return Source(path.name, revision, partial(_person_rows, path), columns)
        if any(p.is_dir() for folder in _split_folders(path) for p in folder.iterdir()):
            return Source(path.name, revision, partial(_folder_rows, path))
        return open_repository(str(path), path.name, None, cache_dir, revision)
    name, _, pin = str(dataset).partition("@")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return open_repository(name, name, pin or None, cache_dir)
    raise DataError(f"{dataset}: expected a CSV file, a folder or a Hub id owner/name[@revision], found none of these")


def split_name(name: str) -> str:
    """Maps a split's name to train, validation or test; raises RowError for any other."""
    plain = re.sub("[^a-z]", "", name.lower())
    for split, spellings in SPLITS.items():
        if plain in spellings:
            return split
    expected = "; ".join(f"{split} ({', '.join(spellings)})" for split, spellings in SPLITS.items())
    raise RowError("split", f"expected a split among {expected}, found {name!r}")


def read_csv(path: Path, required: Iterable[str]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Streams a plain or gzipped CSV file.

    Args:
        path: The file. Blanks around column names and the names' case do not count.
        required: Columns that must be there, in lower case.

    Yields:
        Line number in the file and the row by lower-case column name, None where a row is too short.

    Raises:
        DataError: If the file is no readable CSV, lacks a column or has no rows.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            reader = csv.DictReader(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""))
            header = [name.strip().lower() for name in reader.fieldnames or ()]
            if missing := [name for name in required if name not in header]:
                raise DataError(
                    f"{path}: expected the columns {', '.join(missing)}; found {header or 'an empty file'}"
                )
            reader.fieldnames = header
            line = None
            for line, record in enumerate(reader, start=2):
                yield line, {name: text for name, text in record.items() if name is not None}
            if line is None:
                raise DataError(f"{path}: expected rows below the header, found none")
    except (csv.Error, EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path}: expected a whole CSV file, plain or gzip; reading it failed: {error}") from error


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def _content_hash(files: Iterable[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def emotion_name(name: str) -> str:
    """Maps a label name to one of `FERPLUS_EMOTIONS`; raises RowError if it is not known."""
    try:
        return canonical_label(name)
    except LabelError as error:
        raise RowError("label", str(error)) from None


def cell(record: Mapping[str, Any], column: str) -> Any:
    """The value in a column of a row; raises RowError if there is none."""
    if record.get(column) is None:
        raise RowError("column", f"expected a value in the column {column}, found none")
    return record[column]


def kaggle_row(record: Mapping[str, Any]) -> Row:
    """Reads a row of the Kaggle CSV: `emotion`, `pixels` (text, or a list of numbers) and `usage`."""
    from PIL import Image

    code = str(cell(record, "emotion")).strip()
    if not (code.isdecimal() and int(code) < len(EMOTIONS)):
        raise RowError("emotion", f"expected an emotion from 0 to {len(EMOTIONS) - 1}, found {code!r}")
    pixels = cell(record, "pixels")
    values = pixels.split() if isinstance(pixels, str) else pixels
    if len(values) != SIDE * SIDE:
        raise RowError("pixel count", f"expected {SIDE * SIDE} pixels, found {len(values)}")
    try:
        grey = bytes(map(int, values))
    except ValueError:
        wrong = next(v for v in values if not (str(v).isdecimal() and int(v) < 256))
        raise RowError("pixel value", f"expected pixel values from 0 to 255, found {str(wrong)!r}") from None
    png = io.BytesIO()
    Image.frombytes("L", (SIDE, SIDE), grey).save(png, "PNG")
    return Row(split_name(cell(record, "usage")), EMOTIONS[int(code)], png.getvalue())


def _csv_rows(path: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    has_usage = "usage" in _header(path, KAGGLE_COLUMNS)
    for line, record in read_csv(path, KAGGLE_COLUMNS):
        # Without the column, as in Kaggle's train.csv, everything is train.
        yield f"{path}, line {line}", partial(kaggle_row, record if has_usage else record | {"usage": "train"})


def _header(path: Path, required: Iterable[str]) -> list[str]:
    return list(next(read_csv(path, required))[1])


def read_picture(file: Path) -> bytes:
    """The bytes of a picture file; raises RowError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise RowError("picture", f"expected a readable file: {error}") from None


def _picture_row(file: Path, label: str, split: str, metadata: Mapping[str, str | None] | None = None) -> Row:
    return Row(split, emotion_name(label), read_picture(file), dict(metadata or {}))


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not _hidden(Path(p.name)))


def _split_folders(root: Path) -> list[Path]:
    known = {spelling for spellings in SPLITS.values() for spelling in spellings}
    return sorted(p for p in root.iterdir() if p.is_dir() and re.sub("[^a-z]", "", p.name.lower()) in known)


def _folder_rows(root: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    for folder in _split_folders(root):
        pictures = [file for label in sorted(folder.iterdir()) if label.is_dir() for file in _pictures(label)]
        if not pictures:
            raise DataError(f"{folder}: expected pictures in folders named after their labels, found none")
        for file in pictures:
            # Kaggle's test/ is PublicTest and PrivateTest merged; the file names restore the official splits.
            official = re.match("(Training|PublicTest|PrivateTest)_", file.name)
            split = split_name(official[1] if official else folder.name)
            yield str(file), partial(_picture_row, file, file.parent.name, split)


def _person_rows(root: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    def stranger(folder: Path) -> Row:
        raise RowError("metadata", f"expected set_id {folder.name} in {root / 'emotions.csv'}, found no such row")

    def missing(folder: Path) -> Row:
        raise RowError("pictures", f"expected pictures in {folder}, found none")

    known = set()
    for line, record in read_csv(root / "emotions.csv", ("set_id",)):
        set_id = (record["set_id"] or "").strip()
        known.add(set_id)
        folder = root / "images" / set_id
        pictures = _pictures(folder) if set_id and folder.is_dir() else []
        for file in pictures:
            yield str(file), partial(_picture_row, file, file.stem, "train", record)
        if not pictures:
            yield f"{root / 'emotions.csv'}, line {line}", partial(missing, folder)
    for folder in sorted(p for p in (root / "images").iterdir() if p.is_dir() and p.name not in known):
        yield str(folder), partial(stranger, folder)
