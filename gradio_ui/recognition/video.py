"""Video files, read frame by frame with PyAV, in memory that does not grow with their length.

with VideoReader("talk.mov") as reader:
    for frame in reader:
        print(frame.seconds, frame.image.shape)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from .errors import VideoError
from .image_io import MAX_PIXELS

if TYPE_CHECKING:
    from typing import Self

    import av
    from av.container import InputContainer

Source: TypeAlias = "str | Path | BinaryIO"  # a path, or an open seekable file

SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")
_ACCEPTED = "an MP4, MOV, WebM, AVI or MKV file"
# FFmpeg knows formats that are lists of other files and addresses. It gets an open file, and may open nothing itself.
_SAFE = {"format_whitelist": "mov,mp4,matroska,webm,avi", "protocol_whitelist": "none"}
_READ_AHEAD = 2**18  # bytes
THREADS = min(4, os.cpu_count() or 1)  # for reading and for writing; each holds frames of its own in memory


@dataclass(frozen=True)
class VideoFrame:
    """One frame as it is meant to be seen.

    Attributes:
        image: (h, w, 3) uint8 RGB, turned upright; converted when it is first asked for.
        seconds: when it is shown, counted from the start of the video.
        pts: the same in units of the reader's `time_base`.
    """

    convert: Callable[[], np.ndarray] = field(repr=False)
    seconds: float
    pts: int

    @cached_property
    def image(self) -> np.ndarray:
        return self.convert()


class VideoReader:
    """The frames of a video in order: a context manager, and an iterator to go through once.

    Args:
        source: an MP4, MOV, WebM, AVI or MKV file, recognized by its content. An open file is read by position, and
            stays open; messages then say "The file" and not its name.

    Attributes:
        source: as given.
        name: what messages call it.
        start: time in seconds that the file gives its first frame or sound; all other times count from there.
        duration: seconds, or None where the file does not say.
        time_base: seconds per unit of `VideoFrame.pts`.
        rate: average frames per second.
        finished: whether the last frame has been read.
        problem: after reading, one sentence on what could not be read; "" for an intact file.

    Raises:
        VideoError: the file is missing, empty, of another kind, without a video track, too large, or damaged at its
            beginning.
    """

    def __init__(self, source: Source) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.source = source
        self.name = name_of(source)
        self._container, self._file = open_container(source)
        self._to_rgb = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        self._stream = next((s for s in self._container.streams.video if not _is_cover(s)), None)
        if self._stream is None:
            self.close()
            raise VideoError(f"{self.name} has no pictures, only sound. Expected {_ACCEPTED} with a video track.")
        codec = self._stream.codec_context
        if codec.width * codec.height > MAX_PIXELS:
            self.close()
            raise VideoError(
                f"{self.name} has frames of {codec.width}x{codec.height} pixels. "
                f"The limit is {MAX_PIXELS // 1_000_000} megapixels; scale it down first."
            )
        self._stream.thread_type, self._stream.codec_context.thread_count = "AUTO", THREADS
        self.time_base: Fraction = self._stream.time_base or Fraction(1, 90_000)
        self.rate: Fraction = self._stream.average_rate or Fraction(25)
        self.start = (self._container.start_time or 0) / av.time_base
        self.duration = self._duration()
        self.finished = False
        self.problem = ""

    def _duration(self) -> float | None:
        import av

        length = (self._container.duration or 0) / av.time_base
        if "matroska" in self._container.format.name:  # states the time of its end, the others their length
            length -= self.start
        return length if length > 0 else None

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yield the frames at strictly growing times.

        Raises:
            VideoError: not one frame can be read.
        """
        pts, damaged = None, 0
        step = max(1, round(1 / (self.rate * self.time_base)))
        start = round(self.start / self.time_base)
        size = None
        for frame in self._decode():
            if frame is None:
                damaged += 1
                continue
            own = frame.pts - start if frame.pts is not None else (0 if pts is None else pts + step)
            if pts is not None and own <= pts:
                continue
            pts = own
            size = size or (frame.width, frame.height)  # a stream may change its size on the way; its output may not
            yield VideoFrame(partial(self._upright, frame, size), float(pts * self.time_base), pts)
        self.finished = True
        if pts is None:
            raise VideoError(f"{self.name} is damaged: no frame can be read. Save or download it again.")
        reached = float((pts + step) * self.time_base)
        if self.duration and reached < 0.95 * self.duration - 0.5:
            self.problem = (
                f"The video breaks off after {reached:.1f} of {self.duration:.1f} seconds: damaged or cut off. "
                "The result covers what could be read."
            )
        elif damaged:
            self.problem = f"Damaged frames were left out: {damaged}."

    def _upright(self, frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
        image: np.ndarray = self._to_rgb.reformat(frame, *size, format="rgb24").to_ndarray()
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    def _decode(self) -> Iterator[av.VideoFrame | None]:
        """Yield the decoded frames, and None for each packet that cannot be decoded."""
        import av

        try:
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode()  # type: ignore[misc]
                except av.error.InvalidDataError:
                    yield None
        except av.error.FFmpegError:
            yield None  # the container itself ends in the middle

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _View:
    """A reader of a file with a position of its own, so that several can share the file.

    Args:
        source: a path, which is opened and closed, or an open file, which is left open.
    """

    def __init__(self, source: Source) -> None:
        self._owned = isinstance(source, (str, Path))
        self._file: BinaryIO = open(source, "rb") if isinstance(source, (str, Path)) else source
        self._position = 0
        self.size = self._file.seek(0, os.SEEK_END)

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._position)
        data = self._file.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if self._owned:
            self._file.close()


def name_of(source: Source) -> str:
    """Give what messages call a video: a file's name without its folders, or "The file" for an open one."""
    return Path(source).name if isinstance(source, (str, Path)) else "The file"


def open_container(source: Source) -> tuple[InputContainer, _View]:
    """Open a video with a position of its own in the file; both are to be closed.

    Raises:
        VideoError: the file is missing, empty or of another kind.
    """
    import av

    name = name_of(source)
    try:
        view = _View(source)
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError(f"{name}: there is no such file. Check the path.") from None
    except (PermissionError, IsADirectoryError):
        raise VideoError(f"{name} may not be read. Expected {_ACCEPTED}.") from None
    try:
        if view.size == 0:
            raise VideoError(f"{name} is empty (0 bytes). Save or download it again.")
        opened = av.open(view, "r", container_options=_SAFE, buffer_size=_READ_AHEAD, metadata_errors="replace")
        return opened, view
    except av.error.FFmpegError as error:
        view.close()
        raise VideoError(
            f"{name} cannot be read as a video ({error.strerror}). Expected {_ACCEPTED}; "
            "it may be another kind of file with a changed name, or cut off. Save or download it again."
        ) from None
    except VideoError:
        view.close()
        raise


def _is_cover(stream: Any) -> bool:
    """Tell whether a video stream is only the cover of a piece of music."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
