"""Freed memory goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

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
