"""An annotated video, encoded while its frames come in and handed over piece by piece; nothing of it is on disk.

recording = Recording(draw)
recording.add(frame, faces, seconds)    # as often as wanted, never waits
recording.take(have=0)                  # the pieces made so far
recording.finish()
recording.take(have=3)
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

import numpy as np

from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.video_analysis import Draw

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

MAX_SECONDS = 600.0
MAX_WAITING = 16 * 2**20  # bytes that nobody has taken yet
MAX_TAKEN = 4 * 2**20  # bytes handed over at once, about
WAITING_FRAMES = 3  # before the encoder; one more is dropped, so that neither memory nor the live picture suffers
_MILLISECONDS = Fraction(1, 1000)
_BT709 = 1  # in H.264's tables of colour spaces


@dataclass(frozen=True)
class Pieces:
    """A part of the file.

    Attributes:
        pieces: (position in the file, bytes) in the order in which they are to be written, later ones over earlier.
        done: whether the file is whole with what was taken before.
        start: time of the first frame in seconds, on the clock of `Recording.add`; None before it.
        end: the same of the last one.
        dropped: frames that were left out because the encoder was busy.
        notice: one sentence where the recording ended by itself, otherwise "".
    """

    pieces: list[tuple[int, bytes]]
    done: bool
    start: float | None
    end: float | None
    dropped: int
    notice: str


class Recording:
    """An H.264 MP4 file that browsers play, with the frames' own timing, made by a thread of its own.

    Frames are added by one thread at a time; the rest may be called by any other meanwhile.

    Args:
        draw: (frame, faces) -> the frame with them drawn.
    """

    def __init__(self, draw: Draw) -> None:
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
        """Adds a frame, or drops it where the encoder is behind. After the end it does nothing.

        Args:
            frame: (h, w, 3) uint8 RGB.
            faces: to be drawn.
            seconds: when it was shown; later than the frame before.
        """
        if self._ending.is_set():
            return
        if self._start is None:
            self._start, self._size = seconds, frame.shape[:2]
        if seconds - self._start > MAX_SECONDS:
            self._end_with(f"A recording ends after {MAX_SECONDS / 60:g} minutes. Start another one to go on.")
        elif frame.shape[:2] != self._size:
            self._end_with("The recording ended because the size of the picture changed. Start another one to go on.")
        elif self._file.waiting > MAX_WAITING:
            self._end_with("The recording ended because your connection is too slow for it.")
        else:
            try:
                self._frames.put_nowait((frame, faces, seconds))
                self._end = seconds
            except Full:
                self._dropped += 1

    def take(self, have: int) -> Pieces:
        """Hands over what was made since, and forgets it once the next call says that it has arrived.

        Args:
            have: number of pieces taken so far.
        """
        ended = not self._thread.is_alive()  # asked first: what is made afterwards is not the end
        pieces = self._file.take(have)
        return Pieces(pieces, ended and not pieces, self._start, self._end, self._dropped, self._notice)

    def finish(self, wait: bool = True) -> None:
        """Ends the recording.

        Args:
            wait: until the encoder is through, a fraction of a second; otherwise it ends by itself.
        """
        self._ending.set()
        if wait:
            self._thread.join()

    def _end_with(self, notice: str) -> None:
        self._notice = notice
        self._ending.set()

    def _encode(self) -> None:
        import av

        try:
            with av.open(self._file, "w", format="mp4") as container:
                self._write(container)
        except av.error.FFmpegError as error:
            self._notice = f"The video could not be encoded ({error})."
        finally:
            self._ending.set()

    def _write(self, container: OutputContainer) -> None:
        import av

        stream = None
        while (waiting := self._next()) is not None:
            frame, faces, seconds = waiting
            even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]  # H.264 has no odd sides
            picture = av.VideoFrame.from_ndarray(self._draw(np.ascontiguousarray(even), faces))
            if stream is None:
                stream = _h264(container, picture.width, picture.height)
            picture = picture.reformat(format="yuv420p", dst_colorspace=_BT709)
            picture.pts = round((seconds - (self._start or 0.0)) * 1000)
            picture.time_base = _MILLISECONDS
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode(None))

    def _next(self) -> tuple[np.ndarray, Sequence[TrackedFace], float] | None:
        """The next frame; None once the recording has ended and all are through."""
        while True:
            ending = self._ending.is_set()  # asked first: what comes before the end is still waited for
            try:
                return self._frames.get(timeout=0.1)
            except Empty:
                if ending:
                    return None


def _h264(container: OutputContainer, width: int, height: int) -> VideoStream:
    # No B frames: with them and uneven times, MP4's length would leave out the last frames.
    stream = container.add_stream("libx264", options={"preset": "veryfast", "crf": "23", "bf": "0"})
    codec = stream.codec_context
    codec.thread_count = 1  # the other cores are for the live results
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base, codec.framerate = _MILLISECONDS, Fraction(25)
    codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
    return stream


class _Tape:
    """A file that is written to but kept nowhere: what FFmpeg writes waits until it is taken.

    An MP4 file is written from front to end, but at the end its writer goes back once to fill in a length.
    """

    def __init__(self) -> None:
        self.waiting = 0  # bytes
        self._pieces: list[tuple[int, bytes]] = []
        self._forgotten = 0  # number of pieces before the first one here
        self._position = self._length = 0
        self._lock = threading.Lock()

    def write(self, data: bytes) -> int:
        with self._lock:
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

    def take(self, have: int) -> list[tuple[int, bytes]]:
        with self._lock:
            arrived = max(0, have - self._forgotten)
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
