"""What browsers get to recognize faces by themselves: these files and no others, of the right types, and kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gradio_ui.model_registry import Models
from gradio_ui.recognition.detector import find_yunet
from gradio_ui.server.device_files import DeviceFiles
from gradio_ui.views.static import STATIC


def recognizer(folder: Path, detector: str = "yunet") -> SimpleNamespace:
    kind = SimpleNamespace(name="yunet", path=find_yunet()) if detector == "yunet" else SimpleNamespace(name=detector)
    return SimpleNamespace(source=SimpleNamespace(folder=folder, notice=""), detector=kind)


def client(*recognizers: SimpleNamespace, runtime: Path | None = None, enabled: bool = True) -> TestClient:
    models = Models({str(i): lambda one=one: one for i, one in enumerate(recognizers)})  # type: ignore[misc]
    models[models.default]  # the others are not loaded
    return TestClient(Starlette(routes=DeviceFiles(models, STATIC, runtime, enabled).routes()))


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm", "secret.txt"):
        (folder / name).write_bytes(b"content")
    return folder


@pytest.fixture
def served(root: Path, runtime: Path) -> Iterator[TestClient]:
    folder = root / "model_card/fer2013"
    yield client(recognizer(folder), recognizer(folder), runtime=runtime)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("page/webcam.js", "text/javascript"),
        ("page/on_device/index.js", "text/javascript"),
        ("page/app.css", "text/css"),
        ("runtime/ort.wasm.bundle.min.mjs", "text/javascript"),
        ("runtime/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ("yunet.onnx", "application/octet-stream"),
        ("models/0/config.json", "application/json"),
        ("models/0/report.json", "application/json"),
        ("models/0/onnx/model_quantized.onnx", "application/octet-stream"),
        ("models/0/device.json", "application/json"),
    ],
)
def test_the_files_have_types_and_are_kept(served: TestClient, path: str, kind: str) -> None:
    answer = served.get(f"/device/{path}")
    assert answer.status_code == 200 and answer.content
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["cache-control"] == "no-cache"
    if etag := answer.headers.get("etag"):
        again = served.get(f"/device/{path}", headers={"if-none-match": etag})
        assert again.status_code == 304 and not again.content


@pytest.mark.parametrize(
    "path",
    [
        "page/webcam.html",
        "page/../settings.py",
        "page/%2e%2e/settings.py",
        "page//etc/passwd",
        "runtime/secret.txt",
        "runtime/..%2f..%2fsecret",
        "models/0/README.md",
        "models/0/model.safetensors",
        "models/0/../../../app.py",
        "models/0/onnx/..%2f..%2fconfig.json",
        "models/1/config.json",
        "models/7/config.json",
        "models/-1/config.json",
    ],
)
def test_nothing_else_is_given(served: TestClient, path: str) -> None:
    assert served.get(f"/device/{path}").status_code == 404


def test_the_description_says_where_all_is(served: TestClient) -> None:
    told = served.get("/device/models/0/device.json").json()
    assert (told["model"], told["detector"], told["runtime"]) == ("./", "../../yunet.onnx", "../../runtime/")
    assert len(told["checksums"]["detector"]) == 64


def test_where_it_cannot_be_the_reason_is_told(root: Path, tmp_path: Path) -> None:
    folder, bare = root / "model_card/fer2013", tmp_path / "bare"
    bare.mkdir()
    shutil.copy(folder / "config.json", bare)
    for app, reason in (
        (client(recognizer(bare)), "no ONNX files"),
        (client(recognizer(folder, "whole")), "as one face"),
        (client(recognizer(folder), enabled=False), "keeps the model on the server"),
    ):
        answer = app.get("/device/models/0/device.json")
        assert answer.status_code == 404 and reason in answer.json()["detail"]
    assert client(recognizer(folder), enabled=False).get("/device/models/0/onnx/model.onnx").status_code == 404


def test_the_app_serves_them_behind_its_guard(url: str) -> None:
    answer = httpx.get(f"{url}device/page/on_device/index.js")
    assert answer.status_code == 200 and "EmotionRecognizer" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no ONNX files" in httpx.get(f"{url}device/models/0/device.json").json()["detail"]
