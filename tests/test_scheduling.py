"""Sharing tests out among processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import os
import pytest

@pytest.mark.parametrize("number", range(3))
def test_it(number):
    print("ran", __name__, os.environ["PYTEST_XDIST_WORKER"])
"""


@pytest.mark.slow
def test_a_group_stays_in_one_process(root: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.support.scheduling"]')
    for name in ("test_a_browser", "test_b_browser", "test_c"):
        (tmp_path / f"{name}.py").write_text(MODULE)
    options = re.search(r"^PYTEST := .*?(--dist .*)", (root / "Makefile").read_text(), re.MULTILINE)
    assert options
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n2", *options[1].split(), "-rP", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    where = re.findall(r"^ran (\w+) (gw\d)$", done.stdout, re.MULTILINE)
    assert len(where) == 9, done.stdout + done.stderr
    pages, others = ({worker for module, worker in where if ("browser" in module) == kind} for kind in (True, False))
    assert len(pages) == len(others) == 1 and pages != others
