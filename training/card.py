"""The model card, written from `report.json` alone: no number in it is typed by hand.

    python -m training.card model_card/fer2013

rewrites the README.md of a package, for example after `training.evaluate` has added the test split to its report.
`--add test.json` first adds results that were measured elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import CardError, command
from training.evaluation.metrics import CORE
from training.evaluation.results import Calibration, FigureRecord, Robustness
from training.files import write_text
from training.reporting.added_results import add_results, held_out_note
from training.reporting.dataset_names import (
    BENCHMARK,
    HUB_ID,
    dataset_of,
    is_fer2013,
    lineage,
    origin_of,
    place_of,
    taught_on_same_data,
    trained_on,
)
from training.reporting.report import (
    REPORT_FILE,
    Example,
    Report,
    Result,
    RunRecord,
    record_changes,
)
from training.reporting.tables import format_cell

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TEMPLATE = Path(__file__).parents[1] / "model_card" / "card_template.md"

TASK = "image-classification"

CITATIONS = {
    "fer2013": (
        "FER-2013: Goodfellow et al., *Challenges in Representation Learning: A report on three machine learning "
        "contests*, 2013,\n[arXiv:1307.0414](https://arxiv.org/abs/1307.0414)."
    ),
    "ferplus": (
        "FER+: Barsoum et al., *Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label "
        "Distribution*,\n2016, [arXiv:1608.01041](https://arxiv.org/abs/1608.01041)."
    ),
    "ConvNext": (
        "ConvNeXt: Liu et al., *A ConvNet for the 2020s*, 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545)."
    ),
    "ConvNextV2": (
        "ConvNeXt V2: Woo et al., *ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders*, 2023,\n"
        "[arXiv:2301.00808](https://arxiv.org/abs/2301.00808)."
    ),
    "ViT": (
        "ViT: Dosovitskiy et al., *An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale*, 2020,"
        "\n[arXiv:2010.11929](https://arxiv.org/abs/2010.11929)."
    ),
    "DeiT": (
        "DeiT: Touvron et al., *Training data-efficient image transformers & distillation through attention*, 2020,\n"
        "[arXiv:2012.12877](https://arxiv.org/abs/2012.12877)."
    ),
    "Swin": (
        "Swin: Liu et al., *Swin Transformer: Hierarchical Vision Transformer using Shifted Windows*, 2021,\n"
        "[arXiv:2103.14030](https://arxiv.org/abs/2103.14030)."
    ),
    "RegNet": (
        "RegNet: Radosavovic et al., *Designing Network Design Spaces*, 2020, "
        "[arXiv:2003.13678](https://arxiv.org/abs/2003.13678)."
    ),
}
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


def render_card(report: Report) -> str:
    """Render a model card as it stands in README.md, metadata first.

    Args:
        report: of a packaged model.

    Raises:
        CardError: the report lacks what packaging adds.
    """
    from huggingface_hub import ModelCard

    calibration, training, example = report.calibration, report.training, report.example
    if not (report.results and calibration and report.data and example and training):
        needed = ("results", "calibration", "data", "example", "training")
        missing = ", ".join(name for name in needed if not getattr(report, name))
        raise CardError(f"expected the report of a packaged model, got one without {missing}")
    where: dict[str, Any] = {"head": calibration.head, "split": calibration.split}
    best = report.find(**where)
    if best is None:
        raise CardError(f"expected a result of {where}, got none; evaluate the model on that split again")
    classes = _classes(best)
    known = [row for row in classes if row["recall"] != "-"]
    context: dict[str, Any] = {
        "report": report,
        "model": report.model,
        "training": training,
        "calibration": calibration,
        "dataset": trained_on(training, best.head),
        "is_fer2013": is_fer2013(training),
        "origin": origin_of(training, best.head),
        "same_data": taught_on_same_data(training),
        "citations": _citations(report, training),
        "best": best,
        "unseen": report.find(**where, subset="unseen_pixels"),
        "tables": _tables(report.results, training),
        "held_out": held_out_note(report),
        "classes": classes,
        "lowest": min(known, key=lambda row: row["recall"], default=None),
        "highest": max(known, key=lambda row: row["recall"], default=None),
        "calibrated": _calibrated(calibration),
        "subgroups": [table for result in report.results for table in _subgroups(result, training)],
        "figures": {figure.name: f"![{figure.alt}]({figure.file})" for figure in _figures(report, training, best)},
        "robustness": _robustness(report.robustness),
        "stages": _stages(training),
        "cpu_time": _cpu_time(training),
    }
    data = _metadata(report, training, example, best)
    return str(ModelCard.from_template(data, template_path=str(TEMPLATE), **context))


def write_card(folder: Path) -> None:
    """Write README.md of a package from its report, and its checksum into the report if that has checksums.

    Raises:
        ReportError: there is no report, or none that a card can be made from.
    """
    card = folder / "README.md"
    write_text(render_card(Report.load(folder / REPORT_FILE)) + "\n", card)
    record_changes(folder, [card])


def _metadata(report: Report, training: RunRecord, example: Example, best: Result) -> ModelCardData:
    """Return the front matter."""
    from huggingface_hub import ModelCardData

    base_model = training.base_model or ""
    based = {"base_model": base_model, "base_model_relation": "finetune"} if HUB_ID.fullmatch(base_model) else {}
    trained = dataset_of(training.dataset, training)[0]
    names = ["fer+" if best.head == "ferplus" else "fer-2013"] if is_fer2013(training) else []
    return ModelCardData(
        license=report.model.license or "unknown",
        library_name="transformers",
        pipeline_tag=TASK,
        **based,  # type: ignore[arg-type]
        datasets=[trained] if trained == BENCHMARK or HUB_ID.fullmatch(trained) else None,
        metrics=["accuracy", "f1", "roc_auc"],
        tags=["facial-expression-recognition", "emotion", "faces", *names],
        model_name=report.model.name.rsplit("/", 1)[-1],
        eval_results=[entry for result in report.results for entry in _eval_results(result, training)],
        # The Hub takes a path within the repository, and shows the output where nobody computes one.
        widget=[
            {
                "src": example.file,
                "example_title": example.title,
                "output": [{"label": entry.label, "score": round(entry.score, 4)} for entry in example.scores],
            }
        ],
    )


def _citations(report: Report, training: RunRecord) -> list[str]:
    """Return the papers behind data and network, as far as they are known."""
    runs = [*lineage(training), *training.earlier.values()]
    base = training.local_base.dataset if training.local_base else None
    votes = any(run.recipe.get("ferplus_weight") for run in runs) or any(r.head == "ferplus" for r in report.results)
    keys = {
        "fer2013": base == "FER-2013" or any(map(is_fer2013, runs)),
        "ferplus": votes,
        report.model.architecture.removesuffix("ForImageClassification"): True,
    }
    return [CITATIONS[key] for key, used in keys.items() if used and key in CITATIONS]


def _eval_results(result: Result, training: RunRecord) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    if result.subset != "all":  # the Hub compares benchmarks as they are defined
        return []
    suffix = "" if result.tta == "none" else f" ({result.tta} TTA)"
    dataset_type, dataset_name = dataset_of(result.dataset, training)
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=dataset_type,
            dataset_name=dataset_name,
            dataset_config="ferplus" if dataset_name == "FER+" else None,
            dataset_split=result.split,
            dataset_revision=result.dataset.revision,
            metric_type=kind,
            metric_name=name + suffix,
            metric_value=round(value, 4),
        )
        for key, (kind, name) in PUBLISHED.items()
        if (value := getattr(result.metrics, key)) is not None
    ]


def _tables(results: Sequence[Result], training: RunRecord) -> list[dict[str, Any]]:
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


def _classes(result: Result) -> list[dict[str, str]]:
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


def _calibrated(calibration: Calibration) -> list[list[str]]:
    """Return the rows of the table of calibration, as text."""
    rows = {title: getattr(calibration, name) for name, title in CALIBRATION.items()}
    return [
        [title, *(f"{value:.3f}" for name in CALIBRATION_METRICS if (value := getattr(row, name)) is not None)]
        for title, row in rows.items()
    ]


def _subgroups(result: Result, training: RunRecord) -> list[dict[str, Any]]:
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


def _figures(report: Report, training: RunRecord, best: Result) -> Iterator[FigureRecord]:
    yield from best.figures
    yield from training.figures
    if report.robustness:
        yield from report.robustness.figures


def _robustness(measured: Robustness | None) -> list[dict[str, Any]]:
    """Return the rows of the table of corruptions, as text; empty where that was not measured."""
    rows: dict[str, dict[str, Any]] = {}
    for row in measured.rows if measured else []:
        name = row.corruption.replace("_", " ")
        cells = rows.setdefault(name, {"name": name, "unit": row.unit, "cells": []})["cells"]
        cells.append(f"{row.severity:g}: {row.accuracy:.3f}")
    return list(rows.values())


def _stages(training: RunRecord) -> dict[str, dict[str, Any]]:
    """Return the runs that made the weights by folder, in order: `run`, `recipe` as text, `votes` if it needs any."""
    runs = {**training.earlier, "runs/mine": training}
    return {
        name: {"run": run, "recipe": json.dumps(run.recipe, indent=2), "votes": bool(run.recipe.get("ferplus_weight"))}
        for name, run in runs.items()
    }


def _cpu_time(training: RunRecord) -> dict[str, float] | None:
    """Return the processor hours of the runs that measured them, and how many runs that is; None where none did."""
    runs = (*training.earlier.values(), training)
    seconds = [run.cpu_seconds for run in runs if run.cpu_seconds]
    return {"hours": sum(seconds) / 3600, "measured": len(seconds), "runs": len(runs)} if seconds else None


@command
def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.card", description=__doc__)
    parser.add_argument("folder", type=Path, help="package folder with a report.json")
    parser.add_argument(
        "--add", type=Path, metavar="REPORT", help="first add these results of training.evaluate on the same weights"
    )
    args = parser.parse_args(argv)
    if args.add:
        add_results(args.folder, args.add)
    write_card(args.folder)
    sys.stdout.write(f"written to {args.folder / 'README.md'}\n")


if __name__ == "__main__":
    main()
