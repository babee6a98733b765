"""ONNX files: what is in int8, and that it computes nearly the same."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.network.onnx_files import quantize_static

WEIGHT = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32) * np.array([1, 10, 100], np.float32)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A linear classifier of (3, 2, 2) images."""
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixel_values"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "float.onnx")
    return tmp_path / "float.onnx"


def quantized(source: Path, **options: Any) -> tuple[onnx.ModelProto, float]:
    """The int8 file, and its largest error as a share of the output's deviation."""
    batches = [np.random.default_rng(n).normal(size=(8, 3, 2, 2)).astype(np.float32) for n in range(4)]
    path = source.with_name("int8.onnx")
    quantize_static(source, path, batches, **options)
    assert {file.name for file in source.parent.iterdir()} == {"float.onnx", "int8.onnx"}  # nothing else is left
    session = onnxruntime.InferenceSession(path)
    (logits,) = session.run(["logits"], {"pixel_values": batches[0]})
    expected = batches[0].reshape(8, 12) @ WEIGHT
    return onnx.load(path), float(np.abs(logits - expected).max() / expected.std())


def tensors(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def test_each_output_channel_has_its_own_scale(source: Path) -> None:
    model, error = quantized(source)
    stored = tensors(model)
    weight = next(values for values in stored.values() if values.shape == (12, 3))
    assert weight.dtype == np.int8 and np.abs(weight).max(axis=0).min() > 120  # each column uses the whole range
    assert {one.op_type for one in model.graph.node} >= {"QuantizeLinear", "DequantizeLinear", "MatMul"}
    assert all(values.dtype != np.uint8 for values in stored.values())
    assert error < 0.1


def test_one_scale_and_unsigned_activations(source: Path) -> None:
    model, _ = quantized(source, per_channel=False, unsigned=True)
    stored = tensors(model)
    weight = next(values for values in stored.values() if values.shape == (12, 3))
    assert weight.dtype == np.int8 and np.abs(weight).max(axis=0)[0] < 20  # the third column sets the scale
    assert any(values.dtype == np.uint8 for values in stored.values())


def test_other_operations_stay_in_float(source: Path) -> None:
    model, error = quantized(source, op_types=("Conv",))
    assert {one.op_type for one in model.graph.node}.isdisjoint({"QuantizeLinear", "DequantizeLinear"})
    assert error < 1e-4
