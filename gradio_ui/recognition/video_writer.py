"""Video files written frame by frame with PyAV, with the timing and the sound of the video they are made from.

with VideoReader("talk.mov") as reader, VideoWriter("out.mp4", reader) as writer:
    for frame in reader:
        writer.write(frame, drawn_on(frame.image))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .h264 import H264Track
from .video import THREADS, VideoFrame, VideoReader, open_container

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import av
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

_MP4_SOUND = {"aac", "mp3", "opus", "flac"}  # codecs that browsers play from an MP4 file, copied as they are


class VideoWriter:
    """An H.264 MP4 file that browsers play, with the timing and the sound of the video it is made from.

    As a context manager it leaves a whole file, or none where an exception passes through. Where not all frames of the
    source were read, the sound ends with the last one written.

    Args:
        path: of the new file.
        source: where its frames come from.
    """

    def __init__(self, path: str | Path, source: VideoReader) -> None:
        import av

        self.path = Path(path)
        self._part = self.path.with_name(f".{self.path.name}.part")
        self._source = source
        self._container: OutputContainer = av.open(
            str(self._part), "w", format="mp4", options={"movflags": "+faststart"}
        )
        self._track = H264Track(self._container, source.time_base, source.rate, THREADS)
        self._sound = _Sound(source, self._container)

    def write(self, frame: VideoFrame, image: np.ndarray) -> None:
        """Add one frame.

        Args:
            frame: of the source; gives the time.
            image: (h, w, 3) uint8 RGB, always of the same size; what is shown instead. An odd row or column at the end
                is left out.
        """
        self._track.write(image, frame.pts)
        self._sound.copy_until(frame.seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._track.empty:
                self._track.finish()
                if self._source.finished:
                    self._sound.copy_until(math.inf)
                self._container.close()
                self._part.replace(self.path)
        finally:
            self._sound.close()
            self._container.close()
            self._part.unlink(missing_ok=True)


class _Sound:
    """The first sound track, copied packet by packet beside the frames so that nothing piles up."""

    def __init__(self, source: VideoReader, target: OutputContainer) -> None:
        self._container, self._file = open_container(source.source)  # the frames are read elsewhere in the file
        self._target = target
        self._start = source.start
        self._packets: Iterator[av.Packet] = iter(())
        self._next: av.Packet | None = None
        self._last = -math.inf
        if not self._container.streams.audio:
            return
        stream: AudioStream = self._container.streams.audio[0]
        self._copied = stream.codec_context.name in _MP4_SOUND
        if self._copied:
            self._output: Any = target.add_stream_from_template(stream)
        else:
            self._output = target.add_stream("aac", rate=min(stream.rate or 48_000, 48_000))
        self._packets = self._container.demux(stream)
        self._advance()

    def copy_until(self, seconds: float) -> None:
        """Copy all sound up to a time, counted from the start of the video."""
        while (packet := self._next) is not None:
            if packet.pts is not None and float(packet.pts * packet.time_base) - self._start > seconds:
                return
            self._carry(packet)
            self._advance()

    def _carry(self, packet: av.Packet) -> None:
        import av

        if self._copied:
            # A damaged file may jump back in time, which MP4 cannot hold.
            if packet.dts is not None and packet.pts is not None and packet.dts > self._last:
                self._last = packet.dts
                shift = round(self._start / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, self._output
                self._target.mux(packet)
            return
        try:
            frames: list[Any] = packet.decode()
        except av.error.InvalidDataError:
            return  # a damaged packet becomes silence
        if packet.size == 0:
            frames.append(None)  # the end: the encoder gives what it still holds
        for frame in frames:
            if frame is not None and frame.pts is not None:
                frame.pts -= round(self._start / frame.time_base)
            self._target.mux(self._output.encode(frame))

    def _advance(self) -> None:
        import av

        try:
            self._next = next(self._packets, None)
        except av.error.FFmpegError:  # cut off, which the frames report
            self._next = None

    def close(self) -> None:
        self._container.close()
        self._file.close()
