"""Short synthetic clips with sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {".mp4": ("libx264", "aac"), ".mov": ("libx264", "pcm_s16le"), ".mkv": ("libx264", "flac")}
CODECS |= {".avi": ("mpeg4", "pcm_s16le"), ".webm": ("libvpx", "libopus")}


def make_clip(
    path: Path,
    times: list[float],
    *,
    size: tuple[int, int] = (96, 64),
    rotation: int = 0,
    sound: bool = True,
    fragmented: bool = False,
    frame: np.ndarray | None = None,
) -> Path:
    """Write a clip whose frames have a bright left half and a blue level that encodes their number.

    Args:
        path: its suffix decides the kind of file.
        times: when each frame is shown, in seconds.
        size: (width, height).
        rotation: degrees counter-clockwise by which a player must turn it.
        sound: adds a tone over the whole length.
        frame: (h, w, 3) uint8 RGB with even sides, shown in every frame instead; sets the size.
        fragmented: writes the index of an MP4 in pieces, so that a cut file can still be read.
    """
    if frame is not None:
        size = (frame.shape[1], frame.shape[0])
    video, audio = CODECS[path.suffix]
    options = {"movflags": "frag_keyframe+empty_moov"} if fragmented else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(video, rate=25, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25 if path.suffix == ".avi" else 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream(audio, rate=48_000) if sound else None
        for number, seconds in enumerate(times):
            image = np.full((size[1], size[0], 3), 16, np.uint8)
            image[:, : size[0] // 2] = 220
            image[..., 2] += np.uint8(number % 30)
            encoded = av.VideoFrame.from_ndarray(image if frame is None else frame)
            encoded.time_base = stream.codec_context.time_base
            encoded.pts = round(seconds / encoded.time_base)
            container.mux(stream.encode(encoded))
        container.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(int((times[-1] + 0.04) * 48_000)) * 2 * np.pi * 440 / 48_000)
            samples = (wave * 8000).astype(np.int16)[None]
            for start in range(0, samples.shape[1], 960):
                piece = av.AudioFrame.from_ndarray(samples[:, start : start + 960], format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 48_000, start, Fraction(1, 48_000)
                container.mux(tone.encode(piece))
            container.mux(tone.encode(None))
    return path


def frame_times(path: Path) -> list[float]:
    """Read when each frame of a file is shown, in seconds, as another program would."""
    with av.open(str(path)) as container:
        return [round(float(frame.time), 3) for frame in container.decode(video=0)]
