"""The viewers of the webcam tab: who is in view of each, what was shown, and the recording in progress."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.recognition.tracker import ExpressionSession, TrackedFace
from gradio_ui.recognition.video_analysis import Draw
from gradio_ui.webcam.recording import Recording

MAX_SMOOTHING = 2.0  # seconds
EXPECTED = "image (a data URL), start, seconds, smoothing and recording of a frame"
IDLE_SECONDS = 60  # a viewer that sends nothing for longer is forgotten when the next one comes


class RequestError(RecognitionError, ValueError):
    """The page sent something else than it should."""


@dataclass(frozen=True)
class LiveFrame:
    """What the page sends.

    Attributes:
        image: the picture as a JPEG file; it comes as a data URL.
        start: number that grows with each start of the camera; faces are followed from one start to the next.
        seconds: when the page showed the picture, on the page's own clock.
        smoothing: time constant in seconds, 0 to `MAX_SMOOTHING`.
        recording: number of the recording it belongs to, counted from 1 as they come; 0 for none.
    """

    image: bytes
    start: float
    seconds: float
    smoothing: float
    recording: int

    @classmethod
    def parse(cls, data: Any) -> LiveFrame:
        """Reads the page's JSON.

        Raises:
            RequestError: a value is missing or of another kind.
        """
        try:
            frame = cls(
                image=base64.b64decode(data["image"].partition(";base64,")[2], validate=True),
                start=float(data["start"]),
                seconds=float(data["seconds"]),
                smoothing=min(max(0.0, float(data["smoothing"])), MAX_SMOOTHING),
                recording=int(data["recording"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RequestError(f"expected {EXPECTED}, got something else ({error!r}); reload the page") from error
        if not (math.isfinite(frame.start) and math.isfinite(frame.seconds)):
            raise RequestError(f"expected {EXPECTED} in finite numbers; reload the page")
        return frame


class Viewer:
    """One open page. Its frames may come from several threads at once.

    Args:
        recognizer: frame -> Recognition.
        draw: (frame, faces) -> the frame with them drawn, for recordings.
    """

    def __init__(self, recognizer: EmotionRecognizer, draw: Draw) -> None:
        self.last_seen = time.monotonic()
        self._recognizer = recognizer
        self._draw = draw
        self._lock = Lock()
        self._session = ExpressionSession(recognizer.labels)
        self._newest = (float("-inf"), float("-inf"))  # start and seconds of the last frame
        self._recording: Recording | None = None
        self._number = 0  # of the last recording

    def see(self, frame: LiveFrame) -> dict[str, Any]:
        """Recognises and follows the faces of one frame.

        Returns:
            "faces", a dict for each, ready for JSON; or "late" where a newer frame was faster.

        Raises:
            ImageError: the picture cannot be read.
        """
        self.last_seen = time.monotonic()
        image = read_image(frame.image)
        recognition = self._recognizer(image)
        with self._lock:
            if not self._newest < (frame.start, frame.seconds):
                return {"late": True}
            if frame.start != self._newest[0]:
                self._session.reset()
            self._newest = (frame.start, frame.seconds)
            self._session.time_constant = frame.smoothing
            faces = self._session.update(recognition, frame.seconds)
            if frame.recording > self._number:
                self._end_recording()
                self._number, self._recording = frame.recording, Recording(self._draw)
            if self._recording is not None and frame.recording == self._number:
                self._recording.add(image, faces, frame.seconds)
        return {"faces": [as_dict(face, recognition.labels) for face in faces], "labels": list(recognition.labels)}

    def take(self, number: int, have: int, finish: bool) -> dict[str, Any]:
        """The pieces of the recording's file that were made since, see `Recording.take`; ready for JSON.

        Args:
            number: of the recording.
            have: number of pieces taken so far.
            finish: ends the recording first.

        Raises:
            RequestError: there is no such recording.
        """
        self.last_seen = time.monotonic()
        with self._lock:
            recording = self._recording if number == self._number else None
        if recording is None:
            raise RequestError("The recording is lost: the server was started anew, or no picture came in time.")
        if finish:
            recording.finish()
        taken = recording.take(have)
        return {
            "pieces": [[position, base64.b64encode(data).decode("ascii")] for position, data in taken.pieces],
            "done": taken.done,
            "start": taken.start,
            "end": taken.end,
            "notice": taken.notice,
        }

    def close(self) -> None:
        """Drops the recording, if there is one."""
        with self._lock:
            self._end_recording()

    def _end_recording(self) -> None:
        if self._recording is not None:
            self._recording.finish(wait=False)
            self._recording = None


class Viewers:
    """The open pages by Gradio's session, each with a state that no other can reach. Safe to use from several threads.

    Args:
        recognizer: frame -> Recognition; called from several threads at once.
        draw: as for `Viewer`.
    """

    def __init__(self, recognizer: EmotionRecognizer, draw: Draw) -> None:
        self._recognizer = recognizer
        self._draw = draw
        self._viewers: dict[str, Viewer] = {}
        self._lock = Lock()

    def __getitem__(self, session: str) -> Viewer:
        """The viewer of a session, new at its first frame."""
        with self._lock:
            if session not in self._viewers:
                self._forget_idle()
                self._viewers[session] = Viewer(self._recognizer, self._draw)
            return self._viewers[session]

    def __len__(self) -> int:
        return len(self._viewers)

    def drop(self, session: str) -> None:
        """Forgets a session and all that was kept of it; one that is not there is no error."""
        with self._lock:
            viewer = self._viewers.pop(session, None)
        if viewer is not None:
            viewer.close()

    def _forget_idle(self) -> None:
        """For programs that send frames without keeping a session open, of whose end Gradio would tell."""
        now = time.monotonic()
        for session, viewer in list(self._viewers.items()):
            if now - viewer.last_seen > IDLE_SECONDS:
                self._viewers.pop(session).close()


def as_dict(face: TrackedFace, labels: tuple[str, ...]) -> dict[str, Any]:
    """A face, ready for JSON: id, box in pixels, confidence, label, all probabilities, smoothed and raw."""

    def named(values: Any) -> Mapping[str, float]:
        return {label: round(float(p), 5) for label, p in zip(labels, values, strict=True)}

    return {
        "face": face.face,
        "box": [round(v, 1) for v in face.box],
        "confidence": round(face.confidence, 4),
        "label": face.label,
        "probabilities": named(face.probabilities),
        "raw": named(face.raw),
    }
