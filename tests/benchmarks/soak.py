"""Soak test: memory, threads, files, errors and latency of app.py under a mix of everything that clients do.

    python -m tests.benchmarks.soak --minutes 10 [--viewers 50] [--record]

Starts app.py on loopback with a temporary folder of its own and sends it, all at once: webcam frames of many viewers
over the page's own endpoint, image uploads, broken and half-finished uploads, videos, and clients that leave in the
middle. Each viewer and uploader sends a portrait at a place of its own and compares the box in the answer with it, so
that an answer meant for somebody else is noticed. Ends with status 1 if an answer was mixed up or wrong, or a file is
left after the app has stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.benchmarks.app import running_app
from tests.benchmarks.record import describe, machine, record, summary
from tests.benchmarks.soak_clients import PLACES, Client, Tally, make_video, portrait, repeat

FRAME_EVERY, UPLOAD_EVERY, VIDEO_EVERY = 0.5, 1.0, 5.0  # seconds between two requests of one client, at least
TIMEOUT = 60  # seconds for one answer
QUIET = 60  # seconds after the load, before the memory is read again


async def load(url: str, seconds: float, viewers: int, tally: Tally) -> None:
    """All clients at once."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=limits, trust_env=False) as http:
        components = (await http.get("/config")).json()["components"]
        (webcam,) = [one["id"] for one in components if one["props"].get("elem_id") == "webcam"]
        boxes: dict[int, list[float]] = {}
        clip = make_video()
        for place in range(PLACES):
            calm = Client(http, place, boxes, webcam, clip)
            _, data = await calm.call("recognize", image=await calm.upload("portrait.jpg", portrait(place)))
            boxes[place] = data[0]["faces"][0]["box"]
        numbers, end = itertools.count(), time.monotonic() + seconds

        def client() -> Client:
            return Client(http, next(numbers), boxes, webcam, clip)

        jobs = [("frame", client().see, FRAME_EVERY) for _ in range(viewers)]
        jobs += [("image", client().recognize, UPLOAD_EVERY) for _ in range(3)]
        jobs += [("broken image", client().break_upload, UPLOAD_EVERY), ("half an upload", client().half_upload, 1.0)]
        jobs += [("video", client().video, VIDEO_EVERY)]
        jobs += [("gone client", client().leave, UPLOAD_EVERY) for _ in range(3)]
        await asyncio.gather(*(repeat(kind, act, every, end, tally) for kind, act, every in jobs))


class Watch(threading.Thread):
    """The app's memory in MB, its threads and its open files, every second."""

    def __init__(self, app: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._app, self._done = app, threading.Event()
        self.samples: list[tuple[float, int, int]] = []

    def sample(self) -> tuple[float, int, int]:
        with self._app.oneshot():
            return self._app.memory_info().rss / 1e6, self._app.num_threads(), self._app.num_fds()

    def run(self) -> None:
        while not self._done.wait(1):
            self.samples.append(self.sample())

    def stop(self) -> None:
        self._done.set()
        self.join()


def files_in(folder: Path) -> int:
    """Count the files below a folder, less the list of the system's fonts, which the next start reads again."""
    return sum(path.is_file() and not path.name.startswith("fontlist") for path in folder.rglob("*"))


def soak(minutes: float, viewers: int) -> dict[str, Any]:
    """Run the mix; the figures as results.json keeps them."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as log:
        own = {"TMPDIR": scratch, "GRADIO_TEMP_DIR": str(Path(scratch) / "gradio")}
        with running_app(log=log.fileno(), **own) as (url, app):
            watch = Watch(app)
            start = watch.sample()
            watch.start()
            asyncio.run(load(url, 60 * minutes, viewers, tally))
            watch.stop()
            kept = files_in(Path(scratch))
            time.sleep(QUIET)
            end = watch.sample()
        left = files_in(Path(scratch))
        log.seek(0)
        logged = log.read().decode(errors="replace").splitlines()
    most = [max(column) for column in zip(start, *watch.samples, strict=True)]
    names = ("megabytes", "threads", "descriptors")
    process = {name: [round(v) for v in values] for name, *values in zip(names, start, most, end, strict=True)}
    kinds = sorted({kind for kind, _ in tally.answers})
    return {
        "minutes": minutes,
        "viewers": viewers,
        **process,
        "files": [kept, left],
        "tracebacks": sum("Traceback" in line for line in logged),
        "logged": dict(Counter(line for line in logged if line.startswith(("ERROR", "WARNING"))).most_common(5)),
        "mixed_up": tally.total("mixed up"),
        "errors": tally.total("error"),
        "answers": {kind: {name: n for (k, name), n in tally.answers.items() if k == kind} for kind in kinds},
        "seconds": {kind: summary(values) for kind, values in sorted(tally.seconds.items())},
        "messages": dict(tally.messages.most_common(10)),
    }


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'':14}{'start':>8}{'most':>8}{f'{QUIET} s on':>8}"]
    for name in ("megabytes", "threads", "descriptors"):
        lines.append(f"{name:14}" + "".join(f"{value:>8}" for value in found[name]))
    lines += [f"files at the end of the load {found['files'][0]}, after the app has stopped {found['files'][1]}"]
    lines += [f"tracebacks in the log {found['tracebacks']}"]
    lines += [f"answers mixed up {found['mixed_up']}, errors {found['errors']}", ""]
    lines += [f"{'':16}{'median s':>10}{'p95 s':>10}  answers"]
    for kind, counts in found["answers"].items():
        took = found["seconds"].get(kind, {})
        times = "".join(f"{took[name]:>10.2f}" if took else f"{'':10}" for name in ("median", "p95"))
        lines.append(f"{kind:16}{times}  {', '.join(f'{n} {name}' for name, n in sorted(counts.items()))}")
    told = [*found["messages"].items(), *((f"in the log: {line}", n) for line, n in found["logged"].items())]
    return "\n".join([*lines, *(f"{count} x {line}" for line, count in told)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--record", action="store_true", help="keep the figures in results.json")
    options = parser.parse_args()
    measured_on = machine()
    print(describe(measured_on), flush=True)
    found = soak(options.minutes, options.viewers)
    print(table(found))
    if options.record:
        record("soak", found, measured_on)
    if found["mixed_up"] or found["errors"] or found["tracebacks"] or found["files"][1]:
        sys.exit(1)


if __name__ == "__main__":
    main()
