"""The pieces of the YuNet detector: which parts of a frame it searches, and which boxes it keeps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from gradio_ui.recognition.yunet import _distinct, _input, _resized, _Scaled

FRAME = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)


def halved() -> _Scaled:
    return _Scaled(FRAME, 0.5, FRAME)


def test_a_scaled_frame_knows_its_size() -> None:
    scaled = _Scaled(FRAME, 0.333, FRAME)
    assert (scaled.width, scaled.height, scaled.shrinks) == (133, 100, True)
    assert scaled.to_frame == (400 / 133, 3.0)
    assert _Scaled(FRAME, 0.001, FRAME).height == 1 and not _Scaled(FRAME, 1.0, FRAME).shrinks
    assert halved().whole.shape == (150, 200, 3)


@pytest.mark.parametrize(
    ("boxes", "windows"),
    [
        ([[100, 100, 140, 160]], [(0, 0, 160, 150)]),  # at half the size: 50, 50, 70, 80 and 64 around it
        ([[300, 200, 360, 260]], [(64, 32, 200, 150)]),
        ([[392, 292, 396, 296]], [(128, 64, 200, 150)]),
        ([[20, 20, 30, 30], [380, 280, 390, 290]], [(0, 0, 96, 96), (96, 64, 200, 150)]),
        ([[100, 100, 140, 160], [300, 200, 360, 260]], [(0, 0, 200, 150)]),  # more than all of it
        ([[40, 60, 360, 120], [40, 260, 360, 280]], [(0, 0, 200, 150)]),  # two wide ones
        ([[900, 900, 950, 950]], []),  # outside of the frame
    ],
)
def test_windows_lie_around_faces_on_the_grid(
    boxes: list[list[int]], windows: list[tuple[int, int, int, int]]
) -> None:
    assert halved().windows(np.array(boxes, np.float32), 64, 32) == windows
    assert halved().windows(None, 64, 32) == [(0, 0, 200, 150)]


def test_a_large_face_is_searched_with_its_own_side_around() -> None:
    wide = _Scaled(np.zeros((1000, 2000, 3), np.uint8), 1.0, np.zeros((1000, 2000, 3), np.uint8))
    face = np.array([[900, 400, 1100, 500]], np.float32)  # 200 x 100
    assert wide.windows(face, 64, 32) == [(672, 288, 1312, 608)]


def test_a_cut_is_the_same_part_of_the_whole() -> None:
    scaled = halved()
    for window in ((0, 0, 200, 150), (32, 64, 96, 128), (33, 65, 200, 150)):
        left, top, right, bottom = window
        assert np.array_equal(scaled.cut(window), scaled.whole[top:bottom, left:right])
    plain = _Scaled(FRAME, 1.0, FRAME)
    assert np.array_equal(plain.cut((3, 5, 50, 70)), FRAME[5:70, 3:50])
    larger = _Scaled(FRAME[:50, :60], 2.0, FRAME[:50, :60])
    assert larger.cut((32, 32, 64, 64)).shape == (32, 32, 3)


def test_boxes_that_a_window_cuts_off_are_dropped() -> None:
    boxes = np.array([[40, 40, 90, 90], [31, 40, 90, 90], [40, 31, 90, 90], [40, 40, 97, 90], [40, 40, 90, 97]])
    assert halved().holds((32, 32, 96, 96), boxes).tolist() == [True, False, False, False, False]
    beyond = np.array([[-5, -5, 50, 50], [40, 40, 210, 90], [40, 40, 90, 160]])  # where the frame ends as well
    assert halved().holds((0, 0, 200, 150), beyond).all()
    assert halved().holds((0, 0, 96, 150), beyond).tolist() == [True, False, True]
    assert halved().holds((0, 0, 200, 96), beyond).tolist() == [True, True, False]


def test_the_more_confident_of_two_boxes_stays() -> None:
    boxes = np.array([[100, 100, 200, 200], [110, 110, 130, 130], [300, 300, 340, 360]], np.float32)
    assert _distinct(boxes, np.array([0.5, 0.9, 0.7])).tolist() == [2, 1]  # the second lies in the first
    assert _distinct(boxes, np.array([0.9, 0.5, 0.7])).tolist() == [0, 2]  # largest first
    beside = np.array([[100, 50, 110, 60], [105, 50, 115, 60]], np.float32)  # half of each is shared
    assert _distinct(beside, np.array([0.9, 0.8])).tolist() == [0, 1]
    assert _distinct(beside - [[0, 0, 0, 0], [1, 0, 1, 0]], np.array([0.9, 0.8])).tolist() == [0]
    assert _distinct(boxes, np.array([0.5, 0.9, 0.7]), overlap=1.0).tolist() == [0, 2, 1]
    assert _distinct(np.zeros((0, 4)), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(("width", "height"), [(100, 300), (400, 75), (130, 90), (800, 600), (500, 300)])
def test_frames_are_shrunk_by_area_and_enlarged_smoothly(width: int, height: int) -> None:
    how = cv2.INTER_AREA if width < 400 or height < 300 else cv2.INTER_CUBIC
    assert np.array_equal(_resized(FRAME, width, height), cv2.resize(FRAME, (width, height), interpolation=how))


def test_the_network_gets_bgr_on_its_grid() -> None:
    made = _input(FRAME[:33, :64], 32)
    assert made.shape == (1, 3, 64, 64) and made.dtype == np.float32
    assert np.array_equal(made[0, :, :33], FRAME[:33, :64, ::-1].transpose(2, 0, 1))
    assert not made[0, :, 33:].any()
