"""The state of each viewer of the webcam tab: separate, bounded, and dropped in time."""

from __future__ import annotations

import base64
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.types import Faces, Recognition
from gradio_ui.server.sessions import RequestError
from gradio_ui.webcam import recording
from gradio_ui.webcam import viewers as live
from gradio_ui.webcam.frames import LiveFrame, PartRequest
from gradio_ui.webcam.recording import BusyError, Recordings
from gradio_ui.webcam.viewers import Viewer, Viewers

LABELS = ("happy", "sad", "neutral")


def tracked(label: str, box: tuple[float, float, float, float]) -> TrackedFace:
    scores = np.array([0.8 if name == label else 0.1 for name in LABELS], np.float32)
    return TrackedFace(0.0, 1, list(box), 0.9, label, scores, scores, False, label)


class Brightness:
    """Find as many faces as the image's red level says, in a row; the brighter its green, the happier."""

    labels = LABELS

    def __call__(self, frame: np.ndarray) -> Recognition:
        red, green = (int(v) for v in frame[:, :, :2].reshape(-1, 2).mean(axis=0).round())
        n = round(red / 50)
        boxes = [(100 * i, 20, 100 * i + 60, 80) for i in range(n)]
        happy = green / 255
        return Recognition(
            Faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(n, 0.9, np.float32)),
            np.array([[happy, 1 - happy, 0]] * n, np.float32).reshape(-1, 3),
            LABELS,
            (frame.shape[1], frame.shape[0]),
        )


def page_data(seconds: float, faces: int = 1, green: int = 255, **other: Any) -> dict[str, Any]:
    """Make a frame as the page sends it."""
    file = io.BytesIO()
    Image.new("RGB", (320, 96), (50 * faces, green, 0)).save(file, "JPEG", quality=95)
    url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return {"image": url, "start": 1, "seconds": seconds, "smoothing": 0.5, "recording": 0} | other


def frame(seconds: float, faces: int = 1, green: int = 255, **other: Any) -> LiveFrame:
    return LiveFrame.parse(page_data(seconds, faces, green, **other))


def viewer(recordings: Recordings | None = None) -> Viewer:
    return Viewer(Brightness(), lambda image, faces: image, recordings or Recordings())  # type: ignore[arg-type]


def viewers() -> Viewers:
    recordings = Recordings()
    return Viewers(lambda model: viewer(recordings))


def part(number: int, have: int = 0, finish: bool = False) -> PartRequest:
    return PartRequest(number, have, finish)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def recorders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "recording"]


def test_faces_keep_their_ids_and_are_smoothed() -> None:
    one = viewer()
    assert one.see(frame(0.0))["faces"][0]["label"] == "happy"
    (face,) = one.see(frame(0.1, green=0))["faces"]
    assert (face["face"], face["label"]) == (1, "happy")
    assert face["probabilities"]["happy"] == pytest.approx(np.exp(-0.1 / 0.5), abs=0.02)
    assert face["raw"]["sad"] == pytest.approx(1, abs=0.02)
    (face,) = one.see(frame(0.2, green=0, smoothing=0))["faces"]
    assert face["label"] == "sad" and face["probabilities"] == face["raw"]
    assert [face["face"] for face in one.see(frame(0.3, faces=2))["faces"]] == [1, 2]


def test_a_frame_that_was_overtaken_is_left_out() -> None:
    one = viewer()
    one.see(frame(1.0))
    assert one.see(frame(0.9)) == {"late": True}
    assert one.see(frame(1.0)) == {"late": True}
    assert len(one.see(frame(1.1))["faces"]) == 1


def test_a_new_start_forgets_the_faces() -> None:
    one = viewer()
    one.see(frame(5.0, faces=2))
    for seconds in (6.0, 7.0, 8.0, 9.0):
        one.see(frame(seconds, faces=1))
    assert one.see(frame(9.1, faces=2))["faces"][1]["face"] > 2
    assert [face["face"] for face in one.see(frame(0.0, faces=2, green=0, start=2))["faces"]] == [1, 2]
    assert one.see(frame(9.2))["late"], "a frame of the start before"


def test_viewers_at_once_never_see_each_other() -> None:
    """Eight of them, each with its own number of faces and expression."""
    all_of_them = viewers()

    def watch(number: int) -> list[dict[str, Any]]:
        mine = [frame(step / 10, faces=number % 4 + 1, green=255 * (number % 2)) for step in range(15)]
        return [all_of_them.join(f"session-{number}", "fake").see(one) for one in mine]

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(watch, range(8)))
    assert len(all_of_them) == 8
    for number, answers in enumerate(seen):
        for answer in answers:
            assert [face["face"] for face in answer["faces"]] == list(range(1, number % 4 + 2))
            assert {face["label"] for face in answer["faces"]} == {("sad", "happy")[number % 2]}


def test_a_recording_belongs_to_its_viewer() -> None:
    both = viewers()
    a, b = both.join("a", "fake"), both.join("b", "fake")
    for seconds in (0.0, 0.1):
        a.see(frame(seconds, recording=1))
        b.see(frame(seconds))
    with pytest.raises(RequestError, match="recording is lost"):
        b.take(part(1))
    with pytest.raises(RequestError, match="recording is lost"):
        a.take(part(2))
    a.see(frame(0.2, recording=2))
    with pytest.raises(RequestError, match="recording is lost"):
        a.take(part(1))
    a.see(frame(0.3))  # no part of it
    taken = a.take(part(2, finish=True))
    assert (taken["start"], taken["end"], taken["done"]) == (0.2, 0.2, False)
    assert a.take(part(2, len(taken["pieces"]), True))["done"]
    wait_until(lambda: not recorders())


def test_the_state_belongs_to_a_session_and_its_model() -> None:
    pages = viewers()
    assert pages.join("a", "one") is pages.join("a", "one") is pages.find("a", "one")
    assert pages.join("a", "two") is not pages.find("a", "one")
    assert pages.find("b", "one") is None
    pages.drop("a")
    assert len(pages) == 0


def test_a_closed_page_is_dropped_with_its_recording() -> None:
    pages = viewers()
    closed = pages.join("closed", "fake")
    closed.see(frame(0.0, recording=1))
    pages.join("other", "fake")
    assert len(recorders()) == 1
    pages.drop("closed")
    pages.drop("never there")
    assert len(pages) == 1
    wait_until(lambda: not recorders())
    closed.see(frame(0.1, recording=2))  # was on its way
    assert not recorders()


@pytest.mark.slow
def test_an_idle_page_is_dropped_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(live, "SWEEP_SECONDS", 0.02)
    pages = viewers()
    pages.join("silent", "fake").see(frame(0.0, recording=1))
    for _ in range(20):
        pages.join("busy", "fake").see(frame(time.monotonic()))
        time.sleep(0.03)
    assert pages.find("silent", "fake") is None and pages.find("busy", "fake") is not None
    wait_until(lambda: not len(pages) and not recorders())
    wait_until(lambda: "idle viewers" not in {thread.name for thread in threading.enumerate()})
    pages.join("next", "fake")
    wait_until(lambda: not len(pages))


def test_more_viewers_than_the_limit_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_VIEWERS", 3)
    pages = viewers()
    for session in "abc":
        pages.join(session, "fake")
    with pytest.raises(BusyError, match="busy: 3 cameras are in use"):
        pages.join("d", "fake")
    assert pages.join("b", "fake").see(frame(0.0))["faces"]
    pages.drop("a")
    assert pages.join("d", "fake")


def test_more_recordings_than_the_limit_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_RECORDINGS", 2)
    pages = viewers()
    for number in range(20):
        seen = pages.join(f"session{number}", "fake").see(frame(0.0, recording=1))
        assert seen["faces"], "the live results go on"
    assert len(recorders()) == 2
    refused = pages.join("session19", "fake")
    with pytest.raises(BusyError, match="2 recordings are in progress"):
        refused.take(part(1))
    pages.drop("session0")
    wait_until(lambda: len(recorders()) == 1)
    refused.see(frame(0.1, recording=2))
    assert refused.take(part(2))["start"] == 0.1
    for number in range(20):
        pages.drop(f"session{number}")
    wait_until(lambda: not recorders())


def test_an_abandoned_recording_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its page goes on without adding to it or collecting it."""
    monkeypatch.setattr(recording, "MAX_RECORDINGS", 1)
    recordings = Recordings()
    first, second = viewer(recordings), viewer(recordings)
    first.see(frame(0.0, recording=1))
    second.see(frame(0.0, recording=1))
    with pytest.raises(BusyError):
        second.take(part(1))
    monkeypatch.setattr(recording, "IDLE_SECONDS", -1)
    second.see(frame(0.1, recording=2))
    assert second.take(part(2))["start"] == 0.1
    with pytest.raises(RequestError, match="recording is lost"):
        first.take(part(1))
    second.close()
    wait_until(lambda: not recorders())
