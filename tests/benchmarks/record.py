"""Where the benchmarks leave their figures: one JSON file, a section for each, with the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from training.files import write_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results.json"
LIBRARIES = ("onnxruntime", "torch", "transformers", "gradio", "opencv-python", "numpy")


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was with other work just before."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "busy_before": round(psutil.cpu_percent(interval=1) / 100, 2),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in LIBRARIES},
    }


def describe(machine: dict[str, Any]) -> str:
    """One sentence of `machine`."""
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']:.0f} GB, {machine['system']}, "
        f"{machine['busy_before']:.0%} busy before"
    )


def record(section: str, content: dict[str, Any], measured_on: dict[str, Any], path: Path = RESULTS) -> None:
    """Puts a section into the file; the other sections stay."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[section] = {"date": time.strftime("%Y-%m-%d"), "machine": measured_on, **content}
    write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", path)


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def take_turns(tasks: dict[str, Callable[[], Any]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Milliseconds of each task, one for each round; the tasks alternate, so that a busy moment meets all of them."""
    values: dict[str, list[float]] = {name: [] for name in tasks}
    for current in range(-warm_up, rounds):
        for name, call in tasks.items():
            value = 1000 * seconds(call)
            if current >= 0:
                values[name].append(value)
    return values


def summary(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}
