"""Export a packaged model to ONNX in the layout of transformers.js, in float32 and in int8, and prove that both agree.

    python -m training.export model_card/fer2013 --dataset fer2013.csv

writes onnx/model.onnx and onnx/model_quantized.onnx into the package, each checked through the engine that serves it:
the float file against PyTorch, the int8 file against the float file. Nothing is replaced before that.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import HfArgumentParser, PreTrainedModel
from transformers.image_utils import load_image

from gradio_ui.recognition.backends import ONNX_FILE, Backend, OnnxBackend, TorchBackend
from gradio_ui.recognition.classifier import labels_of
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.hub import resolve_model
from gradio_ui.recognition.onnx_session import import_onnxruntime
from training.card import write_card
from training.data.labels import LabelError
from training.data.load import DataError, load_fer
from training.evaluation.metrics import softmax
from training.evaluation.predictions import EvaluationError, references
from training.reporting.report import ReportError, load_report, write_report

QUANTIZED_FILE = "onnx/model_quantized.onnx"
OPSET = 20  # the first with Gelu, which would otherwise be five nodes
SPLIT = "validation"
TOLERANCE = 1e-4  # of a probability, float32 ONNX against PyTorch
MAX_LOSS = 0.003  # of accuracy, int8 against float32
MIN_AGREEMENT = 0.98  # of the labels, int8 against float32
BATCH = 32


class ExportError(RuntimeError):
    """A model that does not come out of the export as it went in; nothing was replaced."""


@dataclass
class ExportArguments:
    """What to calibrate and check on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id with a train and a validation split."})
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv; for a model of the head ferplus."})
    calibration_pictures: int = field(default=512, metadata={"help": "Training pictures that set the int8 ranges."})


@dataclass(frozen=True)
class Variant:
    """One way to run the model, measured on `validation`.

    Attributes:
        name: the file, or the backend.
        megabytes: size of the weights' file, in millions of bytes.
        accuracy: 0-1.
        agreement: 0-1, share of pictures with the same label as the variant it was made from.
        one, many: median milliseconds of one picture, and of one in a batch of `BATCH`, from pixels to logits.
    """

    name: str
    megabytes: float
    accuracy: float
    agreement: float
    one: float
    many: float


def export_onnx(model: PreTrainedModel, size: tuple[int, int], path: Path) -> None:
    """Write a classifier as float32 ONNX: pixel_values (batch, 3, H, W) -> logits (batch, C), the batch free.

    Args:
        model: a transformers image classifier in eval mode on the CPU.
        size: (H, W) in pixels.
        path: the file.
    """
    import onnx
    import torch

    pictures = torch.zeros(2, 3, *size)
    program = torch.onnx.export(
        model,
        kwargs={"pixel_values": pictures},
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamic_shapes={"pixel_values": {0: "batch"}},
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None  # noqa: S101 - only the exporter before dynamo returned None
    proto = program.model_proto
    # The exporter notes for every node which line of which file on this machine it came from.
    for item in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        item.ClearField("metadata_props")
    for node in proto.graph.node:
        node.ClearField("doc_string")
    onnx.save(proto, path)


def quantize(
    source: Path,
    path: Path,
    batches: Sequence[np.ndarray],
    *,
    op_types: Sequence[str] = ("MatMul",),
    per_channel: bool = True,
    unsigned: bool = False,
) -> None:
    """Write an int8 version: static, QDQ, a scale for each output channel of a weight.

    Only the matrix products are in int8. They hold 90 % of the weights; with the convolutions too the file shrinks
    from 31 % to 26 % of the float one, and another 1 % of the labels changes.

    Args:
        source: float32 ONNX.
        path: the file to write.
        batches: `pixel_values` that set the ranges of the activations.
        op_types, per_channel, unsigned: what is in int8, whether each output channel of a weight has its own scale,
            and whether activations are uint8; `tests.benchmarks.export_trials` compares these.
    """
    import_onnxruntime()  # without its telemetry
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(tqdm(batches, desc="calibrating", unit="batch", leave=False))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"pixel_values": batch} for batch in self.batches), None)

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(op_types),
            per_channel=per_channel,
            activation_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )


def pictures_of(split: Dataset) -> list[np.ndarray]:
    """The pictures of a split, (h, w, 3) uint8, RGB."""
    return [np.asarray(load_image(image)) for image in tqdm(split["image"], desc="reading", leave=False)]


def predict(backend: Backend, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """(n, C) float32 probabilities."""
    starts = tqdm(range(0, len(pictures), BATCH), desc=backend.name, unit="batch", leave=False)
    return softmax(np.concatenate([backend(pictures[start : start + BATCH]) for start in starts]))


def milliseconds(backend: Backend, pictures: Sequence[np.ndarray], rounds: int = 20) -> float:
    """Median time of one picture when these are classified together, warm."""

    def seconds() -> Iterator[float]:
        for _ in range(rounds + 2):
            start = time.perf_counter()
            backend(pictures)
            yield time.perf_counter() - start

    return 1000 * statistics.median(list(seconds())[2:]) / len(pictures)


def export(folder: Path, arguments: ExportArguments) -> tuple[list[Variant], str]:
    """Write, check and swap in both files.

    Args:
        folder: a package; its folder onnx/ is replaced.
        arguments: what to calibrate and check on.

    Returns:
        PyTorch, the float32 file, and the int8 file; and why there is no int8 file, or "".

    Raises:
        ExportError: the float file does not agree with PyTorch, or the dataset lacks a split; nothing was replaced.
        DataError, EvaluationError, LabelError, RecognitionError: the dataset or the model cannot be used.
    """
    folder = resolve_model(folder).folder
    torch_backend = TorchBackend.from_pretrained(folder, "cpu")
    config = torch_backend.model.config
    outputs = len(labels_of(config.to_dict()))
    data = load_fer(arguments.dataset, ferplus=arguments.ferplus)
    if missing := {"train", SPLIT} - data.keys():
        raise ExportError(f"expected a dataset with a train and a {SPLIT} split, got none of {', '.join(missing)}")
    head = getattr(config, "provenance", {}).get("head", "fer2013")
    y, _ = references(data[SPLIT], labels_of(config.to_dict()), head)
    rows = np.flatnonzero(y >= 0)
    pictures, y = pictures_of(data[SPLIT].select(rows)), y[rows]

    def measure(backend: Backend, file: Path, probabilities: np.ndarray, reference: np.ndarray) -> Variant:
        labels, many = probabilities.argmax(axis=1), pictures[:BATCH]
        return Variant(
            name=file.name,
            megabytes=file.stat().st_size / 1e6,
            accuracy=float((labels == y).mean()),
            agreement=float((labels == reference.argmax(axis=1)).mean()),
            one=milliseconds(backend, pictures[:1]),
            many=milliseconds(backend, many),
        )

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        staged = Path(scratch) / folder.name
        (staged / ONNX_FILE).parent.mkdir(parents=True)
        torch_backend.image_processor.save_pretrained(staged)
        height, width = torch_backend.pixel_values(pictures[:1]).shape[2:]
        export_onnx(torch_backend.model, (height, width), staged / ONNX_FILE)
        float_backend = OnnxBackend(staged, outputs)
        stock, exported = predict(torch_backend, pictures), predict(float_backend, pictures)
        if not (difference := float(np.abs(stock - exported).max())) <= TOLERANCE:
            raise ExportError(
                f"expected the same probabilities from PyTorch and {ONNX_FILE} within {TOLERANCE:g}, got a difference "
                f"of {difference:.2g} on {len(pictures)} pictures of {SPLIT}; {folder.name} is as it was"
            )
        variants = [
            measure(torch_backend, folder / "model.safetensors", stock, stock),
            measure(float_backend, staged / ONNX_FILE, exported, stock),
        ]

        count = min(arguments.calibration_pictures, len(data["train"]))
        chosen = np.random.default_rng(0).permutation(len(data["train"]))[:count]
        calibration = pictures_of(data["train"].select(chosen))
        batches = [float_backend.image_processor(calibration[i : i + BATCH]) for i in range(0, count, BATCH)]
        quantize(staged / ONNX_FILE, staged / QUANTIZED_FILE, batches)
        int8_backend = OnnxBackend(staged, outputs, QUANTIZED_FILE)
        variants.append(measure(int8_backend, staged / QUANTIZED_FILE, predict(int8_backend, pictures), exported))
        refusal = refusal_of(variants[1], variants[2])
        if refusal:
            (staged / QUANTIZED_FILE).unlink()
        swap((staged / ONNX_FILE).parent, (folder / ONNX_FILE).parent, Path(scratch) / "previous")
    if (folder / "report.json").exists():  # what the card tells of the files
        kept = variants[:-1] if refusal else variants
        report = load_report(folder / "report.json") | {"onnx": [asdict(variant) for variant in kept]}
        write_report(report, folder / "report.json")
        write_card(folder)
    return variants, refusal


def refusal_of(exported: Variant, quantized: Variant) -> str:
    """Why an int8 model is not good enough beside the float one, or ""."""
    loss = exported.accuracy - quantized.accuracy
    if loss <= MAX_LOSS and quantized.agreement >= MIN_AGREEMENT:
        return ""
    return (
        f"{QUANTIZED_FILE} was not written: expected to lose at most {100 * MAX_LOSS:g} points of accuracy and to "
        f"agree on {MIN_AGREEMENT:.0%} of the labels, got {100 * loss:.2f} points and {quantized.agreement:.2%}"
    )


def swap(new: Path, out: Path, previous: Path) -> None:
    """Replace a folder by another one on the same disk; after a failure the old one is back."""
    if out.exists():
        out.rename(previous)
    try:
        new.rename(out)
    except BaseException:
        if previous.exists():
            previous.rename(out)
        raise


def format_variants(variants: Sequence[Variant]) -> str:
    """A table for the terminal."""
    rows = [f"{'file':22} {'MB':>6} {'accuracy':>9} {'agreement':>10} {'ms, 1 face':>11} {f'ms, 1 of {BATCH}':>11}"]
    rows += [
        f"{v.name:22} {v.megabytes:6.2f} {v.accuracy:9.4f} {v.agreement:10.4f} {v.one:11.2f} {v.many:11.2f}"
        for v in variants
    ]
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    kinds: Any = ExportArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.export", description=__doc__)
    parser.add_argument("folder", type=Path, help="package folder")
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    try:
        variants, refusal = export(positional.folder, arguments)
    except (ExportError, DataError, EvaluationError, LabelError, RecognitionError, ReportError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(
        f"{format_variants(variants)}\n{refusal or f'opset {OPSET}, written to {positional.folder}/onnx'}\n"
    )


if __name__ == "__main__":
    main()
