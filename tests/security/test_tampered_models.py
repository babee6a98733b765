"""A model folder that was altered, or never was right, is refused with one clear sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradio_ui.recognition import Classifier, ModelError, resolve_model
from gradio_ui.recognition.backends import ONNX_FILE
from tests.support.hub_fixtures import files_of
from tests.support.model_fixtures import LABELS

SERVED = ["config.json", "preprocessor_config.json", "model.safetensors", ONNX_FILE]
CROP = [np.zeros((9, 9, 3), np.uint8)]


def list_files(folder: Path, **report: Any) -> None:
    """Write a report.json that lists every other file of the folder."""
    files = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files_of(folder).items()
        if name != "report.json"
    }
    (folder / "report.json").write_text(json.dumps({"schema_version": 1, "files": files} | report))


@pytest.fixture(scope="module")
def original(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with its ONNX file and a report of all files."""
    from transformers import AutoModelForImageClassification

    from training.export import export_onnx

    folder = shutil.copytree(model_folder, tmp_path_factory.mktemp("original") / "tiny")
    (folder / ONNX_FILE).parent.mkdir()
    export_onnx(AutoModelForImageClassification.from_pretrained(folder).eval(), (48, 48), folder / ONNX_FILE)
    list_files(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of the package."""
    return Path(shutil.copytree(original, tmp_path / "tiny"))


@pytest.fixture
def change(folder: Path) -> Callable[..., Path]:
    """Change values of a JSON file, and the report with it, so that the values are what is refused."""

    def write(file: str = "config.json", content: Any = None, **values: Any) -> Path:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values if content is None else content))
        list_files(folder)
        return folder

    return write


def flip(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def backend_of(file: str) -> str:
    return "torch" if file == "model.safetensors" else "onnxruntime"


def refused(folder: Path, message: str, backends: tuple[str, ...] = ("auto", "torch", "onnxruntime")) -> None:
    """Assert that each backend refuses a folder in one sentence that names it."""
    for backend in backends:
        with pytest.raises(ModelError, match=message) as end:
            Classifier.from_pretrained(resolve_model(folder).folder, backend=backend)
        assert "\n" not in str(end.value) and "tiny" in str(end.value)


def test_the_untouched_package_is_served(folder: Path) -> None:
    for backend in ("auto", "torch", "onnxruntime"):
        assert Classifier.from_pretrained(folder, backend=backend)(CROP).shape == (1, 7)


@pytest.mark.parametrize("file", SERVED)
def test_one_flipped_bit_is_refused(folder: Path, file: str) -> None:
    flip(folder / file)
    if file.endswith(".json"):
        with pytest.raises(ModelError, match=f"{file}"):
            Classifier.from_pretrained(resolve_model(folder).folder)
    else:
        refused(folder, f"{file} is damaged: report.json gives the checksum", (backend_of(file),))
    if file == ONNX_FILE:
        refused(folder, "is damaged", ("auto",))  # not passed over, as a file that onnxruntime cannot read would be


@pytest.mark.parametrize("file", SERVED)
def test_a_file_that_is_not_listed_is_refused(folder: Path, file: str) -> None:
    files = json.loads((folder / "report.json").read_text())["files"]
    list_files(folder, files={name: checksum for name, checksum in files.items() if name != file})
    refused(folder, f"{file} is not listed in report.json", (backend_of(file),))


def test_the_same_value_in_other_bytes_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    refused(folder, "config.json is damaged")


def test_an_older_report_holds_the_weights_alone(folder: Path) -> None:
    checksum = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "report.json").write_text(json.dumps({"schema_version": 1, "model": {"weights_sha256": checksum}}))
    assert Classifier.from_pretrained(folder, backend="torch")(CROP).shape == (1, 7)
    flip(folder / "model.safetensors")
    refused(folder, r"model\.safetensors is damaged", ("torch",))


@pytest.mark.parametrize("report", [None, {}, {"files": 3}, {"schema_version": 1}, {"schema_version": 1, "model": {}}])
def test_without_checksums_nothing_is_compared(folder: Path, report: Any) -> None:
    (folder / "report.json").unlink()
    if report is not None:
        (folder / "report.json").write_text(json.dumps(report))
    assert Classifier.from_pretrained(folder)(CROP).shape == (1, 7)


@pytest.mark.parametrize(
    "report",
    [
        "{",
        "[]",
        '{"schema_version": 1, "files": []}',
        '{"schema_version": 1, "files": {"config.json": 3}}',
        '{"schema_version": 1, "files": {"config.json": "abc"}}',
        '{"schema_version": 1, "model": {"weights_sha256": null}}',
    ],
)
def test_a_damaged_report_is_refused(folder: Path, report: str) -> None:
    (folder / "report.json").write_text(report)
    refused(folder, r"report\.json (is damaged|cannot be used)")


def test_the_shipped_packages_are_whole(root: Path) -> None:
    for folder in (root / "model_card").glob("*/"):
        assert (folder / "report.json").is_file()
        for backend in ("torch", "onnxruntime"):
            assert Classifier.from_pretrained(folder, "cpu", backend=backend).backend.name == backend


@pytest.mark.parametrize("kind", ["lacks", "has 1 weights"])
def test_other_tensors_are_refused(folder: Path, kind: str) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = max(weights)
    if kind == "lacks":
        del weights[name]
    else:
        name = "backdoor.weight"
        weights[name] = weights[max(weights)].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    list_files(folder)
    refused(folder, f"{kind}.*{name}", ("torch",))


def test_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    import onnx
    from onnx import numpy_helper
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] *= float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model = onnx.load(folder / ONNX_FILE)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(np.nan), tensor.name))
    onnx.save(model, folder / ONNX_FILE)
    list_files(folder)
    refused(folder, "gives values that are no numbers")


def numbered(*labels: Any) -> dict[str, Any]:
    return {"id2label": {str(number): label for number, label in enumerate(labels)}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auto_map": {"AutoModelForImageClassification": "model.Model"}}, "asks for code of its own"),
        (numbered(*LABELS[:6], "happy"), "got 'happy' twice"),
        (numbered(*LABELS[:6], 7), "got the label 7"),
        (numbered(*LABELS[:6], ""), "got the label ''"),
        (numbered(*LABELS[:6], None), "map 0, 1, 2"),
        (numbered(*LABELS[:6], ["sad"]), r"got the label \['sad'\]"),
        (numbered(*LABELS[:6], "two\nlines"), "got the label 'two"),
        (numbered(*LABELS[:6], "\ud800"), "got the label"),
        ({"id2label": dict(zip("012345x", LABELS, strict=True))}, "got the numbers 0, 1, 2, 3, 4, 5, x"),
        ({"id2label": dict(zip("0123457", LABELS, strict=True))}, "got the numbers 0, 1, 2, 3, 4, 5, 7"),
        ({"id2label": list(LABELS)}, r"got \['angry'"),
        ({"id2label": {}}, "got {}"),
        ({"id2label": "happy"}, "got 'happy'"),
        ({"crop_margin": {"yunet": "0.1"}}, "crop_margin in config.json is"),
        ({"crop_margin": {"yunet": None}}, "crop_margin in config.json is"),
        ({"crop_margin": {"yunet": True}}, "crop_margin in config.json is"),
        ({"crop_margin": {"yunet": float("nan")}}, "crop_margin in config.json is"),
        ({"crop_margin": {"yunet": -1}}, "crop_margin in config.json is"),
        ({"crop_margin": {"yunet": 2.01}}, "crop_margin in config.json is"),
        ({"crop_margin": [0.1]}, "crop_margin in config.json is"),
    ],
)
def test_a_wrong_config_is_refused(change: Callable[..., Path], values: dict[str, Any], message: str) -> None:
    refused(change(**values), message)


@pytest.mark.parametrize("margin", [-0.99, 0, 2])
def test_margins_at_the_limits_are_taken(change: Callable[..., Path], margin: float) -> None:
    assert Classifier.from_pretrained(change(crop_margin={"yunet": margin})).crop_margin == {"yunet": margin}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auto_map": {"AutoImageProcessor": "code.Processor"}}, "asks for code of its own"),
        ({"image_std": [0.2, 0, 0.2]}, "image_std .*Expected finite numbers above 0"),
        ({"image_std": 0}, "image_std .*Expected finite numbers above 0"),
        ({"image_std": [0.2, -0.1, 0.2]}, "image_std .*Expected finite numbers above 0"),
        ({"image_std": [0.2, float("nan"), 0.2]}, "image_std .*Expected finite numbers above 0"),
        ({"image_std": [0.2, float("inf"), 0.2]}, "image_std .*Expected finite numbers above 0"),
        ({"image_std": ["a", "b", "c"]}, "image_std .*Expected finite numbers above 0"),
        ({"image_std": {"red": 1}}, "image_std .*Expected finite numbers above 0"),
        ({"image_mean": [float("nan")] * 3}, "image_mean .*Expected finite numbers"),
        ({"image_mean": "gray"}, "image_mean .*Expected finite numbers"),
        ({"rescale_factor": 0}, "rescale_factor .*Expected a finite number above 0"),
        ({"rescale_factor": "1/255"}, "rescale_factor .*Expected a finite number above 0"),
        ({"crop_pct": 0}, "crop_pct .*Expected a number above 0"),
        ({"resample": 6}, "resample .*Expected a whole number from 0 to 5"),
        ({"resample": 2.5}, "resample .*Expected a whole number from 0 to 5"),
        ({"resample": "bilinear"}, "resample .*Expected a whole number from 0 to 5"),
        ({"size": {"height": 48, "width": 0}}, "size .*Expected whole pixels from 1"),
        ({"size": {"height": 48, "width": 4097}}, "size .*Expected whole pixels from 1"),
        ({"size": {"height": 48.5, "width": 48}}, "size .*Expected whole pixels from 1"),
        ({"size": "large"}, "size .*Expected whole pixels from 1"),
    ],
)
def test_a_wrong_preprocessor_is_refused(change: Callable[..., Path], values: dict[str, Any], message: str) -> None:
    refused(change("preprocessor_config.json", **values), message)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", [[], "text", 3, None])
def test_a_file_that_holds_no_object_is_refused(folder: Path, file: str, content: Any) -> None:
    (folder / file).write_text(json.dumps(content))
    list_files(folder)
    refused(folder, f"{file} cannot be used. Expected a JSON object")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"", b"{"])
def test_a_file_that_is_no_json_is_refused(folder: Path, content: bytes) -> None:
    for file in ("config.json", "preprocessor_config.json"):
        (folder / file).write_bytes(content)
        with pytest.raises(ModelError, match=f"{file} is damaged"):
            Classifier.from_pretrained(resolve_model(folder).folder)
        shutil.copy(folder / "report.json", folder / file)
