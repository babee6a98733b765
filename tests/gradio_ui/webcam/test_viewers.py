"""What the server keeps of each viewer of the webcam tab, and for how long."""

from __future__ import annotations

import base64
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.types import Faces, Recognition
from gradio_ui.webcam import viewers as live
from gradio_ui.webcam.viewers import LiveFrame, RequestError, Viewer, Viewers

LABELS = ("happy", "sad", "neutral")


def tracked(label: str, box: tuple[float, float, float, float]) -> TrackedFace:
    scores = np.array([0.8 if name == label else 0.1 for name in LABELS], np.float32)
    return TrackedFace(0.0, 1, list(box), 0.9, label, scores, scores)


class Brightness:
    """Finds as many faces as the picture's red level says, in a row; the brighter its green, the happier."""

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
    """A frame as the page sends it."""
    file = io.BytesIO()
    Image.new("RGB", (320, 96), (50 * faces, green, 0)).save(file, "JPEG", quality=95)
    url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return {"image": url, "start": 1, "seconds": seconds, "smoothing": 0.5, "recording": 0} | other


def frame(seconds: float, faces: int = 1, green: int = 255, **other: Any) -> LiveFrame:
    return LiveFrame.parse(page_data(seconds, faces, green, **other))


def viewer() -> Viewer:
    return Viewer(Brightness(), lambda image, faces: image)  # type: ignore[arg-type]


def viewers() -> Viewers:
    return Viewers(Brightness(), lambda image, faces: image)  # type: ignore[arg-type]


def recorders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "recording"]


def test_faces_keep_their_ids_and_are_smoothed_as_the_page_wishes() -> None:
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


def test_a_new_start_begins_at_face_1_and_forgets_the_old_one() -> None:
    one = viewer()
    one.see(frame(5.0, faces=2))
    one.see(frame(9.0, faces=1))
    assert one.see(frame(9.1, faces=2))["faces"][1]["face"] > 2
    assert [face["face"] for face in one.see(frame(0.0, faces=2, green=0, start=2))["faces"]] == [1, 2]
    assert one.see(frame(9.2))["late"], "a frame of the start before"


@pytest.mark.parametrize(
    "bad",
    [
        {"image": "no url"},
        {"image": None},
        {"image": "data:image/jpeg;base64,%%"},
        {"seconds": "now"},
        {"seconds": float("nan")},
        {"start": float("inf")},
        {"recording": None},
        {"smoothing": [1]},
    ],
)
def test_a_malformed_frame_is_one_clear_error(bad: dict[str, Any]) -> None:
    with pytest.raises(live.RecognitionError, match=r"expected .* reload the page|picture"):
        viewer().see(LiveFrame.parse(page_data(0.0) | bad))
    with pytest.raises(RequestError, match="expected image"):
        LiveFrame.parse("text")


def test_viewers_at_once_never_see_each_other() -> None:
    """Eight of them, each with its own number of faces and expression."""
    all_of_them = viewers()

    def watch(number: int) -> list[dict[str, Any]]:
        mine = [frame(step / 10, faces=number % 4 + 1, green=255 * (number % 2)) for step in range(15)]
        return [all_of_them[f"session {number}"].see(one) for one in mine]

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(watch, range(8)))
    assert len(all_of_them) == 8
    for number, answers in enumerate(seen):
        for answer in answers:
            assert [face["face"] for face in answer["faces"]] == list(range(1, number % 4 + 2))
            assert {face["label"] for face in answer["faces"]} == {("sad", "happy")[number % 2]}


def test_a_recording_belongs_to_its_viewer_and_ends_with_the_next_one() -> None:
    both = viewers()
    for seconds in (0.0, 0.1):
        both["a"].see(frame(seconds, recording=1))
        both["b"].see(frame(seconds))
    with pytest.raises(RequestError, match="recording is lost"):
        both["b"].take(1, 0, False)
    with pytest.raises(RequestError, match="recording is lost"):
        both["a"].take(2, 0, False)
    both["a"].see(frame(0.2, recording=2))
    with pytest.raises(RequestError, match="recording is lost"):
        both["a"].take(1, 0, False)
    both["a"].see(frame(0.3))  # no part of it
    taken = both["a"].take(2, 0, True)
    assert (taken["start"], taken["end"], taken["done"]) == (0.2, 0.2, False)
    assert both["a"].take(2, len(taken["pieces"]), True)["done"]
    for thread in recorders():
        thread.join(10)
    assert not recorders()


def test_nothing_is_kept_of_a_page_that_was_closed_or_fell_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = viewers()
    pages["closed"].see(frame(0.0, recording=1))
    pages["silent"].see(frame(0.0, recording=1))
    threads = recorders()
    assert len(threads) == 2
    pages.drop("closed")
    pages.drop("never there")
    assert len(pages) == 1
    monkeypatch.setattr(live, "IDLE_SECONDS", -1)
    pages["next"].see(frame(0.0))
    assert len(pages) == 1
    for thread in threads:
        thread.join(10)
    assert not recorders()
