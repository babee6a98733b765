"""What datasets and base models are called on a card and in the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.reporting.report import Result, RunData, RunRecord, SplitInfo

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
BENCHMARK = "fer2013"  # what a local copy of FER-2013 is called in the metadata
FER2013_ROWS = {"train": 28_709, "validation": 3_589}  # whatever a copy is called, and in whatever order it is


def is_fer2013(run: RunRecord) -> bool:
    """Return whether a run was trained on FER-2013 with its own classes."""
    return not run.classes and all(run.dataset.rows.get(split) == rows for split, rows in FER2013_ROWS.items())


def trained_on(run: RunRecord, head: str = "fer2013") -> str:
    """Return what a run was trained on, for a sentence."""
    if is_fer2013(run):
        return "FER+" if head == "ferplus" else "FER-2013"
    return f"`{run.dataset.source}`"


def dataset_of(source: SplitInfo | RunData, training: RunRecord) -> tuple[str, str]:
    """Return id and name of a dataset; a local copy of FER-2013 that the model was trained on has that name."""
    name, data = source.source, training.dataset
    same = name == data.source
    if isinstance(source, SplitInfo):
        same = same or source.fingerprint in data.fingerprint.values()
    if same and is_fer2013(training) and not HUB_ID.fullmatch(name):
        votes = isinstance(source, SplitInfo) and source.reference == "FER+ majority"
        return BENCHMARK, "FER+" if votes else "FER-2013"
    return (name, name) if HUB_ID.fullmatch(name) else (name.split(".")[0], name)


def place_of(result: Result, training: RunRecord) -> str:
    """Return where a result was measured: the split, and the dataset unless it is the one trained on."""
    dataset_type, name = dataset_of(result.dataset, training)
    return result.split if dataset_type == BENCHMARK else f"{name}, {result.split}"


def lineage(training: RunRecord) -> Iterator[RunRecord]:
    """Yield a run, the run that it started from, and so on to the first."""
    run: RunRecord | None = training
    while run:
        yield run
        start = run.recipe.get("model_name_or_path")
        run = training.earlier.get(Path(start).as_posix()) if start else None


def origin_of(training: RunRecord, head: str) -> str:
    """Return the beginning of a sentence: what the weights started from, and what they were trained on."""
    runs = list(lineage(training))[::-1]
    data = list(dict.fromkeys(trained_on(run, head if run is training else "fer2013") for run in runs))
    if {"FER-2013", "FER+"} <= set(data):
        data.remove("FER-2013")  # the same images, with other labels
    base = training.base_model or (training.local_base and training.local_base.name)
    if base:
        before = training.local_base and training.local_base.dataset
        return f"Fine-tuned from `{base}`{f' (trained on {before})' if before else ''} on {', then on '.join(data)}"
    first, *later = data
    return f"Trained from scratch on {first}" + "".join(f", then fine-tuned on {name}" for name in later)


def taught_on_same_data(training: RunRecord) -> bool:
    """Return whether every teacher of a run is known to be trained on the run's own data."""
    teachers = [training.earlier.get(Path(name).as_posix()) for name in training.recipe.get("teachers", [])]
    return all(run is not None and run.dataset.source == training.dataset.source for run in teachers)
