"""Checkpoints that are complete or not used: a manifest, written last, lists every file with its size."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.errors import RunError

MANIFEST = "manifest.json"


def checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Return the folder of the checkpoint at the current step."""
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def mark_complete(checkpoint: Path) -> None:
    """Write the manifest of a checkpoint to which nothing is to be added."""
    sizes = {p.name: p.stat().st_size for p in checkpoint.iterdir()}
    (checkpoint / (MANIFEST + ".tmp")).write_text(json.dumps(sizes))
    os.replace(checkpoint / (MANIFEST + ".tmp"), checkpoint / MANIFEST)


def is_complete(checkpoint: Path) -> bool:
    """Say whether every file that the checkpoint's manifest lists is there in full."""
    try:
        sizes = json.loads((checkpoint / MANIFEST).read_text())
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, json.JSONDecodeError):
        return False


def latest_complete_checkpoint(run: Path) -> Path | None:
    """Find the newest complete checkpoint of a run, if there is one, and remove the incomplete ones after it."""
    found = sorted(run.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        if is_complete(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


@contextlib.contextmanager
def naming_write_errors(path: Path) -> Iterator[None]:
    """Turn what a full disk makes of writing weights into one sentence.

    Raises:
        RunError: `path` could not be written. PyTorch and safetensors raise errors of their own instead of OSError.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RunError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(
            f"{path} could not be written ({reason}). Free some disk space and resume with "
            "--resume_from_checkpoint true; complete checkpoints are untouched."
        ) from error


class MarkComplete(TrainerCallback):
    """Marks each checkpoint as complete; to be added after every callback that writes to it."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the manifest."""
        if args.should_save:
            checkpoint = checkpoint_folder(args, state)
            with naming_write_errors(checkpoint):
                mark_complete(checkpoint)
