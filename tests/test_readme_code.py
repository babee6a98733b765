"""The calls that the README shows are run as they stand there, against a local app, endpoint and Hub."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from skimage.data import astronaut

from gradio_ui.recognition.detector import find_yunet
from tests.support.device_server import RUNTIME, device_server
from tests.support.endpoint_server import serve_endpoint
from tests.support.hub_api import Repo
from tests.support.hub_fixtures import files_of
from tests.support.hub_server import HubServer

JAVASCRIPT = Path(__file__).parent / "javascript"


@pytest.fixture(scope="module")
def blocks(root: Path) -> list[tuple[str, str]]:
    """(language, code) of every block of the README."""
    return re.findall(r"^```(\w+)\n(.*?)^```", (root / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def app(shipped_url: str) -> str:
    """The address of an app that serves the shipped model."""
    return shipped_url.rstrip("/")


@pytest.fixture(autouse=True)
def beside_the_images(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the README speaks of."""
    (tmp_path / "model_card").symlink_to(root / "model_card")
    (tmp_path / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    Image.fromarray(astronaut()).save(tmp_path / "holiday.jpg")
    Image.fromarray(astronaut()[62:182, 166:286]).save(tmp_path / "face.png")
    monkeypatch.chdir(tmp_path)


def block(blocks: list[tuple[str, str]], language: str, mark: str) -> str:
    """The one block of a language that contains a mark."""
    (code,) = [code for kind, code in blocks if kind == language and mark in code]
    return code


def python(code: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs it; what it prints."""
    Path("snippet.py").write_text(code)
    runpy.run_path("snippet.py")
    return capsys.readouterr().out


def node(code: str) -> str:
    """Likewise."""
    if not shutil.which("node") or not (JAVASCRIPT / "node_modules/.package-lock.json").is_file():
        pytest.skip("there is no node, or its packages are not installed; `make test` does that where there is npm")
    Path("snippet.mjs").write_text(code)
    done = subprocess.run(
        ["node", "--preserve-symlinks-main", "snippet.mjs"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pipeline(blocks: list, capsys: pytest.CaptureFixture[str]) -> None:
    told = python(block(blocks, "python", "from transformers import pipeline"), capsys)
    assert told.startswith("[{'label': 'happy', 'score': 0.") and told.count("label") == 7


def test_recognizer(blocks: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert "] happy {'angry': 0." in python(block(blocks, "python", "EmotionRecognizer"), capsys)


def test_gradio_client(blocks: list, app: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = block(blocks, "python", "gradio_client").replace("http://127.0.0.1:7860", app)
    assert "'label': 'happy'" in python(code, capsys)


def test_inference_client(blocks: list, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve_endpoint(root / "model_card/fer2013") as url:
        code = block(blocks, "python", "InferenceClient").replace(
            "https://your-endpoint.endpoints.huggingface.cloud", url
        )
        lines = python(code, capsys).splitlines()
    assert len(lines) == 7 and lines[0].startswith("happy 0.")


def test_curl(blocks: list, app: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("there is no curl")
    code = block(blocks, "sh", "curl").replace("http://127.0.0.1:7860", app)
    done = subprocess.run(["bash", "-e", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    event, data = done.stdout.strip().split("\n")
    assert event == "event: complete"
    assert json.loads(data.removeprefix("data: "))[0]["faces"][0]["label"] == "happy"


def test_javascript_client(blocks: list, app: str) -> None:
    code = block(blocks, "js", "@gradio/client").replace("http://127.0.0.1:7860", app)
    assert json.loads(node(code))[0]["label"] == "happy"


HUB = "https://huggingface.co/"


@pytest.mark.browser
@pytest.mark.slow
def test_live_results_on_any_page(blocks: list, root: Path, tmp_path: Path, page: Any) -> None:
    """With the files of the Hub and of the CDN from this machine."""
    (tmp_path / "page.html").write_text("<!doctype html>" + block(blocks, "html", "EmotionRecognizer"))
    places = {
        f"{HUB}your-name/fer2013-convnext/resolve/main/": root / "model_card/fer2013",
        f"{HUB}opencv/": find_yunet().parent,
        "https://cdn.jsdelivr.net/": RUNTIME,
    }
    if not RUNTIME.is_dir():
        pytest.skip("onnxruntime-web is not installed; `make test` does that where there is npm")

    def answer(route: Any) -> None:
        start = next(start for start in places if route.request.url.startswith(start))
        rest = route.request.url.removeprefix(start)
        path = places[start] / (rest if "resolve/main" in start else rest.rpartition("/")[2])
        allowed = {"access-control-allow-origin": "*", "content-type": "application/octet-stream"}
        route.fulfill(body=path.read_bytes(), headers=allowed)

    page.route(re.compile("^https://"), answer)
    page.add_init_script(
        "const write = CanvasRenderingContext2D.prototype.strokeText;"
        "CanvasRenderingContext2D.prototype.strokeText = function (...values) {"
        "  window.written = values; write.apply(this, values); };"
    )
    with device_server(**{"page.html": tmp_path / "page.html"}) as url:
        page.goto(f"{url}page.html")
        label, left, top = page.wait_for_function("window.written", timeout=120_000).json_value()
    assert label == "happy" and 0 < left < 640 and 0 < top < 480


def test_transformers_js_from_the_hub(blocks: list, root: Path) -> None:
    model_id = "your-name/fer2013-convnext"
    with HubServer() as hub:
        repo = hub.repos["model", model_id] = Repo("model", model_id)
        files = {name: path.read_bytes() for name, path in files_of(root / "model_card/fer2013").items()}
        repo.commit("main", files)
        here = f'import {{ env }} from "@huggingface/transformers";\nenv.remoteHost = "{hub.endpoint}/";\n'
        told = node(here + 'env.cacheDir = "cache";\n' + block(blocks, "js", model_id))
    scores = json.loads(told)
    assert len(scores) == 7 and scores[0]["label"] == "happy"
    assert hub.asked("resolve/main/onnx/model_quantized.onnx") and not hub.asked("safetensors")
