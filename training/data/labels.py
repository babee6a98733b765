"""Names of the apparent expressions, their spellings in the wild, and the FER+ majority rule.

Labels map by name, never by position: the Kaggle CSV numbers its classes in `EMOTIONS` order, Hub datasets and image
folders number them alphabetically. `training.data.classes` turns them into the classes of a model.
"""

import numpy as np

from training.errors import LabelError

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven FER-2013 classes. A class's index here is its code in the Kaggle CSV."""

FERPLUS_EMOTIONS = (*EMOTIONS, "contempt")
"""The eight FER+ classes."""

VOTES = (*FERPLUS_EMOTIONS, "unknown", "not_a_face")
"""What a FER+ annotator could choose: the order of the `votes` column."""

_SPELLINGS = {
    "angry": ("anger",),
    "disgust": ("disgusted", "disgusting"),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy"),
    "sad": ("sadness",),
    "surprise": ("surprised", "surprising"),
    "neutral": ("neutrality",),
    "contempt": ("contemptuous",),
}
_CANONICAL = {spelling: name for name, others in _SPELLINGS.items() for spelling in (name, *others)}


def canonical_label(name: str) -> str:
    """Map one spelling of an expression to ours; case and surrounding blanks do not count.

    Args:
        name: For example `"Happiness"`, `"surprised"` or `"anger"`.

    Returns:
        One of `FERPLUS_EMOTIONS`.

    Raises:
        LabelError: If the name is not known.
    """
    try:
        return _CANONICAL[name.strip().lower()]
    except KeyError:
        expected = ", ".join(f"{label} ({', '.join(others)})" for label, others in _SPELLINGS.items())
        raise LabelError(f"unknown label name {name!r}; expected one of: {expected}") from None


def label_key(name: str) -> str:
    """Return what two spellings of one class have in common: a known expression, or the name in lower case."""
    plain = name.strip().lower()
    return _CANONICAL.get(plain, plain)


def majority_label(votes: np.ndarray) -> np.ndarray:
    """Return the FER+ majority label of each image, after Barsoum et al. 2016, https://arxiv.org/abs/1608.01041.

    A single vote is taken for an outlier and dropped. The largest of the ten columns must then hold more than half of
    what is left and be one of the eight expressions.

    Args:
        votes: (n, 10) integer counts in the order of `VOTES`.

    Returns:
        (n,) int64 indices into `FERPLUS_EMOTIONS`, -1 where the rule gives no label.
    """
    votes = np.where(np.asarray(votes) > 1, votes, 0)
    winner = votes.argmax(axis=1)
    clear = 2 * votes.max(axis=1) > votes.sum(axis=1)
    return np.where(clear & (winner < len(FERPLUS_EMOTIONS)), winner, -1).astype(np.int64)
