"""Files and folders that are whole or not there at all, and folders that one process writes at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from training.errors import FolderInUseError

LOCK_FILE = ".lock"


def write_text(text: str, path: str | Path) -> None:
    """Write a text file whole or not at all: a temporary sibling, then rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; the operating system lets go of it when this process ends.

    Args:
        folder: made where it is missing.

    Raises:
        FolderInUseError: another process holds it; the message names the process.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise FolderInUseError(
                f"{folder}: process {holder} is writing to this folder. Wait for it to end, or name another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder beside `target`; it takes the place of `target` at the end, or nothing changes.

    What a killed process left beside `target` is removed first; a target that it had moved away is put back.

    Args:
        target: the folder to make or to replace.

    Yields:
        An empty folder on the same file system.

    Raises:
        FolderInUseError: another process is writing `target`.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(f".{target.name}.staging")
    previous = staging / "previous"
    with locked_folder(staging):
        if previous.exists() and not target.exists():
            previous.rename(target)  # killed between the two renames below
        for leftover in staging.iterdir():
            if leftover.name != LOCK_FILE:
                shutil.rmtree(leftover)
        work = Path(tempfile.mkdtemp(dir=staging))
        work.chmod(0o755)  # mkdtemp's 0o700 is for secrets
        try:
            yield work
            if target.exists():
                target.rename(previous)
            try:
                work.rename(target)
            except OSError:
                if previous.exists():
                    previous.rename(target)
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
