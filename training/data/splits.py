"""Choosing rows with a seed: whole groups for a validation split, or a stratified sample."""

from __future__ import annotations

import numpy as np


def stratified_sample(labels: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """Draw rows at random, each class in its proportion.

    Args:
        labels: (n,) int.
        rows: how many to draw; all n where there are not as many.
        seed: of the draw.

    Returns:
        (min(rows, n),) int64 indices in ascending order.
    """
    if rows >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    _, inverse, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
    # A row's position among the shuffled rows of its class, as a share of the class: the smallest come first, and ties
    # between classes are broken by the shuffle.
    position = np.empty(len(order))
    for label in range(len(sizes)):
        position[inverse == label] = (np.arange(sizes[label]) + rng.random()) / sizes[label]
    return np.sort(order[np.argsort(position, kind="stable")[:rows]])


def linked_groups(*keys: list[str]) -> np.ndarray:
    """Number the groups of rows that share a key, directly or through other rows; (n,) int."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows = len(keys[0])
    linked = [np.unique(np.array(key, dtype=str), return_index=True, return_inverse=True)[1:] for key in keys]
    firsts = np.concatenate([first[inverse] for first, inverse in linked])
    graph = coo_matrix((np.ones(len(firsts)), (np.tile(np.arange(rows), len(keys)), firsts)), shape=(rows, rows))
    return connected_components(graph, directed=False)[1]


def hold_out(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose whole groups, class by class by each group's first row, as the validation split; (n,) bool."""
    rng = np.random.default_rng(seed)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    chosen = np.zeros(len(first), dtype=bool)
    for label in np.unique(labels[first]):
        members = np.flatnonzero(labels[first] == label)
        # At least one of each class that has two, and never the last one.
        chosen[rng.permutation(members)[: int(np.ceil(fraction * (len(members) - 1)))]] = True
    return chosen[inverse]
