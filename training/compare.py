"""Compare models on the same images: accuracy, calibration, speed and size.

    python -m training.compare model_card/fer2013 user/name@revision other/onnx/model_quantized.onnx \\
        --dataset fer2013.csv --split validation

The others are tested against the first model: paired bootstrap intervals of the differences, and McNemar's test with
Holm's correction. Labels are matched by name; models of different label sets are compared on the labels they share.
An ONNX file is read with the config and image processor beside or above it.
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
from datasets import Dataset, DatasetDict
from scipy.special import softmax
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

from gradio_ui.recognition.hub import resolve_model
from gradio_ui.recognition.onnx_session import import_onnxruntime
from training.data.classes import Classes
from training.data.labels import label_key
from training.data.load import load_fer
from training.errors import CompareError, EvaluationError, LabelError, command
from training.evaluation.predictions import check_expressions, head_of, labels_of, predict, references, shared_outputs
from training.evaluation.results import Intervals, Metrics
from training.network.build import load_model
from training.reporting.comparison import (
    Compared,
    Comparison,
    comparison_figure,
    format_comparison,
    tested_against_first,
)
from training.reporting.measurement import score
from training.reporting.plot_style import write_figures
from training.reporting.provenance import split_info
from training.reporting.report import Environment, library_versions, write_json


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
    batch_size: int = field(default=64, metadata={"help": "Images per forward pass."})
    output: str = field(default="comparison.json", metadata={"help": "Where the comparison is written."})
    figures: str | None = field(
        default=None, metadata={"help": "Folder of the plot; default: figures/ beside the output."}
    )


class OnnxClassifier(torch.nn.Module):
    """An ONNX file with the interface of a transformers classifier, on the CPU.

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
        parameters: number of learnt values.
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
        SurgeryError: if it has no such head.
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
        check_expressions(model, spec, ours=(Path(folder) / "run.json").is_file())
    except LabelError as error:
        raise CompareError(str(error)) from None
    labels = [label_key(name) for name in labels_of(model)]
    size = sum(file.stat().st_size for file in files)
    return Contender(spec, revision, model, image_processor, labels, parameters, size)


def shared_labels(contenders: Sequence[Contender], split: Dataset, head: str) -> tuple[list[str], list[str]]:
    """Return the labels that all models and the dataset know, and a warning for each model that has others.

    Raises:
        CompareError: there are none.
    """
    first = contenders[0].labels
    known = [first[index] for index in shared_outputs(split, first, head)]
    labels = [label for label in known if all(label in contender.labels for contender in contenders)]
    if not labels:
        every = "; ".join(f"{contender.name}: {', '.join(contender.labels)}" for contender in contenders)
        raise CompareError(f"expected models and a dataset with labels in common, got {every}")
    return labels, [
        f"{contender.name}: {', '.join(foreign)} left out, not known to all; its other labels share the probability"
        for contender in contenders
        if (foreign := [label for label in contender.labels if label not in labels])
    ]


def compare(
    contenders: Sequence[Contender],
    data: DatasetDict,
    *,
    split: str = "validation",
    head: str = "fer2013",
    batch_size: int = 64,
) -> Comparison:
    """Measure models on the same images.

    Args:
        contenders: the first is what the others are tested against.
        data: from `load_fer`.
        split: which split.
        head: "fer2013", or "ferplus" to measure against the majority of the votes.
        batch_size: images per forward pass.

    Raises:
        CompareError: there are fewer than two models or no label in common.
        EvaluationError: there is no such split, or no image is left.
        MetricError: a model gives NaN.
    """
    if len(contenders) < 2:
        raise CompareError(f"expected two models or more to compare, got {len(contenders)}")
    if split not in data:
        raise EvaluationError(f"expected --split to be one of {', '.join(data)}, got {split!r}")
    labels, warnings = shared_labels(contenders, data[split], head)
    y, left_out = references(data[split], labels, head)
    rows = np.flatnonzero(y >= 0)
    images, y = data[split].select(rows), y[rows]

    models: list[Compared] = []
    answers: list[np.ndarray] = []
    for contender in contenders:
        probabilities, images_per_second = classify(contender, images, labels, batch_size)
        metrics, intervals, undefined = score(probabilities, y, labels)
        models.append(describe(contender, images_per_second, metrics, intervals))
        answers.append(probabilities)
        warnings += [f"{contender.name}: {message}" for message in undefined]
    return Comparison(
        dataset=split_info(data, split, head),
        split=split,
        head=head,
        labels=labels,
        images=len(y),
        warnings=left_out + warnings,
        models=tested_against_first(models, answers, y),
        environment=Environment(versions=library_versions(), device=models[0].device),
    )


def classify(
    contender: Contender, images: Dataset, labels: Sequence[str], batch_size: int
) -> tuple[np.ndarray, float]:
    """Return (n, C) probabilities of these labels, and how many images a second that took after a warm-up."""
    model: Any = contender.model
    predict(model, contender.image_processor, images.select(range(min(batch_size, len(images)))))
    started = time.perf_counter()
    logits = predict(model, contender.image_processor, images, batch_size=batch_size)[0]
    seconds = time.perf_counter() - started
    columns = [contender.labels.index(label) for label in labels]
    return softmax(logits[:, columns], axis=1), len(images) / seconds


def describe(contender: Contender, images_per_second: float, metrics: Metrics, intervals: Intervals) -> Compared:
    """Return the record of a model, not tested yet."""
    return Compared(
        name=contender.name,
        revision=contender.revision,
        device=str(contender.model.device),
        parameters=contender.parameters,
        weights_bytes=contender.weights_bytes,
        images_per_second=round(images_per_second, 1),
        metrics=metrics,
        intervals=intervals,
    )


@command
def main(argv: list[str] | None = None) -> None:
    """Command line."""
    kinds: Any = CompareArguments  # the parser's own annotation does not take a plain dataclass
    parser = HfArgumentParser(kinds, prog="python -m training.compare", description=__doc__)
    parser.add_argument(
        "models", nargs="+", help="run or packaged folders, Hub ids with optional @revision, ONNX files"
    )
    arguments, positional = parser.parse_args_into_dataclasses(argv)
    contenders = [open_contender(spec, arguments.head or "fer2013") for spec in positional.models]
    head = arguments.head or head_of(contenders[0].model)
    data = load_fer(
        arguments.dataset,
        ferplus=arguments.ferplus,
        classes=Classes.of_model(contenders[0].model.config.to_dict()),
        skip_bad_rows=arguments.skip_bad_rows,
    )
    comparison = compare(contenders, data, split=arguments.split, head=head, batch_size=arguments.batch_size)
    output = Path(arguments.output)
    figures = Path(arguments.figures or output.parent / "figures")
    write_json(comparison, output)
    write_figures([comparison_figure(comparison)], figures, output.parent)
    sys.stdout.write(f"{format_comparison(comparison)}\nwritten to {output} and {figures}\n")


if __name__ == "__main__":
    main()
