"""Turn a run folder into a complete Hub model repository: stock weights, card, report, figures.

    python -m training.package runs/fer2013 model_card/fer2013 --dataset fer2013.csv

The head is selected, the grey stem widened to RGB and the temperature folded into the classifier, so the folder
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

import numpy as np
from transformers import HfArgumentParser
from transformers import TrainingArguments as HFTrainingArguments

from gradio_ui.recognition.classifier import DEFAULT_MARGIN
from training.arguments import TrainingArguments
from training.canvas import write_figures
from training.card import CardError, write_card
from training.curves import curves, read_log
from training.data import DataError, load_fer
from training.evaluate import describe_model, draw, measure
from training.folding import FoldingError, fold_temperature
from training.labels import LabelError
from training.metrics import Brier, ExpectedCalibrationError, MetricError, NegativeLogLikelihood, compute, softmax
from training.model import load_model
from training.predictions import EvaluationError, classify, labels_of
from training.report import SCHEMA_VERSION, library_versions, publishable, write_report

if TYPE_CHECKING:
    from datasets import DatasetDict

SPLIT = "validation"  # the temperature is fitted here and the report is about it; test stays untouched
NOT_RECIPE = {"output_dir", "report_to", "debug", "do_eval", "use_cpu", "dataloader_pin_memory"}  # this machine's
WATTS_PER_CORE = 12.0  # assumed of a busy core with its share of memory and power supply; nothing was metered
RUN_KEYS = ("commit", "seed", "epochs", "seconds", "device", "versions", "dataset")


class PackageError(RuntimeError):
    """A run folder that cannot be packaged, or a package that did not pass its checks; nothing was replaced."""


@dataclass
class PackageArguments:
    """What to package and what to measure it on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id whose validation split calibrates and measures."})
    head: str = field(default="fer2013", metadata={"help": "fer2013 or ferplus."})
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv; needed for the head ferplus."})
    model_id: str | None = field(
        default=None, metadata={"help": "Hub id the card's quick start names; default: the folder as given."}
    )
    max_megabytes: float = field(default=40.0, metadata={"help": "Refuse larger weights; 1 MB is a million bytes."})


def fit_temperature(logits: np.ndarray, references: np.ndarray) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, section 4.2).

    Args:
        logits: (n, C).
        references: (n,) integers.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(references))
    logits = np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, references].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def calibrate(logits: np.ndarray, references: np.ndarray, labels: list[str]) -> tuple[float, dict[str, Any]]:
    """Fit the temperature on all pictures, and measure honestly what fitting one buys.

    The "after" figures are cross-fitted: each random half is scored with the temperature that the other half gave.

    Args:
        logits: (n, C).
        references: (n,) integers.
        labels: the C names.

    Returns:
        The temperature, and the report's `calibration`.
    """
    metrics = (ExpectedCalibrationError, NegativeLogLikelihood, Brier)
    before, _ = compute(softmax(logits), references, labels, metrics)
    order = np.random.default_rng(0).permutation(len(references))
    halves = order[::2], order[1::2]
    scaled = logits.astype(np.float64)
    for fitted, scored in (halves, halves[::-1]):
        scaled[scored] /= fit_temperature(logits[fitted], references[fitted])
    temperature = fit_temperature(logits, references)
    return temperature, {
        "temperature": temperature,
        "pictures": len(references),
        "before": before,
        "after": compute(softmax(scaled), references, labels, metrics)[0],
    }


def energy_of(run: dict[str, Any]) -> dict[str, float] | None:
    """What a run took, estimated from its processor time; None where that does not tell: GPUs, several processes.

    Args:
        run: what run.json holds.

    Returns:
        `cpu_seconds` over all cores, `assumed_watts_per_core`, and `kwh`.
    """
    if run["device"] != "cpu" or run.get("processes", 1) != 1 or not run.get("cpu_seconds"):
        return None
    seconds = run["cpu_seconds"]
    return {
        "cpu_seconds": seconds,
        "assumed_watts_per_core": WATTS_PER_CORE,
        "kwh": seconds * WATTS_PER_CORE / 3.6e6,
    }


def read_run(folder: Path) -> dict[str, Any]:
    """What `training.train` recorded, cut to what is worth publishing: where, when, from what, and the recipe.

    The recipe is one that `training.train` takes: the arguments of network and augmentation, and the trainer's own or
    where they differ from the defaults of transformers.

    Raises:
        PackageError: if the folder is no finished run.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        arguments = run["arguments"]
        stock = {item.name: item.default for item in dataclasses.fields(HFTrainingArguments)}
        recorded = arguments["training"]
        trainer = {
            item.name: recorded[item.name]
            for item in dataclasses.fields(TrainingArguments)
            if item.name in recorded
            and item.name not in NOT_RECIPE
            and isinstance(item.default, int | float | str)
            and recorded[item.name] != stock.get(item.name)
        }
        recipe = arguments["model"] | arguments["augment"] | trainer
        return publishable({**{key: run[key] for key in RUN_KEYS}, "energy": energy_of(run), "recipe": recipe})
    except (OSError, ValueError, KeyError) as error:
        raise PackageError(
            f"{folder}: expected a finished run of training.train, but run.json cannot be used: {error!r}"
        ) from error


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
        PackageError, EvaluationError, FoldingError, LabelError, MetricError: nothing usable was written.
    """
    training = read_run(run)
    model, image_processor = load_model(run, arguments.head)
    labels = labels_of(model)

    if SPLIT not in data:
        raise PackageError(f"expected a dataset with a {SPLIT} split, got {', '.join(data)}")
    where: Any = {"split": SPLIT, "head": arguments.head}
    raw = classify(model, image_processor, data, **where)
    temperature, calibration = calibrate(raw.logits[0], raw.references, labels)

    fold_temperature(model.float(), temperature)
    model.config.crop_margin = margins
    model.config.provenance = {"head": arguments.head, **{key: training[key] for key in RUN_KEYS}}
    model.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written readable by its owner alone, but meant for everybody
    if log_history := read_log(run):
        training["figures"] = write_figures([curves(log_history)], folder / "figures", folder)

    packaged, image_processor = load_model(folder)  # measured as it will be served
    predictions = classify(packaged, image_processor, data, **where, flip_tta=True)
    results = measure(predictions, data, **where)
    results[0]["figures"] = draw(predictions, results[0], packaged, folder / "figures", folder)
    report = {
        "schema_version": SCHEMA_VERSION,
        "model": describe_model(packaged, folder / "model.safetensors", str(arguments.model_id)),
        "results": results,
        "calibration": {**where, **calibration},
        "training": training,
        "environment": {"versions": library_versions(), "device": str(packaged.device)},
    }
    write_report(report, folder / "report.json")
    write_card(folder)
    return labels


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
        PackageError: if the run is not finished or a check fails; an existing package is as it was.
        DataError, EvaluationError, FoldingError, LabelError, MetricError: likewise.
    """
    margins = dict(DEFAULT_MARGIN)
    if (out / "config.json").exists():
        margins |= json.loads((out / "config.json").read_text(encoding="utf-8")).get("crop_margin", {})
    name = str(publishable(out)) if out.is_absolute() else out.as_posix()
    arguments = dataclasses.replace(arguments, model_id=arguments.model_id or name)
    data = load_fer(arguments.dataset, ferplus=arguments.ferplus)
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
    expected = (PackageError, CardError, DataError, EvaluationError, FoldingError, LabelError, MetricError, OSError)
    try:
        package(positional.run, positional.out, arguments)
    except expected as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"packaged in {positional.out}\n")


if __name__ == "__main__":
    main()
