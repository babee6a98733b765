"""onnxruntime on the CPU, imported without its telemetry and set up in one way for detector and classifier."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .telemetry import disable_telemetry

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

THREADS = 2  # networks this small gain little from more, and a container's quota does not show in the core count


def import_onnxruntime() -> ModuleType:
    """Import onnxruntime with its telemetry switched off; nothing else in this repository imports it."""
    disable_telemetry()
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for a caller that imported it before us
    return onnxruntime


def cpu_session(model: Path | bytes) -> InferenceSession:
    """Open an ONNX file, or the bytes of one; it may be run from several threads at once.

    Raises:
        onnxruntime's own errors (`onnxruntime.capi.onnxruntime_pybind11_state`): it cannot be read or run.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(THREADS, _cores())
    # Spinning while waiting saves 2 ms of 11 per detection on an idle machine. On a busy one, such as a shared Space,
    # or while a video is decoded, it makes detection two to three times as slow.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised, not also printed
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _cores() -> int:
    """Return how many cores this process may use; only Linux says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
