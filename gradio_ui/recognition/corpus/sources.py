"""What a person names as a corpus -> the works that its parts are made from, in a fixed order.

A folder of images, tar shards or dataset files; a glob of images or tar shards, also with webdataset's {000..099}; a
CSV or parquet table of addresses; the id of a dataset on the Hub; each local or at any fsspec address.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import IO

from ..errors import StorageError
from ..tables import printable
from .storage import local_path, naming_errors, open_storage, state_of
from .works import IMAGES, DatasetShard, Listing, TarShard, Work, open_dataset

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TABLES = (".csv", ".parquet")
COLUMNS = ("path", "file", "file_name", "image", "url")  # of a table: the first of these that it has
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", re.ASCII)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")

Found = tuple[str, str]  # an address and the state of the file


def find_works(source: str, part_size: int) -> Iterator[Work]:
    """Cut a corpus into works.

    Args:
        source: see above. What is there as a folder wins over a Hub id, "user/name" or "user/name@revision".
        part_size: pictures of a part, where they are files of their own; a tar shard and a dataset's file are a part.

    Raises:
        StorageError: the source cannot be read, or holds no pictures.
    """
    if source.lower().endswith(TABLES) and not any(sign in source for sign in "*?["):
        works: Iterator[Work] = _listings(((address, "") for address in _read_table(source)), part_size)
    elif _is_hub_id(source):
        dataset, _, revision = source.partition("@")
        works = _dataset(dataset, _commit(dataset, revision or None))
    else:
        works = _files(source, part_size)
    first = next(works, None)
    if first is None:
        raise StorageError(
            f"{printable(source)}: expected images, tar shards, a .csv or .parquet table, or a dataset; found none"
        )
    return chain([first], works)


def _is_hub_id(source: str) -> bool:
    path = local_path(source)
    return path is not None and not path.exists() and _HUB_ID.fullmatch(source) is not None


def _files(source: str, part_size: int) -> Iterator[Work]:
    """List a folder, a glob or a file; images come first, then tar shards, then what `datasets` reads."""
    found = sorted(chain.from_iterable(map(_list, _expand(source))), key=lambda one: PurePosixPath(one[0]).parts)
    images = [one for one in found if one[0].lower().endswith(IMAGES)]
    tars = [one for one in found if one[0].lower().endswith(TARS)]
    if images or tars:
        return chain(_listings(images, part_size), (TarShard(*one) for one in tars))
    path = local_path(source)
    if found and path is not None and path.is_dir():
        return _dataset(str(path.resolve()), None, repr(found))
    return iter(())


def _expand(pattern: str) -> list[str]:
    """Expand the first {000..099} of a pattern, and all others, as webdataset does."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last = match.groups()
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [one for number in numbers for one in _expand(pattern[: match.start()] + number + pattern[match.end() :])]


def _list(source: str) -> list[Found]:
    """List the files of a folder or a glob, or one file; named as `source` is, so relative where that is."""
    fs, root = open_storage(source)
    with naming_errors(source):
        infos = fs.glob(root, detail=True) if any(sign in root for sign in "*?[") else fs.find(root, detail=True)
        files = {path: state_of(info) for path, info in infos.items() if info.get("type") != "directory"}
        if not files and not any(sign in root for sign in "*?["):
            fs.info(root)  # raises where there is nothing at all
    if local_path(source) is None or any(sign in root for sign in "*?["):
        return [
            (str(fs.unstrip_protocol(path)) if local_path(source) is None else path, s) for path, s in files.items()
        ]
    given = str(local_path(source))
    return [(given + path[len(root) :], state) for path, state in files.items()]


def _listings(found: Iterable[Found], size: int) -> Iterator[Listing]:
    """Cut a list of files into works."""
    left = iter(found)
    while chunk := tuple(islice(left, size)):
        addresses, states = zip(*chunk, strict=True)
        yield Listing(addresses, states)


def _read_table(source: str) -> Iterator[str]:
    """Yield the addresses in a table; relative ones lie beside it.

    Raises:
        StorageError: it cannot be read, or has no column of addresses.
    """
    folder = source.rpartition("/")[0]
    fs, path = open_storage(source)
    with naming_errors(source), fs.open(path, "rb") as file:
        for cell in (_csv_cells if source.lower().endswith(".csv") else _parquet_cells)(file, source):
            relative = "://" not in cell and not cell.startswith("/") and folder
            yield f"{folder}/{cell}" if relative else cell


def _csv_cells(file: IO[bytes], source: str) -> Iterator[str]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        rows = csv.DictReader(text)
        column = _column(rows.fieldnames or (), source)
        yield from (row[column] for row in rows if row[column])


def _parquet_cells(file: IO[bytes], source: str) -> Iterator[str]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    column = _column(table.schema_arrow.names, source)
    for batch in table.iter_batches(columns=[column]):
        yield from (cell for cell in batch.column(0).to_pylist() if cell)


def _column(names: Iterable[str], source: str) -> str:
    names = list(names)
    for column in COLUMNS:
        if column in names:
            return column
    raise StorageError(f"{printable(source)}: expected a column {', '.join(COLUMNS)}; found {', '.join(names)}")


def _commit(dataset: str, revision: str | None) -> str:
    """Pin a dataset on the Hub to the commit that a branch or tag stands for now."""
    from huggingface_hub import HfApi

    with naming_errors(dataset):
        return str(HfApi().dataset_info(dataset, revision=revision).sha)


def _dataset(dataset: str, revision: str | None, state: str = "") -> Iterator[Work]:
    """List the shards of all splits."""
    with naming_errors(dataset):
        splits = open_dataset(dataset, revision)
        shards = [(split, index) for split, rows in splits.items() for index in range(rows.num_shards)]
    return (DatasetShard(dataset, revision, split, index, state) for split, index in shards)
