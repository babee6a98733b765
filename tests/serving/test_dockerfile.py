"""The image's recipe: what hadolint says, and what the README promises about the container."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "Dockerfile").read_text(encoding="utf-8")


def test_hadolint_has_nothing_to_say(root: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: its package has no file for this system")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_container_has_no_rights(dockerfile: str) -> None:
    last = dockerfile.rpartition("\nFROM ")[2]
    user, _, group = re.search(r"^USER (\S+)$", last, re.MULTILINE).group(1).partition(":")
    assert int(user) > 0 and int(group) > 0
    assert "HOME=/tmp" in last and "PYTHONDONTWRITEBYTECODE=1" in last  # all else is only read
    assert not re.search(r"^(ADD|VOLUME)", last, re.MULTILINE)


def test_signals_reach_the_app(dockerfile: str) -> None:
    """A shell in between would keep SIGTERM to itself."""
    assert 'ENTRYPOINT ["python", "app.py"]' in dockerfile and "STOPSIGNAL SIGTERM" in dockerfile


def test_the_health_check_is_the_apps(dockerfile: str) -> None:
    check = dockerfile.partition("HEALTHCHECK")[2].partition("ENTRYPOINT")[0]
    assert "/health" in check and "timeout=" in check


def test_what_is_copied_is_there(dockerfile: str, root: Path) -> None:
    """And passes .dockerignore, which lets through nothing but what it names."""
    ignore = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()}
    assert "*" in ignore and copied == allowed
    assert all((root / name).exists() for name in copied)
