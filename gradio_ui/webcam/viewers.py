"""The viewers of the webcam tab: the faces in view of each, and the recording in progress."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from gradio_ui.recognition.live import follow
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.recognition.tracker import ExpressionSession, TrackedFace
from gradio_ui.recognition.video_analysis import Draw
from gradio_ui.server.sessions import RequestError
from gradio_ui.webcam.frames import LiveFrame, PartRequest
from gradio_ui.webcam.recording import BusyError, Recording, Recordings

MAX_VIEWERS = 64
IDLE_SECONDS = 60.0  # a viewer that sends nothing for longer is dropped
SWEEP_SECONDS = 5.0  # between two checks for idle viewers


class Viewer:
    """One open page. Its frames may come from several threads at once.

    Args:
        recognizer: frame -> Recognition.
        draw: (frame, faces) -> the frame with them drawn, for recordings.
        recordings: starts the recordings of all viewers.
    """

    def __init__(self, recognizer: EmotionRecognizer, draw: Draw, recordings: Recordings) -> None:
        self.last_seen = time.monotonic()
        self._recognizer = recognizer
        self._draw = draw
        self._recordings = recordings
        self._lock = threading.Lock()
        self._session = ExpressionSession(recognizer.labels)
        self._newest = (float("-inf"), float("-inf"))  # start and seconds of the last frame
        self._start = float("-inf")  # of the camera, whose frames this follows:
        self._recognize = follow(recognizer)
        self._recording: Recording | None = None
        self._number = 0  # of the last recording
        self._refusal = ""  # why there is no recording
        self._closed = False

    def see(self, frame: LiveFrame) -> dict[str, Any]:
        """Recognize and track the faces of one frame.

        Returns:
            "faces", a dict for each, ready for JSON; or "late" where a newer frame was faster.

        Raises:
            ImageError: the image cannot be read, or is too large.
        """
        self.last_seen = time.monotonic()
        image = frame.decode()
        with self._lock:
            if not self._newest < (frame.start, frame.seconds):
                return {"late": True}
            if frame.start > self._start:
                self._start, self._recognize = frame.start, follow(self._recognizer)
            recognize = self._recognize
        recognition = recognize(image, frame.seconds)
        with self._lock:
            if not self._newest < (frame.start, frame.seconds):
                return {"late": True}
            if frame.start != self._newest[0]:
                self._session.reset()
            self._newest = (frame.start, frame.seconds)
            self._session.time_constant, self._session.threshold = frame.smoothing, frame.threshold
            faces = self._session.update(recognition, frame.seconds)
            if frame.recording > self._number and not self._closed:
                self._record(frame.recording)
            if self._recording is not None and frame.recording == self._number:
                self._recording.add(image, faces, frame.seconds)
        return {"faces": [as_dict(face, recognition.labels) for face in faces], "labels": list(recognition.labels)}

    def take(self, part: PartRequest) -> dict[str, Any]:
        """Hand over the pieces of the recording's file that were made since, see `Recording.take`; ready for JSON.

        Raises:
            BusyError: the recording was refused, since too many others are in progress.
            RequestError: there is no such recording.
        """
        self.last_seen = time.monotonic()
        with self._lock:
            recording = self._recording if part.number == self._number else None
            if recording is None and part.number == self._number and self._refusal:
                raise BusyError(self._refusal)
        if recording is None or recording.lost:
            raise lost()
        if part.finish:
            recording.finish()
        taken = recording.take(part.have)
        return {
            "pieces": [[position, base64.b64encode(data).decode("ascii")] for position, data in taken.pieces],
            "done": taken.done,
            "start": taken.start,
            "end": taken.end,
            "notice": taken.notice,
        }

    def close(self) -> None:
        """Drop the recording, if there is one, and begin no other."""
        with self._lock:
            self._closed = True
            self._drop_recording()

    def _record(self, number: int) -> None:
        self._drop_recording()
        self._number, self._refusal = number, ""
        try:
            self._recording = self._recordings.start(self._draw)
        except BusyError as error:  # the live results go on
            self._refusal = str(error)

    def _drop_recording(self) -> None:
        if self._recording is not None:
            self._recording.drop()
            self._recording = None


class Viewers:
    """The open pages, each with a state that no other can reach. Safe to use from several threads.

    A page is known by Gradio's session and the name of its model, and is dropped when it is closed or idle.

    Args:
        make: name of a model -> a new viewer.
    """

    def __init__(self, make: Callable[[str], Viewer]) -> None:
        self._make = make
        self._viewers: dict[tuple[str, str], Viewer] = {}
        self._lock = threading.Lock()
        self._clock: threading.Thread | None = None  # runs while there are viewers

    def join(self, session: str, model: str) -> Viewer:
        """Give the viewer of a session, new at its first frame.

        Raises:
            BusyError: there are `MAX_VIEWERS` others.
        """
        if viewer := self.find(session, model):
            return viewer
        if len(self._viewers) >= MAX_VIEWERS:
            raise _full()
        viewer = self._make(model)  # outside the lock: it may load the model
        with self._lock:
            if len(self._viewers) >= MAX_VIEWERS and (session, model) not in self._viewers:
                raise _full()
            viewer = self._viewers.setdefault((session, model), viewer)
            if self._clock is None:
                self._clock = threading.Thread(target=self._drop_idle, name="idle viewers", daemon=True)
                self._clock.start()
            return viewer

    def find(self, session: str, model: str) -> Viewer | None:
        """Give the viewer of a session, or None where it has sent no frame."""
        return self._viewers.get((session, model))

    def __len__(self) -> int:
        return len(self._viewers)

    def drop(self, session: str) -> None:
        """Drop a session and all that was kept of it; one that is not there is no error."""
        self._drop(lambda key, viewer: key[0] == session)

    def _drop(self, which: Callable[[tuple[str, str], Viewer], bool]) -> None:
        with self._lock:
            dropped = [self._viewers.pop(key) for key, viewer in list(self._viewers.items()) if which(key, viewer)]
        for viewer in dropped:
            viewer.close()

    def _drop_idle(self) -> None:
        """Drop the viewers whose page Gradio does not see closing: programs, and lost connections."""
        while True:
            time.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            self._drop(lambda key, viewer: now - viewer.last_seen > IDLE_SECONDS)  # noqa: B023 - called at once
            with self._lock:
                if not self._viewers:
                    self._clock = None
                    return


def lost() -> RequestError:
    """Make the error for a recording that is not there."""
    return RequestError("The recording is lost: the server was restarted, or no frame arrived in time.")


def _full() -> BusyError:
    return BusyError(f"The server is busy: {MAX_VIEWERS} cameras are in use. Try again in a minute.")


def as_dict(face: TrackedFace, labels: tuple[str, ...]) -> dict[str, Any]:
    """Describe a face, ready for JSON: id, box in pixels, confidence, label, doubt, smoothed and raw probabilities."""

    def named(values: Any) -> Mapping[str, float]:
        return {label: round(float(p), 4) for label, p in zip(labels, values, strict=True)}

    return {
        "face": face.face,
        "box": [round(v, 1) for v in face.box],
        "confidence": round(face.confidence, 4),
        "label": face.label,
        "unclear": face.unclear,
        "shown": face.shown,
        "probabilities": named(face.probabilities),
        "raw": named(face.raw),
    }
