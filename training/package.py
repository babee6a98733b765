"""Turn a run folder into a complete Hub model repository: stock weights, card, report, figures.

    python -m training.package runs/fer2013 model_card/fer2013 --dataset fer2013.csv

The head is selected, the grey stem widened to RGB and the calibration folded into the classifier, so the folder
serves calibrated probabilities for any picture through `pipeline`. It is built beside its place, checked, and only
then swapped in whole.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, HfArgumentParser

from gradio_ui.recognition.classifier import DEFAULT_MARGIN
from training.card import write_card
from training.data.load import load_fer
from training.data.statistics import data_limits
from training.errors import (
    DataError,
    EvaluationError,
    LabelError,
    MetricError,
    PackageError,
    ReportError,
    SurgeryError,
)
from training.evaluate import describe_model, draw, measure, votes_of
from training.evaluation.calibration import calibrate
from training.evaluation.predictions import classify, labels_of
from training.network.build import load_model
from training.network.surgery import fold_scaling
from training.reporting.curves import curves, read_log
from training.reporting.plot_style import write_figures
from training.reporting.provenance import RUN_KEYS, read_run
from training.reporting.report import (
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

SPLIT = "validation"  # the calibration is fitted here and the report is about it; test stays untouched
EXAMPLE = "figures/example.png"


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
    max_megabytes: float = field(default=40.0, metadata={"help": "Refuse larger weights; 1 MB is a million bytes."})


def build(
    run: Path, folder: Path, arguments: PackageArguments, data: DatasetDict, margins: dict[str, float]
) -> list[str]:
    """Write the whole package into an empty folder.

    Args:
        run: the run folder.
        folder: where to write.
        arguments: what to package; `model_id` is set.
        data: the dataset, with a validation split.
        margins: detector name -> crop margin for the config.

    Returns:
        The labels that the package must serve.

    Raises:
        PackageError, ReportError, EvaluationError, SurgeryError, LabelError, MetricError: nothing usable was written.
    """
    training = read_run(run)
    model, image_processor = load_model(run, arguments.head)
    labels = labels_of(model)

    if SPLIT not in data:
        raise PackageError(f"expected a dataset with a {SPLIT} split, got {', '.join(data)}")
    where: Any = {"split": SPLIT, "head": arguments.head}
    raw = classify(model, image_processor, data, **where)
    if raw.labels != labels:
        raise PackageError(f"expected a dataset of {', '.join(labels)}, got {arguments.dataset}: {raw.left_out[0]}")
    scaling, calibration = calibrate(raw.logits[0], raw.references, labels, votes_of(raw, arguments.head), **where)

    fold_scaling(model.float(), scaling)
    model.config.crop_margin = margins
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
        ),
        results=[dataclasses.replace(first, figures=figures), *others],
        environment=Environment(versions=library_versions(), device=str(packaged.device)),
        calibration=calibration,
        data=DataLimits(**data_limits(data, SPLIT)),
        example=make_example(folder),
        training=training,
    )
    report.save(folder / "report.json")
    write_card(folder)
    return labels


def make_example(folder: Path) -> Example:
    """Put a face that may be published into a package, for the widget of its page on the Hub.

    Args:
        folder: a package that `pipeline` can load; gets the picture.

    Returns:
        The image, and what the model says of it.
    """
    from PIL import Image
    from skimage.data import astronaut
    from transformers import pipeline

    picture = Image.fromarray(astronaut()[62:182, 166:286])
    picture.save(folder / EXAMPLE, optimize=True)
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    scores = classify(picture, top_k=len(labels_of(classify.model)))
    return Example(file=EXAMPLE, title="Portrait (NASA, public domain)", scores=[Score(**score) for score in scores])


def check(folder: Path, labels: list[str], max_megabytes: float) -> None:
    """Use the package as a stranger would: `pipeline` on greyscale, RGB and RGBA files, from this folder alone.

    Raises:
        PackageError: if a name, a size, a type or a probability is not as promised.
    """
    from PIL import Image
    from safetensors import safe_open
    from transformers import pipeline

    weights = folder / "model.safetensors"
    megabytes = weights.stat().st_size / 1e6
    if megabytes > max_megabytes:
        raise PackageError(f"expected weights of at most {max_megabytes:g} MB, got {megabytes:.1f} MB")
    with safe_open(weights, framework="numpy") as tensors:
        kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}
    if kinds != {"F32"}:
        raise PackageError(f"expected float32 weights, got {', '.join(sorted(kinds))}")
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    picture = Image.effect_noise((64, 80), 60)
    with tempfile.TemporaryDirectory() as scratch:
        for mode in ("L", "RGB", "RGBA"):
            file = Path(scratch) / f"{mode}.png"
            picture.convert(mode).save(file)
            answer = {entry["label"]: entry["score"] for entry in classify(str(file), top_k=len(labels))}
            total = sum(answer.values())
            if set(answer) != set(labels) or not abs(total - 1) < 1e-3:
                raise PackageError(f"expected probabilities of {', '.join(labels)} for {mode}, got {answer}")


def package(run: Path, out: Path, arguments: PackageArguments) -> Path:
    """Build, check and swap in a package.

    Args:
        run: a finished run folder.
        out: the package; an existing one gives its measured crop margins and is replaced.
        arguments: what to package and measure it on.

    Returns:
        `out`.

    Raises:
        PackageError: if a check fails; an existing package is as it was.
        ReportError: if the run is not finished; likewise, as with all others.
        DataError, EvaluationError, SurgeryError, LabelError, MetricError: likewise.
    """
    margins = dict(DEFAULT_MARGIN)
    if (out / "config.json").exists():
        margins |= json.loads((out / "config.json").read_text(encoding="utf-8")).get("crop_margin", {})
    name = str(publishable(out)) if out.is_absolute() else out.as_posix()
    arguments = dataclasses.replace(arguments, model_id=arguments.model_id or name)
    data = load_fer(arguments.dataset, ferplus=arguments.ferplus, skip_bad_rows=arguments.skip_bad_rows)
    if arguments.head == "ferplus" and "votes" not in next(iter(data.values())).column_names:
        raise PackageError(
            f"expected FER+ votes, which calibrate the head ferplus: {arguments.dataset} has none; give --ferplus"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        staged, previous = Path(scratch) / "staged", Path(scratch) / "previous"
        staged.mkdir()
        labels = build(run, staged, arguments, data, margins)
        check(staged, labels, arguments.max_megabytes)
        if out.exists():
            out.rename(previous)
        try:
            staged.rename(out)
        except BaseException:
            if previous.exists():
                previous.rename(out)
            raise
    return out


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    kinds: Any = PackageArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.package", description=__doc__)
    parser.add_argument("run", type=Path, help="finished run folder")
    parser.add_argument("out", type=Path, help="package folder, replaced whole")
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    expected = (PackageError, ReportError, DataError, EvaluationError, SurgeryError, LabelError, MetricError, OSError)
    try:
        package(positional.run, positional.out, arguments)
    except expected as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"packaged in {positional.out}\n")


if __name__ == "__main__":
    main()
