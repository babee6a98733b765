"""Time and memory as the work grows: faces, image size, batch, length of a video, viewers; one plot for each.

    python -m tests.benchmarks.scaling [--detector yunet.onnx] [--only faces pixels] [--record]

Each kind of growth is measured in a fresh process, from small to large, so that what the process holds after a step is
what that step asked for. The plots go to tests/benchmarks/figures, or elsewhere with `--figures`.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from gradio_ui.recognition import EmotionRecognizer, load_detector
from tests.benchmarks.images import face_crops, group_frame, portrait_frame
from tests.benchmarks.record import ROOT, describe, machine, record, seconds

GRIDS = {1: (1, 1), 2: (1, 2), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8)}  # faces: rows, columns
MEGAPIXELS = (0.3, 0.6, 1.2, 3, 6, 12)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (10, 20, 40)  # seconds
VIEWERS = (1, 2, 4, 8)
PER_VIEWER = 10  # images

Step = tuple[float, float]  # how much work, and its time


def median_ms(call: Callable[[], Any], rounds: int = 9) -> float:
    """Time a warm call."""
    call()
    return 1000 * statistics.median(seconds(call) for _ in range(rounds))


def faces(recognizer: EmotionRecognizer) -> Iterator[Step]:
    """Grow the faces in an image: 1280x960 with more and more faces."""
    for count, grid in GRIDS.items():
        frame = cv2.resize(group_frame(*grid), (1280, 960), interpolation=cv2.INTER_CUBIC)
        if (found := len(recognizer(frame))) != count:
            print(f"of {count} faces {found} are found", file=sys.stderr)
        yield found, median_ms(lambda frame=frame: recognizer(frame))


def pixels(recognizer: EmotionRecognizer) -> Iterator[Step]:
    """Grow the image: the same portrait, larger and larger."""
    for megapixels in MEGAPIXELS:
        scale = (1e6 * megapixels / (640 * 480)) ** 0.5
        frame = cv2.resize(portrait_frame(), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        yield megapixels, median_ms(lambda frame=frame: recognizer(frame))


def batch(recognizer: EmotionRecognizer) -> Iterator[Step]:
    """Grow the batch: more and more crops in one forward pass; time of one of them."""
    for count in BATCHES:
        crops = face_crops(count)
        yield count, median_ms(lambda crops=crops: recognizer.classifier(crops)) / count


def video(recognizer: EmotionRecognizer) -> Iterator[Step]:
    """Grow the video: longer clips of 640x360, 10 frames/s analyzed, table and annotated copy written; seconds."""
    from gradio_ui.recognition.video_analysis import VideoAnalysis
    from tests.benchmarks.video import make_clip

    with tempfile.TemporaryDirectory() as folder:
        clip, table, copy = (Path(folder) / name for name in ("clip.mp4", "out.csv", "out.mp4"))
        for length in LENGTHS:
            make_clip(clip, length, (640, 360), 25)
            analysis = VideoAnalysis(clip, recognizer, per_second=10)
            took = seconds(lambda analysis=analysis: list(analysis.run(table, copy)))
            yield round(analysis.seconds, 1), took


def viewers(recognizer: EmotionRecognizer) -> Iterator[Step]:
    """Grow the audience: more and more who send 640x480 images at once, each when the last answer is in."""
    frame = portrait_frame()

    def watch(_: int) -> list[float]:
        return [1000 * seconds(lambda: recognizer(frame)) for _ in range(PER_VIEWER)]

    for count in VIEWERS:
        with ThreadPoolExecutor(count) as pool:
            yield count, statistics.median(chain.from_iterable(pool.map(watch, range(count))))


@dataclass(frozen=True)
class Growth:
    """One kind of growth.

    Attributes:
        run: yields how much work and what it took, from small to large.
        x, y: names of the axes.
        why: where the curve bends, and why.
        log: whether the work doubles from step to step.
    """

    run: Callable[[EmotionRecognizer], Iterator[Step]]
    x: str
    y: str
    why: str
    log: bool = True


GROWTHS = {
    "faces": Growth(
        faces,
        "faces in an image of 1280x960",
        "milliseconds an image",
        "Flat while the search for faces outweighs their classification, then a straight line: one forward pass over "
        "all faces, each at the price of a face in a batch.",
    ),
    "pixels": Growth(
        pixels,
        "megapixels",
        "milliseconds an image",
        "Rises to 1.2 megapixels, where the long side reaches the 1280 pixels that faces are searched at; beyond it "
        "only reading and shrinking it grow.",
    ),
    "batch": Growth(
        batch,
        "faces in a forward pass",
        "milliseconds a face",
        "Falls while the fixed cost of a pass is shared and the second core finds work, to about 8 faces; then the "
        "arithmetic is all there is. Passes end at 64 faces to bound the memory.",
    ),
    "video": Growth(
        video,
        "seconds of video",
        "seconds to analyze",
        "A straight line with flat memory: frames are decoded one after the other and none is kept.",
        log=False,
    ),
    "viewers": Growth(
        viewers,
        "viewers at once",
        "milliseconds an image",
        "One viewer has both cores for each image; from two on the images share them, and the time grows in step "
        "with the viewers while the images a second stay the same.",
    ),
}


def measure(name: str, model: str, detector: str) -> list[dict[str, float]]:
    """Measure the steps of one growth, in a process of its own."""
    recognizer = EmotionRecognizer.from_pretrained(model, detector=load_detector(detector or None))
    steps, unit = [], 2**20 if sys.platform == "darwin" else 2**10
    for work, took in GROWTHS[name].run(recognizer):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        steps.append({"work": work, "time": round(took, 3), "megabytes": round(peak)})
    return steps


def plot(growth: Growth, steps: list[dict[str, float]], path: Path) -> None:
    """Plot time above and memory below, over the same work."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    work, took, held = ([step[key] for step in steps] for key in ("work", "time", "megabytes"))
    figure = Figure(figsize=(6, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for axes, values, label, color in ((above, took, growth.y, "#0072b2"), (below, held, "memory, MB", "#d55e00")):
        axes.plot(work, values, "o-", color=color)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        for x, y in zip(work, values, strict=True):
            axes.annotate(f"{y:.3g}", (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    below.set_ylim(0, 1.3 * max(held))
    above.set_ylim(0, 1.2 * max(took))
    if growth.log:  # doublings lie evenly apart, so that a bend shows
        below.set_xscale("log", base=2)
        above.set_yscale("log", base=2)
        above.set_ylim(min(took) / 1.5, 1.5 * max(took))
        above.yaxis.set_major_formatter("{x:g}")
    below.xaxis.set_minor_locator(NullLocator())
    below.set_xticks(work, [f"{x:g}" for x in work])
    below.set_xlabel(growth.x)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "model_card" / "fer2013")
    parser.add_argument("--detector", default="", metavar="FILE.onnx", help="YuNet; default: as the app finds it")
    parser.add_argument("--only", nargs="+", choices=GROWTHS, default=list(GROWTHS))
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent / "figures")
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    options = parser.parse_args()
    measured_on = machine()
    print(describe(measured_on))
    results = {}
    for name in options.only:
        growth, began = GROWTHS[name], time.perf_counter()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            steps = fresh.submit(measure, name, str(options.model), options.detector).result()
        plot(growth, steps, options.figures / f"{name}.png")
        results[name] = {"x": growth.x, "y": growth.y, "why": growth.why, "steps": steps}
        print(f"\n{growth.x}: {growth.y}, memory in MB ({time.perf_counter() - began:.0f} s). {growth.why}")
        for step in steps:
            print(f"  {step['work']:>6g} {step['time']:>9.2f} {step['megabytes']:>6g}")
    if options.record:
        record("scaling", {"results": results}, measured_on)


if __name__ == "__main__":
    main()
