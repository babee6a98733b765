"""Visitors' files on the disk: one private folder for each process, swept all the time, gone when the process ends.

Every upload, result and half-finished upload lies there, since Gradio and `tempfile` are pointed at it. What a killed
process leaves behind is removed by the next one: a folder whose lock is free belongs to nobody.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from gradio_ui.settings import SettingsError

KEPT_MINUTES = 30  # how long a visitor's file is kept at most; the page promises it
SWEEP_SECONDS = 60.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

logger = logging.getLogger(__name__)


class TempFiles:
    """The temporary files of this process, a context manager around all that it serves.

    Enter it before Gradio is imported: parts of Gradio take note of the folder then.

    Args:
        parent: Where the folder is made; by default GRADIO_TEMP_DIR, else the system's temporary folder.
        kept_seconds: Age at which a file is gone at the latest.
        every: Seconds between two sweeps.

    Attributes:
        uploads: Folder of what visitors upload and of the results that they fetch.
        work: Folder of what is being made.

    Raises:
        SettingsError: On entering: there is no temporary folder that can be written.
    """

    uploads: Path
    work: Path

    def __init__(
        self, parent: Path | None = None, kept_seconds: float = KEPT_MINUTES * 60, every: float = SWEEP_SECONDS
    ) -> None:
        self._parent = parent
        self._age = max(0.0, kept_seconds - every)  # a file that is just too young is gone with the next sweep
        self._every = every
        self._stopped = Event()
        self._thread = Thread(target=self._sweep_on, name="sweep of old files", daemon=True)

    def __enter__(self) -> Self:
        try:
            parent = self._parent or Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
            self._own = _own_folder(parent.resolve())
            _remove_abandoned(self._own)
            self._folder, self._lock = _locked_folder(self._own)
            self.uploads, self.work = self._folder / "uploads", self._folder / "work"
            for folder in (self.uploads, self.work):
                folder.mkdir()
        except OSError as error:
            raise SettingsError(
                f"temporary files: expected a folder that can be written, got {error.strerror or error} "
                f"({error.filename or 'no folder at all'}); set TMPDIR or GRADIO_TEMP_DIR to another one"
            ) from error
        self._before = os.environ.get("GRADIO_TEMP_DIR"), tempfile.tempdir
        os.environ["GRADIO_TEMP_DIR"], tempfile.tempdir = str(self.uploads), str(self.work)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        gradio_folder, tempfile.tempdir = self._before
        if gradio_folder is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = gradio_folder
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def sweep(self) -> None:
        """Delete every file that has been complete for too long; what cannot be deleted is tried again next time."""
        limit = time.time() - self._age
        for folder, folders, files in os.walk(self.uploads, topdown=False):
            for name in files:
                _delete(Path(folder, name), limit)
            for name in folders:
                _delete(Path(folder, name), limit)
        for entry in self.work.iterdir():  # a folder of work in progress is as young as its youngest file
            if max(_changed(path) for path in (entry, *entry.rglob("*"))) < limit:
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else _delete(entry, limit)

    def _sweep_on(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self.sweep()
            except Exception as error:  # nothing may end the sweep: the promise to visitors hangs on it
                logger.error("A sweep of old files failed (%s); the next one follows.", type(error).__name__)


def _changed(path: Path) -> float:
    """Give the time of the last change in seconds since 1970; that of a file which is gone already is now."""
    try:
        return path.lstat().st_ctime
    except OSError:
        return time.time()


def _delete(path: Path, limit: float) -> None:
    """Delete a file, a link or an empty folder that was last changed before `limit`, in seconds since 1970."""
    try:
        status = path.lstat()
        if status.st_ctime < limit:
            path.rmdir() if stat.S_ISDIR(status.st_mode) else path.unlink()
    except OSError:
        pass  # gone already, not empty, or not to be deleted


def _own_folder(parent: Path) -> Path:
    """Make the folder of this user's apps; nobody else may look into it."""
    folder = parent / f"facial-expressions-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(0, "one that others may change", str(folder))
    return folder


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Make a new folder, locked for as long as the descriptor that comes with it is open."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            descriptor = os.open(folder, _DIRECTORY)
        except FileNotFoundError:  # another process took it for abandoned
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists():
                return folder, descriptor
        except BlockingIOError:
            pass
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders whose process has ended, however it ended."""
    for folder in parent.iterdir():
        try:
            descriptor = os.open(folder, _DIRECTORY)
        except OSError:  # gone already, or no folder of ours
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:  # its process lives
            pass
        finally:
            os.close(descriptor)
