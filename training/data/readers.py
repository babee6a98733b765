"""Readers of every format that `--dataset` takes, row by row.

Each reader yields one `(where, read)` pair per image: `where` names the file and row for error messages, `read()`
returns the row or raises a `RowError`, so that one bad row can be dropped without ending the reading.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from training.data.csv_reader import csv_header, read_csv
from training.data.hub_reader import open_repository
from training.data.labels import EMOTIONS
from training.data.rows import SPLITS, Row, Source, kaggle_row, read_image, split_name
from training.data.table_reader import is_parquet, metadata_columns, table_columns, table_files, table_rows
from training.errors import DataError, RowError

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
KAGGLE_COLUMNS = ("emotion", "pixels")


def open_source(dataset: str | Path, cache_dir: str | Path | None = None) -> Source:
    """Recognize a dataset by its content.

    Args:
        dataset: A Kaggle CSV (plain or gzip), a CSV or parquet table of files and labels, a folder (`<label>/`,
            Kaggle's `train/<label>/`, a per-person set, a dataset repository), or a Hub id `owner/name`, optionally
            `@revision`.
        cache_dir: Where `datasets` keeps what it downloads; its own default if None.

    Returns:
        The source; nothing but Hub repositories is read yet.

    Raises:
        DataError: If the dataset is of none of these kinds.
    """
    from datasets import Value

    path = Path(dataset).expanduser().absolute()
    if path.is_file():
        return _open_file(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        revision = _content_hash(files, path)
        if (table := path / "emotions.csv").is_file() and (path / "images").is_dir():
            columns = {name: Value("string") for name in csv_header(table, ("set_id",))}
            return Source(path.name, revision, partial(_person_rows, path), columns)
        if any(p.is_dir() for folder in _split_folders(path) for p in folder.iterdir()):
            return Source(path.name, revision, partial(_folder_rows, path))
        if _holds_class_folders(path, files):
            return Source(path.name, revision, partial(_label_rows, path, "train"))
        return open_repository(str(path), path.name, None, cache_dir, revision)
    name, _, pin = str(dataset).partition("@")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return open_repository(name, name, pin or None, cache_dir)
    raise DataError(f"{dataset}: expected a CSV file, a folder or a Hub id owner/name[@revision], found none of these")


def _open_file(path: Path) -> Source:
    from datasets import Value

    if columns := table_columns(path):
        metadata = {name: Value("string") for name in metadata_columns(path, columns)}
        revision = _content_hash(table_files(path, columns), path.parent)
        return Source(path.name, revision, partial(table_rows, path, columns), metadata)
    if is_parquet(path):
        raise DataError(f"{path}: expected columns of files and labels; give the folder if it holds the images itself")
    return Source(path.name, _content_hash([path], path.parent), partial(_csv_rows, path), declared=EMOTIONS)


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def _content_hash(files: Iterable[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(f"{Path(os.path.relpath(file, root)).as_posix()}\0".encode())
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _csv_rows(path: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    has_usage = "usage" in csv_header(path, KAGGLE_COLUMNS)
    for line, record in read_csv(path, KAGGLE_COLUMNS):
        # Without the column, as in Kaggle's train.csv, everything is train.
        yield f"{path}, line {line}", partial(kaggle_row, record if has_usage else record | {"usage": "train"})


def _image_row(file: Path, label: str, split: str, metadata: Mapping[str, str | None] | None = None) -> Row:
    return Row(split, label, read_image(file), dict(metadata or {}))


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not _hidden(Path(p.name)))


def _split_folders(root: Path) -> list[Path]:
    known = {spelling for spellings in SPLITS.values() for spelling in spellings}
    return sorted(p for p in root.iterdir() if p.is_dir() and re.sub("[^a-z]", "", p.name.lower()) in known)


def _holds_class_folders(root: Path, files: Iterable[Path]) -> bool:
    """Return whether a folder is nothing but folders of images; what has a table may be a dataset repository."""
    labels = {p.parent for p in files if p.suffix.lower() in IMAGES and p.parent.parent == root}
    tables = (".csv", ".json", ".jsonl", ".parquet", ".arrow", ".zip", ".tar")
    return len(labels) > 1 and not any(p.name.lower().endswith(tables) for p in files)


def _folder_rows(root: Path) -> Iterator[tuple[str, Callable[[], Row]]]:
    for folder in _split_folders(root):
        yield from _label_rows(folder, folder.name)


def _label_rows(folder: Path, name: str) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Read the folders of a split, each named after its label."""
    labels = sorted(p for p in folder.iterdir() if p.is_dir() and not _hidden(Path(p.name)))
    files = [file for label in labels for file in _images(label)]
    if not files:
        raise DataError(f"{folder}: expected pictures in folders named after their labels, found none")
    for file in files:
        # Kaggle's test/ is PublicTest and PrivateTest merged; the file names restore the official splits.
        official = re.match("(Training|PublicTest|PrivateTest)_", file.name)
        split = split_name(official[1] if official else name)
        yield str(file), partial(_image_row, file, file.parent.name, split)


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
        files = _images(folder) if set_id and folder.is_dir() else []
        for file in files:
            yield str(file), partial(_image_row, file, file.stem, "train", record)
        if not files:
            yield f"{root / 'emotions.csv'}, line {line}", partial(missing, folder)
    for folder in sorted(p for p in (root / "images").iterdir() if p.is_dir() and p.name not in known):
        yield str(folder), partial(stranger, folder)
