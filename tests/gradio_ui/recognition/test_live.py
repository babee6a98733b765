"""Live video is searched near the known faces, and loses nothing by it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from gradio_ui.recognition import EmotionRecognizer, Faces, YuNetDetector, crop_face
from gradio_ui.recognition.live import FULL_SEARCH_SECONDS, LARGE_ENOUGH, LiveSearch, follow
from gradio_ui.recognition.yunet import Found, Search

RATE = 30  # frames a second


class Watched(YuNetDetector):
    """Remembers what it was asked for."""

    asked: list[list[Search]]

    def search(self, frame: np.ndarray, searches: Sequence[Search], large_enough: float = math.inf) -> Found:
        self.asked.append(list(searches))
        return super().search(frame, searches, large_enough)

    @property
    def full(self) -> list[bool]:
        return [len(searches) == 2 and all(one.near is None for one in searches) for searches in self.asked]


@pytest.fixture(scope="module")
def network(yunet_path: Path) -> Watched:
    return Watched(yunet_path)


@pytest.fixture
def detector(network: Watched) -> Watched:
    network.asked = []
    return network


def clip(portrait: np.ndarray, frames: int, second: bool = False) -> Iterator[tuple[float, np.ndarray]]:
    """A person who sways and turns darker; a second one, half as large, comes in from the right."""
    wide = np.pad(portrait[:480], ((0, 0), (64, 64), (0, 0)), mode="edge")
    small = cv2.resize(wide[:, ::-1], (320, 240), interpolation=cv2.INTER_AREA)[:, 80:240]
    for number in range(frames):
        frame = np.roll(wide, round(25 * np.sin(number / 8)), axis=1)
        frame = (frame * (1 - 0.3 * number / frames)).astype(np.uint8)
        if second and (shown := min(160, max(0, 12 * (number - 8)))):
            frame[240:, 640 - shown :] = small[:, :shown]
        yield number / RATE, frame


def test_nothing_is_lost_while_a_person_moves(detector: Watched, portrait: np.ndarray) -> None:
    live, differences = LiveSearch(detector), []
    for seconds, frame in clip(portrait, 30):
        found, expected = live.update(frame, seconds), detector(frame)
        assert len(found) == len(expected) == 1
        differences.append(np.abs(found.xyxy - expected.xyxy).max())
    assert max(differences) < 8, "pixels of 110; the two scales differ by as much"


def test_a_large_face_is_followed_at_the_small_scale(detector: Watched, portrait: np.ndarray) -> None:
    live, searches = LiveSearch(detector), [Search(0.4), Search(1.0)]
    for seconds, frame in clip(portrait, 10):
        found = live.update(frame, seconds)
        assert detector.asked[-1][0].scale == 0.4
        expected = detector.search(frame, searches, LARGE_ENOUGH).faces
        assert np.abs(found.xyxy - expected.xyxy).max() < 1
    tiny = cv2.resize(frame, (160, 120), interpolation=cv2.INTER_AREA)
    frame[:], frame[200:320, 200:360] = 90, tiny
    sizes = [np.ptp(detector.search(frame, searches, size).faces.xyxy[0, ::2]) for size in (LARGE_ENOUGH, math.inf)]
    assert sizes[0] == sizes[1] < LARGE_ENOUGH / 0.4


def test_a_second_person_is_found_in_time(detector: Watched, portrait: np.ndarray) -> None:
    live = LiveSearch(detector)
    counts = [
        (seconds, len(live.update(frame, seconds)), len(detector(frame)))
        for seconds, frame in clip(portrait, 36, second=True)
    ]
    visible = next(seconds for seconds, _, all_over in counts if all_over == 2)
    seen = next(seconds for seconds, found, _ in counts if found == 2)
    assert 0.2 < visible and seen - visible <= 0.3
    assert all(found == 2 for seconds, found, _ in counts if seconds >= seen)


def test_the_whole_frame_is_searched_now_and_then(detector: Watched, portrait: np.ndarray) -> None:
    live = LiveSearch(detector)
    frames = list(clip(portrait, 16))
    for seconds, frame in frames:
        live.update(frame, seconds)
    assert [i for i, full in enumerate(detector.full) if full] == [0, 8]  # at 0 and 0.27 s
    assert [len(searches) for searches in detector.asked[1:8]] == [1] * 7, "each face at its own scale alone"
    assert frames[8][0] >= FULL_SEARCH_SECONDS > frames[7][0]


def test_a_lost_face_is_searched_all_over(detector: Watched, portrait: np.ndarray) -> None:
    live = LiveSearch(detector)
    (_, frame), *_ = clip(portrait, 1)
    live.update(frame, 0.0)
    moved = live.update(np.roll(frame, 290, axis=1), 0.03)
    assert len(moved) == 1 and detector.full == [True, False, True]
    assert len(live.update(np.zeros_like(frame), 0.06)) == 0
    live.update(np.zeros_like(frame), 0.09)
    assert detector.full[3:] == [False, True, False] and len(detector.asked[-1]) == 1
    live.update(frame[:400], 0.1)
    assert detector.full[-1], "another size of frame"
    live.reset()
    live.update(frame[:400], 0.11)
    assert detector.full[-1]


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (1501, 1100), (200, 150)])
def test_a_part_gives_what_the_whole_gives(detector: Watched, portrait: np.ndarray, size: tuple[int, int]) -> None:
    frame = np.full((size[1], size[0], 3), 90, np.uint8)
    side = min(size) * 2 // 3
    frame[10 : 10 + side, 20 : 20 + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    for scale in detector.scales(frame):
        whole = detector.search(frame, [Search(scale)]).faces
        near = detector.search(frame, [Search(scale, whole.xyxy + np.float32(5))]).faces
        assert len(near) == len(whole)
        assert np.abs(near.xyxy - whole.xyxy).max(initial=0) < 0.01 * side
        assert np.abs(near.confidence - whole.confidence).max(initial=0) < 0.02


def test_a_box_that_its_window_cuts_off_is_no_face(detector: Watched, portrait: np.ndarray) -> None:
    (_, frame), *_ = clip(portrait, 1)
    beside = detector(frame).xyxy + np.array([150, 0, 150, 0], np.float32)
    assert len(detector.search(frame, [Search(1.0, beside)]).faces) == 0


def test_live_results_are_those_of_the_recognizer(model_folder: Path, portrait: np.ndarray) -> None:
    recognizer = EmotionRecognizer.from_pretrained(model_folder, detector="yunet")
    live = follow(recognizer)
    for seconds, frame in clip(portrait, 3):
        found = live(frame, seconds)
        (crop,) = recognizer.locate(frame).crops if seconds == 0 else [crop_of(frame, found.faces)]
        assert found.size == (640, 480) and found.labels == recognizer.labels
        np.testing.assert_allclose(found.probabilities, recognizer.classifier([crop]), atol=1e-5)


def crop_of(frame: np.ndarray, faces: Faces) -> np.ndarray:
    assert faces.landmarks is not None
    return crop_face(frame, faces.xyxy[0], faces.landmarks[0], 0.05)


def test_frames_are_scored_without_flips(model_folder: Path, portrait: np.ndarray) -> None:
    """Whatever finds the faces: live video has time for one forward pass."""
    for detector in ("yunet", "whole"):
        recognizer = EmotionRecognizer.from_pretrained(model_folder, detector=detector)
        (crop,) = recognizer.crops(portrait)
        found = follow(recognizer)(portrait, 0.0).probabilities
        np.testing.assert_allclose(found, recognizer.classifier([crop]), atol=1e-5)
        assert np.abs(found - recognizer(portrait).probabilities).max() > 1e-3


def test_other_detectors_search_every_frame(model_folder: Path, portrait: np.ndarray) -> None:
    calls = []

    class Other:
        name = "other"

        def __call__(self, frame: np.ndarray) -> Faces:
            calls.append(frame.shape)
            return Faces.empty()

    live = follow(EmotionRecognizer.from_pretrained(model_folder, detector=Other()))
    assert len(live(portrait, 0.0)) == len(live(portrait, 0.01)) == 0
    assert len(calls) == 2
