"""Tables of `file,label`: a CSV or parquet file whose rows name image files and their labels.

The columns may be called path and emotion as well, see `FILE_COLUMNS` and `LABEL_COLUMNS`. A column `split` or `usage`
says which split a row belongs to; without it all rows are train. Every other column is kept as metadata, and a column
`set_id` keeps the images of one person on one side where a validation split is cut.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from training.data.csv_reader import csv_header, read_csv
from training.data.hub_reader import LABEL_COLUMNS
from training.data.rows import Row, cell, read_image, split_name
from training.errors import DataError

FILE_COLUMNS = ("file", "path", "file_name", "filename", "image", "image_path")
SPLIT_COLUMNS = ("split", "usage")
RESERVED = ("image", "label", "votes", "pixel_hash")  # what the rows of a loaded dataset have themselves


def is_parquet(path: Path) -> bool:
    """Return whether a file begins as parquet files do."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def table_columns(path: Path) -> dict[str, str]:
    """Find what the columns of a table are for.

    Returns:
        The names of the columns `file` and `label` and, where there is one, `split`; empty for the Kaggle CSV and any
        other table that names no files.

    Raises:
        DataError: the file cannot be read, or has one of the two columns without the other.
    """
    header = _parquet(path).schema.names if is_parquet(path) else csv_header(path, ())
    lower = [name.strip().lower() for name in header]
    first = {
        kind: next((name for name in names if name in lower), "")
        for kind, names in (("file", FILE_COLUMNS), ("label", LABEL_COLUMNS), ("split", SPLIT_COLUMNS))
    }
    if "pixels" in lower or not (first["file"] or first["label"]):
        return {}
    if not first["file"]:
        raise DataError(
            f"{path}: expected pixels, as in the Kaggle CSV, or a column of image files "
            f"({', '.join(FILE_COLUMNS)}); found {', '.join(header)}"
        )
    if not first["label"]:
        raise DataError(f"{path}: expected a column of labels ({', '.join(LABEL_COLUMNS)}); found {', '.join(header)}")
    return {kind: name for kind, name in first.items() if name}


def metadata_columns(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Return the columns of a table that are neither file nor label nor split, in lower case."""
    header = _parquet(path).schema.names if is_parquet(path) else csv_header(path, ())
    taken = {"", *columns.values(), *RESERVED}
    return [name for name in dict.fromkeys(name.strip().lower() for name in header) if name not in taken]


def table_files(path: Path, columns: Mapping[str, str]) -> list[Path]:
    """Return the table and the files that it names, each once, as far as they exist."""
    files = (_file(path, record[columns["file"]]) for _, record in _records(path) if record[columns["file"]])
    return [path, *dict.fromkeys(file for file in files if file.is_file())]


def table_rows(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Read a table row by row, see `training.data.readers`."""
    extra = metadata_columns(path, columns)
    for where, record in _records(path):
        yield where, partial(_table_row, path, record, columns, extra)


def _table_row(path: Path, record: Mapping[str, Any], columns: Mapping[str, str], extra: Iterable[str]) -> Row:
    label = str(cell(record, columns["label"]))
    split = split_name(str(cell(record, columns["split"]))) if "split" in columns else "train"
    image = read_image(_file(path, cell(record, columns["file"])))
    return Row(split, label, image, {name: _text(record[name]) for name in extra})


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not is_parquet(path):
        for line, record in read_csv(path, ()):
            yield f"{path}, line {line}", record
        return
    row = 0
    for batch in _parquet(path).iter_batches():
        for record in batch.to_pylist():
            yield f"{path}, row {row}", {name.strip().lower(): value for name, value in record.items()}
            row += 1
    if not row:
        raise DataError(f"{path}: expected rows, found none")


def _parquet(path: Path) -> Any:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: expected a whole parquet file: {error}") from error


def _file(path: Path, name: object) -> Path:
    """Return the path of an image, which is relative to the table's folder."""
    return path.parent / Path(str(name).strip()).expanduser()


def _text(value: object) -> str | None:
    return None if value is None else str(value)
