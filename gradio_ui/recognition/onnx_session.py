"""onnxruntime on the CPU, set up in one way for the face detector and the classifier."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

THREADS = 2  # networks this small gain little from more, and a container's quota does not show in the core count


def cpu_session(model: Path | bytes) -> InferenceSession:
    """Opens an ONNX file, or the bytes of one; it may be run from several threads at once.

    Raises:
        onnxruntime's own errors (`onnxruntime.capi.onnxruntime_pybind11_state`): it cannot be read or run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(THREADS, _cores())
    # Threads that spin while they wait save 2 ms of 11 in a search for faces on an idle machine. On a busy one, such
    # as a shared Space, or while a video is decoded beside it, they make the search take two to three times as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised, not also printed
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _cores() -> int:
    """How many this process may use; only Linux says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
