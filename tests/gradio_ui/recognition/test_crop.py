"""The crop is square, upright, true to the frame's pixels, and bounded."""

import cv2
import numpy as np
import pytest

from gradio_ui.recognition import crop_face
from gradio_ui.recognition.crop import MAX_SIDE

BOX = np.array([180, 60, 270, 180], np.float32)
LANDMARKS = np.array([[203, 104], [248, 104], [224, 128], [204, 143], [243, 144]], np.float32)


def test_side_follows_the_longer_edge_and_the_margin(portrait: np.ndarray) -> None:
    assert crop_face(portrait, BOX, None, 0.0).shape == (120, 120, 3)
    assert crop_face(portrait, BOX, None, 0.5).shape == (180, 180, 3)
    assert crop_face(portrait, BOX, None, -0.5).shape == (60, 60, 3)


def test_pixels_are_those_of_the_frame(portrait: np.ndarray) -> None:
    assert np.array_equal(crop_face(portrait, BOX, None, 0.0), portrait[60:180, 165:285])
    assert np.array_equal(crop_face(portrait, BOX, LANDMARKS * [1, 0] + [0, 100], 0.0), portrait[60:180, 165:285])


@pytest.mark.parametrize("degrees", [-40, -15, 10, 35])
def test_a_tilted_face_comes_out_upright(portrait: np.ndarray, degrees: float) -> None:
    centre = ((BOX[:2] + BOX[2:] - 1) / 2).tolist()
    tilt = cv2.getRotationMatrix2D(centre, degrees, 1.0)
    tilted = cv2.warpAffine(portrait, tilt, portrait.shape[1::-1], flags=cv2.INTER_CUBIC)
    landmarks = (LANDMARKS @ tilt[:, :2].T + tilt[:, 2]).astype(np.float32)
    upright = crop_face(portrait, BOX, LANDMARKS, 0.0).astype(int)
    turned = crop_face(tilted, BOX, landmarks, 0.0)
    assert turned.shape == upright.shape
    assert np.abs(turned - upright).mean() < 6
    assert np.abs(crop_face(tilted, BOX, None, 0.0) - upright).mean() > 20  # the test would notice no turning


def test_senseless_landmarks_do_not_turn(portrait: np.ndarray) -> None:
    plain = crop_face(portrait, BOX, None, 0.0)
    upside_down, profile = LANDMARKS[[1, 0, 2, 3, 4]], LANDMARKS.copy()
    profile[1] = profile[0] + [4, 3]
    for landmarks in (upside_down, profile, np.zeros((5, 2), np.float32)):
        assert np.array_equal(crop_face(portrait, BOX, landmarks, 0.0), plain)


def test_beyond_the_frame_its_edge_is_repeated() -> None:
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    crop = crop_face(frame, np.array([-2, -2, 6, 6]), None, 0.0)
    assert np.array_equal(crop, np.pad(frame, ((2, 2), (2, 2), (0, 0)), mode="edge"))


@pytest.mark.parametrize("tilt", [0, 30])
def test_large_faces_are_shrunk_by_area(tilt: float) -> None:
    """A checkerboard of single pixels averages to grey; skipping pixels would give black, white or stripes."""
    frame = (np.indices((3000, 3000)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    landmarks = np.full((5, 2), 1400, np.float32)
    landmarks[1] += [800, 800 * np.tan(np.radians(tilt))]
    crop = crop_face(frame, np.array([500, 500, 2548, 2548]), landmarks, 0.0)
    assert crop.shape == (MAX_SIDE, MAX_SIDE, 3)
    assert np.abs(crop.astype(int) - 128).max() < 10


def test_a_box_without_area_still_gives_a_pixel(portrait: np.ndarray) -> None:
    assert crop_face(portrait, np.array([10, 10, 10, 10]), None, 0.0).shape == (1, 1, 3)
