"""One labeled image, whatever it is read from, and the cells it is made of."""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.data.labels import EMOTIONS
from training.errors import RowError

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "publictest"),
    "test": ("test", "testing", "privatetest"),
}
SIDE = 48  # pixels: the Kaggle CSV holds SIDE * SIDE gray values per row
CODES = {str(code): name for code, name in enumerate(EMOTIONS)}
# as the Kaggle CSV writes them; int() would take "+5", "1_0" and the digits of other scripts
GRAY_VALUES = {f"{value:0{width}}": value for width in (1, 2, 3) for value in range(256)}


@dataclass(frozen=True)
class Row:
    """One labeled image.

    Attributes:
        split: train, validation or test.
        label: As the source spells it; `training.data.classes` makes a class of it.
        image: The encoded image file.
        metadata: What else the source knows, by column.
    """

    split: str
    label: str
    image: bytes
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A recognized dataset.

    Attributes:
        name: Hub id, or the bare name of a file or folder.
        revision: Commit on the Hub, or the SHA-256 of the content.
        rows: Starts reading from the first row; see `training.data.readers`.
        metadata: `datasets` features of the metadata columns.
        declared: Labels that the format itself defines, whether or not a row has them.
    """

    name: str
    revision: str
    rows: Callable[[], Iterable[tuple[str, Callable[[], Row]]]]
    metadata: dict[str, Any] = field(default_factory=dict)
    declared: tuple[str, ...] = ()


def split_name(name: str) -> str:
    """Map a split's name to train, validation or test; raise RowError for any other."""
    plain = re.sub("[^a-z]", "", name.lower())
    for split, spellings in SPLITS.items():
        if plain in spellings:
            return split
    expected = "; ".join(f"{split} ({', '.join(spellings)})" for split, spellings in SPLITS.items())
    raise RowError("split", f"expected a split among {expected}, found {name!r}")


def cell(record: Mapping[str, Any], column: str) -> Any:
    """Return the value in a column of a row; raise RowError if there is none."""
    if record.get(column) is None:
        raise RowError("column", f"expected a value in the column {column}, found none")
    return record[column]


def kaggle_row(record: Mapping[str, Any]) -> Row:
    """Read a row of the Kaggle CSV: `emotion`, `pixels` (text, or a list of numbers) and `usage`."""
    from PIL import Image

    code = str(cell(record, "emotion")).strip()
    if code not in CODES:
        raise RowError("emotion", f"expected an emotion from 0 to {len(EMOTIONS) - 1}, found {code[:20]!r}")
    gray = gray_values(cell(record, "pixels"))
    png = io.BytesIO()
    Image.frombytes("L", (SIDE, SIDE), gray).save(png, "PNG")
    return Row(split_name(cell(record, "usage")), CODES[code], png.getvalue())


def gray_values(pixels: str | Sequence[int]) -> bytes:
    """Read `SIDE` x `SIDE` gray values, from text or from a list of numbers; raise RowError for anything else."""
    values = pixels.split() if isinstance(pixels, str) else [str(value) for value in pixels]
    if len(values) != SIDE * SIDE:
        raise RowError("pixel count", f"expected {SIDE * SIDE} pixels, found {len(values)}")
    try:
        return bytes(map(GRAY_VALUES.__getitem__, values))
    except KeyError as error:
        found = error.args[0][:20]
        raise RowError("pixel value", f"expected pixel values from 0 to 255, found {found!r}") from None


def read_image(file: Path) -> bytes:
    """Return the bytes of an image file; raise RowError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise RowError("picture", f"expected a readable file: {error}") from None
