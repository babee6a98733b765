"""Label spellings and the FER+ majority rule."""

import numpy as np
import pytest

from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS, VOTES, canonical_label, majority_label
from training.errors import LabelError


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [("Anger", "angry"), (" happiness", "happy"), ("SURPRISED", "surprise"), ("fearful", "fear"), ("Sadness", "sad")],
)
def test_spellings_of_other_datasets_map_to_ours(spelling: str, expected: str) -> None:
    assert canonical_label(spelling) == expected


def test_our_own_names_stay_and_follow_the_csv_codes() -> None:
    assert tuple(map(canonical_label, FERPLUS_EMOTIONS)) == FERPLUS_EMOTIONS
    assert EMOTIONS[4:] == ("sad", "surprise", "neutral")  # the alphabetical copies differ here
    assert len(VOTES) == 10


@pytest.mark.parametrize("name", ["4", "", "bored", "nf"])
def test_unknown_name_says_what_is_known(name: str) -> None:
    with pytest.raises(LabelError, match=rf"unknown label name '{name}'.*angry \(anger\).*contempt"):
        canonical_label(name)


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ({"happy": 10}, "happy"),
        ({"happy": 5, "sad": 1, "fear": 1, "angry": 1, "neutral": 1, "surprise": 1}, "happy"),  # outliers do not count
        ({"happy": 5, "sad": 5}, None),  # half is not more than half
        ({"happy": 4, "sad": 3, "fear": 3}, None),
        ({"contempt": 6, "neutral": 4}, "contempt"),
        ({"not_a_face": 8, "sad": 2}, None),
        ({"unknown": 6, "sad": 4}, None),
        ({"happy": 1, "sad": 1}, None),  # nothing left
    ],
)
def test_majority(votes: dict[str, int], label: str | None) -> None:
    counts = np.array([[votes.get(name, 0) for name in VOTES]])
    assert majority_label(counts).tolist() == [-1 if label is None else FERPLUS_EMOTIONS.index(label)]
    assert counts.sum() == sum(votes.values())  # the caller's array is left alone
