"""Importing costs nothing: no heavy library, no file, no change of the environment, no output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "cv2", "datasets")
PROBE = """
import json, os, sys
before = dict(os.environ)
import {module}
print(json.dumps([[n for n in {heavy} if n in sys.modules], dict(os.environ) == before]))
"""


@pytest.mark.parametrize("module", ["app", "gradio_ui.recognition", "gradio_ui.settings", "training.data.labels"])
def test_importing_costs_nothing(module: str, root: Path, tmp_path: Path) -> None:
    code = PROBE.format(module=module, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert json.loads(done.stdout) == [[], True]
    assert list(tmp_path.iterdir()) == []
