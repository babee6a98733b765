"""Evaluate a run folder, a package or a Hub model on any dataset that the loader reads: `report.json` and figures.

    python -m training.evaluate model_card/fer2013 --dataset fer2013.csv --split validation --flip_tta --robustness

The report collects the results of successive calls. `--galleries FOLDER` draws the images behind them, which must not
be published.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import DatasetDict, concatenate_datasets
from scipy.special import softmax
from transformers import BaseImageProcessor, HfArgumentParser, PreTrainedModel

from gradio_ui.recognition.hub import resolve_model
from training.data.classes import Classes
from training.data.load import duplicates_of, load_fer, provenance
from training.errors import command
from training.evaluation.bootstrap import bootstrap_intervals, ece_biases
from training.evaluation.calibration import Scaling
from training.evaluation.metrics import compute, vote_cross_entropy, vote_entropy
from training.evaluation.predictions import Predictions, check_expressions, classify, head_of, votes_of
from training.evaluation.results import FigureRecord, Intervals, Metrics, Robustness
from training.evaluation.robustness import robustness
from training.evaluation.subgroups import format_groups, read_columns, subgroups_of
from training.network.build import load_model
from training.reporting.curves import curves, read_log
from training.reporting.figures import draw_figures, robustness_figure
from training.reporting.galleries import check_unpublished, write_galleries
from training.reporting.plot_style import write_figures
from training.reporting.provenance import describe_model, split_info
from training.reporting.report import (
    REPORT_FILE,
    Counts,
    Environment,
    Report,
    Result,
    Subset,
    Tta,
    check_same_images,
    library_versions,
)
from training.reporting.tables import format_table

TTA_VIEWS: dict[Tta, int] = {"none": 1, "flip": 2}


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


def score(
    probabilities: np.ndarray, references: np.ndarray, labels: Sequence[str], votes: np.ndarray | None = None
) -> tuple[Metrics, Intervals, list[str]]:
    """Compute every metric with its interval.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1, columns in the order of `labels`.
        references: (n,) integers, indices into `labels`.
        labels: the C class names.
        votes: (n, C) counts of FER+ votes, where the references are their majority.

    Returns:
        Metrics, 95 % intervals, and a message for each metric that is undefined.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """
    values, undefined = compute(probabilities, references, labels)
    values |= ece_biases(probabilities, references)
    if votes is not None:
        losses = vote_cross_entropy(probabilities, votes)
        values |= {"vote_cross_entropy": losses.mean(), "vote_entropy": vote_entropy(votes)}
    return Metrics(**values), bootstrap_intervals(probabilities, references, labels, votes), undefined


def measure(predictions: Predictions, data: DatasetDict, *, split: str, head: str = "fer2013") -> list[Result]:
    """Compute the results of a report, the benchmark itself first; arguments and errors as `evaluate_model`."""
    y, labels = predictions.references, predictions.labels
    votes = votes_of(predictions, head)
    notes = [f"{count} bad rows of the dataset dropped: {why}" for why, count in provenance(data)["dropped"].items()]
    if head == "ferplus" and votes is None:
        notes.append("no FER+ votes given: measured against the labels of the dataset")
    subsets: dict[Subset, np.ndarray] = {"all": np.ones(len(y), bool)}
    if split != "train" and "train" in data:
        subsets["unseen_pixels"] = ~duplicates_of(predictions.images, data["train"])

    results = []
    for tta, views in TTA_VIEWS.items():
        if views > len(predictions.logits):
            continue
        probabilities = softmax(predictions.logits[:views], axis=-1).mean(axis=0)
        for subset, mask in subsets.items():
            if not mask.any():
                continue
            metrics, intervals, undefined = score(
                probabilities[mask], y[mask], labels, None if votes is None else votes[mask]
            )
            results.append(
                Result(
                    head=head,
                    split=split,
                    tta=tta,
                    subset=subset,
                    labels=labels,
                    dataset=split_info(data, split, head),
                    counts=Counts(images=int(mask.sum()), left_out=int(len(data[split]) - mask.sum())),
                    metrics=metrics,
                    intervals=intervals,
                    warnings=notes + predictions.left_out + undefined,
                    seconds=round(predictions.seconds, 2),
                    date=datetime.now(UTC).isoformat(timespec="seconds"),
                )
            )
    return results


def evaluate_model(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    data: DatasetDict,
    *,
    split: str,
    head: str = "fer2013",
    flip_tta: bool = False,
    batch_size: int = 64,
) -> list[Result]:
    """Measure a model on one split.

    Args:
        model: with one head, taking what `image_processor` gives.
        image_processor: the one saved with it.
        data: from `load_fer`; where it has `train`, the subset without images seen there is measured too.
        split: which split.
        head: "fer2013", or "ferplus" to measure against the majority of the votes.
        flip_tta: also measure the mean over image and mirror image.
        batch_size: images per forward pass.

    Returns:
        The `results` of a report, the benchmark itself first.

    Raises:
        EvaluationError: there is no such split, or no image in it has a label that the model knows.
        MetricError: the model gives NaN.
    """
    predictions = classify(
        model, image_processor, data, split=split, head=head, flip_tta=flip_tta, batch_size=batch_size
    )
    return measure(predictions, data, split=split, head=head)


def draw(
    predictions: Predictions, result: Result, model: PreTrainedModel, folder: Path, root: Path
) -> list[FigureRecord]:
    """Write the plots of the benchmark itself.

    Args:
        predictions: what `classify` gave.
        result: the first that `measure` gave for them.
        model: the same; where it is calibrated, before and after are drawn.
        folder: gets a folder `<head>_<split>` with the plots.
        root: where the report lies.
    """
    logits, scaling = predictions.logits[0], scaling_of(model, predictions.labels)
    drawings = draw_figures(
        softmax(logits, axis=-1),
        predictions.references,
        predictions.labels,
        where=f"{result.dataset.source}, {result.split}",
        uncalibrated=softmax(scaling.undo(logits), axis=-1) if scaling else None,
    )
    return write_figures(drawings, folder / f"{result.head}_{result.split}", root)


def scaling_of(model: PreTrainedModel, labels: Sequence[str]) -> Scaling | None:
    """Return how the logits of these labels were calibrated at packaging; None where they were not."""
    found = getattr(model.config, "calibration", None)
    return Scaling(*(np.array([found[key][x] for x in labels]) for key in ("temperature", "bias"))) if found else None


def evaluate(spec: str, arguments: EvaluateArguments) -> tuple[Report, Path]:
    """Load model and data, measure, and write the report.

    Args:
        spec: a run folder, a packaged folder or a Hub id, `@revision` accepted.
        arguments: what to measure, on what, and where the figures go.

    Returns:
        The report of this measurement, and the file it was merged into.

    Raises:
        EvaluationError, LabelError, MetricError: see `evaluate_model`.
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
    groups = report.results[0].subgroups
    tables = [format_table(report.results), *([format_groups(groups)] if groups else [])]
    sys.stdout.write("\n\n".join(tables) + f"\nwritten to {output}\n")


if __name__ == "__main__":
    main()
