"""onnxruntime on the CPU, imported without its telemetry and set up in one way for detector and classifier."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING
from weakref import WeakSet

from .telemetry import disable_telemetry

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

THREADS = 2  # networks this small gain little from more, and a container's quota does not show in the core count
_SIDE = 32  # pixels, of the image that `release_arenas` sends; the smallest that YuNet takes

_sessions: WeakSet[InferenceSession] = WeakSet()
_lock = Lock()


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry switched off; nothing else in this repository imports it."""
    disable_telemetry()
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for a caller that imported it before us
    return onnxruntime


def cpu_session(model: Path | bytes, threads: int = THREADS) -> InferenceSession:
    """Open an ONNX file, or the bytes of one; it may be run from several threads at once.

    Args:
        model: the file, or its content.
        threads: for one run, if there are as many cores; 1 where several runs at once keep the cores busy.

    Raises:
        onnxruntime's own errors (`onnxruntime.capi.onnxruntime_pybind11_state`): it cannot be read or run.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(threads, cores())
    # Spinning while waiting saves 2 ms of 11 per detection on an idle machine. On a busy one, such as a shared Space,
    # or while a video is decoded, it makes detection two to three times as slow.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised, not also printed
    options.enable_mem_pattern = False  # a plan for each size of image is kept for good, and saves no time here
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with _lock:
        _sessions.add(session)
    return session


def release_arenas() -> None:
    """Give back the memory that large images left in the arenas of all sessions.

    onnxruntime keeps what the largest image needed, once for each thread that ran at the same time. Shrinking the
    arena after every run makes a detection half as slow again; after a small run now and then it costs nothing.
    """
    import numpy as np

    options = import_onnxruntime().RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    with _lock:
        sessions = list(_sessions)
    for session in sessions:
        (pixels,) = session.get_inputs()
        sides = [side if isinstance(side, int) else _SIDE for side in pixels.shape[1:]]
        session.run(None, {pixels.name: np.zeros((1, *sides), np.float32)}, options)


def cores() -> int:
    """Return how many cores this process may use; only Linux says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
