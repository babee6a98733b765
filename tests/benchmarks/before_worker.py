"""One side of `tests.benchmarks.before`: times what it is asked for with the code that PYTHONPATH names.

A line of standard input is the name of a task, a line of standard output its seconds. Only what both commits have is
used, and of the code beside this file nothing.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MODEL, FOLDER = (Path(argument) for argument in sys.argv[1:3])
RATE = 30  # live frames a second
REPEATS = 5  # of a picture that takes milliseconds
START = """
import sys
from gradio_ui.recognition import EmotionRecognizer
EmotionRecognizer.from_pretrained(sys.argv[1])(sys.argv[2])
"""


def tasks(recognizer: Any) -> dict[str, Callable[[], float]]:
    """Make the tasks; each returns how many results it gave."""
    import numpy as np

    from gradio_ui.recognition.__main__ import main
    from gradio_ui.recognition.video_analysis import VideoAnalysis
    from gradio_ui.views.face_labels import face_drawer

    # The same work on both sides: newer code scores stills with their mirror images unless it is told not to.
    flips = "flip" in inspect.signature(recognizer.__call__).parameters
    once: dict[str, Any] = {"flip": False} if flips else {}
    frames = {path.stem: np.load(path) for path in FOLDER.glob("*.npy")}
    streams = {path.stem: load_stream(path) for path in FOLDER.glob("live_*")}
    video, bulk = FOLDER / "clip.mp4", FOLDER / "bulk"
    count = len(list(bulk.iterdir()))

    def watch(stream: str, viewers: int) -> float:
        with ThreadPoolExecutor(viewers) as pool:
            return sum(pool.map(lambda _: see(recognizer, streams[stream]), range(viewers)))

    def analyze(copy: bool, per_second: float | None = 10) -> float:
        with tempfile.TemporaryDirectory() as folder:
            analysis = VideoAnalysis(video, recognizer, per_second=per_second)
            made = Path(folder) / "copy.mp4" if copy else None
            return sum(1 for _ in analysis.run(Path(folder) / "t.csv", made, face_drawer(recognizer.labels)))

    def command_line() -> float:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            if main([str(bulk), "--out", f"{folder}/out.csv", "--model", str(MODEL), *["--no-flip"] * flips]):
                sys.exit("error: the command line failed")
        return count

    def start() -> float:
        subprocess.run([sys.executable, "-P", "-c", START, MODEL, FOLDER / "1280x960.jpg"], check=True)
        return 1

    found: dict[str, Callable[[], float]] = {
        f"picture {name}": lambda frame=frame: sum(1 for _ in range(REPEATS) if recognizer(frame, **once))
        for name, frame in sorted(frames.items())
    }
    files = sorted(FOLDER.glob("*.jpg"))
    found |= {f"file {path.name}": lambda path=path: len([recognizer(path, **once)]) for path in files}
    found |= {
        f"{name}, {n} at once": lambda name=name, n=n: watch(name, n) for name in sorted(streams) for n in (1, 2)
    }
    found |= {"video, table": lambda: analyze(False), "video, table and copy": lambda: analyze(True)}
    found |= {"video, table of every frame": lambda: analyze(False, None)}
    return found | {"command line": command_line, "start": start}


def load_stream(folder: Path) -> list[str]:
    files = sorted(folder.iterdir())
    return ["data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode() for file in files]


def see(recognizer: Any, stream: list[str]) -> int:
    """Send a viewer the frames of a stream, as the webcam page does; return how many were answered."""
    from gradio_ui.webcam.frames import LiveFrame
    from gradio_ui.webcam.recording import Recordings
    from gradio_ui.webcam.viewers import Viewer

    viewer = Viewer(recognizer, lambda image, faces: image, Recordings())
    settings = {"start": 1, "smoothing": 0.5, "recording": 0}
    parsed = (LiveFrame.parse(settings | {"image": url, "seconds": i / RATE}) for i, url in enumerate(stream))
    return sum("faces" in viewer.see(frame) for frame in parsed)


def serve() -> None:
    from gradio_ui.recognition import EmotionRecognizer

    known = tasks(EmotionRecognizer.from_pretrained(MODEL))
    print(*known, sep="\t", flush=True)
    for line in sys.stdin:
        start, cpu = time.perf_counter(), time.process_time()
        results = known[line.strip()]()
        print((time.perf_counter() - start) / results, (time.process_time() - cpu) / results, flush=True)


if __name__ == "__main__":
    serve()
