"""Tracking and smoothing: stable ids, probabilities that depend on time and not on frames, labels without flicker."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from gradio_ui.recognition.tracker import FIRST_SIGHT, LOST_SECONDS, MAX_FACES, ExpressionSession, FaceTracker
from gradio_ui.recognition.types import Faces, Recognition

LABELS = ("happy", "sad", "neutral")


def faces_at(*centers: tuple[float, float], side: float = 80) -> Faces:
    xyxy = np.array([(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in centers], np.float32)
    return Faces(xyxy.reshape(-1, 4), np.full(len(centers), 0.9, np.float32))


def seen(*probabilities: tuple[float, ...], center: float = 100) -> Recognition:
    faces = faces_at(*[(center + 200 * i, 100) for i in range(len(probabilities))])
    return Recognition(faces, np.array(probabilities, np.float32).reshape(-1, len(LABELS)), LABELS, (640, 480))


def test_ids_follow_moving_faces_in_any_order() -> None:
    tracker = FaceTracker()
    noise = np.random.default_rng(0)
    for step in range(40):
        centers = [(100 + 4 * step, 100), (400 - 2 * step, 300)] + [(550, 400)] * (step >= 20)
        order = noise.permutation(len(centers))
        faces = faces_at(*[np.add(centers[i], noise.normal(0, 1.5, 2)) for i in order])
        tracked = tracker.update(faces, step / 15)
        assert tracked.xyxy is faces.xyxy
        assert tracked.tracker_id is not None
        if step == 0:
            first = {int(i): int(t) for i, t in zip(order, tracked.tracker_id, strict=True)}
            assert set(first.values()) == {1, 2}
        assert [int(t) for t in tracked.tracker_id] == [(first | {2: 3})[int(i)] for i in order]


def test_no_face_is_no_id() -> None:
    tracked = FaceTracker().update(Faces.empty(), 0.0)
    assert tracked.tracker_id is not None and tracked.tracker_id.shape == (0,)


@pytest.mark.parametrize("rate", [5, 30])
def test_a_face_turned_away_for_a_second_keeps_its_id(rate: int) -> None:
    tracker = FaceTracker()
    ids = []
    for step in range(4 * rate):
        away = 1.5 <= step / rate < 2.6
        ids += list(
            tracker.update(faces_at() if away else faces_at((100 + step * 10 / rate, 100)), step / rate).tracker_id
        )
    assert set(ids) == {1}


def test_a_face_that_was_away_for_long_is_a_new_one() -> None:
    tracker = FaceTracker()
    for step in range(23):
        tracker.update(faces_at((100, 100)) if step == 0 else faces_at(), step / 10)
    assert tracker.update(faces_at((100, 100)), 2.3).tracker_id.tolist() == [2]


@pytest.mark.parametrize("gap", [1.5, 3.0, 600.0])
def test_ids_survive_a_gap_between_frames(gap: float) -> None:
    """Both walk until the video is paused, stand up to 60 pixels elsewhere afterwards, and keep their ids."""
    tracker = FaceTracker()
    for step in range(20):
        walking = faces_at((100 + 10 * step, 100), (600 - 10 * step, 300))
        assert tracker.update(walking, step / 10).tracker_id.tolist() == [1, 2]
    back = faces_at((410 + 60, 300), (290 - 60, 100))  # the other way round
    assert tracker.update(back, 1.9 + gap).tracker_id.tolist() == [2, 1]
    assert tracker.update(back, 2.0 + gap).tracker_id.tolist() == [2, 1]


def test_another_size_after_a_gap_is_a_new_face() -> None:
    tracker = FaceTracker()
    for step in range(10):
        tracker.update(faces_at((300, 200)), step / 10)
    assert tracker.update(faces_at((300, 200), side=80 * 2.2), 5.0).tracker_id.tolist() == [2]
    assert tracker.update(faces_at((300, 200), side=80 * 1.8), 9.0).tracker_id.tolist() == [2]


def test_gaps_of_a_low_rate_are_no_reason_to_stay() -> None:
    """At a frame every five seconds a face that two frames lack is still lost."""
    tracker = FaceTracker()
    ids = [tracker.update(faces_at((100, 100)) if step in (0, 1, 4) else faces_at(), 5.0 * step) for step in range(5)]
    assert [each.tracker_id.tolist() for each in ids] == [[1], [1], [], [], [2]]


@pytest.mark.parametrize("rate", [10, 25])
def test_two_faces_crossing_keep_their_ids(rate: int) -> None:
    """They pass each other; while the front one covers the other, the detector sees only one."""
    tracker = FaceTracker()
    noise = np.random.default_rng(1)
    for step in range(4 * rate):
        right, left = 100 + 100 * step / rate, 500 - 100 * step / rate
        centers = [(right, 200), (left, 215)]
        hidden = abs(right - left) < 30
        faces = faces_at(*[np.add(c, noise.normal(0, 1, 2)) for c in centers[: 1 if hidden else 2]])
        ids = tracker.update(faces, step / rate).tracker_id.tolist()
        assert ids == [1, 2][: len(ids)], step / rate


def test_faces_in_a_row_keep_their_ids_at_speed() -> None:
    """Each comes to where the other was a frame before; their motion shows which is which, late in a video as well."""
    tracker = FaceTracker()
    left = 100.0
    for step in range(20):
        left += min(60, 8 * step)
        faces = faces_at((left, 100), (left + 90, 100))
        assert tracker.update(faces, 60 + step / 10).tracker_id.tolist() == [1, 2], step


def test_a_swaying_head_keeps_its_id_at_a_low_rate() -> None:
    """A slow server, shared by many viewers, answers seldom and at uneven times."""
    tracker = FaceTracker()
    noise = np.random.default_rng(0)
    ids, seconds = set(), 0.0
    for _ in range(80):
        seconds += 0.25 * noise.uniform(0.5, 1.5)
        sway = 40 * (2 * abs(2 * (seconds % 1) - 1) - 1)
        ids |= set(tracker.update(faces_at((300 + sway, 200)), seconds).tracker_id.tolist())
    assert ids == {1}


def test_another_face_elsewhere_is_a_new_one() -> None:
    tracker = FaceTracker()
    for step in range(10):
        tracker.update(faces_at((150, 200)), step / 10)
    tracker.update(faces_at(), 1.0)
    assert tracker.update(faces_at((150 + 2.5 * 80, 200)), 1.5).tracker_id.tolist() == [2]


def test_time_must_grow() -> None:
    tracker = FaceTracker()
    tracker.update(faces_at((100, 100)), 1.0)
    with pytest.raises(ValueError, match=r"later than 1\.000 s, got 1\.000 s"):
        tracker.update(faces_at((100, 100)), 1.0)
    tracker.reset()
    assert tracker.update(faces_at((300, 100)), 0.0).tracker_id.tolist() == [1]


@pytest.mark.parametrize("rate", [5, 25, 60])
def test_smoothing_depends_on_seconds_not_on_frames(rate: int) -> None:
    session = ExpressionSession(LABELS, time_constant=0.5)
    session.update(seen((1, 0, 0)), 0.0)
    for step in range(1, rate + 1):
        (face,) = session.update(seen((0, 1, 0)), step / rate)
    assert face.probabilities[0] == pytest.approx(np.exp(-1 / 0.5), abs=1e-4)
    assert face.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert face.raw.tolist() == [0, 1, 0]


def label_changes(labels: list[str]) -> int:
    return sum(a != b for a, b in pairwise(labels))


def test_labels_follow_changes_without_flicker() -> None:
    noise = np.random.default_rng(0)
    frames = [(0.45, 0.55, 0.0) if noise.random() < 0.5 else (0.55, 0.45, 0.0) for _ in range(100)]
    frames += [(0.1, 0.1, 0.8)] * 100
    labels = {}
    for time_constant in (0.0, 0.5):
        session = ExpressionSession(LABELS, time_constant)
        labels[time_constant] = [session.update(seen(p), i / 25)[0].label for i, p in enumerate(frames)]
    assert label_changes(labels[0.0]) > 30
    assert label_changes(labels[0.5]) == 1
    assert labels[0.5][100 + 25] == "neutral"


def test_summary_shares_time_not_frames() -> None:
    session = ExpressionSession(LABELS, time_constant=0)
    for seconds, p in [(0, (1, 0, 0)), (0.1, (1, 0, 0)), (0.2, (1, 0, 0)), (0.3, (0, 1, 0)), (1.2, (0, 1, 0))]:
        session.update(seen(p), seconds)
    summary = session.summary()
    assert summary["dominant"] == "sad"
    assert summary["shares"]["sad"] == pytest.approx(0.9 / 1.24)
    assert [face["face"] for face in summary["faces"]] == [1]
    session.reset()
    assert session.summary() == {
        "dominant": None,
        "seconds": 0,
        "shares": dict.fromkeys(LABELS, 0.0),
        "unclear": 0,
        "faces": [],
    }


def test_a_gap_counts_for_nobody_and_shows_anew() -> None:
    """The id stays; what was seen before the pause neither fills it nor weighs on what is seen after it."""
    session = ExpressionSession(LABELS, time_constant=2)
    for step in range(11):
        (before,) = session.update(seen((0.6, 0.4, 0)), step / 10)
    (after,) = session.update(seen((0.45, 0.55, 0)), 31.0)
    assert (before.face, before.label, after.face, after.label) == (1, "happy", 1, "sad")
    assert after.probabilities.tolist() == after.raw.tolist()
    assert session.summary()["seconds"] == pytest.approx(1.0 + 2 * FIRST_SIGHT)


def test_time_out_of_sight_counts_for_nobody() -> None:
    session = ExpressionSession(LABELS)
    session.update(seen((1, 0, 0)), 0.0)
    for seconds in (1.0, 2.0, 3.0, 100.0):
        session.update(seen(), seconds)
    assert [face.face for face in session.update(seen((1, 0, 0)), 101.0)] == [2]
    assert session.summary()["seconds"] == pytest.approx(0.08)


def test_a_lost_face_leaves_no_state() -> None:
    """Many faces that come and go: the state is that of the faces in view."""
    session = ExpressionSession(LABELS)
    for step in range(20):
        session.update(seen((1, 0, 0), center=100 + 2000 * step), 3.0 * step)
        assert len(session._states) == 1
    session.update(seen(), 3.0 * 20)
    assert not session._states


@pytest.mark.parametrize(("away", "kept"), [(LOST_SECONDS - 0.1, True), (LOST_SECONDS + 0.1, False)])
def test_a_face_is_remembered_for_two_seconds(away: float, kept: bool) -> None:
    """By its state alone; the tracker has a limit of its own."""
    assert LOST_SECONDS == 2.0
    session = ExpressionSession(LABELS, time_constant=100)
    session.update(seen((1, 0, 0)), 0.0)
    session._tracker.update = lambda faces, seconds: replace(faces, tracker_id=np.ones(len(faces), int))  # type: ignore
    (face,) = session.update(seen((0, 1, 0)), away)
    assert (face.label == "happy") is kept


@pytest.mark.slow
def test_the_summary_is_bounded_and_its_totals_right() -> None:
    session = ExpressionSession(LABELS, time_constant=0)
    for step in range(3 * MAX_FACES):
        session.update(seen((1, 0, 0) if step % 2 else (0, 1, 0), center=100 + 300 * step), 3.0 * step)
    session.update(seen((0, 0, 1)), 3.0 * step + 1)
    summary = session.summary()
    assert MAX_FACES <= len(summary["faces"]) <= 2 * MAX_FACES
    assert summary["seconds"] == pytest.approx(FIRST_SIGHT * (3 * MAX_FACES + 1))
    assert summary["shares"]["happy"] == pytest.approx(0.5, abs=0.01)


def test_doubt_follows_the_held_label() -> None:
    """A label below the threshold is unclear, whether it is the most probable one or only held."""
    session = ExpressionSession(LABELS, time_constant=0.5, threshold=0.4)
    (face,) = session.update(seen((0.5, 0.3, 0.2)), 0.0)
    assert (face.label, face.unclear, face.shown) == ("happy", False, "happy")
    (face,) = session.update(seen((0.36, 0.44, 0.2)), 5.0 - 3.5)
    assert face.probabilities[1] > face.probabilities[0]
    assert (face.label, face.unclear, face.shown) == ("happy", True, "sad or happy")
    (face,) = session.update(seen((0.3, 0.65, 0.05)), 2.5)
    assert (face.label, face.unclear, face.shown) == ("sad", False, "sad")
    summary = session.summary()
    assert summary["unclear"] == summary["faces"][0]["unclear"] == pytest.approx(1 / 2.54)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold: expected a probability from 0 to 1"):
        ExpressionSession(LABELS, threshold=threshold)


def test_new_faces_are_numbered_in_reading_order() -> None:
    faces = faces_at((500, 320), (100, 100), (300, 90), (80, 300))
    assert FaceTracker().update(faces, 0.0).tracker_id.tolist() == [4, 1, 2, 3]


def test_a_negative_time_constant_is_refused() -> None:
    with pytest.raises(ValueError, match="time_constant: expected 0 or more"):
        ExpressionSession(LABELS, -1)
