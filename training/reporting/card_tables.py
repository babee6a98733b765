"""The tables of a model card, as text, from its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from training.evaluation.metrics import CORE
from training.evaluation.results import Calibration, Robustness
from training.reporting.dataset_names import place_of
from training.reporting.report import Result, RunRecord
from training.reporting.tables import format_cell

VOTE_METRIC = "vote_cross_entropy"
# report name -> (name on the Hub, name for people)
PUBLISHED = {
    "accuracy": ("accuracy", "Accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "roc_auc_ovr_macro": ("roc_auc", "Macro ROC-AUC, one against the rest"),
    "nll": ("nll", "Negative log-likelihood (nats)"),
    "brier": ("brier_score", "Brier score (0-2)"),
    "ece": ("expected_calibration_error", "Expected calibration error, 15 bins"),
    VOTE_METRIC: ("vote_cross_entropy", "Cross-entropy to the votes (nats)"),
}
CALIBRATION = {
    "before": "uncalibrated",
    "one_temperature": "one temperature for all classes",
    "after": "a temperature and a bias for each class",
}
CALIBRATION_METRICS = ("accuracy", "nll", "brier", "ece", VOTE_METRIC)


def result_tables(results: Sequence[Result], training: RunRecord) -> list[dict[str, Any]]:
    """Return a table of results for each place, as text: a column for each result, a row for each metric."""
    places: dict[str, list[Result]] = {}
    for result in results:
        places.setdefault(place_of(result, training), []).append(result)
    return [
        {
            "place": place,
            "columns": [_column(result) for result in found],
            "rows": [
                [name, *(format_cell(result, key) for result in found)]
                for key, (_, name) in PUBLISHED.items()
                if key != "vote_cross_entropy"
                or all(result.metrics.vote_cross_entropy is not None for result in found)
            ],
        }
        for place, found in places.items()
    ]


def _column(result: Result) -> str:
    what = "all" if result.subset == "all" else "pixels not in train"
    tta = "" if result.tta == "none" else f", {result.tta} TTA"
    return f"{what}{tta}, n = {result.counts.images:,}"


def class_rows(result: Result) -> list[dict[str, str]]:
    """Return the rows of the table of classes, as text; "-" where undefined."""

    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return [
        {
            "label": label,
            "precision": cell(row.precision),
            "recall": cell(row.recall),
            "f1": cell(row.f1),
            "auc": cell(result.metrics.roc_auc_ovr[label]),
            "support": f"{row.support:,}",
        }
        for label, row in result.metrics.per_class.items()
    ]


def calibration_rows(calibration: Calibration) -> list[list[str]]:
    """Return the rows of the table of calibration, as text."""
    rows = {title: getattr(calibration, name) for name, title in CALIBRATION.items()}
    if calibration.adjusted:
        rows[f"published: with logit adjustment {calibration.logit_adjustment:g}"] = calibration.adjusted
    return [
        [title, *(f"{value:.3f}" for name in CALIBRATION_METRICS if (value := getattr(row, name)) is not None)]
        for title, row in rows.items()
    ]


def subgroup_tables(result: Result, training: RunRecord) -> list[dict[str, Any]]:
    """Return a table of groups for each column of metadata, as text; empty where none was asked for."""
    if result.subgroups is None:
        return []
    return [
        {
            "column": column,
            "place": place_of(result, training),
            "rule": result.subgroups.rule,
            "rows": [
                {
                    "group": group,
                    "images": f"{row.images:,}",
                    "people": "-" if row.people is None else f"{row.people:,}",
                    "cells": [format_cell(row, metric) if row.judged else "too few to judge" for metric in CORE],
                }
                for group, row in found.groups.items()
            ],
            "gaps": {metric.replace("_", " ").replace("f1", "F1"): gap for metric, gap in found.gaps.items()},
            "warnings": found.warnings,
        }
        for column, found in result.subgroups.columns.items()
    ]


def robustness_rows(measured: Robustness | None) -> list[dict[str, Any]]:
    """Return the rows of the table of corruptions, as text; empty where that was not measured."""
    rows: dict[str, dict[str, Any]] = {}
    for row in measured.rows if measured else []:
        name = row.corruption.replace("_", " ")
        cells = rows.setdefault(name, {"name": name, "unit": row.unit, "cells": []})["cells"]
        cells.append(f"{row.severity:g}: {row.accuracy:.3f}")
    return list(rows.values())


def stages(training: RunRecord) -> dict[str, dict[str, Any]]:
    """Return the runs that made the weights by folder, in order: `run`, `recipe` as text, `votes` if it needs any."""
    runs = {**training.earlier, "runs/mine": training}
    return {
        name: {"run": run, "recipe": json.dumps(run.recipe, indent=2), "votes": bool(run.recipe.get("ferplus_weight"))}
        for name, run in runs.items()
    }


def cpu_time(training: RunRecord) -> dict[str, float] | None:
    """Return the processor hours of the runs that measured them, and how many runs that is; None where none did."""
    runs = (*training.earlier.values(), training)
    seconds = [run.cpu_seconds for run in runs if run.cpu_seconds]
    return {"hours": sum(seconds) / 3600, "measured": len(seconds), "runs": len(runs)} if seconds else None
