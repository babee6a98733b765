"""Recordings: annotated videos, encoded while their frames come in and handed over piece by piece, never on disk.

recording = recordings.start(draw)
recording.add(frame, faces, seconds)    # as often as needed, never waits
recording.take(have=0)                  # the pieces made so far
recording.finish()
recording.take(have=3)
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from queue import Empty, Full, Queue

import numpy as np

from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.h264 import H264Track
from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.video_analysis import Draw

MAX_RECORDINGS = 8  # at once, each with an encoder thread and up to `MAX_WAITING` bytes
IDLE_SECONDS = 60.0  # a recording that nobody adds to or takes from for longer makes room for another
MAX_SECONDS = 600.0
MAX_WAITING = 16 * 2**20  # bytes that nobody has taken yet
MAX_TAKEN = 4 * 2**20  # bytes handed over at once, about
WAITING_FRAMES = 3  # before the encoder; further ones are dropped, so that memory stays bounded and results fast
_FINISH_SECONDS = 10.0  # to wait for the encoder, at most
_MILLISECONDS = Fraction(1, 1000)


class BusyError(RecognitionError):
    """Raised when the server serves as many viewers or recordings as it can."""


class Recordings:
    """The recordings of all viewers, at most `MAX_RECORDINGS` at once. Safe to use from several threads."""

    def __init__(self) -> None:
        self._held: list[Recording] = []
        self._lock = threading.Lock()

    def start(self, draw: Draw) -> Recording:
        """Begin a recording.

        Args:
            draw: (frame, faces) -> the frame with them drawn.

        Raises:
            BusyError: too many others are in progress, or were not yet taken.
        """
        with self._lock:
            for recording in self._held:
                if recording.idle_seconds > IDLE_SECONDS:
                    recording.drop()
            self._held = [recording for recording in self._held if recording.holds_memory]
            if len(self._held) >= MAX_RECORDINGS:
                raise BusyError(
                    f"The server is busy: {MAX_RECORDINGS} recordings are in progress. Try again in a few minutes."
                )
            self._held.append(recording := Recording(draw))
            return recording


@dataclass(frozen=True)
class Pieces:
    """A part of the file.

    Attributes:
        pieces: (position in the file, bytes) in the order in which to write them, later ones over earlier ones.
        done: whether the file is complete with what was taken before.
        start: time of the first frame in seconds, on the clock of `Recording.add`; None without a frame.
        end: time of the last frame, likewise.
        dropped: number of frames that were left out because the encoder was busy.
        notice: one sentence where the recording ended by itself, otherwise "".
    """

    pieces: list[tuple[int, bytes]]
    done: bool
    start: float | None
    end: float | None
    dropped: int
    notice: str


class Recording:
    """An H.264 MP4 file that browsers play, with the frames' own timing, encoded in a thread of its own.

    One thread at a time adds frames; any other may call the rest meanwhile.

    Args:
        draw: (frame, faces) -> the frame with them drawn.

    Attributes:
        lost: whether it was dropped.
    """

    def __init__(self, draw: Draw) -> None:
        self.lost = False
        self._touched = time.monotonic()
        self._draw = draw
        self._frames: Queue[tuple[np.ndarray, Sequence[TrackedFace], float]] = Queue(WAITING_FRAMES)
        self._file = _Tape()
        self._ending = threading.Event()
        self._start: float | None = None
        self._end: float | None = None
        self._size = (0, 0)
        self._dropped = 0
        self._notice = ""
        self._thread = threading.Thread(target=self._encode, name="recording", daemon=True)
        self._thread.start()

    def add(self, frame: np.ndarray, faces: Sequence[TrackedFace], seconds: float) -> None:
        """Add a frame, or drop it where the encoder is behind. After the end, do nothing.

        Args:
            frame: (h, w, 3) uint8 RGB.
            faces: to draw.
            seconds: when it was shown; later than the frame before.
        """
        self._touched = time.monotonic()
        if self._ending.is_set():
            return
        if self._start is None:
            self._start, self._size = seconds, frame.shape[:2]
        if seconds - self._start > MAX_SECONDS:
            self._end_with(f"A recording ends after {MAX_SECONDS / 60:g} minutes. Start another one.")
        elif frame.shape[:2] != self._size:
            self._end_with("The recording ended because the size of the picture changed. Start another one.")
        elif self._file.waiting > MAX_WAITING:
            self._end_with("The recording ended because your connection is too slow for it.")
        else:
            try:
                self._frames.put_nowait((frame, faces, seconds))
                self._end = seconds
            except Full:
                self._dropped += 1

    def take(self, have: int) -> Pieces:
        """Hand over what was made since, and delete it once the next call says that it has arrived.

        Args:
            have: number of pieces received so far.
        """
        self._touched = time.monotonic()
        ended = not self._thread.is_alive()  # asked first: what is made afterwards is not the end
        pieces = self._file.take(have)
        return Pieces(pieces, ended and not pieces, self._start, self._end, self._dropped, self._notice)

    def finish(self, wait: bool = True) -> None:
        """End the recording.

        Args:
            wait: until the encoder is done, a fraction of a second; otherwise it ends by itself.
        """
        self._ending.set()
        if wait:
            self._thread.join(_FINISH_SECONDS)

    def drop(self) -> None:
        """End the recording and delete what was made of it."""
        self.lost = True
        self._file.discard()
        self.finish(wait=False)

    @property
    def idle_seconds(self) -> float:
        """Time since the last call of `add` or `take`."""
        return time.monotonic() - self._touched

    @property
    def holds_memory(self) -> bool:
        """Whether it is still encoding, or has made pieces that nobody has taken."""
        return not self.lost and (self._thread.is_alive() or self._file.waiting > 0)

    def _end_with(self, notice: str) -> None:
        self._notice = notice
        self._ending.set()

    def _encode(self) -> None:
        import av

        try:
            with av.open(self._file, "w", format="mp4") as container:
                # One thread: the other cores are for the live results.
                track = H264Track(container, _MILLISECONDS, Fraction(25), threads=1)
                while (waiting := self._next()) is not None:
                    frame, faces, seconds = waiting
                    even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
                    drawn = self._draw(np.ascontiguousarray(even), faces)
                    track.write(drawn, round((seconds - (self._start or 0.0)) * 1000))
                track.finish()
        except av.error.FFmpegError as error:
            self._notice = f"The video could not be encoded ({error.strerror})."
        finally:
            self._ending.set()

    def _next(self) -> tuple[np.ndarray, Sequence[TrackedFace], float] | None:
        """Wait for the next frame; None once the recording has ended and all frames are encoded."""
        while True:
            ending = self._ending.is_set()  # asked first: what comes before the end is still waited for
            try:
                return self._frames.get(timeout=0.1)
            except Empty:
                if ending:
                    return None


class _Tape:
    """A file that FFmpeg writes to; each piece waits in memory until it is taken.

    An MP4 file is written from front to end, but at the end its writer goes back once to fill in a length.
    """

    def __init__(self) -> None:
        self.waiting = 0  # bytes
        self._closed = False
        self._pieces: list[tuple[int, bytes]] = []
        self._forgotten = 0  # number of pieces before the first one here
        self._position = self._length = 0
        self._lock = threading.Lock()

    def write(self, data: bytes) -> int:
        with self._lock:
            if not self._closed:
                self._pieces.append((self._position, bytes(data)))
                self.waiting += len(data)
        self._position += len(data)
        self._length = max(self._length, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def discard(self) -> None:
        """Delete what waits, and what is still to come."""
        with self._lock:
            self._closed, self.waiting = True, 0
            self._pieces.clear()

    def take(self, have: int) -> list[tuple[int, bytes]]:
        with self._lock:
            arrived = min(max(0, have - self._forgotten), len(self._pieces))
            self.waiting -= sum(len(data) for _, data in self._pieces[:arrived])
            del self._pieces[:arrived]
            self._forgotten += arrived
            taken: list[tuple[int, bytes]] = []
            size = 0
            for position, data in self._pieces:
                if size >= MAX_TAKEN:
                    break
                taken.append((position, data))
                size += len(data)
            return taken
