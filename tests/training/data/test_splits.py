"""Stratified samples."""

from collections import Counter

import numpy as np
import pytest

from training.data.splits import stratified_sample

LABELS = np.repeat([0, 1, 2], [600, 300, 100])  # as in folders: one class after the other


@pytest.mark.parametrize("rows, expected", [(100, (60, 30, 10)), (10, (6, 3, 1)), (37, (22, 11, 4))])
def test_classes_keep_their_shares(rows: int, expected: tuple[int, ...]) -> None:
    for seed in range(20):
        sample = stratified_sample(LABELS, rows, seed)
        assert len(sample) == len(set(sample)) == rows
        counts = Counter(LABELS[sample].tolist())
        assert all(abs(counts[label] - share) <= 1 for label, share in enumerate(expected))


def test_seed_chooses_the_rows_in_their_order() -> None:
    first, again, other = (stratified_sample(LABELS, 50, seed).tolist() for seed in (1, 1, 2))
    assert first == again == sorted(first) != other
    drawn = Counter(row for seed in range(400) for row in stratified_sample(LABELS, 100, seed).tolist())
    assert len(drawn) == 1000 and max(drawn.values()) < 90  # every row has the same chance, one in ten


@pytest.mark.parametrize("rows", [1000, 5000])
def test_more_than_there_are_is_all(rows: int) -> None:
    assert stratified_sample(LABELS, rows, 0).tolist() == list(range(1000))
