"""The model card, written from `report.json` alone: no number in it is typed by hand.

    python -m training.card model_card/fer2013

rewrites the README.md of a package, for example after `training.evaluate` has added the test split to its report.
`--add test.json` first adds results that were measured elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.errors import CardError, command
from training.evaluation.results import FigureRecord
from training.files import write_text
from training.reporting.added_results import add_results, held_out_note
from training.reporting.card_tables import (
    PUBLISHED,
    calibration_rows,
    class_rows,
    cpu_time,
    result_tables,
    robustness_rows,
    stages,
    subgroup_tables,
)
from training.reporting.citations import citations
from training.reporting.dataset_names import (
    BENCHMARK,
    HUB_ID,
    dataset_of,
    is_fer2013,
    origin_of,
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

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TEMPLATE = Path(__file__).parents[1] / "model_card" / "card_template.md"

TASK = "image-classification"


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
    classes = class_rows(best)
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
        "citations": citations(report, training),
        "best": best,
        "unseen": report.find(**where, subset="unseen_pixels"),
        "tables": result_tables(report.results, training),
        "held_out": held_out_note(report),
        "classes": classes,
        "lowest": min(known, key=lambda row: row["recall"], default=None),
        "highest": max(known, key=lambda row: row["recall"], default=None),
        "calibrated": calibration_rows(calibration),
        "subgroups": [table for result in report.results for table in subgroup_tables(result, training)],
        "figures": {figure.name: f"![{figure.alt}]({figure.file})" for figure in _figures(report, training, best)},
        "robustness": robustness_rows(report.robustness),
        "stages": stages(training),
        "cpu_time": cpu_time(training),
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


def _figures(report: Report, training: RunRecord, best: Result) -> Iterator[FigureRecord]:
    yield from best.figures
    yield from training.figures
    if report.robustness:
        yield from report.robustness.figures


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
