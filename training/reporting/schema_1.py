"""Reads reports of schema 1, of which published packages are: field names in the terms of schema 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Where ("*": every entry there) -> old name -> new name.
RENAMED = {
    "results.*.counts": {"pictures": "images"},
    "results.*.subgroups.columns.*.groups.*": {"pictures": "images"},
    "calibration": {"pictures": "images"},
    "data": {"pictures": "images", "greyscale": "grayscale", "relabelled": "relabeled"},
    "robustness": {"pictures": "images", "unspoilt": "clean"},
    "robustness.rows.*": {"strength": "severity"},
    "onnx.*": {"one": "latency_ms", "many": "batch_latency_ms"},
}
RUNS = ("training", "training.earlier.*")


def upgrade(report: dict[str, Any]) -> dict[str, Any]:
    """Turn what a report.json of schema 1 holds into schema 2, in place.

    The energy of a run, which was its processor time at an assumed 12 W, becomes the processor time alone.
    """
    for place, names in RENAMED.items():
        for entry in _at(report, place.split(".")):
            for old in names.keys() & entry.keys():
                entry[names[old]] = entry.pop(old)
    for place in RUNS:
        for run in _at(report, place.split(".")):
            if "energy" in run:
                run["cpu_seconds"] = (run.pop("energy") or {}).get("cpu_seconds")
    return report | {"schema_version": 2}


def _at(value: Any, place: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects at a place, none where there is no such place."""
    if not place:
        if isinstance(value, dict):
            yield value
        return
    name, *rest = place
    if name == "*":
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from _at(item, rest)
    elif isinstance(value, dict) and name in value:
        yield from _at(value[name], rest)
