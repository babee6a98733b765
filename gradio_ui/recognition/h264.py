"""H.264 encoding, set up in one way for annotated videos and for webcam recordings."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av.container import OutputContainer

_BT709 = 1  # in H.264's tables of color spaces


class H264Track:
    """The video track of an MP4 file that browsers play. The size of its frames is that of the first one.

    Args:
        container: open for writing.
        time_base: seconds per unit of a frame's time.
        rate: average frames per second.
        threads: of the encoder; 0 for as many as there are cores.
    """

    def __init__(self, container: OutputContainer, time_base: Fraction, rate: Fraction, threads: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._container = container
        self._time_base = time_base
        self._to_yuv = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        # No B-frames: with them an MP4 of unevenly spaced frames states too short a length.
        self._stream = container.add_stream("libx264", options={"preset": "veryfast", "crf": "23", "bf": "0"})
        codec = self._stream.codec_context
        codec.time_base, codec.framerate, codec.pix_fmt = time_base, rate, "yuv420p"
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        self._stream.thread_type, codec.thread_count = "AUTO", threads
        self.empty = True

    def write(self, image: np.ndarray, pts: int) -> None:
        """Encode one frame.

        Args:
            image: (h, w, 3) uint8 RGB, always of the same size. H.264 needs even sides: an odd row or column at the
                end is left out.
            pts: its time in units of `time_base`, later than that of the frame before.
        """
        import av

        height, width = (side // 2 * 2 for side in image.shape[:2])
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image)[:height, :width])  # shared, not copied
        if self.empty:
            self.empty = False
            self._stream.codec_context.width, self._stream.codec_context.height = width, height
        frame = self._to_yuv.reformat(frame, format="yuv420p", dst_colorspace=_BT709)
        frame.pts, frame.time_base = pts, self._time_base
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if not self.empty:
            self._container.mux(self._stream.encode(None))
