"""Load any FER-2013-like dataset as a `datasets.DatasetDict` with labels mapped by name.

    python -m training.data --dataset fer2013.csv.gz --ferplus fer2013new.csv

prints the splits and classes of a dataset. Every image is decoded once, the result is cached as Arrow under the
content's hash, and a second load only maps that file.
"""

import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradio_ui.recognition.errors import ImageError
from gradio_ui.recognition.image_io import read_image
from training.data.classes import Classes
from training.data.labels import FERPLUS_EMOTIONS, VOTES, label_key
from training.data.readers import open_source
from training.data.rows import SPLITS, Source
from training.data.splits import hold_out, linked_groups
from training.data.votes import check_votes, join_votes
from training.errors import DataError, LabelError, RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from PIL.Image import Image

__all__ = ["DataError", "duplicates_of", "load_fer", "pixel_hash", "provenance"]

EVERY_KNOWN = Classes()
LEFT_OUT = "left out by --label_map"  # the reason of a row that is not bad

logger = logging.getLogger(__name__)

CACHE_FORMAT = 3  # raise it when the cached rows change, so that old caches are left alone


def load_fer(
    dataset: str | Path,
    *,
    ferplus: str | Path | None = None,
    classes: Classes = EVERY_KNOWN,
    skip_bad_rows: bool = False,
    seed: int = 42,
    validation_fraction: float = 0.1,
    cache_dir: str | Path | None = None,
) -> "DatasetDict":
    """Load a dataset of faces with labeled expressions.

    Args:
        dataset: Kaggle CSV (plain or gzip), table of `file,label` (CSV or parquet), folders of classes with or without
            folders of splits above them, per-person set, local dataset repository, or Hub id with an optional
            `@revision`.
        ferplus: `fer2013new.csv`: FER+ votes for the rows of the dataset, in the same order. A dataset repository
            may hold them itself, as `training.publish_dataset` writes them.
        classes: Which labels of the dataset become which classes.
        skip_bad_rows: Drop and count bad rows instead of raising; `provenance` gives the counts.
        seed: Of the validation split, where one has to be cut.
        validation_fraction: Share of train that becomes `validation` where the source has none, class by class.
            Exact duplicates, and images with one `set_id`, stay on one side.
        cache_dir: Where the Arrow cache lies; the default of `datasets` if None.

    Returns:
        Splits train, validation and test where they exist, with the columns `image` (`Image`, as stored), `label`
        (`ClassLabel` with the classes that occur in any split, or that `classes` lists; the Kaggle CSV has all seven),
        `pixel_hash` (see `pixel_hash`), the source's own metadata, and `votes` (10 int32 counts in the order of
        `VOTES`) if asked for or held by the dataset.

    Raises:
        DataError: If anything about the dataset or the votes is not as expected.
        LabelError: If two of its classes have the same name.
    """
    from datasets import ClassLabel, DatasetDict, List, Value

    source = open_source(dataset, cache_dir)
    table = _cached_table(source, classes, skip_bad_rows, cache_dir)
    splits = np.array([split or "" for split in table["split"]])  # "" where the row is bad
    if not splits.astype(bool).any():
        raise DataError(f"{dataset}: expected at least one usable row, found {len(splits)} bad ones")
    found = table["class"][:]
    names = classes.names([*filter(None, found), *filter(None, map(classes.class_of, source.declared))])
    labels = [None if name is None else names.index(name) for name in found]
    votes = _read_votes(table, str(dataset), ferplus, splits, found)
    dropped = _dropped(table, str(dataset))

    table = table.remove_columns(["split", "class", "problem"])
    table = table.add_column("label", labels, feature=ClassLabel(names=list(names)))
    if votes is not None:
        table = table.add_column("votes", votes.tolist(), feature=List(Value("int32"), length=len(VOTES)))
    table.info.description = json.dumps(  # travels with every selection of the rows
        {"source": source.name, "revision": source.revision, "dropped": dropped}
    )
    rows = {split: np.flatnonzero(splits == split) for split in SPLITS if split in splits}
    if "train" in rows and "validation" not in rows:
        rows = _with_validation(rows, table, str(dataset), validation_fraction, seed)
    return DatasetDict({split: table.select(indices) for split, indices in rows.items()})


def _dropped(table: "Dataset", name: str) -> dict[str, int]:
    """Count the bad rows by reason, and say so in the log."""
    dropped = Counter(filter(None, table["problem"][:]))
    if dropped:
        counts = ", ".join(f"{count} x {reason}" for reason, count in dropped.most_common())
        logger.warning("%s: dropped %d %srows: %s", name, dropped.total(), "bad " * (LEFT_OUT not in dropped), counts)
    return dict(dropped)


def _read_votes(
    table: "Dataset", name: str, ferplus: str | Path | None, splits: np.ndarray, found: list[str | None]
) -> np.ndarray | None:
    """Read the votes (n, 10) int32 from the file, if there is one; those that the table holds are only checked.

    Raises:
        DataError: both are there, or they do not fit the rows.
    """
    keys = [None if label is None else label_key(label) for label in found]
    labels = [FERPLUS_EMOTIONS.index(key) if key in FERPLUS_EMOTIONS else None for key in keys]
    if "votes" not in table.column_names:
        return None if ferplus is None else join_votes(Path(ferplus), splits, labels)
    if ferplus is not None:
        raise DataError(f"{name}: expected no {ferplus} beside it, since it holds FER+ votes itself; drop that")
    votes = np.array([counts or [0] * len(VOTES) for counts in table["votes"][:]], dtype=np.int32)  # none: a bad row
    check_votes(f"{name}, column votes", votes, splits, labels)
    return None


def _with_validation(
    rows: dict[str, np.ndarray], table: "Dataset", name: str, fraction: float, seed: int
) -> dict[str, np.ndarray]:
    """Cut a validation split from train."""
    train = table.select(rows["train"])
    keys = [train[column][:] for column in ("pixel_hash", "set_id") if column in train.column_names]
    held_out = hold_out(np.array(train["label"][:]), linked_groups(*keys), fraction, seed)
    if not held_out.any():
        raise DataError(f"{name}: expected enough images of some class to cut a validation split from train")
    return {"train": rows["train"][~held_out], "validation": rows["train"][held_out]} | {
        split: indices for split, indices in rows.items() if split != "train"
    }


def provenance(dataset: "DatasetDict") -> dict[str, Any]:
    """Describe the data for a run folder.

    Args:
        dataset: A result of `load_fer`, or selections of its rows.

    Returns:
        `source`, `revision` (commit, or SHA-256 of a local file or folder), `dropped` (bad rows by reason), and by
        split `rows` and `fingerprint`: a hash of pixels and labels in order, the same on every machine.
    """
    origin = json.loads(next(iter(dataset.values())).info.description)
    fingerprints = {}
    for split, rows in dataset.items():
        names = rows.features["label"].names
        lines = (
            f"{key} {label_key(names[label])}\n" for key, label in zip(rows["pixel_hash"], rows["label"], strict=True)
        )
        fingerprints[split] = hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
    return origin | {"rows": {split: len(rows) for split, rows in dataset.items()}, "fingerprint": fingerprints}


def pixel_hash(image: "Image") -> str:
    """Hash an image's size and RGB pixels: equal for exact duplicates, whatever the file format."""
    digest = hashlib.blake2b(repr(image.size).encode(), digest_size=16)
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


def duplicates_of(split: "Dataset", of: "Dataset") -> np.ndarray:
    """Find the images of one split whose exact pixels occur in another.

    Args:
        split: For example the validation split of `load_fer`.
        of: For example its train split.

    Returns:
        (len(split),) bool.
    """
    return np.isin(split["pixel_hash"][:], of["pixel_hash"][:])


def _cached_table(source: Source, classes: Classes, skip_bad_rows: bool, cache_dir: str | Path | None) -> "Dataset":
    """Read all rows of a source in its own order, those to be dropped with their `problem` and no image."""
    from datasets import Dataset, Features, Image, Value
    from datasets.exceptions import DatasetGenerationError

    columns = ("split", "class", "problem", "pixel_hash")
    features = Features(source.metadata | {"image": Image()} | {c: Value("string") for c in columns})

    def examples() -> Iterator[dict[str, Any]]:
        for where, read in source.rows():
            try:
                row = read()
                if (name := _class_of(row.label, classes)) is None:
                    yield dict.fromkeys(features) | {"problem": LEFT_OUT}
                    continue
                image = _in_8_bits(row.image)
                yield row.metadata | {
                    "image": {"bytes": image, "path": None},
                    "split": row.split,
                    "class": name,
                    "problem": None,
                    "pixel_hash": _checked_hash(image),
                }
            except RowError as error:
                if not skip_bad_rows:
                    raise DataError(f"{where}: {error} (--skip_bad_rows drops such rows)") from None
                yield dict.fromkeys(features) | {"problem": error.reason}

    spec = f"{CACHE_FORMAT} {source.revision} {skip_bad_rows} {classes}"
    key = hashlib.blake2b(spec.encode(), digest_size=16).hexdigest()
    try:
        # `datasets` shows a progress bar, writes in small batches, and renames the cache folder when it is whole.
        return Dataset.from_generator(
            examples,
            features=features,
            cache_dir=None if cache_dir is None else str(cache_dir),
            split="rows",
            fingerprint=key,
        )
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise


def _class_of(label: str, classes: Classes) -> str | None:
    try:
        return classes.class_of(label)
    except LabelError as error:
        raise RowError("label", str(error)) from None


def _in_8_bits(encoded: bytes) -> bytes:
    """Return an image file as it is, or one of 16-bit gray as a PNG of 8 bits, scaled as the app reads it.

    Pillow's own conversion clips everything above 255 to white.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            if not image.mode.startswith("I"):
                return encoded
            png = io.BytesIO()
            Image.fromarray(read_image(encoded)[..., 0]).save(png, "PNG")
            return png.getvalue()
    except (Image.DecompressionBombError, EOFError, ImageError, OSError, SyntaxError, ValueError) as error:
        raise RowError("picture", f"expected a readable image: {error}") from None


def _checked_hash(encoded: bytes) -> str:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return pixel_hash(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, EOFError, OSError, SyntaxError, ValueError) as error:
        raise RowError("picture", f"expected a readable image: {error}") from None
