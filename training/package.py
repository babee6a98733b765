"""Turn a run folder into a complete Hub model repository: stock weights, card, report, figures.

    python -m training.package runs/fer2013 model_card/fer2013 --dataset fer2013.csv

The head is selected, the grayscale stem widened to RGB and the calibration folded into the classifier, so the folder
serves calibrated probabilities for any image through `pipeline`. It is built beside its place, checked, and only then
swapped in whole.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, HfArgumentParser, PreTrainedModel

from gradio_ui.recognition.classifier import DEFAULT_MARGIN
from training.card import write_card
from training.data.classes import Classes
from training.data.load import load_fer
from training.data.statistics import data_limits
from training.errors import PackageError, command
from training.evaluation.calibration import calibrate, format_calibration
from training.evaluation.predictions import classify, labels_of, votes_of
from training.files import staged_folder
from training.network.build import load_model
from training.network.surgery import fold_scaling
from training.reporting.curves import curves, read_log
from training.reporting.measurement import draw, measure
from training.reporting.package_layout import EXAMPLE, check_loads, check_replaceable, write_checksums
from training.reporting.plot_style import write_figures
from training.reporting.provenance import RUN_KEYS, describe_model, read_run
from training.reporting.report import (
    REPORT_FILE,
    DataLimits,
    Environment,
    Example,
    Report,
    Score,
    library_versions,
    publishable,
)

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import BaseImageProcessor

    from training.evaluation.predictions import Predictions
    from training.evaluation.results import Calibration

SPLIT = "validation"  # the calibration is fitted here and the report is about it; test stays untouched


@dataclass
class PackageArguments:
    """What to package and what to measure it on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id whose validation split calibrates and measures."})
    head: str = field(default="fer2013", metadata={"help": "fer2013 or ferplus."})
    ferplus: str | None = field(
        default=None, metadata={"help": "fer2013new.csv; for the head ferplus, unless the dataset has its votes."}
    )
    skip_bad_rows: bool = field(default=False, metadata={"help": "Leave out unusable rows instead of stopping."})
    model_id: str | None = field(
        default=None, metadata={"help": "Hub id the card's quick start names; default: the folder as given."}
    )
    license: str | None = field(
        default=None, metadata={"help": "Of the weights, for the card, such as apache-2.0; default: unknown."}
    )
    base_model: str | None = field(
        default=None, metadata={"help": "Hub id to name as the base, for a run that started from a copy in a folder."}
    )
    max_megabytes: float | None = field(
        default=None, metadata={"help": "Refuse larger weights; 1 MB is a million bytes. Default: any size."}
    )
    logit_adjustment: float = field(
        default=0.0,
        metadata={
            "help": "Favor rare classes: share, 0-1, of the log of each class's frequency to subtract from its "
            "calibrated logit; `training.logit_adjustment` prints what each share costs and gains."
        },
    )

    def __post_init__(self) -> None:
        if not 0 <= self.logit_adjustment <= 1:
            raise PackageError(f"logit_adjustment: expected a share from 0 to 1, got {self.logit_adjustment}")


def build(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    run: Path,
    folder: Path,
    arguments: PackageArguments,
    data: DatasetDict,
) -> None:
    """Write the whole package into an empty folder.

    Args:
        model: of the run, with the head to package alone, `crop_margin` in its config; it is changed.
        image_processor: of the run.
        run: the run folder.
        folder: where to write.
        arguments: what to package; `model_id` is set.
        data: the dataset.

    Raises:
        TrainingError: the run, the dataset or what came of them cannot be used.
    """
    training = read_run(run)
    if arguments.base_model:
        training = dataclasses.replace(training, base_model=arguments.base_model)
    where: Any = {"split": SPLIT, "head": arguments.head}
    calibration = calibrate_model(model, image_processor, arguments, data)
    recorded = dataclasses.asdict(training)
    model.config.provenance = {"head": arguments.head, **{key: recorded[key] for key in RUN_KEYS}}
    model.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written readable by its owner alone, but meant for everybody
    if log_history := read_log(run):
        drawing = curves(log_history, arguments.head)
        training = dataclasses.replace(training, figures=write_figures([drawing], folder / "figures", folder))

    packaged, image_processor = load_model(folder)  # measured as it will be served
    predictions = classify(packaged, image_processor, data, **where, flip_tta=True)
    first, *others = measure(predictions, data, **where)
    figures = draw(predictions, first, packaged, folder / "figures", folder)
    report = Report(
        model=dataclasses.replace(
            describe_model(packaged, folder / "model.safetensors", str(arguments.model_id)),
            sees_luma_only=AutoConfig.from_pretrained(run).num_channels == 1,
            license=arguments.license,
        ),
        results=[dataclasses.replace(first, figures=figures), *others],
        environment=Environment(versions=library_versions(), device=str(packaged.device)),
        calibration=calibration,
        data=DataLimits(**data_limits(data, SPLIT)),
        example=make_example(folder),
        training=training,
    )
    report.save(folder / REPORT_FILE)
    write_card(folder)
    write_checksums(folder)


def calibrate_model(
    model: PreTrainedModel, image_processor: BaseImageProcessor, arguments: PackageArguments, data: DatasetDict
) -> Calibration:
    """Fit the calibration and the logit adjustment on the validation split and fold both into the classifier.

    Args:
        model: changed, and then in float32.
        image_processor: of the model.
        arguments: `head`, `dataset` and `logit_adjustment` are read.
        data: the dataset.

    Returns:
        What was fitted, for the report.

    Raises:
        PackageError: the dataset lacks the split, or a label of the model.
    """
    raw = classify_validation(model, image_processor, arguments, data)
    votes = votes_of(raw, arguments.head)
    where: Any = {"split": SPLIT, "head": arguments.head, "logit_adjustment": arguments.logit_adjustment}
    scaling, calibration = calibrate(raw.logits[0], raw.references, raw.labels, votes, **where)
    fold_scaling(model.float(), scaling)
    if calibration.shift:
        model.config.calibration |= {"logit_adjustment": calibration.logit_adjustment, "shift": calibration.shift}
    return calibration


def classify_validation(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    arguments: PackageArguments,
    data: DatasetDict,
    *,
    flip_tta: bool = False,
) -> Predictions:
    """Run a model over the validation split, whose classes must be all of the model's.

    Args:
        model, image_processor, data: to classify with, and what.
        arguments: `head` and `dataset` are read.
        flip_tta: also classify the mirror images.

    Raises:
        PackageError: the dataset lacks the split, or a label of the model.
    """
    if SPLIT not in data:
        raise PackageError(f"expected a dataset with a {SPLIT} split, got {', '.join(data)}")
    raw = classify(model, image_processor, data, split=SPLIT, head=arguments.head, flip_tta=flip_tta)
    if raw.labels != (labels := labels_of(model)):
        raise PackageError(f"expected a dataset of {', '.join(labels)}, got {arguments.dataset}: {raw.left_out[0]}")
    return raw


def make_example(folder: Path) -> Example:
    """Put a face that may be published into a package, for the widget of its page on the Hub.

    Args:
        folder: a package that `pipeline` can load; gets the image.

    Returns:
        The image and the model's answer, for the report.
    """
    from PIL import Image
    from skimage.data import astronaut
    from transformers import pipeline

    image = Image.fromarray(astronaut()[62:182, 166:286])
    image.save(folder / EXAMPLE, optimize=True)
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    scores = classify(image, top_k=len(labels_of(classify.model)))
    return Example(file=EXAMPLE, title="Portrait (NASA, public domain)", scores=[Score(**score) for score in scores])


def check_size(model: PreTrainedModel, max_megabytes: float | None) -> None:
    """Refuse weights that will be larger than asked for.

    Raises:
        PackageError: they will.
    """
    megabytes = 4 * sum(tensor.numel() for tensor in model.state_dict().values()) / 1e6
    if max_megabytes is not None and megabytes > max_megabytes:
        raise PackageError(
            f"expected weights of at most {max_megabytes:g} MB, got {megabytes:.3g} MB; "
            "raise --max_megabytes, or leave it out"
        )


def crop_margins(out: Path, model: PreTrainedModel) -> dict[str, float]:
    """Return the crop margin for each detector.

    Args:
        out: the package that will be replaced, if there is one; what was measured for it counts.
        model: of the run, which may have the margins of the package that it started from.
    """
    margins = DEFAULT_MARGIN | (getattr(model.config, "crop_margin", None) or {})
    if not (out / "config.json").exists():
        return margins
    return margins | json.loads((out / "config.json").read_text(encoding="utf-8")).get("crop_margin", {})


def load_dataset_of(arguments: PackageArguments, model: PreTrainedModel) -> DatasetDict:
    """Load the dataset to calibrate and measure on, with the classes of the model.

    Raises:
        PackageError: it lacks the votes that the head needs.
        DataError: it cannot be used.
    """
    classes = Classes.of_model(model.config.to_dict())
    data = load_fer(
        arguments.dataset, ferplus=arguments.ferplus, classes=classes, skip_bad_rows=arguments.skip_bad_rows
    )
    if arguments.head == "ferplus" and "votes" not in next(iter(data.values())).column_names:
        raise PackageError(
            f"expected FER+ votes, which calibrate the head ferplus: {arguments.dataset} has none; give --ferplus"
        )
    return data


def package(run: Path, out: Path, arguments: PackageArguments) -> Path:
    """Build, check and swap in a package; what can be refused without the dataset is refused first.

    Args:
        run: a finished run folder.
        out: the package; an existing one gives its measured crop margins and is replaced.
        arguments: what to package and measure it on.

    Returns:
        `out`.

    Raises:
        PackageError: `out` cannot be replaced, the weights are too large, or a check failed.
        ReportError: the run is not finished.
        TrainingError: the dataset, or what was measured on it, cannot be used. `out` is as it was, as with all others.
    """
    check_replaceable(out)
    read_run(run)
    model, image_processor = load_model(run, arguments.head)
    check_size(model, arguments.max_megabytes)
    model.config.crop_margin = crop_margins(out, model)
    name = str(publishable(out)) if out.is_absolute() else out.as_posix()
    arguments = dataclasses.replace(arguments, model_id=arguments.model_id or name)
    data = load_dataset_of(arguments, model)
    with staged_folder(out.resolve()) as staged:
        build(model, image_processor, run, staged, arguments, data)
        check_loads(staged, labels_of(model))
    return out


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    kinds: Any = PackageArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.package", description=__doc__)
    parser.add_argument("run", type=Path, help="finished run folder")
    parser.add_argument("out", type=Path, help="package folder, replaced whole")
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    package(positional.run, positional.out, arguments)
    calibration = Report.load(positional.out / REPORT_FILE).calibration
    chosen = f"{format_calibration(calibration)}\n" if calibration else ""
    sys.stdout.write(f"{chosen}packaged in {positional.out}\n")


if __name__ == "__main__":
    main()
