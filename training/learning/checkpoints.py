"""Checkpoints that are whole or not used: a manifest, written last, lists every file with its size."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

MANIFEST = "manifest.json"


def mark_whole(checkpoint: Path) -> None:
    """Writes the manifest of a checkpoint to which nothing is to be added."""
    sizes = {p.name: p.stat().st_size for p in checkpoint.iterdir()}
    (checkpoint / (MANIFEST + ".tmp")).write_text(json.dumps(sizes))
    os.replace(checkpoint / (MANIFEST + ".tmp"), checkpoint / MANIFEST)


def is_whole(checkpoint: Path) -> bool:
    """Whether every file that the checkpoint's manifest lists is there in full."""
    try:
        sizes = json.loads((checkpoint / MANIFEST).read_text())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, json.JSONDecodeError):
        return False


def last_whole_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end, or None. Half-written ones are removed."""
    found = sorted(run.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        if is_whole(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None
