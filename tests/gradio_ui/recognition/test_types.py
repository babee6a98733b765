"""A result whose parts do not belong together cannot be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradio_ui.recognition.types import Faces, Recognition, reading_order

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


@pytest.mark.parametrize(
    ("centers", "order"),
    [
        ([], []),
        ([(5, 5)], [0]),
        ([(90, 12), (50, 8), (10, 10)], [2, 1, 0]),  # one row, not quite level
        ([(10, 40), (90, 10), (50, 44), (10, 12)], [3, 1, 0, 2]),  # two rows
        ([(10, 30), (20, 20), (30, 10)], [2, 1, 0]),  # a staircase
    ],
)
def test_faces_are_read_row_by_row(centers: list[tuple[float, float]], order: list[int]) -> None:
    boxes = np.array([(x - 8, y - 8, x + 8, y + 8) for x, y in centers], np.float32).reshape(-1, 4)
    assert reading_order(boxes) == order


def test_the_list_stays_largest_first() -> None:
    """Numbers follow the page; the order, in which callers take the first face, does not change."""
    boxes = np.array([(50, 0, 90, 40), (0, 0, 30, 30)], np.float32)
    result = Recognition(Faces(boxes, np.ones(2, np.float32)), np.eye(2, dtype=np.float32), ("happy", "sad"), (99, 99))
    assert [(face["face"], face["label"]) for face in result.to_dicts()] == [(2, "happy"), (1, "sad")]


def test_a_label_is_unclear_below_the_threshold() -> None:
    faces = Faces(np.zeros((1, 4), np.float32), np.ones(1, np.float32))
    result = Recognition(faces, np.array([[0.3, 0.38, 0.32]], np.float32), ("happy", "fear", "sad"), (9, 9))
    (face,) = result.to_dicts()
    assert (face["label"], face["unclear"], face["shown"]) == ("fear", True, "fear or sad")
    (face,) = result.to_dicts(threshold=0.37)
    assert (face["label"], face["unclear"], face["shown"]) == ("fear", False, "fear")


def test_scaled_faces_keep_all_but_their_place() -> None:
    faces = Faces(
        np.array([[1, 2, 3, 4]], np.float32),
        np.array([0.5], np.float32),
        np.arange(10, dtype=np.float32).reshape(1, 5, 2),
        np.array([7]),
    )
    larger = faces.scaled(2.5)
    assert (
        larger.xyxy.tolist() == [[2.5, 5, 7.5, 10]] and larger.landmarks.tolist() == (faces.landmarks * 2.5).tolist()
    )
    assert larger.xyxy.dtype == larger.landmarks.dtype == np.float32
    assert larger.confidence is faces.confidence and larger.tracker_id is faces.tracker_id
    assert faces.scaled(1) is faces
    assert Faces(faces.xyxy, faces.confidence).scaled(2).landmarks is None
    assert len(Faces.empty()) == 0 and Faces.empty().xyxy.dtype == np.float32


def test_the_top_label_of_each_face() -> None:
    faces = Faces(np.zeros((2, 4), np.float32), np.ones(2, np.float32))
    result = Recognition(faces, np.array([[0.25, 0.75], [0.5, 0.5]], np.float32), ("happy", "sad"), (9, 9))
    assert result.top() == [("sad", 0.75), ("happy", 0.5)] and len(result) == 2
    assert Recognition(Faces.empty(), np.zeros((0, 2), np.float32), ("happy", "sad"), (9, 9)).top() == []
