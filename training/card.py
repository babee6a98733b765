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

from training.report import ReportError, find_result, load_report, write_text

TEMPLATE = Path(__file__).parents[1] / "model_card" / "card_template.md"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TASK = "image-classification"
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
}


class CardError(ReportError):
    """A report that no card can be made from: not of a packaged model, or without results."""


def render_card(report: dict[str, Any]) -> str:
    """A model card as it stands in README.md, metadata first.

    Args:
        report: of a packaged model, see `training.report`.

    Raises:
        CardError: if the report lacks what packaging adds.
    """
    from huggingface_hub import ModelCard, ModelCardData

    if missing := [key for key in ("results", "calibration", "training") if not report.get(key)]:
        raise CardError(f"expected the report of a packaged model, got one without {', '.join(missing)}")
    results, calibration = report["results"], report["calibration"]
    where = {"head": calibration["head"], "split": calibration["split"]}
    best = find_result(report, **where)
    if best is None:
        raise CardError(f"expected a result of {where}, got none; evaluate the model on that split again")
    source = report["training"]["dataset"]
    base_model = report["training"]["recipe"].get("model_name_or_path") or ""
    figures = [
        *best.get("figures", []),
        *report["training"].get("figures", []),
        *report.get("robustness", {}).get("figures", []),
    ]
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag=TASK,
        base_model=base_model if HUB_ID.fullmatch(base_model) else None,
        datasets=[_dataset_id(source)],
        metrics=["accuracy", "f1", "roc_auc"],
        tags=["facial-expression-recognition", "emotion", "faces", DATASET_NAMES[best["head"]].lower()],
        model_name=report["model"]["name"].rsplit("/", 1)[-1],
        eval_results=[entry for result in results for entry in _eval_results(result)],
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
            published=PUBLISHED,
            rows=[_row(result) for result in results],
            classes=classes,
            worst=min(known, key=lambda row: row["recall"], default=None),
            finest=max(known, key=lambda row: row["recall"], default=None),
            figures={figure["name"]: f"![{figure['alt']}]({figure['file']})" for figure in figures},
            robustness=_robustness(report),
            recipe=json.dumps(report["training"]["recipe"], indent=2),
        )
    )


def write_card(folder: Path) -> None:
    """Write README.md of a package from its report.

    Raises:
        ReportError: if there is no report, or none that a card can be made from.
    """
    write_text(render_card(load_report(folder / "report.json")) + "\n", folder / "README.md")


def _dataset_id(source: dict[str, Any]) -> str:
    """The Hub id of the data, or, for a local copy, the benchmark's own name."""
    name = str(source.get("source", ""))
    return name if HUB_ID.fullmatch(name) else "fer2013"


def _eval_results(result: dict[str, Any]) -> list[Any]:
    from huggingface_hub import EvalResult

    if result["subset"] != "all":  # the Hub compares benchmarks as they are defined
        return []
    suffix = "" if result["tta"] == "none" else f" ({result['tta']} TTA)"
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=_dataset_id(result["dataset"]),
            dataset_name=DATASET_NAMES[result["head"]],
            dataset_split=result["split"],
            dataset_revision=result["dataset"].get("revision"),
            metric_type=kind,
            metric_name=name + suffix,
            metric_value=round(result["metrics"][key], 4),
        )
        for key, (kind, name) in PUBLISHED.items()
        if result["metrics"][key] is not None
    ]


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """One column of the table of results: what was measured, and each headline metric as text."""
    subset = "" if result["subset"] == "all" else ", pixels not in train"
    tta = "" if result["tta"] == "none" else f", {result['tta']} TTA"
    cells = {}
    for key in PUBLISHED:
        value, interval = result["metrics"][key], result["intervals"][key]
        cells[key] = "undefined" if value is None else f"{value:.3f}"
        if interval:
            cells[key] += f" ({interval[0]:.3f}-{interval[1]:.3f})"
    return {"title": f"{result['split']}{subset}{tta}, n = {result['counts']['pictures']:,}", "cells": cells}


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
