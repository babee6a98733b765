"""Scoring a corpus: pictures a second of the plain command, of one and two workers here, and of a Ray cluster.

    python -m tests.benchmarks.corpus [--pictures 600] [--rounds 3] [--record]

The Ray cluster has two nodes, on this machine, of one worker each. Speed is what follows the first part of each
worker, by the times at which the parts were written; the rest of a run is its start. The plain command, whose parts do
not remain, is run on few pictures and on all: the difference is its speed. All take turns, so that a busy moment meets
each of them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
PART = 25  # pictures


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
    """Write pictures of about 640x480 with one face, no two alike."""
    frame = portrait_frame()
    folder.mkdir()
    for number in range(pictures):
        size = 640 - number % 131, 480 - 7 * number % 97
        Image.fromarray(frame).resize(size).save(folder / f"{number:06}.jpg", quality=90)


def quietly(*arguments: str) -> float:
    """Time a command."""
    with contextlib.redirect_stderr(io.StringIO()):
        return seconds(lambda: recognize([*arguments]))


def score_parts(folder: Path, out: Path, workers: int, *options: str) -> tuple[float, float]:
    """Return pictures a second of a corpus, and the seconds of its start."""
    took = quietly(
        "corpus", str(folder), "--out", str(out), "--part-size", str(PART), "--workers", str(workers), *options
    )
    written = sorted(path.stat().st_mtime_ns / 1e9 for path in out.glob("part-*"))
    speed = PART * (len(written) - workers) / (written[-1] - written[workers - 1])
    return speed, took - PART * len(written) / speed


def score_plainly(few: Path, all_of_them: Path, out: Path) -> tuple[float, float]:
    """Return pictures a second of the plain command, and the seconds of its start."""
    short, long = (quietly(str(folder), "--out", str(out)) for folder in (few, all_of_them))
    pictures = [len(list(folder.iterdir())) for folder in (few, all_of_them)]
    speed = (pictures[1] - pictures[0]) / (long - short)
    return speed, long - pictures[1] / speed


def measure(pictures: int, rounds: int) -> dict[str, Any]:
    """Return speed and start of each command, and the bytes that a picture takes in the parts."""
    with tempfile.TemporaryDirectory() as place, ray_cluster() as address:
        work = Path(place)
        few, everything = work / "few", work / "all"
        write_pictures(few, pictures // 6)
        write_pictures(everything, pictures)
        ray = ("--engine", "ray", "--address", address)
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
        for turn in range(rounds):
            took["plain"].append(score_plainly(few, everything, work / "plain.parquet"))
            for name in list(NAMES)[1:]:
                engine, _, workers = name.partition("_")
                options = ray if engine == "ray" else ()
                took[name].append(score_parts(everything, work / f"{name}-{turn}", int(workers), *options))
        quietly("corpus", str(everything), "--out", str(work / "one"), "--part-size", str(pictures))
        stored = sum(path.stat().st_size for path in (work / "one").glob("part-*")) / pictures
        read = sum(path.stat().st_size for path in everything.iterdir()) / pictures
    medians = {name: map(statistics.median, zip(*values, strict=True)) for name, values in took.items()}
    return {
        "pictures": pictures,
        "rounds": rounds,
        "speeds": {
            name: {"per_second": round(speed, 1), "start_s": round(max(0, start), 2)}
            for name, (speed, start) in medians.items()
        },
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
