"""Scoring a corpus: pictures a second of the plain command, of one and two workers here, and of a Ray cluster.

    python -m tests.benchmarks.corpus [--pictures 600] [--rounds 3] [--record]

The Ray cluster has two nodes, on this machine, of one worker each. A command is run on few pictures and on all; the
difference in time over the difference in pictures is its speed, the rest is its start. All take turns, so that a busy
moment meets each of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gradio_ui.recognition.__main__ import main as recognize
from tests.benchmarks.images import portrait_frame
from tests.benchmarks.record import machine, record, seconds

NAMES = {
    "plain": "the plain command",
    "local_1": "corpus, one worker",
    "local_2": "corpus, two workers",
    "ray_1": "corpus on Ray, one worker",
    "ray_2": "corpus on Ray, two nodes with a worker each",
}
PROJECTED = (10_000_000, 100_000_000)  # pictures
PART = 50  # pictures


@contextlib.contextmanager
def ray_cluster() -> Iterator[str]:
    """Start two nodes; yield the address."""
    os.environ |= {"RAY_worker_niceness": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def write_pictures(folder: Path, pictures: int) -> None:
    """Write pictures of 640x480 with one face, no two alike."""
    frame = portrait_frame()
    folder.mkdir()
    for number in range(pictures):
        Image.fromarray(np.roll(frame, number % 97, axis=1)).save(folder / f"{number:06}.jpg", quality=90)


def commands(folder: Path, work: Path, address: str) -> dict[str, Callable[[], float]]:
    """Return what scores the pictures of a folder, by name; each call takes an output of its own."""

    numbers = count()

    def timed(name: str, *options: str) -> Callable[[], float]:
        def run() -> float:
            (work / name).mkdir(exist_ok=True)
            out = work / name / str(next(numbers))
            more = ["--out", f"{out}.parquet"] if name == "plain" else ["--out", str(out), "--part-size", str(PART)]
            with contextlib.redirect_stderr(io.StringIO()):
                return seconds(lambda: recognize([*options, *more]))

        return run

    corpus = ("corpus", str(folder))
    ray = (*corpus, "--engine", "ray", "--address", address)
    return {
        "plain": timed("plain", str(folder)),
        "local_1": timed("local_1", *corpus, "--workers", "1"),
        "local_2": timed("local_2", *corpus, "--workers", "2"),
        "ray_1": timed("ray_1", *ray, "--workers", "1"),
        "ray_2": timed("ray_2", *ray, "--workers", "2"),
    }


def measure(pictures: int, rounds: int) -> dict[str, Any]:
    """Return speed and start of each command, and the bytes that a picture takes in the parts."""
    few = max(PART, pictures // 4)
    with tempfile.TemporaryDirectory() as place, ray_cluster() as address:
        work = Path(place)
        for name, number in (("few", few), ("all", pictures)):
            write_pictures(work / name, number)
            (work / f"scores-{name}").mkdir()
        small, large = (commands(work / name, work / f"scores-{name}", address) for name in ("few", "all"))
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
        for _ in range(rounds):
            for name in NAMES:
                took[name].append((small[name](), large[name]()))
        parts = next((work / "scores-all" / "local_1").iterdir()).glob("part-*")
        stored = sum(path.stat().st_size for path in parts) / pictures
        read = sum(path.stat().st_size for path in (work / "all").iterdir()) / pictures
    speeds = {}
    for name, values in took.items():
        first, second = (statistics.median(column) for column in zip(*values, strict=True))
        speed = (pictures - few) / max(second - first, 1e-6)
        speeds[name] = {"per_second": round(speed, 1), "start_s": round(max(0, second - pictures / speed), 2)}
    return {
        "pictures": pictures,
        "rounds": rounds,
        "speeds": speeds,
        "bytes_stored": round(stored, 1),
        "bytes_read": round(read),
    }


def lines(results: dict[str, Any]) -> list[str]:
    """Render the section `corpus` of results.json, with the arithmetic of what many pictures cost."""
    if not (corpus := results.get("corpus")):
        return []
    speeds = corpus["speeds"]
    rendered = [
        "",
        f"| {corpus['pictures']} pictures, 640x480, one face | pictures/s | start | time by the plain command's |",
        "|---|---|---|---|",
    ]
    for name, title in NAMES.items():
        one = speeds[name]
        ratio = speeds["plain"]["per_second"] / one["per_second"]
        rendered.append(f"| {title} | {one['per_second']:.0f} | {one['start_s']:.1f} s | {ratio:.2f} |")
    cores = corpus["machine"]["cores"]
    per_core = speeds["ray_2"]["per_second"] / cores
    rendered += [
        "",
        f"{corpus['machine']['busy_before']:.0%} busy before. On Ray a core scores "
        f"{speeds['ray_2']['per_second']:.0f} / {cores} = {per_core:.0f} pictures/s; a picture is "
        f"{corpus['bytes_read'] / 1000:.0f} kB to read and {corpus['bytes_stored']:.0f} bytes in the parts. So, if "
        "storage keeps up and a core of the cluster is one "
        "of this machine's:",
        "",
        "| pictures | core hours | on 64 cores | to read | parts |",
        "|---|---|---|---|---|",
    ]
    for pictures in PROJECTED:
        hours = pictures / per_core / 3600
        rendered.append(
            f"| {pictures // 1_000_000} million | {pictures:,} / {per_core:.0f} / 3600 = {hours:,.0f} "
            f"| {hours / 64:.1f} hours "
            f"| {pictures * corpus['bytes_read'] / 1e12:.2f} TB | {pictures * corpus['bytes_stored'] / 1e9:.1f} GB |"
        )
    return rendered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    options = parser.parse_args()
    measured_on = machine()
    content = measure(options.pictures, options.rounds)
    sys.stdout.write("\n".join(lines({"corpus": {**content, "machine": measured_on}})) + "\n")
    if options.record:
        record("corpus", content, measured_on)


if __name__ == "__main__":
    main()
