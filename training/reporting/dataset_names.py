"""What a dataset is called on a card and in the README."""

from __future__ import annotations

import re

from training.reporting.report import Result, RunData, RunRecord, SplitInfo

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
BENCHMARK = "fer2013"  # what a local copy of the training data is called in the metadata


def dataset_of(source: SplitInfo | RunData, training: RunRecord) -> tuple[str, str]:
    """Return id and name of a dataset; a local copy of what the model was trained on has the benchmark's own name."""
    name, trained_on = source.source, training.dataset
    same = name == trained_on.source
    if isinstance(source, SplitInfo):
        same = same or source.fingerprint in trained_on.fingerprint.values()
    if same and not HUB_ID.fullmatch(name):
        votes = isinstance(source, SplitInfo) and source.reference == "FER+ majority"
        return BENCHMARK, "FER+" if votes else "FER-2013"
    return (name, name) if HUB_ID.fullmatch(name) else (name.split(".")[0], name)


def place_of(result: Result, training: RunRecord) -> str:
    """Return where a result was measured: the split, and the dataset unless it is the one trained on."""
    dataset_type, name = dataset_of(result.dataset, training)
    return result.split if dataset_type == BENCHMARK else f"{name}, {result.split}"
