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


@pytest.mark.parametrize(
    ("box", "margin", "rows", "columns"),
    [
        (BOX, 0.5, (30, 210), (135, 315)),  # 120 pixels high, around (225, 120)
        (BOX, -0.5, (90, 150), (195, 255)),
        (BOX, 0.05, (57, 183), (162, 288)),
        (np.array([100, 200, 300, 260]), 0.1, (120, 340), (90, 310)),  # wider than high
        (np.array([100.4, 200.4, 130.4, 230.4]), 0.0, (200, 230), (100, 130)),  # between pixels
        (np.array([100.6, 200.6, 130.6, 230.6]), 0.0, (201, 231), (101, 131)),
    ],
)
def test_the_exact_square(
    portrait: np.ndarray, box: np.ndarray, margin: float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    assert np.array_equal(crop_face(portrait, box, None, margin), portrait[slice(*rows), slice(*columns)])


@pytest.mark.parametrize("margin", [-0.25, 0.0, 0.5])
@pytest.mark.parametrize("degrees", [-50, 20])
def test_a_turned_square_keeps_its_middle(margin: float, degrees: float) -> None:
    """A plane of brightness, which bilinear sampling reproduces, read along the turned axes."""
    y, x = np.mgrid[:400, :400].astype(float)
    frame = np.stack([x / 2, y / 2, np.zeros_like(x)], axis=2).round().astype(np.uint8)
    box = np.array([150, 140, 250, 240], np.float32)
    roll = np.radians(degrees)
    landmarks = np.full((5, 2), 180, np.float32)
    landmarks[1] += [40 * np.cos(roll), 40 * np.sin(roll)]
    crop = crop_face(frame, box, landmarks, margin).astype(float)
    side = round(100 * (1 + margin))
    assert crop.shape == (side, side, 3)
    down, across = np.mgrid[:side, :side] - (side - 1) / 2
    expected_x = 199.5 + across * np.cos(roll) - down * np.sin(roll)
    expected_y = 189.5 + across * np.sin(roll) + down * np.cos(roll)
    assert np.abs(crop[..., 0] - expected_x / 2).mean() < 0.4
    assert np.abs(crop[..., 1] - expected_y / 2).mean() < 0.4


@pytest.mark.parametrize(("degrees", "turned"), [(59, True), (61, False), (-59, True), (-61, False)])
def test_how_far_a_head_may_be_tilted(portrait: np.ndarray, degrees: float, turned: bool) -> None:
    landmarks = LANDMARKS.copy()
    landmarks[1] = landmarks[0] + 40 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    plain = crop_face(portrait, BOX, None, 0.0)
    assert np.array_equal(crop_face(portrait, BOX, landmarks, 0.0), plain) is not turned


@pytest.mark.parametrize(("distance", "turned"), [(0.21, True), (0.19, False)])
def test_how_near_the_eyes_may_be(portrait: np.ndarray, distance: float, turned: bool) -> None:
    landmarks = LANDMARKS.copy()
    landmarks[1] = landmarks[0] + distance * (BOX[2] - BOX[0]) * np.array([0.8, 0.6])
    plain = crop_face(portrait, BOX, None, 0.0)
    assert np.array_equal(crop_face(portrait, BOX, landmarks, 0.0), plain) is not turned


@pytest.mark.parametrize("degrees", range(-55, 56, 10))
def test_the_corners_of_a_turned_crop_are_filled(degrees: int) -> None:
    """Rounding puts them up to a pixel beyond the patch that is turned."""
    frame = np.full((100, 100, 3), 200, np.uint8)
    landmarks = np.full((5, 2), 40, np.float32)
    landmarks[1] += 20 * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    for box in ([30, 30, 77, 77], [30, 30, 61, 61], [-20, -20, 60, 60]):
        assert (crop_face(frame, np.array(box), landmarks, 0.0) == 200).all()


def test_pixels_are_those_of_the_frame(portrait: np.ndarray) -> None:
    assert np.array_equal(crop_face(portrait, BOX, None, 0.0), portrait[60:180, 165:285])
    assert np.array_equal(crop_face(portrait, BOX, LANDMARKS * [1, 0] + [0, 100], 0.0), portrait[60:180, 165:285])


@pytest.mark.parametrize("degrees", [-40, -15, 10, 35])
def test_a_tilted_face_comes_out_upright(portrait: np.ndarray, degrees: float) -> None:
    center = ((BOX[:2] + BOX[2:] - 1) / 2).tolist()
    tilt = cv2.getRotationMatrix2D(center, degrees, 1.0)
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
    """A checkerboard of single pixels averages to gray; skipping pixels would give black, white or stripes."""
    frame = (np.indices((3000, 3000)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    landmarks = np.full((5, 2), 1400, np.float32)
    landmarks[1] += [800, 800 * np.tan(np.radians(tilt))]
    crop = crop_face(frame, np.array([500, 500, 2548, 2548]), landmarks, 0.0)
    assert crop.shape == (MAX_SIDE, MAX_SIDE, 3)
    assert np.abs(crop.astype(int) - 128).max() < 10


def test_a_box_without_area_still_gives_a_pixel(portrait: np.ndarray) -> None:
    assert crop_face(portrait, np.array([10, 10, 10, 10]), None, 0.0).shape == (1, 1, 3)
