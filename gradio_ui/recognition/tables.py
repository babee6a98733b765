"""The one row format of a face, and CSV that a spreadsheet does not run.

A face is a dict (`face_dict`), the element of JSON results and of the page's data. `face_cells` flattens it to a row
of named cells for CSV, JSON records and Parquet.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any

from .doubt import UNCLEAR_BELOW, verdict

BOX = ("left", "top", "right", "bottom")
FACE_COLUMNS = ("face", *BOX, "confidence", "label", "probability", "unclear", "shown")
# Columns that say where a face was seen; no label's column has one of these names either. table.js has the same.
CONTEXT_COLUMNS = ("file", "path", "seconds", "width", "height", "landmarks", "error")

DIGITS = 4  # of a probability in tables, JSON and answers: a ten-thousandth, below what a model can tell

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # https://owasp.org/www-community/attacks/CSV_Injection
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def face_dict(
    face: int,
    box: Iterable[float],
    confidence: float,
    label: str,
    labels: Sequence[str],
    probabilities: Iterable[float],
    threshold: float = UNCLEAR_BELOW,
) -> dict[str, Any]:
    """Describe one face as a plain, JSON-ready dict.

    Args:
        face: its number, from 1.
        box: left, top, right, bottom in pixels of the frame; rounded to 0.1.
        confidence: the detector's, 0-1.
        label: the one to report, one of `labels`.
        labels: the C label names.
        probabilities: C values in 0-1, in the order of `labels`.
        threshold: probability below which the label is unclear.

    Returns:
        face, box (a list of 4), confidence, label, probability (of that label), unclear and shown (see
        `doubt.verdict`) and probabilities (by label).
    """
    by_label = {name: float(p) for name, p in zip(labels, probabilities, strict=True)}
    return {
        "face": int(face),
        "box": [round(float(v), 1) for v in box],
        "confidence": round(float(confidence), DIGITS),
        "label": label,
        "probability": round(by_label[label], DIGITS),
        **verdict(label, by_label, threshold),
        "probabilities": {name: round(p, DIGITS) for name, p in by_label.items()},
    }


def label_columns(labels: Iterable[str]) -> dict[str, str]:
    """Name the column of each label's probability: the label itself unless another column has that name.

    Returns:
        label -> column; a label called "path" gets the column "path_probability".
    """
    labels = list(labels)
    taken = {*FACE_COLUMNS, *CONTEXT_COLUMNS}
    columns: dict[str, str] = {}
    for label in labels:
        column = label
        while column in taken or (column != label and column in labels):
            column += "_probability"
        taken.add(column)
        columns[label] = column
    return columns


def raw_columns(labels: Iterable[str]) -> dict[str, str]:
    """Name the column of each label's probability before smoothing: `raw_` and its column of `label_columns`."""
    columns = label_columns(labels)
    taken = set(columns.values())
    raw: dict[str, str] = {}
    for label, smoothed in columns.items():
        column = f"raw_{smoothed}"
        while column in taken:
            column += "_probability"
        taken.add(column)
        raw[label] = column
    return raw


def face_columns(labels: Iterable[str]) -> list[str]:
    """List the columns of `face_cells`, in order."""
    return [*FACE_COLUMNS, *label_columns(labels).values()]


def face_cells(face: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a face of `face_dict` to named cells in the order of `face_columns`."""
    columns = label_columns(face["probabilities"])
    return {
        "face": face["face"],
        **dict(zip(BOX, face["box"], strict=True)),
        **{name: face[name] for name in FACE_COLUMNS[1 + len(BOX) :]},
        **{columns[label]: p for label, p in face["probabilities"].items()},
    }


def escape_cell(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would run as a formula; numbers stay as they are.

    A text runs if it begins with = + - @, a tab or a line break, and is no plain number such as -3.5.
    """
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def csv_rows(file: IO[str], columns: Sequence[str]) -> Callable[[Mapping[str, Any]], None]:
    """Begin a CSV table (RFC 4180) whose texts, the header's among them, no spreadsheet runs as formulas.

    Args:
        file: opened with newline="" and encoding="utf-8".
        columns: the header.

    Returns:
        A function that writes a row of cells by column; a column that the row lacks gets an empty cell, and a truth
        value is written as JSON has it.
    """
    writer = csv.writer(file)
    writer.writerow([escape_cell(column) for column in columns])

    def cell(value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else escape_cell(value)

    return lambda row: writer.writerow([cell(row.get(column, "")) for column in columns])


def write_csv(file: IO[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole CSV table, see `csv_rows`."""
    write_row = csv_rows(file, columns)
    for row in rows:
        write_row(row)


def printable(text: str) -> str:
    r"""Replace the bytes of a file name that are not UTF-8 by \xNN, so that every encoder takes the text."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
