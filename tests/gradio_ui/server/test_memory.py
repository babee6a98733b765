"""Freed memory goes back to the system."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from gradio_ui.recognition.detector import load_detector
from gradio_ui.recognition.onnx_session import release_arenas
from gradio_ui.server import memory
from gradio_ui.server.memory import MemoryRelease

CODE = """
import numpy as np, psutil
from gradio_ui.server.memory import return_freed_memory
assert return_freed_memory()
resident = psutil.Process().memory_info().rss
np.ones(30_000_000, np.uint8)  # freed at once: without the setting, blocks of this size now come from the heap
blocks, small = [], []
for _ in range(20):
    blocks.append(np.ones(8_000_000, np.uint8))
    small.append(np.ones(100_000, np.uint8))  # keeps the heap from shrinking
del blocks
print(psutil.Process().memory_info().rss - resident)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_freed_images_do_not_stay_resident(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=root, check=True, capture_output=True, timeout=60)
    assert int(done.stdout) < 30_000_000, "of 160 MB"


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_arenas_of_large_images_are_released() -> None:
    detector = load_detector()
    detector(np.zeros((1280, 1280, 3), np.uint8))
    grown = psutil.Process().memory_info().rss
    release_arenas()
    released = grown - psutil.Process().memory_info().rss
    assert released > 20_000_000


def test_memory_is_released_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = threading.Semaphore(0)

    def fail() -> None:
        rounds.release()
        raise RuntimeError

    monkeypatch.setattr(memory, "release_arenas", fail)
    with MemoryRelease(every=0.01):
        assert all(rounds.acquire(timeout=10) for _ in range(2)), "a failure ended the rounds"
