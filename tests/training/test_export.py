"""The ONNX files agree with the checkpoint, say nothing of this machine, and appear whole or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from gradio_ui.recognition import Classifier
from tests.support.tiny_run import make_run
from training import export as module
from training.errors import ExportError
from training.export import OPSET, ExportArguments, OnnxVariant, export, main, refusal_of
from training.network.build import load_model


@pytest.fixture(scope="module")
def arguments(tiny_csv: Path) -> ExportArguments:
    return ExportArguments(dataset=str(tiny_csv), calibration_images=48)


def lenient(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "MIN_AGREEMENT", 0.8)  # 14 pictures: a single label is 7 %
    patch.setattr(module, "MAX_LOSS", 0.2)


@pytest.fixture(scope="module")
def exported(arguments: ExportArguments, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A model folder with its ONNX files, and what `export` returned."""
    run, folder = make_run(tmp_path_factory.mktemp("run")), tmp_path_factory.mktemp("package") / "fer2013"
    model, image_processor = load_model(run)
    model.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        lenient(patch)
        return folder, *export(folder, arguments)


@pytest.fixture
def package(exported: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to change, whose float file need not be made again."""
    folder = shutil.copytree(exported[0], tmp_path / "models" / "fer2013")
    monkeypatch.setattr(
        module, "export_onnx", lambda model, size, path: shutil.copy(exported[0] / "onnx/model.onnx", path)
    )
    monkeypatch.setattr(module, "milliseconds", lambda backend, images: 1.0)
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_both_files_are_there_and_nothing_else(exported: tuple) -> None:
    folder, variants, refusal = exported
    assert refusal == ""
    assert {path.name for path in (folder / "onnx").iterdir()} == {"model.onnx", "model_quantized.onnx"}
    assert [path.name for path in folder.parent.iterdir()] == ["fer2013"]
    stock, exact, int8 = variants
    assert exact.agreement == 1 and exact.accuracy == stock.accuracy
    assert min(stock.latency_ms, exact.batch_latency_ms, int8.latency_ms) > 0


def test_float_file_says_nothing_of_this_machine(exported: tuple, root: Path) -> None:
    model = onnx.load(exported[0] / "onnx/model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [OPSET]
    (pixel_values,), (logits,) = model.graph.input, model.graph.output
    shape = [axis.dim_param or axis.dim_value for axis in pixel_values.type.tensor_type.shape.dim]
    assert (pixel_values.name, shape, logits.name) == ("pixel_values", ["batch", 3, 48, 48], "logits")
    for content in snapshot(exported[0] / "onnx").values():
        assert b"site-packages" not in content
        assert str(root).encode() not in content


def test_int8_ranges_are_taken_at_run_time(exported: tuple) -> None:
    """By default: each output channel of a weight has a scale, activations get theirs from the batch; GELU by tanh."""
    graph = onnx.load(exported[0] / "onnx/model_quantized.onnx").graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kernels = [weights[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger"]
    assert len(kernels) == 5 and all(kernel.dtype == np.int8 for kernel in kernels)  # two blocks and the head
    scales = {scale.shape for name, scale in weights.items() if name.endswith("_scale") and scale.dtype == np.float32}
    assert {(kernel.shape[1],) for kernel in kernels} <= scales
    assert {node.op_type for node in graph.node} >= {"Conv", "DynamicQuantizeLinear"}
    kinds = [
        {
            attribute.s
            for node in onnx.load(exported[0] / file).graph.node
            if node.op_type == "Gelu"
            for attribute in node.attribute
        }
        for file in ("onnx/model.onnx", "onnx/model_quantized.onnx")
    ]
    assert b"tanh" not in kinds[0] and kinds[1] == {b"tanh"}


def test_int8_ranges_can_be_set_at_export(
    package: Path, arguments: ExportArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    lenient(monkeypatch)
    _, exact, int8 = export(package, replace(arguments, int8="static"))[0]
    assert int8.megabytes < exact.megabytes
    graph = onnx.load(package / "onnx/model_quantized.onnx").graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [
        (weights[node.input[0]], weights[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights
    ]
    kernels = [(weight, scale) for weight, scale in pairs if weight.ndim == 2]
    assert len(kernels) == 4  # two blocks, two linear layers each
    assert all(weight.dtype == np.int8 and scale.shape == (weight.shape[1],) for weight, scale in kernels)
    assert {node.op_type for node in graph.node} >= {"Conv", "Gemm", "QuantizeLinear"}


def test_the_engine_serves_what_was_exported(exported: tuple) -> None:
    crops = list(np.random.default_rng(0).integers(0, 256, (5, 60, 50, 3), dtype=np.uint8))
    served = Classifier.from_pretrained(exported[0])
    assert served.backend.name == "onnxruntime"
    assert np.abs(served(crops) - Classifier.from_pretrained(exported[0], backend="torch")(crops)).max() < 1e-5


def test_a_poor_int8_file_is_not_written(
    package: Path, arguments: ExportArguments, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(module, "MIN_AGREEMENT", 1.01)
    main([str(package), "--dataset", arguments.dataset])
    assert "onnx/model_quantized.onnx was not written: expected to lose at most" in capsys.readouterr().out
    assert [path.name for path in (package / "onnx").iterdir()] == ["model.onnx"]


def variant(name: str, accuracy: float, agreement: float) -> OnnxVariant:
    return OnnxVariant(
        name=name, megabytes=4, accuracy=accuracy, agreement=agreement, latency_ms=1, batch_latency_ms=1
    )


def test_limits_of_int8() -> None:
    exact = variant("model.onnx", 0.70, 1)
    assert refusal_of(exact, variant("model_quantized.onnx", 0.698, 0.981)) == ""
    assert "got 0.40 points" in refusal_of(exact, variant("model_quantized.onnx", 0.696, 0.99))
    assert "97.90%" in refusal_of(exact, variant("model_quantized.onnx", 0.71, 0.979))


def test_a_file_that_disagrees_replaces_nothing(
    package: Path, exported: tuple, arguments: ExportArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_head(model: object, size: object, path: Path) -> None:
        proto = onnx.load(exported[0] / "onnx/model.onnx")
        head = next(node for node in proto.graph.node if node.op_type == "Gemm")
        next(attribute for attribute in head.attribute if attribute.name == "alpha").f = 0.5
        onnx.save(proto, path)

    before = snapshot(package)
    monkeypatch.setattr(module, "export_onnx", other_head)
    with pytest.raises(ExportError, match=r"expected the same probabilities.*got a difference of 0\.\d+ on 14 images"):
        export(package, arguments)
    assert snapshot(package) == before
    assert [path.name for path in package.parent.iterdir()] == ["fer2013"]


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), OSError(28, "No space left on device")])
def test_interruption_leaves_the_old_files(
    package: Path, arguments: ExportArguments, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def interrupt(*_: object) -> None:
        raise error

    before = snapshot(package)
    monkeypatch.setattr(module, "quantize_dynamic", interrupt)
    with pytest.raises(type(error)):
        export(package, arguments)
    assert snapshot(package) == before
    assert [path.name for path in package.parent.iterdir()] == ["fer2013"]


def test_wrong_input_is_named(package: Path, arguments: ExportArguments, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*lacks config\.json"):
        main([str(tmp_path), "--dataset", arguments.dataset])
    with pytest.raises(SystemExit, match="int8: expected dynamic or static, got 'both'"):
        main([str(package), "--dataset", arguments.dataset, "--int8", "both"])
    (package / "config.json").write_text("{")
    with pytest.raises(SystemExit, match=r"error: .*config\.json is damaged"):
        main([str(package), "--dataset", arguments.dataset])
