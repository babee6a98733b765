"""Images a second of the command line's pipeline, and its distance to what reading and detecting alone allow.

    python -m tests.benchmarks.bulk [--images 96] [--rounds 5] [--record]

Each round, in turn: the pipeline of `recognize_many`; its first half alone, reading and detecting on all cores, which
it cannot be faster than; reading alone; and one image after the other. All read the same JPEG photographs of one and
of six faces, in 640x480, 1280x960 and 4000x3000.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from gradio_ui.recognition import EmotionRecognizer
from gradio_ui.recognition.bulk import recognize_many, single_threaded
from gradio_ui.recognition.image_io import read_reduced
from gradio_ui.recognition.onnx_session import cores
from tests.benchmarks.images import group_frame, portrait_frame
from tests.benchmarks.record import ROOT, describe, machine, record, take_turns

SIZES = ((640, 480), (1280, 960), (640, 480), (4000, 3000))


def write_photographs(folder: Path, count: int) -> list[Path]:
    """Write JPEG files of all sizes, half with one face and half with six."""
    paths = []
    for number in range(count):
        frame = np.roll(group_frame() if number % 8 < 4 else portrait_frame(), 2 * number, axis=1)
        large = cv2.resize(frame, SIZES[number % len(SIZES)], interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"{number:03}.jpg")
        Image.fromarray(large).save(paths[-1], quality=90)
    return paths


def measure(recognizer: EmotionRecognizer, paths: list[Path], rounds: int) -> dict[str, dict[str, float]]:
    """Return images a second for each way: the median, and its share of the limit's, both of the same rounds."""
    alone = single_threaded(recognizer)

    def on_all_cores(work: Callable[[Path], Any]) -> None:
        with ThreadPoolExecutor(cores()) as pool:
            for _ in pool.map(work, paths):
                pass

    values = take_turns(
        {
            "pipeline": lambda: list(recognize_many(paths, recognizer)),
            "reading and detecting alone": lambda: on_all_cores(alone.locate),
            "reading alone": lambda: on_all_cores(partial(read_reduced, long_side=1280)),
            "one after the other": lambda: [recognizer(path) for path in paths],
        },
        rounds,
        warm_up=1,
    )
    limit = np.array(values["reading and detecting alone"])
    return {
        name: {
            "per_second": round(1000 * len(paths) / float(np.median(times)), 1),
            "of_limit": round(float(np.median(limit / np.array(times))), 3),
        }
        for name, times in values.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=ROOT / "model_card" / "fer2013")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    options = parser.parse_args()
    measured_on = machine()
    print(describe(measured_on))
    recognizer = EmotionRecognizer.from_pretrained(options.model)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(recognizer, write_photographs(Path(folder), options.images), options.rounds)
    for name, row in results.items():
        print(f"{name:28} {row['per_second']:8.1f} images/s, {row['of_limit']:.0%} of the limit")
    if options.record:
        record("bulk", {"images": options.images, "results": results}, measured_on)


if __name__ == "__main__":
    main()
