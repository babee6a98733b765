"""PyTorch and onnxruntime give the same probabilities; a bad ONNX file is named, or passed over with one warning."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gradio_ui.recognition import Classifier, ModelError
from gradio_ui.recognition.backends import ONNX_FILE


@pytest.fixture(scope="module")
def exported(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder with its ONNX file."""
    from transformers import AutoModelForImageClassification

    from training.export import export_onnx

    folder = shutil.copytree(model_folder, tmp_path_factory.mktemp("exported") / "tiny")
    (folder / ONNX_FILE).parent.mkdir()
    export_onnx(AutoModelForImageClassification.from_pretrained(folder).eval(), (48, 48), folder / ONNX_FILE)
    return folder


@pytest.fixture(scope="module")
def crops(portrait: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(portrait[60 : 60 + h, 170 : 170 + h + 9]) for h in range(20, 170)]


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_flip_averages_probabilities(exported: Path, crops: list[np.ndarray], backend: str) -> None:
    classifier = Classifier.from_pretrained(exported, backend=backend)
    square = [crop[:48, :48] for crop in crops[-40:]]  # not resized, so that the mirror image is exact
    mirrored = [np.ascontiguousarray(crop[:, ::-1]) for crop in square]
    alone, other, both = classifier(square), classifier(mirrored), classifier(square, flip=True)
    assert both.dtype == np.float32 and np.abs(alone - other).max() > 0.01
    np.testing.assert_allclose(both, (alone + other) / 2, atol=1e-6)  # of probabilities, not of logits
    np.testing.assert_allclose(both, classifier(mirrored, flip=True), atol=1e-6)
    assert classifier([], flip=True).shape == (0, 7)


def corrupt(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2000])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def from_the_future(file: Path) -> None:
    import onnx

    model = onnx.load(file)
    model.opset_import[0].version = 99
    onnx.save(model, file)


def newer_format(file: Path) -> None:
    import onnx

    model = onnx.load(file)
    model.ir_version = 99
    onnx.save(model, file)


def other_model(file: Path) -> None:
    """A file that works, but takes and gives other things."""
    import onnx
    from onnx import TensorProto, helper

    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("input", "scores")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["scores"])], "other", sides[:1], sides[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)


def other_labels(file: Path) -> None:
    config = file.parents[1] / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"id2label": dict(list(content["id2label"].items())[:5])}))


def other_size(file: Path) -> None:
    config = file.parents[1] / "preprocessor_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"size": {"height": 56, "width": 56}}))


def other_image_processor(file: Path) -> None:
    config = file.parents[1] / "preprocessor_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"do_normalize": False}))


def test_backends_agree(exported: Path, crops: list[np.ndarray]) -> None:
    ours = Classifier.from_pretrained(exported, backend="onnxruntime")
    stock = Classifier.from_pretrained(exported, backend="torch")
    assert (ours.backend.name, stock.backend.name) == ("onnxruntime", "torch")
    assert (ours.labels, ours.crop_margin) == (stock.labels, stock.crop_margin)
    expected = stock(crops)
    assert np.ptp(expected, axis=0).max() > 0.1  # different crops, different answers
    assert np.abs(ours(crops) - expected).max() < 1e-5
    assert ours([]).shape == (0, 7)


def test_auto_takes_onnxruntime_where_its_file_is(exported: Path, model_folder: Path) -> None:
    assert Classifier.from_pretrained(exported).backend.name == "onnxruntime"
    assert Classifier.from_pretrained(exported, "cpu").backend.name == "onnxruntime"
    assert Classifier.from_pretrained(model_folder).backend.name == "torch"


def test_onnxruntime_needs_no_torch(exported: Path) -> None:
    code = (
        "import sys, numpy; from gradio_ui.recognition import Classifier\n"
        "Classifier.from_pretrained(sys.argv[1])([numpy.zeros((9, 9, 3), 'uint8')])\n"
        "print([m for m in ('torch', 'transformers', 'onnx', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, exported], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, "cannot read onnx/model.onnx, which is damaged"),
        (empty, "onnx/model.onnx"),
        (from_the_future, "cannot read onnx/model.onnx, which is damaged or needs a newer version.*99"),
        (newer_format, "cannot read onnx/model.onnx, which is damaged or needs a newer version.*99"),
        (other_model, "tiny: onnx/model.onnx is of another model.*pixel_values.*got: .*input"),
        (other_size, "onnx/model.onnx is of another model.*56, 56"),
        (other_image_processor, "only PyTorch can serve"),
    ],
)
def test_a_bad_file_is_named_and_auto_passes_it_over(
    exported: Path,
    tmp_path: Path,
    portrait: np.ndarray,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    folder = shutil.copytree(exported, tmp_path / "tiny")
    damage(folder / ONNX_FILE)
    with pytest.raises(ModelError, match=message):
        Classifier.from_pretrained(folder, backend="onnxruntime")
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "gradio_ui"):
        classifier = Classifier.from_pretrained(folder)
    assert classifier.backend.name == "torch"
    assert classifier([portrait]).shape == (1, 7)
    (warning,) = [record for record in caplog.records if record.name.startswith("gradio_ui")]
    assert "PyTorch serves the model instead of onnxruntime" in warning.getMessage()


def test_another_number_of_labels_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "tiny")
    other_labels(folder / ONNX_FILE)
    with pytest.raises(ModelError, match=r"onnx/model.onnx is of another model.*logits \(n, 5\), got.*\(1, 7\)"):
        Classifier.from_pretrained(folder, backend="onnxruntime")


def test_what_cannot_be_had_is_refused(model_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"has no onnx/model\.onnx\. Write it with training.export"):
        Classifier.from_pretrained(model_folder, backend="onnxruntime")
    with pytest.raises(ModelError, match="runs on the CPU, not on cuda"):
        Classifier.from_pretrained(model_folder, "cuda", backend="onnxruntime")
    with pytest.raises(ModelError, match="Choose auto, torch, onnxruntime"):
        Classifier.from_pretrained(model_folder, backend="tensorflow")


@pytest.mark.parametrize("shared", [True, False])
def test_a_batch_gives_each_face_its_own_row(exported: Path, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cores take parts of the faces of a small network, and layers of a large one."""
    monkeypatch.setattr("gradio_ui.recognition.backends.SHARED_BYTES", 2**30 if shared else 0)
    classifier = Classifier.from_pretrained(exported, backend="onnxruntime")
    crops = [np.random.default_rng(seed).integers(0, 255, (40 + seed, 50, 3), np.uint8) for seed in range(7)]
    together = classifier(crops)
    assert len({row.tobytes() for row in together}) == 7
    np.testing.assert_allclose(together, np.concatenate([classifier([crop]) for crop in crops]), atol=1e-5)
