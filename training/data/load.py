"""Loads any FER-2013-like dataset as a `datasets.DatasetDict` with labels mapped by name.

    python -m training.data --dataset fer2013.csv.gz --ferplus fer2013new.csv

prints the splits and classes of a dataset. Every picture is decoded once, the result is cached as Arrow under the
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

from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS, VOTES, canonical_label
from training.data.readers import SPLITS, Source, open_source, read_csv, split_name
from training.errors import DataError, LabelError, RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from PIL.Image import Image

__all__ = ["DataError", "duplicates_of", "load_fer", "pixel_hash", "provenance"]

logger = logging.getLogger(__name__)

CACHE_FORMAT = 2  # raise it when the cached rows change, so that old caches are left alone
GUARD_ROWS = 1000  # votes are checked against the labels in blocks of about this many rows
GUARD_KAPPA = 0.2  # Cohen's kappa of vote plurality and label: 0.55 over FER-2013, 0 for a wrong order


def load_fer(
    dataset: str | Path,
    *,
    ferplus: str | Path | None = None,
    skip_bad_rows: bool = False,
    seed: int = 42,
    validation_fraction: float = 0.1,
    cache_dir: str | Path | None = None,
) -> "DatasetDict":
    """Loads a dataset of faces with labelled expressions.

    Args:
        dataset: Kaggle CSV (plain or gzip), Kaggle folders, per-person set, local dataset repository, or Hub id with
            an optional `@revision`.
        ferplus: `fer2013new.csv`: FER+ votes for the rows of the dataset, in the same order. A dataset repository
            may hold them itself, as `training.publish_dataset` writes them.
        skip_bad_rows: Drop and count bad rows instead of raising; `provenance` gives the counts.
        seed: Of the validation split, where one has to be cut.
        validation_fraction: Share of train that becomes `validation` where the source has none, class by class.
            Exact duplicates, and pictures with one `set_id`, stay on one side.
        cache_dir: Where the Arrow cache lies; the default of `datasets` if None.

    Returns:
        Splits train, validation and test where they exist, with the columns `image` (`Image`, as stored), `label`
        (`ClassLabel` with the names `EMOTIONS`, or `FERPLUS_EMOTIONS` if contempt occurs), `pixel_hash` (see
        `pixel_hash`), the source's own metadata, and `votes` (10 int32 counts in the order of `VOTES`) if asked for or
        held by the dataset.

    Raises:
        DataError: If anything about the dataset or the votes is not as expected.
    """
    from datasets import ClassLabel, DatasetDict, List, Value

    source = open_source(dataset, cache_dir)
    table = _cached_table(source, skip_bad_rows, cache_dir)
    splits = np.array([split or "" for split in table["split"]])  # "" where the row is bad
    emotions = table["emotion"][:]
    dropped = Counter(filter(None, table["problem"][:]))
    if dropped:
        counts = ", ".join(f"{count} x {reason}" for reason, count in dropped.most_common())
        logger.warning("%s: dropped %d bad rows: %s", dataset, dropped.total(), counts)
    names = FERPLUS_EMOTIONS if "contempt" in emotions else EMOTIONS
    labels = [None if emotion is None else names.index(emotion) for emotion in emotions]

    votes = None
    if "votes" in table.column_names:
        if ferplus is not None:
            raise DataError(f"{dataset}: expected no {ferplus} beside it, since it holds FER+ votes itself; drop that")
        own = np.array([counts or [0] * len(VOTES) for counts in table["votes"][:]], dtype=np.int32)  # none: a bad row
        _check_votes(f"{dataset}, column votes", own, splits, labels)
    elif ferplus is not None:
        votes = _join_votes(Path(ferplus), splits, labels)
    table = table.remove_columns(["split", "emotion", "problem"])
    table = table.add_column("label", labels, feature=ClassLabel(names=list(names)))
    if votes is not None:
        table = table.add_column("votes", votes.tolist(), feature=List(Value("int32"), length=len(VOTES)))
    table.info.description = json.dumps(  # travels with every selection of the rows
        {"source": source.name, "revision": source.revision, "dropped": dict(dropped)}
    )

    rows = {split: np.flatnonzero(splits == split) for split in SPLITS if split in splits}
    if not rows:
        raise DataError(f"{dataset}: expected at least one usable row, found {len(splits)} bad ones")
    if "train" in rows and "validation" not in rows:
        train = table.select(rows["train"])
        keys = [train[column][:] for column in ("pixel_hash", "set_id") if column in train.column_names]
        held_out = _held_out(np.array(train["label"][:]), _groups(*keys), validation_fraction, seed)
        if not held_out.any():
            raise DataError(f"{dataset}: expected enough pictures of some class to cut a validation split from train")
        rows = {"train": rows["train"][~held_out], "validation": rows["train"][held_out]} | {
            split: indices for split, indices in rows.items() if split != "train"
        }
    return DatasetDict({split: table.select(indices) for split, indices in rows.items()})


def provenance(dataset: "DatasetDict") -> dict[str, Any]:
    """What a run folder records about its data.

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
        lines = (f"{key} {names[label]}\n" for key, label in zip(rows["pixel_hash"], rows["label"], strict=True))
        fingerprints[split] = hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
    return origin | {"rows": {split: len(rows) for split, rows in dataset.items()}, "fingerprint": fingerprints}


def pixel_hash(image: "Image") -> str:
    """Hash of a picture's size and RGB pixels: equal for exact duplicates, whatever the file format."""
    digest = hashlib.blake2b(repr(image.size).encode(), digest_size=16)
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


def duplicates_of(split: "Dataset", of: "Dataset") -> np.ndarray:
    """Finds the pictures of one split whose exact pixels occur in another.

    Args:
        split: For example the validation split of `load_fer`.
        of: For example its train split.

    Returns:
        (len(split),) bool.
    """
    return np.isin(split["pixel_hash"][:], of["pixel_hash"][:])


def _cached_table(source: Source, skip_bad_rows: bool, cache_dir: str | Path | None) -> "Dataset":
    """All rows of a source in its own order, bad ones with their `problem` and no picture."""
    from datasets import Dataset, Features, Image, Value
    from datasets.exceptions import DatasetGenerationError

    columns = ("split", "emotion", "problem", "pixel_hash")
    features = Features(source.metadata | {"image": Image()} | {c: Value("string") for c in columns})

    def examples() -> Iterator[dict[str, Any]]:
        for where, read in source.rows():
            try:
                row = read()
                yield row.metadata | {
                    "image": {"bytes": row.image, "path": None},
                    "split": row.split,
                    "emotion": row.emotion,
                    "problem": None,
                    "pixel_hash": _checked_hash(row.image),
                }
            except RowError as error:
                if not skip_bad_rows:
                    raise DataError(f"{where}: {error} (--skip_bad_rows drops such rows)") from None
                yield dict.fromkeys(features) | {"problem": error.reason}

    key = hashlib.blake2b(f"{CACHE_FORMAT} {source.revision} {skip_bad_rows}".encode(), digest_size=16).hexdigest()
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


def _checked_hash(encoded: bytes) -> str:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return pixel_hash(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, EOFError, OSError, SyntaxError, ValueError) as error:
        raise RowError("picture", f"expected a readable picture: {error}") from None


def _groups(*keys: list[str]) -> np.ndarray:
    """Numbers the groups of rows that share a key, directly or through other rows; (n,) int."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = len(keys[0])
    linked = [np.unique(np.array(key, dtype=str), return_index=True, return_inverse=True)[1:] for key in keys]
    firsts = np.concatenate([first[inverse] for first, inverse in linked])
    graph = coo_matrix((np.ones(len(firsts)), (np.tile(np.arange(rows), len(keys)), firsts)), shape=(rows, rows))
    return connected_components(graph, directed=False)[1]


def _held_out(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Chooses whole groups, class by class by each group's first row, as the validation split; (n,) bool."""
    rng = np.random.default_rng(seed)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    chosen = np.zeros(len(first), dtype=bool)
    for label in np.unique(labels[first]):
        members = np.flatnonzero(labels[first] == label)
        # At least one of each class that has two, and never the last one.
        chosen[rng.permutation(members)[: int(np.ceil(fraction * (len(members) - 1)))]] = True
    return chosen[inverse]


def _read_votes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Splits (n,) and votes (n, 10) int32 of `fer2013new.csv`."""

    def column(name: str) -> str:
        try:
            return {"unknown": "unknown", "nf": "not_a_face"}.get(name) or canonical_label(name)
        except LabelError:
            return name  # such as Usage and Image name

    usage, votes = [], []
    for line, record in read_csv(path, ("usage",)):
        counts = {column(name): (text or "").strip() for name, text in record.items()}
        if wrong := [name for name in VOTES if not counts.get(name, "").isdecimal()]:
            found = ", ".join(f"{name}: {counts.get(name)!r}" for name in wrong)
            raise DataError(f"{path}, line {line}: expected vote counts for {', '.join(VOTES)}; found {found}")
        try:
            usage.append(split_name(counts["usage"]))
        except RowError as error:
            raise DataError(f"{path}, line {line}: {error}") from None
        votes.append([int(counts[name]) for name in VOTES])
    return np.array(usage), np.array(votes, dtype=np.int32)


def _join_votes(path: Path, splits: np.ndarray, labels: list[int | None]) -> np.ndarray:
    """Votes (n, 10) int32 for the rows of the dataset; a split that the dataset lacks may be in the file."""
    usage, votes = _read_votes(path)
    known = splits != ""
    lines = np.flatnonzero(np.isin(usage, splits[known]))
    if len(lines) != len(splits):
        expected, found = (
            ", ".join(f"{(values == split).sum():,} {split}" for split in SPLITS) for values in (splits, usage)
        )
        raise DataError(f"{path}: expected votes for {len(splits):,} rows ({expected}), found {found}")
    usage, votes = usage[lines], votes[lines]
    if (wrong := np.flatnonzero(known & (usage != splits))).size:
        row = wrong[0]
        raise DataError(
            f"{path}, line {lines[row] + 2}: expected Usage {splits[row]} as in row {row} of the dataset, "
            f"found {usage[row]}"
        )
    _check_votes(str(path), votes, splits, labels)
    return votes


def _check_votes(name: str, votes: np.ndarray, splits: np.ndarray, labels: list[int | None]) -> None:
    """Raises DataError where votes (n, 10) do not fit the labels: rows, or the columns, are in another order."""
    from sklearn.metrics import cohen_kappa_score

    known = splits != ""
    plurality = votes[:, : len(FERPLUS_EMOTIONS)].argmax(axis=1)
    truth = np.array([-1 if label is None else label for label in labels])
    for block in np.array_split(np.flatnonzero(known), max(1, known.sum() // GUARD_ROWS)):
        # Fewer than 100 rows cannot tell a wrong order from chance.
        if len(block) >= 100 and cohen_kappa_score(plurality[block], truth[block]) < GUARD_KAPPA:
            raise DataError(
                f"{name}: expected votes that fit the labels; from row {block[0]} to {block[-1]} only "
                f"{(plurality == truth)[block].mean():.0%} agree (63% in FER-2013), so the dataset is not in the "
                "order of the votes: use the Kaggle CSV or a copy in its order"
            )
