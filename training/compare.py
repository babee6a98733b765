"""Put several models side by side on the same pictures: accuracy, calibration, speed and size.

    python -m training.compare model_card/fer2013 user/name@revision other/onnx/model_quantized.onnx \\
        --dataset fer2013.csv --split validation

The first model is the one the others are tested against. Labels are matched by name; models of different label sets
are compared on the labels they share. An ONNX file is read with the config and image processor beside or above it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    BaseImageProcessor,
    HfArgumentParser,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import ImageClassifierOutput

from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.hub import resolve_model
from gradio_ui.recognition.onnx_session import import_onnxruntime
from training.data.labels import LabelError, canonical_label
from training.data.load import DataError, load_fer
from training.evaluate import split_provenance
from training.evaluation.bootstrap import bootstrap_intervals
from training.evaluation.metrics import MetricError, compute, softmax
from training.evaluation.predictions import EvaluationError, head_of, labels_of, predict, references, shared_outputs
from training.network.build import load_model
from training.network.surgery import FoldingError
from training.reporting.report import ReportError, library_versions, write_report

SHOWN = ("accuracy", "nll", "ece")


class CompareError(ValueError):
    """Models that cannot be compared: fewer than two, one that cannot be read, or no label in common."""


@dataclass
class CompareArguments:
    """What to compare on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id, see training.data.load."})
    split: str = field(default="validation", metadata={"help": "train, validation or test."})
    head: str | None = field(
        default=None,
        metadata={"help": "fer2013, or ferplus for majority votes and contempt; default: what the first is for."},
    )
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv, the votes of the same rows."})
    skip_bad_rows: bool = field(default=False, metadata={"help": "Leave out unusable rows instead of stopping."})
    batch_size: int = field(default=64, metadata={"help": "Pictures per forward pass."})
    output: str = field(default="comparison.json", metadata={"help": "Where the comparison is written."})


class OnnxClassifier(torch.nn.Module):
    """An ONNX file that answers as a transformers classifier does, on the CPU.

    Args:
        path: takes (n, 3, H, W) float32, gives (n, C) logits.
        config: of the model it was exported from.

    Raises:
        CompareError: if onnxruntime is not installed or cannot read the file.
    """

    device = torch.device("cpu")

    def __init__(self, path: Path, config: PreTrainedConfig) -> None:
        super().__init__()
        try:
            onnxruntime = import_onnxruntime()
            from onnxruntime.capi import onnxruntime_pybind11_state as status
        except ImportError:
            raise CompareError(f"{path}: expected onnxruntime to read it, got none; pip install onnxruntime") from None
        try:
            self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except (status.Fail, status.InvalidArgument, status.InvalidGraph, status.InvalidProtobuf) as error:
            raise CompareError(f"{path}: expected an ONNX model, but onnxruntime says: {error}") from None
        outputs = self.session.get_outputs()[0].shape[-1]
        if outputs != len(config.id2label or {}):
            raise CompareError(
                f"{path}: expected {len(config.id2label or {})} outputs as in its config, got {outputs}"
            )
        self.config = config

    def forward(self, pixel_values: torch.Tensor) -> ImageClassifierOutput:
        inputs = {self.session.get_inputs()[0].name: pixel_values.numpy()}
        return ImageClassifierOutput(logits=torch.from_numpy(self.session.run(None, inputs)[0]))


@dataclass(frozen=True)
class Contender:
    """A model to compare.

    Attributes:
        name: as it was asked for.
        revision: the commit on the Hub; None for a folder or file.
        model: in eval mode, on its device; an `OnnxClassifier` for an ONNX file.
        image_processor: the one saved with it.
        labels: the canonical names of its C outputs, in order.
        parameters: how many numbers were learnt.
        weights_bytes: size of the files that hold them.
    """

    name: str
    revision: str | None
    model: PreTrainedModel | OnnxClassifier
    image_processor: BaseImageProcessor
    labels: list[str]
    parameters: int
    weights_bytes: int


def open_contender(spec: str, head: str = "fer2013") -> Contender:
    """Load a model.

    Args:
        spec: a run folder, a packaged folder, a Hub id with optional `@revision`, or an ONNX file.
        head: which one, where a run has two.

    Raises:
        CompareError: if an ONNX file cannot be used, or the labels are no expressions.
        RecognitionError: if the model is not found.
        FoldingError: if it has no such head.
    """
    model: Any
    if spec.endswith(".onnx"):
        path, revision = Path(spec), None
        folder = next((f for f in (path.parent, path.parent.parent) if (f / "config.json").is_file()), None)
        if not path.is_file() or folder is None:
            raise CompareError(f"{spec}: expected an ONNX file with config.json beside it or in the folder above")
        config = AutoConfig.from_pretrained(folder)
        model, image_processor = OnnxClassifier(path, config), AutoImageProcessor.from_pretrained(folder)
        with torch.device("meta"):  # counted, not made
            parameters = AutoModelForImageClassification.from_config(config).num_parameters()
        files = list(path.parent.glob(f"{path.name}*"))  # large weights lie in a file of their own
    else:
        source = resolve_model(spec)
        folder, revision = source.folder, source.revision
        model, image_processor = load_model(folder, head)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        parameters, files = model.num_parameters(), list(folder.glob("model*.safetensors"))
    try:
        labels = [canonical_label(name) for name in labels_of(model)]
    except LabelError as error:
        raise CompareError(f"{spec}: {error}") from None
    size = sum(file.stat().st_size for file in files)
    return Contender(spec, revision, model, image_processor, labels, parameters, size)


def mcnemar(first: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Exact two-sided McNemar test (1947) of two models on the same pictures.

    Only pictures that one of them alone has right tell them apart; if neither is better, each is as likely to have it.

    Args:
        first, other: (n,) bool, which pictures each has right.

    Returns:
        `only_first` and `only_this`, how many pictures one alone has right, and `p_value`, not adjusted for how many
        models are compared.
    """
    from scipy.stats import binomtest

    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    told_apart = only_first + only_other
    p_value = float(binomtest(only_other, told_apart).pvalue) if told_apart else 1.0
    return {"only_first": only_first, "only_this": only_other, "p_value": p_value}


def compare(
    contenders: Sequence[Contender], split: Dataset, *, head: str = "fer2013", batch_size: int = 64
) -> dict[str, Any]:
    """Measure models on the same pictures.

    Args:
        contenders: the first is what the others are tested against.
        split: from `load_fer`.
        head: "fer2013", or "ferplus" to measure against the majority of the votes.
        batch_size: pictures per forward pass.

    Returns:
        JSON-ready: `labels` (those shared), `pictures`, `warnings`, and `models`, each with `name`, `revision`,
        `device`, `parameters`, `weights_bytes`, `pictures_per_second` (from the stored picture to logits, after a
        warm-up), `metrics`, `intervals` (95 %, bootstrap) and `against_first` (see `mcnemar`; None for the first).

    Raises:
        CompareError: if there are fewer than two models or no label in common.
        EvaluationError: if no picture is left.
        MetricError: if a model gives NaN.
    """
    if len(contenders) < 2:
        raise CompareError(f"expected two models or more to compare, got {len(contenders)}")
    first = contenders[0].labels
    known = [first[index] for index in shared_outputs(split, first, head)]
    labels = [label for label in known if all(label in contender.labels for contender in contenders)]
    if not labels:
        every = "; ".join(f"{contender.name}: {', '.join(contender.labels)}" for contender in contenders)
        raise CompareError(f"expected models and a dataset with labels in common, got {every}")
    warnings = [
        f"{contender.name}: {', '.join(foreign)} left out, not known to all; its other labels share the probability"
        for contender in contenders
        if (foreign := [label for label in contender.labels if label not in labels])
    ]
    y, left_out = references(split, labels, head)
    rows = np.flatnonzero(y >= 0)
    pictures, y = split.select(rows), y[rows]

    models: list[dict[str, Any]] = []
    hits: list[np.ndarray] = []
    for contender in contenders:
        model: Any = contender.model
        predict(model, contender.image_processor, pictures.select(range(min(batch_size, len(pictures)))))
        started = time.perf_counter()
        logits = predict(model, contender.image_processor, pictures, batch_size=batch_size)[0]
        seconds = time.perf_counter() - started
        probabilities = softmax(logits[:, [contender.labels.index(label) for label in labels]])
        metrics, undefined = compute(probabilities, y, labels)
        warnings += [f"{contender.name}: {message}" for message in undefined]
        hits.append(probabilities.argmax(axis=1) == y)
        models.append(
            {
                "name": contender.name,
                "revision": contender.revision,
                "device": str(model.device),
                "parameters": contender.parameters,
                "weights_bytes": contender.weights_bytes,
                "pictures_per_second": round(len(y) / seconds, 1),
                "metrics": metrics,
                "intervals": bootstrap_intervals(probabilities, y, labels),
                "against_first": mcnemar(hits[0], hits[-1]) if models else None,
            }
        )
    return {"labels": labels, "pictures": len(y), "warnings": left_out + warnings, "models": models}


def format_comparison(comparison: dict[str, Any]) -> str:
    """The result of `compare` for a terminal."""
    width = max(len(model["name"]) for model in comparison["models"])
    titles = "".join(f"  {name:<23}" for name in SHOWN)
    lines = [f"{'model':<{width}}{titles}{'p':>8}{'pictures/s':>12}{'MB':>8}{'parameters':>12}"]
    for model in comparison["models"]:
        shown = [(model["metrics"][name], *model["intervals"][name]) for name in SHOWN]
        cells = [f"  {value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in shown]
        test = model["against_first"]
        p_value = f"{test['p_value']:.2g}" if test else "-"
        lines.append(
            f"{model['name']:<{width}}{''.join(f'{cell:<25}' for cell in cells)}{p_value:>8}"
            f"{model['pictures_per_second']:>12,.0f}{model['weights_bytes'] / 1e6:>8.1f}{model['parameters']:>12,}"
        )
    lines += [
        "",
        f"{comparison['pictures']} pictures of {', '.join(comparison['labels'])}; 95 % bootstrap intervals; "
        "p: exact McNemar test against the first.",
    ]
    return "\n".join(lines + [f"warning: {message}" for message in comparison["warnings"]])


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    kinds: Any = CompareArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.compare", description=__doc__)
    parser.add_argument(
        "models", nargs="+", help="run or packaged folders, Hub ids with optional @revision, ONNX files"
    )
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    expected = (CompareError, EvaluationError, DataError, MetricError, ReportError, FoldingError, RecognitionError)
    try:
        contenders = [open_contender(spec, arguments.head or "fer2013") for spec in positional.models]
        head = arguments.head or head_of(contenders[0].model)
        data = load_fer(arguments.dataset, ferplus=arguments.ferplus, skip_bad_rows=arguments.skip_bad_rows)
        if arguments.split not in data:
            raise EvaluationError(f"expected --split to be one of {', '.join(data)}, got {arguments.split!r}")
        comparison = compare(contenders, data[arguments.split], head=head, batch_size=arguments.batch_size)
    except (*expected, OSError) as error:
        sys.exit(f"error: {error}")
    where = {"dataset": split_provenance(data, arguments.split, head), "split": arguments.split, "head": head}
    write_report({**where, **comparison, "environment": {"versions": library_versions()}}, arguments.output)
    sys.stdout.write(f"{format_comparison(comparison)}\nwritten to {arguments.output}\n")


if __name__ == "__main__":
    main()
