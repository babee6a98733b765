"""Recordings, put together from their pieces as the page does it."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import pytest

from gradio_ui.views.face_labels import face_drawer
from gradio_ui.webcam import recording
from gradio_ui.webcam.recording import Recording
from tests.gradio_ui.webcam.test_viewers import LABELS, tracked

TIMES = [7.0, 7.04, 7.2, 7.21, 8.5, 8.54]  # seconds; cameras keep no beat


def plain(frame: np.ndarray, faces: Sequence[Any]) -> np.ndarray:
    return frame


def solid_frame(size: tuple[int, int] = (64, 96)) -> np.ndarray:
    return np.full((*size, 3), 90, np.uint8)


def collect(made: Recording, have: int = 0) -> bytes:
    """Collect the pieces into a file."""
    pieces: list[tuple[int, bytes]] = []
    while not (taken := made.take(have + len(pieces))).done:
        pieces += taken.pieces
    file = bytearray(max((position + len(data) for position, data in pieces), default=0))
    for position, data in pieces:
        file[position : position + len(data)] = data
    return bytes(file)


def add_all(made: Recording, times: Sequence[float], frame: np.ndarray, faces: Sequence[Any] = ()) -> None:
    """Add frames no faster than they are encoded, so that none is dropped."""
    for seconds in times:
        while made._frames.full():
            threading.Event().wait(0.005)
        made.add(frame, faces, seconds)


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_the_file_is_h264_with_the_frames_own_times(size: tuple[int, int]) -> None:
    made = Recording(plain)
    add_all(made, TIMES, solid_frame(size))
    made.finish()
    with av.open(io.BytesIO(collect(made))) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(file.decode(video=0))
        assert [round(float(frame.time) + TIMES[0], 3) for frame in frames] == TIMES
        assert file.duration / av.time_base == pytest.approx(TIMES[-1] - TIMES[0] + 0.04, abs=0.05)
        assert (frames[0].width, frames[0].height) == (96, 64)
        assert abs(frames[0].to_ndarray(format="rgb24").mean() - 90) < 3
    assert (made.take(0).start, made.take(0).end, made.take(0).dropped) == (7.0, 8.54, 0)


def test_the_faces_are_drawn_in_their_color() -> None:
    made = Recording(face_drawer(LABELS))
    add_all(made, TIMES, np.zeros((240, 320, 3), np.uint8), [tracked("happy", (80, 60, 240, 200))])
    made.finish()
    with av.open(io.BytesIO(collect(made))) as file:
        image = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    red, green, blue = image[130, 78:83].max(axis=0)  # on the box's left side: happy is orange
    assert red > 150 and red > green > blue
    assert image[130, 160].max() < 40


def test_a_piece_is_given_again_until_it_has_arrived() -> None:
    made = Recording(plain)
    add_all(made, TIMES, np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))
    made.finish()
    first = made.take(0).pieces
    assert len(first) > 3 and made.take(0).pieces == first, "the answer was lost on its way"
    assert made.take(2).pieces == first[2:]
    assert made._file.waiting == sum(len(data) for _, data in first[2:]), "what has arrived is not kept"
    assert made.take(len(first)).done


def test_frames_are_dropped_while_the_encoder_is_busy() -> None:
    go = threading.Event()

    def slow(frame: np.ndarray, faces: Sequence[Any]) -> np.ndarray:
        go.wait(10)
        return frame

    made = Recording(slow)
    for i in range(50):
        made.add(solid_frame(), (), i / 25)
    go.set()
    made.finish()
    assert made.take(0).dropped >= 50 - recording.WAITING_FRAMES - 1
    with av.open(io.BytesIO(collect(made))) as file:
        assert 1 <= len(list(file.decode(video=0))) <= recording.WAITING_FRAMES + 1


@pytest.mark.parametrize(
    ("seconds", "size", "waiting", "told"),
    [
        (8.0 + recording.MAX_SECONDS, (64, 96), 0, "ends after 10 minutes"),
        (8.0, (96, 64), 0, "size of the picture changed"),
        (8.0, (64, 96), recording.MAX_WAITING + 1, "connection is too slow"),
    ],
)
def test_it_ends_by_itself_with_a_reason_and_a_file(
    seconds: float, size: tuple[int, int], waiting: int, told: str
) -> None:
    made = Recording(plain)
    add_all(made, TIMES[:3], solid_frame())
    made._file.waiting += waiting
    made.add(solid_frame(size), (), seconds)
    made.add(solid_frame(), (), seconds + 1)
    made._thread.join(10)
    assert told in made.take(0).notice
    with av.open(io.BytesIO(collect(made))) as file:
        assert len(list(file.decode(video=0))) == 3


def test_nothing_recorded_is_no_file() -> None:
    made = Recording(plain)
    made.finish()
    assert collect(made) == b"" and made.take(0).start is None


def test_a_dropped_recording_holds_nothing() -> None:
    made = Recording(plain)
    add_all(made, TIMES, np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))
    made.drop()
    made._thread.join(10)
    assert not made.holds_memory and made._file.waiting == 0 and made._file.take(0) == []
