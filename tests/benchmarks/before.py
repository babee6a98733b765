"""Speed against an older commit: the same work, in turns, in two processes; ratios of the pairs.

    python -m tests.benchmarks.before bc7bb73 [--rounds 7] [--only "picture one" start] [--record]

The older code is checked out into a temporary folder, with its weights. Both sides read the same files: a portrait and
a group in 640x480, JPEG photographs of 1.2 and 12 megapixels, live frames of one and of two people, a clip of 640x360
at 25 frames/s that is analyzed at 10, and a folder of photographs for the command line.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tests.benchmarks.images import group_frame, portrait_frame
from tests.benchmarks.record import ROOT, describe, machine, record

WORKER = Path(__file__).with_name("before_worker.py")
MODEL = "model_card/fer2013"
LIVE, BULK = 45, 64  # frames of a stream, photographs of the folder
MEGAPIXELS = {"1280x960": (1280, 960), "4000x3000": (4000, 3000)}


class Side:
    """A process that measures the code of one folder.

    Args:
        code: a checkout.
        model: folder of the model, the same for both sides.
        folder: of `make_files`.
    """

    def __init__(self, code: Path, model: Path, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), str(model), str(folder)],
            cwd=code,
            env=os.environ | {"PYTHONPATH": str(code)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.tasks = self._line().split("\t")

    def measure(self, task: str) -> tuple[float, float]:
        """Do a task; return the seconds of time and of processor time for each of its results."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{task}\n")
        self.process.stdin.flush()
        time, cpu = map(float, self._line().split())
        return time, cpu

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _line(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            sys.exit("error: a side broke off; see its message above")
        return line.rstrip("\n")


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", commit, "gradio_ui", MODEL], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def make_files(folder: Path) -> None:
    """Write what both sides read."""
    one, six = portrait_frame(), group_frame()
    np.save(folder / "640x480, one face.npy", one)
    np.save(folder / "640x480, six faces.npy", six)
    for name, size in MEGAPIXELS.items():
        large = cv2.resize(six, size, interpolation=cv2.INTER_CUBIC)
        Image.fromarray(large).save(folder / f"{name}.jpg", quality=90)
    for name, second in (("live_one", False), ("live_two", True)):
        (folder / name).mkdir()
        for number in range(LIVE):
            Image.fromarray(_moved(one, number, second)).save(folder / name / f"{number:03}.jpg", quality=80)
    (folder / "bulk").mkdir()
    for number in range(BULK):
        frame = np.roll(six if number % 2 else one, number, axis=1)
        size = (640, 480) if number % 4 else (1280, 960)
        Image.fromarray(cv2.resize(frame, size)).save(folder / "bulk" / f"{number:03}.jpg", quality=90)
    from tests.benchmarks.video import make_clip

    make_clip(folder / "clip.mp4", 5, (640, 360), 25)


def _moved(frame: np.ndarray, number: int, second: bool) -> np.ndarray:
    """Sway the portrait; the second person, half as large, is to the right of the first."""
    frame = np.roll(frame, round(20 * np.sin(number / 10)), axis=1).copy()
    if second:
        frame[240:, 480:] = cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA)[:, 80:240]
    return frame


def compare(before: Side, after: Side, tasks: list[str], rounds: int) -> list[dict[str, Any]]:
    """Let both sides take turns; return for each task its medians and the median ratio of the pairs."""
    rows = []
    for task in tasks:
        pairs = np.array([[side.measure(task) for side in (before, after)] for _ in range(rounds + 1)][1:])
        old, new = 1000 * np.median(pairs[:, :, 0], axis=0)
        ratios = pairs[:, 0] / np.maximum(pairs[:, 1], 1e-9)
        time, cpu = np.median(ratios, axis=0)
        rows.append({"what": task, "before_ms": round(old, 3), "after_ms": round(new, 3), "rounds": rounds})
        rows[-1] |= {"ratio": round(float(time), 2), "cpu_ratio": round(float(cpu), 2)}
        rows[-1]["ratio_range"] = [round(float(v), 2) for v in np.percentile(ratios[:, 0], (5, 95))]
        print("{what:34} {before_ms:9.2f} {after_ms:9.2f} ms {ratio:6.2f} {cpu_ratio:6.2f}".format(**rows[-1]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the code before")
    parser.add_argument("--model", type=Path, help="for both sides; by default each has its own weights")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of each task, after one to warm up")
    parser.add_argument("--only", nargs="*", help="beginnings of the names of tasks")
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    options = parser.parse_args()
    measured_on = machine()
    print(describe(measured_on))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_files(folder)
        sides = []
        for code in (stack.enter_context(checkout(options.commit)), ROOT):
            sides.append(Side(code, (options.model or code / MODEL).resolve(), folder))
            stack.callback(sides[-1].close)
        tasks = [task for task in sides[0].tasks if not options.only or task.startswith(tuple(options.only))]
        rows = compare(sides[0], sides[1], tasks, options.rounds)
    if options.record:
        record(
            "before",
            {"commit": options.commit, "model": options.model.name if options.model else "own", "results": rows},
            measured_on,
        )


if __name__ == "__main__":
    main()
