"""A classifier as an ONNX file, in float32 and in int8; `training.export` checks both and puts them into a package."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from gradio_ui.recognition.onnx_session import import_onnxruntime

OPSET = 20  # the first with Gelu, which would otherwise be five nodes


def export_onnx(model: PreTrainedModel, size: tuple[int, int], path: Path) -> None:
    """Write a classifier as float32 ONNX: pixel_values (batch, 3, H, W) -> logits (batch, C), the batch free.

    Args:
        model: a transformers image classifier in eval mode on the CPU.
        size: (H, W) in pixels.
        path: the file.
    """
    import onnx
    import torch

    program = torch.onnx.export(
        model,
        kwargs={"pixel_values": torch.zeros(2, 3, *size)},
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamic_shapes={"pixel_values": {0: "batch"}},
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None  # noqa: S101 - only the exporter before dynamo returned None
    proto = program.model_proto
    # The exporter records for every node which line of which file on this machine it came from.
    for item in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        item.ClearField("metadata_props")
    for node in proto.graph.node:
        node.ClearField("doc_string")
    onnx.save(proto, path)


def quantize_dynamic(source: Path, path: Path, *, tanh_gelu: bool = True) -> None:
    """Write an int8 version whose activations get their range from each batch at run time.

    Only the matrix products are in int8, with a scale for each output channel of a weight, for the reasons that
    `quantize_static` gives. An image's logits then depend a little on the others of its batch.

    Args:
        source: float32 ONNX.
        path: the file to write.
        tanh_gelu: compute GELU by tanh in place of erf, which differs by less than int8 rounds away and is faster in
            WebAssembly, where this file is served.
    """
    import onnx

    import_onnxruntime()  # without its telemetry
    import onnxruntime.quantization as quantization

    model = onnx.load(source)
    del model.graph.value_info[:]  # the quantizer transposes the head's weights and then finds these shapes wrong
    for node in model.graph.node if tanh_gelu else ():
        if node.op_type == "Gelu":
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("approximate", "tanh"))
    quantization.quantize_dynamic(model, path, op_types_to_quantize=["MatMul"], per_channel=True)


def quantize_static(
    source: Path,
    path: Path,
    batches: Sequence[np.ndarray],
    *,
    op_types: Sequence[str] = ("MatMul",),
    per_channel: bool = True,
    unsigned: bool = False,
) -> None:
    """Write an int8 version: static, QDQ, a scale for each output channel of a weight.

    Only the matrix products are in int8. They hold 90 % of the weights; with the convolutions in int8, too, the file
    shrinks from 31 % to 26 % of the float one, and another 1 % of the labels changes.

    Args:
        source: float32 ONNX.
        path: the file to write.
        batches: `pixel_values` that set the ranges of the activations.
        op_types, per_channel, unsigned: what is in int8, whether each output channel of a weight has its own scale,
            and whether activations are uint8; `tests.benchmarks.export_trials` compares these.
    """
    import_onnxruntime()  # without its telemetry
    import onnxruntime.quantization as quantization
    from onnxruntime.quantization import QuantFormat, QuantType
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(tqdm(batches, desc="calibrating", unit="batch", leave=False, disable=None))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({"pixel_values": batch} for batch in self.batches), None)

    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(op_types),
            per_channel=per_channel,
            activation_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
