"""Export a packaged model to ONNX in the layout of transformers.js, in float32 and in int8, and prove that both agree.

    python -m training.export model_card/fer2013 --dataset fer2013.csv

writes onnx/model.onnx and onnx/model_quantized.onnx into the package, each checked through the engine that serves it:
the float file against PyTorch, the int8 file against the float file. Only then is the package replaced, as a whole.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import softmax
from tqdm.auto import tqdm
from transformers import HfArgumentParser
from transformers.image_utils import load_image

from gradio_ui.recognition.backends import ONNX_FILE, Backend, OnnxBackend, TorchBackend
from gradio_ui.recognition.classifier import labels_of
from gradio_ui.recognition.hub import resolve_model
from training.card import write_card
from training.data.classes import Classes
from training.data.load import load_fer
from training.errors import ExportError, command
from training.evaluation.predictions import references
from training.files import staged_folder
from training.network.onnx_files import OPSET, export_onnx, quantize_dynamic, quantize_static
from training.reporting.package_layout import write_checksums
from training.reporting.report import REPORT_FILE, OnnxVariant, Report

QUANTIZED_FILE = "onnx/model_quantized.onnx"
SPLIT = "validation"
TOLERANCE = 1e-4  # of a probability, float32 ONNX against PyTorch
MAX_LOSS = 0.003  # of accuracy, int8 against float32
MIN_AGREEMENT = 0.98  # of the labels, int8 against float32
BATCH = 32
KINDS = ("dynamic", "static")  # of int8


@dataclass
class ExportArguments:
    """The dataset to check on, and the kind of int8."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id with a train and a validation split."})
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv; for a model of the head ferplus."})
    int8: str = field(
        default="dynamic",
        metadata={
            "help": "Where the ranges of the activations come from: dynamic, from each batch at run time; or static, "
            "from training images at export."
        },
    )
    calibration_images: int = field(default=512, metadata={"help": "Training images that set static ranges."})

    def __post_init__(self) -> None:
        if self.int8 not in KINDS:
            raise ExportError(f"int8: expected {' or '.join(KINDS)}, got {self.int8!r}")


def images_of(split: Dataset) -> list[np.ndarray]:
    """Return the images of a split, (h, w, 3) uint8, RGB."""
    return [np.asarray(load_image(image)) for image in tqdm(split["image"], desc="reading", leave=False, disable=None)]


def predict(backend: Backend, images: Sequence[np.ndarray]) -> np.ndarray:
    """Return (n, C) float32 probabilities."""
    starts = tqdm(range(0, len(images), BATCH), desc=backend.name, unit="batch", leave=False, disable=None)
    return softmax(np.concatenate([backend(images[start : start + BATCH]) for start in starts]), axis=1)


def milliseconds(backend: Backend, images: Sequence[np.ndarray], rounds: int = 20) -> float:
    """Measure the median time for one image when these are classified together, warm."""

    def seconds() -> Iterator[float]:
        for _ in range(rounds + 2):
            start = time.perf_counter()
            backend(images)
            yield time.perf_counter() - start

    return 1000 * statistics.median(list(seconds())[2:]) / len(images)


@dataclass(frozen=True)
class Trials:
    """The images that the variants are measured on, and those that set the int8 ranges.

    Attributes:
        images: n of the validation split, (h, w, 3) uint8, RGB.
        labels: (n,) int, indices of the model's outputs.
        calibration: of the training split; none for dynamic ranges.
    """

    images: list[np.ndarray]
    labels: np.ndarray
    calibration: list[np.ndarray]

    @classmethod
    def load(cls, arguments: ExportArguments, labels: Sequence[str], head: str, classes: Classes) -> Trials:
        """Load the dataset.

        Args:
            arguments: name it.
            labels: of the model, in the order of its outputs.
            head: of the model, "fer2013" or "ferplus".
            classes: how the dataset is read for the model.

        Raises:
            ExportError: the dataset lacks a split.
            DataError, EvaluationError, LabelError: it cannot be used for this model.
        """
        data = load_fer(arguments.dataset, ferplus=arguments.ferplus, classes=classes)
        needed = {SPLIT, "train"} if arguments.int8 == "static" else {SPLIT}
        if missing := needed - data.keys():
            raise ExportError(
                f"expected a dataset with a {' and a '.join(sorted(needed))} split, it lacks {', '.join(missing)}"
            )
        y, _ = references(data[SPLIT], labels, head)
        rows = np.flatnonzero(y >= 0)
        images = images_of(data[SPLIT].select(rows))
        if arguments.int8 == "dynamic":
            return cls(images, y[rows], [])
        chosen = np.random.default_rng(0).permutation(len(data["train"]))[: arguments.calibration_images]
        return cls(images, y[rows], images_of(data["train"].select(chosen)))

    def measure(self, backend: Backend, file: Path, probabilities: np.ndarray, reference: np.ndarray) -> OnnxVariant:
        """Measure one way to run the model.

        Args:
            backend: what runs it.
            file: its weights.
            probabilities: (n, C), its answers.
            reference: (n, C), the answers of the variant that it was made from.
        """
        labels = probabilities.argmax(axis=1)
        return OnnxVariant(
            name=file.name,
            megabytes=file.stat().st_size / 1e6,
            accuracy=float((labels == self.labels).mean()),
            agreement=float((labels == reference.argmax(axis=1)).mean()),
            latency_ms=milliseconds(backend, self.images[:1]),
            batch_latency_ms=milliseconds(backend, self.images[:BATCH]),
        )


def export(folder: Path, arguments: ExportArguments) -> tuple[list[OnnxVariant], str]:
    """Write and check both files, and swap in the package that holds them.

    Args:
        folder: a package; its folder onnx/, and with it report and card, is replaced.
        arguments: what to calibrate and check on.

    Returns:
        PyTorch, the float32 file, and the int8 file; and why there is no int8 file, or "".

    Raises:
        ExportError: the float file does not agree with PyTorch, or the dataset lacks a split; nothing was replaced.
        DataError, EvaluationError, LabelError, ReportError, RecognitionError: the dataset or the package cannot be
            used; likewise.
    """
    folder = resolve_model(folder).folder.resolve()
    torch_backend = TorchBackend.from_pretrained(folder, "cpu")
    config = torch_backend.model.config
    head = getattr(config, "provenance", {}).get("head", "fer2013")
    trials = Trials.load(arguments, labels_of(config.to_dict()), head, Classes.of_model(config.to_dict()))
    with staged_folder(folder) as staged:
        shutil.copytree(folder, staged, ignore=shutil.ignore_patterns("onnx"), dirs_exist_ok=True)
        (staged / ONNX_FILE).parent.mkdir()
        *variants, exported = export_float(torch_backend, trials, staged)
        quantized = export_int8(trials, exported, staged)
        refusal = refusal_of(variants[1], quantized)
        if refusal:
            (staged / QUANTIZED_FILE).unlink()
        if (staged / REPORT_FILE).exists():  # what the card says about the files
            kept = variants if refusal else [*variants, quantized]
            replace(Report.load(staged / REPORT_FILE), onnx=kept).save(staged / REPORT_FILE)
            write_card(staged)
            write_checksums(staged)
    return [*variants, quantized], refusal


def export_float(
    torch_backend: TorchBackend, trials: Trials, folder: Path
) -> tuple[OnnxVariant, OnnxVariant, np.ndarray]:
    """Write the float32 file and compare it with PyTorch.

    Args:
        torch_backend: the model.
        trials: what to measure on.
        folder: the package, with an empty folder onnx/.

    Returns:
        PyTorch, the file, and the file's probabilities (n, C).

    Raises:
        ExportError: they do not agree.
    """
    height, width = torch_backend.pixel_values(trials.images[:1]).shape[2:]
    export_onnx(torch_backend.model, (height, width), folder / ONNX_FILE)
    backend = OnnxBackend(folder, len(labels_of(torch_backend.model.config.to_dict())))
    stock, exported = predict(torch_backend, trials.images), predict(backend, trials.images)
    if not (difference := float(np.abs(stock - exported).max())) <= TOLERANCE:
        raise ExportError(
            f"expected the same probabilities from PyTorch and {ONNX_FILE} within {TOLERANCE:g}, got a difference "
            f"of {difference:.2g} on {len(trials.images)} images of {SPLIT}; the package is as it was"
        )
    return (
        trials.measure(torch_backend, folder / "model.safetensors", stock, stock),
        trials.measure(backend, folder / ONNX_FILE, exported, stock),
        exported,
    )


def export_int8(trials: Trials, exported: np.ndarray, folder: Path) -> OnnxVariant:
    """Write the int8 file.

    Args:
        trials: what to measure on; with calibration images, the ranges are static.
        exported: (n, C), the probabilities of the float32 file.
        folder: the package, with the float32 file.
    """
    outputs, images = exported.shape[1], trials.calibration
    processor = OnnxBackend(folder, outputs).image_processor
    batches = [processor(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    if batches:
        quantize_static(folder / ONNX_FILE, folder / QUANTIZED_FILE, batches)
    else:
        quantize_dynamic(folder / ONNX_FILE, folder / QUANTIZED_FILE)
    backend = OnnxBackend(folder, outputs, QUANTIZED_FILE)
    return trials.measure(backend, folder / QUANTIZED_FILE, predict(backend, trials.images), exported)


def refusal_of(exported: OnnxVariant, quantized: OnnxVariant) -> str:
    """Say why an int8 model is not good enough beside the float one; "" where it is."""
    loss = exported.accuracy - quantized.accuracy
    if loss <= MAX_LOSS and quantized.agreement >= MIN_AGREEMENT:
        return ""
    return (
        f"{QUANTIZED_FILE} was not written: expected to lose at most {100 * MAX_LOSS:g} points of accuracy and to "
        f"agree on {MIN_AGREEMENT:.0%} of the labels, got {100 * loss:.2f} points and {quantized.agreement:.2%}"
    )


def format_variants(variants: Sequence[OnnxVariant]) -> str:
    """Lay out a table for the terminal."""
    rows = [f"{'file':22} {'MB':>6} {'accuracy':>9} {'agreement':>10} {'ms, 1 face':>11} {f'ms, 1 of {BATCH}':>11}"]
    rows += [
        f"{v.name:22} {v.megabytes:6.2f} {v.accuracy:9.4f} {v.agreement:10.4f} {v.latency_ms:11.2f} "
        f"{v.batch_latency_ms:11.2f}"
        for v in variants
    ]
    return "\n".join(rows)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    kinds: Any = ExportArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.export", description=__doc__)
    parser.add_argument("folder", type=Path, help="package folder")
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    variants, refusal = export(positional.folder, arguments)
    sys.stdout.write(
        f"{format_variants(variants)}\n{refusal or f'opset {OPSET}, written to {positional.folder}/onnx'}\n"
    )


if __name__ == "__main__":
    main()
