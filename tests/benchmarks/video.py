"""Speed of video analysis, and memory and speed over the length of a video.

    python -m tests.benchmarks.video [--detector yunet.onnx] [--seconds 120] [--long 3600] [--long_rate 25] [--record]

Two clips are generated, both of a portrait that moves to and fro, with sound: one of 640x360 at 25 frames/s, analyzed
at 10 frames/s (target on two idle cores: at least 3 times real time), and a long one of 1920x1080, analyzed at 1
frame/s (target: less than 1 GB, and late frames as fast as early ones). Each runs through what the video tab does:
table, annotated copy with the sound, JSON and plot. A length of 0 leaves a clip out.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
from PIL import Image
from skimage.data import astronaut

from gradio_ui.recognition import EmotionRecognizer, load_detector
from gradio_ui.recognition.video_analysis import VideoAnalysis, write_json
from gradio_ui.views.face_labels import face_drawer
from gradio_ui.views.plots import timeline
from tests.benchmarks.record import ROOT, describe, machine, record

LOOP = 256  # frames; 10.24 s at 25 a second, a whole number of AAC's packets of 1024 samples at 48 kHz


def loop(size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    """Yield a portrait half as high as the frame that moves to and fro, in frames of (width, height) pixels."""
    width, height = size
    portrait = Image.fromarray(astronaut()).crop((100, 0, 360, 260)).resize((height // 2, height // 2))
    left = (width - height) // 2
    for number in range(LOOP):
        way = abs(2 * number / LOOP - 1)
        image = Image.new("RGB", size, "#405060")
        image.paste(portrait, (left + round(way * height / 4), height // 4))
        yield av.VideoFrame.from_image(image)


def make_clip(path: Path, seconds: float, size: tuple[int, int], rate: int) -> None:
    """Write an MP4 of at least that length, `rate` frames a second. One loop is encoded; its packets are repeated."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "bf": "0"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        images = [packet for frame in loop(size) for packet in video.encode(frame)] + video.encode(None)
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        tone = (np.sin(np.arange(LOOP * 48_000 // rate) * 2 * np.pi * 440 / 48_000) * 8000).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 48_000, 0, Fraction(1, 48_000)
        sounds = [packet for packet in sound.encode(samples) if packet.pts >= 0]
        pieces = [(packet, packet.dts * packet.time_base, packet.pts * packet.time_base) for packet in images + sounds]
        pieces.sort(key=lambda piece: piece[1])
        for turn in range(-(-round(seconds * rate) // LOOP)):
            start = turn * Fraction(LOOP, rate)
            for packet, decoded, shown in pieces:
                packet.dts, packet.pts = (round((start + when) / packet.time_base) for when in (decoded, shown))
                container.mux(packet)


@contextmanager
def watched_memory() -> Iterator[list[float]]:
    """Sample the resident memory of this process in MB, ten times a second."""
    seen: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            seen.append(psutil.Process().memory_info().rss / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def measure(clip: Path, recognizer: EmotionRecognizer, per_second: float) -> dict[str, Any]:
    """Analyze a clip as the video tab does; return the cost in seconds, milliseconds and megabytes."""
    table, video, summary = (clip.with_name(f"out.{suffix}") for suffix in ("csv", "mp4", "json"))
    analysis = VideoAnalysis(clip, recognizer, per_second=per_second)
    with watched_memory() as memory:
        start = time.perf_counter()
        times = [time.perf_counter() for _ in analysis.run(table, video, face_drawer(recognizer.labels))]
        write_json(table, summary, found := analysis.summary())
        timeline(table, found)
        took = time.perf_counter() - start
    steps, tenth, fifth = 1000 * np.diff(times), max(1, len(times) // 10), max(1, len(memory) // 5)
    return {
        "size": list(analysis.size),
        "seconds": round(analysis.seconds, 1),
        "per_second": per_second,
        "faces": round(found["seconds"] / analysis.seconds, 2),
        "took_s": round(took, 1),
        "times_real_time": round(analysis.seconds / took, 2),
        "ms_per_frame_first_tenth": round(float(steps[:tenth].mean()), 1),
        "ms_per_frame_last_tenth": round(float(steps[-tenth:].mean()), 1),
        "megabytes_first_fifth": round(max(memory[:fifth])),
        "megabytes_last_fifth": round(max(memory[-fifth:])),
        "megabytes": round(max(memory)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default=ROOT / "model_card" / "fer2013")
    parser.add_argument("--detector", type=Path, help="YuNet's ONNX file; by default the one the app would take")
    parser.add_argument("--seconds", type=float, default=120, help="length of the clip of 640x360")
    parser.add_argument("--long", type=float, default=3600, help="length of the clip of 1920x1080")
    parser.add_argument("--long_rate", type=int, default=25, help="its frames a second; fewer take less time")
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    arguments = parser.parse_args()
    measured_on = machine()
    detector = load_detector(arguments.detector)
    recognizer = EmotionRecognizer.from_pretrained(arguments.model, detector=detector)
    print(f"{describe(measured_on)}; {recognizer.source.model_id}, {detector.name}")
    clips = (
        ("video", arguments.seconds, (640, 360), 25, 10),
        ("long_video", arguments.long, (1920, 1080), arguments.long_rate, 1),
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds, size, rate, per_second in clips:
            if not seconds:
                continue
            make_clip(clip := Path(folder) / f"{name}.mp4", seconds, size, rate)
            result = {"rate": rate} | measure(clip, recognizer, per_second)
            print(*(f"  {key}: {value}" for key, value in result.items()), sep="\n", end="\n\n")
            if arguments.record:
                record(name, {"model": recognizer.source.model_id, "detector": detector.name, **result}, measured_on)


if __name__ == "__main__":
    main()
