"""A result whose parts do not belong together cannot be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradio_ui.recognition.types import Faces, Recognition

GOOD: dict[str, Any] = {
    "xyxy": np.zeros((2, 4), np.float32),
    "confidence": np.zeros(2, np.float32),
    "landmarks": np.zeros((2, 5, 2), np.float32),
    "tracker_id": np.zeros(2, int),
}


@pytest.mark.parametrize(
    ("name", "shape"),
    [("xyxy", (2, 5)), ("confidence", (3,)), ("landmarks", (2, 4, 2)), ("tracker_id", (1,)), ("tracker_id", (2, 1))],
)
def test_arrays_of_other_shapes_are_refused(name: str, shape: tuple[int, ...]) -> None:
    assert len(Faces(**GOOD)) == 2
    with pytest.raises(ValueError, match=rf"Faces\.{name}: expected shape .* got \({shape[0]}"):
        Faces(**GOOD | {name: np.zeros(shape)})


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (2,)])
def test_probabilities_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"probabilities: expected shape \(2, 2\), got"):
        Recognition(Faces(**GOOD), np.zeros(shape), ("happy", "sad"), (9, 9))
