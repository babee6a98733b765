"""A journal of finished files, so that the command line can be interrupted at any moment and continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import JournalError

Row = dict[str, Any]  # of the table: a cell by column


class Journal:
    """The finished files of one run, kept in a file beside the result.

    Args:
        path: of the journal. One line of JSON per input; the first line holds the settings.
        settings: a journal that was written with other settings is started again.

    Raises:
        JournalError: the file of that name is no journal, or cannot be read or written.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._done: dict[str, dict[str, Any]] = {}
        try:
            if path.exists():
                self._load(settings)
            lines = [settings, *self._done.values()]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        except (ValueError, RecursionError, KeyError, TypeError):
            raise JournalError(
                f"{path} is no journal of this command. Delete it, or choose another --out, and start again."
            ) from None
        except OSError as error:
            raise JournalError(f"{path} cannot be read and written ({error.strerror}).") from None

    def _load(self, settings: dict[str, Any]) -> None:
        for number, line in enumerate(self._path.read_text(encoding="utf-8").splitlines(keepends=True)):
            entry = json.loads(line) if line.endswith("\n") else {}  # the last line may have been cut off
            if number == 0 and entry != settings:
                if not isinstance(entry, dict):
                    raise TypeError
                break
            if number and entry:
                self._done[entry["path"]] = {key: entry[key] for key in ("path", "state", "rows", "problem")}

    def add(self, path: Path, rows: list[Row], problem: str = "") -> None:
        """Record that a file is finished.

        Raises:
            JournalError: the journal cannot be written.
        """
        entry = {"path": str(path), "state": _state(path), "rows": rows, "problem": problem}
        self._done[str(path)] = entry
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise JournalError(f"{self._path} cannot be written ({error.strerror}).") from None

    def has(self, path: Path) -> bool:
        """Return whether a file is finished and has not changed since."""
        entry = self._done.get(str(path))
        return entry is not None and bool(entry["state"]) and entry["state"] == _state(path)

    def problem(self, path: Path) -> str:
        """Return what of a finished file could not be read; "" for nothing."""
        return str(self._done[str(path)]["problem"])

    def rows(self, path: Path) -> list[Row]:
        """Return the rows of a file; none where it failed."""
        return self._done[str(path)]["rows"] if self.has(path) else []

    def remove(self) -> None:
        """Delete the journal, once the result is written."""
        self._path.unlink()


def _state(path: Path) -> list[int]:
    """Return what changes when the file does; empty where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
