"""Resident memory of a process that handles large images now and then."""

from __future__ import annotations

import ctypes
import logging
import sys
from threading import Event, Thread
from typing import Self

from gradio_ui.recognition.onnx_session import release_arenas

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of glibc's malloc.h
LARGE_BLOCK = 2**20  # bytes; a decoded image of 640x480 pixels is just below
ARENAS = 2
RELEASE_SECONDS = 30.0

logger = logging.getLogger(__name__)


def return_freed_memory() -> bool:
    """Make glibc give large blocks back to the system as soon as they are freed.

    By default it raises the size from which blocks get a mapping of their own to that of the largest one freed, up to
    32 MB, and keeps several heaps with one large block in each. After 20 images of up to 24 megapixels in four threads
    the process stood at 986 MB, of which 360 MB were in use; with these settings it stood at 361 MB.

    Call it at the start, before there are threads. Linux with glibc only; elsewhere nothing happens.

    Returns:
        Whether the settings were taken.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK) and mallopt(_M_ARENA_MAX, ARENAS))


class MemoryRelease:
    """A thread that gives unused memory back to the system from time to time; a context manager.

    Small blocks between long-lived ones keep glibc's heaps large, and onnxruntime keeps its arenas.

    Args:
        every: seconds between two rounds.
    """

    def __init__(self, every: float = RELEASE_SECONDS) -> None:
        self._every = every
        self._stopped = Event()
        self._thread = Thread(target=self._release_on, name="release of memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _release_on(self) -> None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        while not self._stopped.wait(self._every):
            try:
                release_arenas()
            except Exception as error:  # of onnxruntime, whose exceptions share no base; the app goes on without
                logger.error("Memory could not be released (%s).", type(error).__name__)
            if trim:
                trim(0)
