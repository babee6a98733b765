"""FER+ votes: read from `fer2013new.csv`, joined to a dataset by row, and checked against its labels."""

import re
from pathlib import Path

import numpy as np

from training.data.csv_reader import read_csv
from training.data.labels import FERPLUS_EMOTIONS, VOTES, canonical_label
from training.data.rows import SPLITS, split_name
from training.errors import DataError, LabelError, RowError

COUNT = re.compile("[0-9]{1,6}")
GUARD_ROWS = 1000  # votes are checked against the labels in blocks of about this many rows
GUARD_KAPPA = 0.2  # Cohen's kappa of vote plurality and label: 0.55 over FER-2013, 0 for a wrong order


def read_votes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the splits (n,) and the votes (n, 10) int32 of `fer2013new.csv`."""

    def column(name: str) -> str:
        try:
            return {"unknown": "unknown", "nf": "not_a_face"}.get(name) or canonical_label(name)
        except LabelError:
            return name  # such as Usage and Image name

    usage, votes = [], []
    for line, record in read_csv(path, ("usage",)):
        counts = {column(name): (text or "").strip() for name, text in record.items()}
        if wrong := [name for name in VOTES if not COUNT.fullmatch(counts.get(name, ""))]:
            found = ", ".join(f"{name}: {counts.get(name)!r}" for name in wrong)
            raise DataError(f"{path}, line {line}: expected vote counts for {', '.join(VOTES)}; found {found}")
        try:
            usage.append(split_name(counts["usage"]))
        except RowError as error:
            raise DataError(f"{path}, line {line}: {error}") from None
        votes.append([int(counts[name]) for name in VOTES])
    return np.array(usage), np.array(votes, dtype=np.int32)


def join_votes(path: Path, splits: np.ndarray, labels: list[int | None]) -> np.ndarray:
    """Read the votes (n, 10) int32 for the rows of the dataset; the file may have splits that the dataset lacks."""
    usage, votes = read_votes(path)
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
    check_votes(str(path), votes, splits, labels)
    return votes


def check_votes(name: str, votes: np.ndarray, splits: np.ndarray, labels: list[int | None]) -> None:
    """Check that votes (n, 10) fit the labels.

    Raises:
        DataError: they do not: the rows or the columns are in another order.
    """
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
