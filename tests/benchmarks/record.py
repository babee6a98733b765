"""The results of the benchmarks: one JSON file, a section for each benchmark, with the machine it was measured on."""

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
# Instruction sets that decide how fast a model runs, as /proc/cpuinfo names them.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve")
LIBRARIES = ("onnxruntime", "torch", "transformers", "gradio", "opencv-python", "numpy")


def cpuinfo(field: str, text: str) -> str:
    """The value of a field of the first processor in /proc/cpuinfo, "" where there is none."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == field), "")


def machine() -> dict[str, Any]:
    """Describe this machine: processor, instruction sets, memory, libraries, and how busy it was just before."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    flags = f"{cpuinfo('flags', text)} {cpuinfo('Features', text)}".split()  # x86 and Arm
    return {
        "processor": cpuinfo("model name", text) or platform.processor(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "busy_before": round(psutil.cpu_percent(interval=1) / 100, 2),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in LIBRARIES},
    }


def describe(machine: dict[str, Any]) -> str:
    """One sentence of `machine`; results from before the instruction sets were recorded lack them."""
    processor = ", ".join([machine["processor"], *machine.get("instructions", ())])
    return (
        f"{machine['cores']} cores ({processor}), {machine['memory_gb']:.0f} GB, {machine['system']}, "
        f"{machine['busy_before']:.0%} busy before"
    )


def record(section: str, content: dict[str, Any], measured_on: dict[str, Any], path: Path = RESULTS) -> None:
    """Put a section into the file and keep the others."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results[section] = {"date": time.strftime("%Y-%m-%d"), "machine": measured_on, **content}
    write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", path)


def seconds(call: Callable[[], Any]) -> float:
    """Time a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def take_turns(tasks: dict[str, Callable[[], Any]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Time tasks, in milliseconds, once in each round; they alternate, so that a busy moment meets all of them."""
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
