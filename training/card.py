"""The model card, made from `report.json` alone: no number in it is typed by hand.

    python -m training.card model_card/fer2013

writes the README.md of a package anew, for example after `training.evaluate` has added the test split to its report.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from training.errors import CardError, ReportError
from training.evaluation.subgroups import METRICS
from training.files import write_text
from training.reporting.report import find_result, format_cell, load_report

TEMPLATE = Path(__file__).parents[1] / "model_card" / "card_template.md"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TASK = "image-classification"
BENCHMARK = "fer2013"  # what a local copy of the training data is called in the metadata
DATASET_NAMES = {"fer2013": "FER-2013", "ferplus": "FER+"}
# report name -> (name on the Hub, name for people)
PUBLISHED = {
    "accuracy": ("accuracy", "Accuracy"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "roc_auc_ovr_macro": ("roc_auc", "Macro ROC-AUC, one against the rest"),
    "nll": ("nll", "Negative log-likelihood (nats)"),
    "brier": ("brier_score", "Brier score (0-2)"),
    "ece": ("expected_calibration_error", "Expected calibration error, 15 bins"),
    "vote_cross_entropy": ("vote_cross_entropy", "Cross-entropy to the votes (nats)"),
}
CALIBRATION = {
    "before": "as trained",
    "one_temperature": "one temperature for all classes",
    "after": "a temperature and a bias for each class",
}


def render_card(report: dict[str, Any]) -> str:
    """A model card as it stands in README.md, metadata first.

    Args:
        report: of a packaged model, see `training.reporting.report`.

    Raises:
        CardError: if the report lacks what packaging adds.
    """
    from huggingface_hub import ModelCard, ModelCardData

    if missing := [key for key in ("results", "calibration", "data", "example", "training") if not report.get(key)]:
        raise CardError(f"expected the report of a packaged model, got one without {', '.join(missing)}")
    results, calibration = report["results"], report["calibration"]
    where = {"head": calibration["head"], "split": calibration["split"]}
    best = find_result(report, **where)
    if best is None:
        raise CardError(f"expected a result of {where}, got none; evaluate the model on that split again")
    source = report["training"]["dataset"]
    base_model = report["training"]["base_model"] or ""
    figures = [
        *best.get("figures", []),
        *report["training"].get("figures", []),
        *report.get("robustness", {}).get("figures", []),
    ]
    example = report["example"]
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag=TASK,
        base_model=base_model if HUB_ID.fullmatch(base_model) else None,
        datasets=[_dataset_of(source, source)[0]],
        metrics=["accuracy", "f1", "roc_auc"],
        tags=["facial-expression-recognition", "emotion", "faces", DATASET_NAMES[best["head"]].lower()],
        model_name=report["model"]["name"].rsplit("/", 1)[-1],
        eval_results=[entry for result in results for entry in _eval_results(result, source)],
        # The Hub takes a path within the repository, and shows the output where nobody computes one.
        widget=[
            {
                "src": example["file"],
                "example_title": example["title"],
                "output": [{**entry, "score": round(entry["score"], 4)} for entry in example["scores"]],
            }
        ],
    )
    classes = _classes(best)
    known = [row for row in classes if row["recall"] != "-"]
    return str(
        ModelCard.from_template(
            data,
            template_path=str(TEMPLATE),
            report=report,
            model=report["model"],
            training=report["training"],
            calibration=calibration,
            dataset=DATASET_NAMES[best["head"]],
            best=best,
            unseen=find_result(report, **where, subset="unseen_pixels"),
            tables=_tables(results, source),
            classes=classes,
            worst=min(known, key=lambda row: row["recall"], default=None),
            finest=max(known, key=lambda row: row["recall"], default=None),
            calibrated=[
                {"name": name, **{k: f"{v:.3f}" for k, v in calibration[key].items()}}
                for key, name in CALIBRATION.items()
            ],
            subgroups=[entry for result in results for entry in _subgroups(result, source)],
            figures={figure["name"]: f"![{figure['alt']}]({figure['file']})" for figure in figures},
            robustness=_robustness(report),
            stages=_stages(report),
            energy=_energy(report),
        )
    )


def write_card(folder: Path) -> None:
    """Write README.md of a package from its report.

    Raises:
        ReportError: if there is no report, or none that a card can be made from.
    """
    write_text(render_card(load_report(folder / "report.json")) + "\n", folder / "README.md")


def _dataset_of(source: dict[str, Any], trained_on: dict[str, Any]) -> tuple[str, str]:
    """Id and name of a dataset; a local copy of what the model was trained on goes by the benchmark's own name."""
    name = str(source.get("source", ""))
    same = name == trained_on.get("source") or source.get("fingerprint") in trained_on.get("fingerprint", {}).values()
    if same and not HUB_ID.fullmatch(name):
        return BENCHMARK, "FER+" if source.get("reference") == "FER+ majority" else "FER-2013"
    return (name, name) if HUB_ID.fullmatch(name) else (name.split(".")[0], name)


def _eval_results(result: dict[str, Any], trained_on: dict[str, Any]) -> list[Any]:
    from huggingface_hub import EvalResult

    if result["subset"] != "all":  # the Hub compares benchmarks as they are defined
        return []
    suffix = "" if result["tta"] == "none" else f" ({result['tta']} TTA)"
    dataset_type, dataset_name = _dataset_of(result["dataset"], trained_on)
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset_type,
            dataset_name=dataset_name,
            dataset_config="ferplus" if dataset_name == "FER+" else None,
            dataset_split=result["split"],
            dataset_revision=result["dataset"].get("revision"),
            metric_type=kind,
            metric_name=name + suffix,
            metric_value=round(result["metrics"][key], 4),
        )
        for key, (kind, name) in PUBLISHED.items()
        if result["metrics"].get(key) is not None
    ]


def place_of(result: dict[str, Any], trained_on: dict[str, Any]) -> str:
    """Where a result was measured, in words: the split, and the dataset unless it is the one trained on."""
    dataset_type, name = _dataset_of(result["dataset"], trained_on)
    return result["split"] if dataset_type == BENCHMARK else f"{name}, {result['split']}"


def _tables(results: list[dict[str, Any]], trained_on: dict[str, Any]) -> list[dict[str, Any]]:
    """A table of results for each place, as text: a column for each result, a row for each headline metric."""
    places: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        places.setdefault(place_of(result, trained_on), []).append(result)
    return [
        {
            "place": place,
            "columns": [_column(result) for result in found],
            "rows": [
                [name, *(format_cell(result, key) for result in found)]
                for key, (_, name) in PUBLISHED.items()
                if all(key in result["metrics"] for result in found)
            ],
        }
        for place, found in places.items()
    ]


def _column(result: dict[str, Any]) -> str:
    what = "all" if result["subset"] == "all" else "pixels not in train"
    tta = "" if result["tta"] == "none" else f", {result['tta']} TTA"
    return f"{what}{tta}, n = {result['counts']['pictures']:,}"


def _subgroups(result: dict[str, Any], trained_on: dict[str, Any]) -> list[dict[str, Any]]:
    """A table of groups for each column of metadata, as text; empty where none was asked for."""
    measured = result.get("subgroups", {"columns": {}})
    return [
        {
            "column": column,
            "place": place_of(result, trained_on),
            "rule": measured["rule"],
            "rows": [
                {
                    "group": group,
                    "pictures": f"{row['pictures']:,}",
                    "people": "-" if row["people"] is None else f"{row['people']:,}",
                    "cells": [format_cell(row, metric) if row["judged"] else "too few to judge" for metric in METRICS],
                }
                for group, row in found["groups"].items()
            ],
            "gaps": {metric.replace("_", " ").replace("f1", "F1"): gap for metric, gap in found["gaps"].items()},
            "warnings": found["warnings"],
        }
        for column, found in measured["columns"].items()
    ]


def _classes(result: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of the table of classes, as text; "-" where undefined."""
    auc = result["metrics"]["roc_auc_ovr"]
    return [
        {
            "label": label,
            **{
                name: "-" if value is None else f"{value:.3f}"
                for name, value in {**{k: row[k] for k in ("precision", "recall", "f1")}, "auc": auc[label]}.items()
            },
            "support": f"{row['support']:,}",
        }
        for label, row in result["metrics"]["per_class"].items()
    ]


def _robustness(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of spoilt pictures, as text; empty where that was not measured."""
    rows: dict[str, dict[str, Any]] = {}
    for row in report.get("robustness", {}).get("rows", []):
        name = row["corruption"].replace("_", " ")
        cells = rows.setdefault(name, {"name": name, "unit": row["unit"], "cells": []})["cells"]
        cells.append(f"{row['strength']:g}: {row['accuracy']:.3f}")
    return list(rows.values())


def _stages(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The runs that made the weights by folder, the last one last: `recipe` as text, `votes` if it needs any."""
    runs = {**report["training"]["earlier"], "runs/mine": report["training"]}
    return {
        name: {
            **run,
            "recipe": json.dumps(run["recipe"], indent=2),
            "votes": bool(run["recipe"].get("ferplus_weight")),
        }
        for name, run in runs.items()
    }


def _energy(report: dict[str, Any]) -> dict[str, float] | None:
    """The energy of the runs that measured it, and how many those are; None where none did."""
    runs = (*report["training"]["earlier"].values(), report["training"])
    parts = [run["energy"] for run in runs if run["energy"]]
    if not parts:
        return None
    sums = {key: sum(part[key] for part in parts) for key in ("kwh", "cpu_seconds")}
    return sums | {"watts": parts[0]["assumed_watts_per_core"], "measured": len(parts), "runs": len(runs)}


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.card", description=__doc__)
    parser.add_argument("folder", type=Path, help="package folder with a report.json")
    folder = parser.parse_args(argv).folder
    try:
        write_card(folder)
    except ReportError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"written to {folder / 'README.md'}\n")


if __name__ == "__main__":
    main()
