"""Evaluate a run folder, a package or a Hub model on any dataset that the loader reads: `report.json` and figures.

    python -m training.evaluate model_card/fer2013 --dataset fer2013.csv --split validation --flip_tta --robustness

The report collects the results of successive calls. `--galleries FOLDER` draws the images behind them, which must not
be published. Started by `accelerate launch`, several processes share the images; the first writes the report.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from datasets import DatasetDict, concatenate_datasets
from transformers import BaseImageProcessor, HfArgumentParser, PreTrainedModel

from gradio_ui.recognition.hub import resolve_model
from training.data.classes import Classes
from training.data.load import load_fer
from training.errors import command
from training.evaluation.predictions import Predictions, check_expressions, classify, head_of, launched_processes
from training.evaluation.results import Robustness
from training.evaluation.robustness import robustness
from training.evaluation.subgroups import format_groups, read_columns, subgroups_of
from training.network.build import load_model
from training.reporting.curves import curves, read_log
from training.reporting.galleries import check_unpublished, write_galleries
from training.reporting.measurement import draw, measure
from training.reporting.plot_style import write_figures
from training.reporting.provenance import describe_model, split_info
from training.reporting.report import REPORT_FILE, Environment, Report, check_same_images, library_versions
from training.reporting.robustness_figure import robustness_figure
from training.reporting.tables import format_robustness, format_table


@dataclass
class EvaluateArguments:
    """What to measure on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id, see training.data.load."})
    split: str = field(
        default="validation",
        metadata={"help": "train, validation or test; all: the whole of a dataset not trained on."},
    )
    head: str | None = field(
        default=None,
        metadata={"help": "fer2013, or ferplus for majority votes and contempt; default: what the package is for."},
    )
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv, the votes of the same rows."})
    flip_tta: bool = field(default=False, metadata={"help": "Also measure the mean over image and mirror image."})
    group_by: list[str] = field(
        default_factory=list, metadata={"help": "Columns of metadata, such as gender age country: metrics by group."}
    )
    skip_bad_rows: bool = field(default=False, metadata={"help": "Leave out unusable rows instead of stopping."})
    batch_size: int = field(default=64, metadata={"help": "Images per forward pass."})
    output: str | None = field(default=None, metadata={"help": "Report file; default: report.json in the model."})
    figures: str | None = field(default=None, metadata={"help": "Their folder; default: figures/ beside the report."})
    galleries: str | None = field(
        default=None, metadata={"help": "Folder for images of hits, misses and near-ties; not to be published."}
    )
    robustness: bool = field(
        default=False, metadata={"help": "Also measure under 8 corruptions at 4 severities; takes 32 times as long."}
    )
    robustness_images: int | None = field(
        default=None, metadata={"help": "Number of images for --robustness, drawn at random; default: all."}
    )


def evaluate(spec: str, arguments: EvaluateArguments) -> tuple[Report, Path]:
    """Load model and data, measure, and write the report.

    Args:
        spec: a run folder, a packaged folder or a Hub id, `@revision` accepted.
        arguments: what to measure, on what, and where the figures go.

    Returns:
        The report of this measurement, and the file it was merged into.

    Raises:
        EvaluationError: there is no such split, or no image in it has a label that the model knows.
        LabelError: nothing says that the model's labels are expressions.
        MetricError: the model gives NaN.
        SubgroupError: the dataset lacks a column of `group_by`.
        DataError: the dataset cannot be read.
        RecognitionError: the model is not found.
        ReportError: the report holds results of the same split of another dataset, or against other labels.
        SurgeryError: the model has no such head.
    """
    if arguments.galleries:
        check_unpublished(Path(arguments.galleries))
    source = resolve_model(spec)
    folder = Path(source.folder)
    model, image_processor = _load_model(spec, folder, arguments.head or "fer2013")
    where: Any = {"split": arguments.split, "head": arguments.head or head_of(model)}
    classes = Classes.of_model(model.config.to_dict())
    data = load_fer(
        arguments.dataset, ferplus=arguments.ferplus, classes=classes, skip_bad_rows=arguments.skip_bad_rows
    )
    if arguments.split == "all":
        data = DatasetDict(all=concatenate_datasets(list(data.values())))
    read_columns(next(iter(data.values())), arguments.group_by)  # refused before the long work
    output = Path(arguments.output or (folder / REPORT_FILE if Path(spec).is_dir() else REPORT_FILE))
    if arguments.split in data:
        check_same_images(output, **where, dataset=split_info(data, **where))
    predictions = classify(
        model, image_processor, data, **where, flip_tta=arguments.flip_tta, batch_size=arguments.batch_size
    )
    first, *others = measure(predictions, data, **where)
    if arguments.group_by:
        first = replace(first, subgroups=subgroups_of(predictions, arguments.group_by))
    measured: Robustness | None = None
    if arguments.robustness:
        measured = robustness(model, image_processor, predictions, count=arguments.robustness_images, **where)
    report = Report(
        model=describe_model(model, folder / "model.safetensors", str(source.model_id), source.revision),
        results=[first, *others],
        environment=Environment(versions=library_versions(), device=str(model.device)),
        robustness=measured,
    )
    if launched_processes()[1]:
        return report, output  # the first process writes for all
    figures = Path(arguments.figures or output.parent / "figures")
    report = _with_figures(report, predictions, model, figures, output.parent)
    if log_history := read_log(folder):
        write_figures([curves(log_history, where["head"])], figures, output.parent)
    if arguments.galleries:
        write_galleries(predictions, Path(arguments.galleries))
    merged = Report.load(output).merged_with(report) if output.exists() else report
    if figures.is_relative_to(output.parent):
        merged = merged.with_files(output.parent, (path for path in figures.rglob("*") if path.is_file()))
    merged.save(output)
    return report, output


def _load_model(spec: str, folder: Path, head: str) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a model onto its device, or raise `LabelError` where nothing says that its labels are expressions."""
    model, image_processor = load_model(folder, head)
    check_expressions(model, spec, ours=(folder / "run.json").is_file())
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    return model, image_processor


def _with_figures(
    report: Report, predictions: Predictions, model: PreTrainedModel, folder: Path, root: Path
) -> Report:
    """Draw the figures of the first result and of the corruptions, and return the report that names them."""
    first, *others = report.results
    results = [replace(first, figures=draw(predictions, first, model, folder, root)), *others]
    if report.robustness is None:
        return replace(report, results=results)
    figures = write_figures([robustness_figure(report.robustness)], folder, root)
    return replace(report, results=results, robustness=replace(report.robustness, figures=figures))


@command
def main(argv: list[str] | None = None) -> None:
    """Command line."""
    kinds: Any = EvaluateArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("model", help="run folder, packaged folder, or Hub id with optional @revision")
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    report, output = evaluate(positional.model, arguments)
    if launched_processes()[1]:
        return
    groups = report.results[0].subgroups
    tables = [format_table(report.results), *([format_groups(groups)] if groups else [])]
    tables += [format_robustness(report.robustness)] if report.robustness else []
    sys.stdout.write("\n\n".join(tables) + f"\nwritten to {output}\n")


if __name__ == "__main__":
    main()
