"""Loading: progress, the second start, no request afterwards, other sites; and each failure with a clear reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from gradio_ui.recognition import EmotionRecognizer
from tests.support.browser import launch_chromium
from tests.support.device_page import LOAD, DevicePage
from tests.support.device_server import ROOT, RUNTIME, device_server
from tests.support.parity import compare, portrait

pytestmark = pytest.mark.browser
FACE = portrait(320, 240, (40, 0), 240)
OpenPage = Callable[..., DevicePage]


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a copy of the model and of onnxruntime-web's files that a test may damage."""
    shutil.copytree(ROOT / "model_card/fer2013", tmp_path / "model")
    (tmp_path / "runtime").mkdir()
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (tmp_path / "runtime" / name).symlink_to(RUNTIME / name)
    with device_server(model=tmp_path / "model", runtime=tmp_path / "runtime") as url:
        yield tmp_path, url


def test_progress_second_start_and_no_request_after(open_page: OpenPage, address: str) -> None:
    page = open_page()
    asked: list[str] = []
    page.page.context.on("request", lambda request: asked.append(request.url))
    assert "error" not in page.load()
    progress = page.page.evaluate("window.progress")
    megabytes = [{"loaded", "total", "file"} == set(one) and one["loaded"] / 1e6 for one in progress]
    assert megabytes == sorted(megabytes) and len(megabytes) >= 2 * len({one["file"] for one in progress}) > 4
    files = [RUNTIME / "ort.wasm.bundle.min.mjs", RUNTIME / "ort-wasm-simd-threaded.wasm"]
    files.append(ROOT / "model_card/fer2013/onnx/model_quantized.onnx")
    whole = sum(file.stat().st_size for file in files) + 232_589  # YuNet
    assert progress[-1]["loaded"] == progress[-1]["total"] == whole
    assert all(url.startswith(("blob:", address)) for url in asked)

    asked.clear()
    assert "error" not in page.load()
    downloads = [url for url in asked if not url.startswith("blob:") and url.endswith((".wasm", "d.onnx", ".mjs"))]
    assert downloads == []

    page.page.context.set_offline(True)
    page.page.context.route("**/*", lambda route: route.abort())
    asked.clear()
    assert len(page.recognize(FACE)["faces"]) == 1
    assert len(page.track(FACE, seconds=1, smoothing=0)["faces"]) == 1
    assert asked == []


def test_threads_where_the_page_is_isolated(open_page: OpenPage) -> None:
    with device_server(isolated=True) as url:
        page = open_page(url=url)
        assert page.page.evaluate("crossOriginIsolated")
        assert page.load()["precision"] == "int8"
        assert page.recognize(FACE)["faces"][0]["label"] == "happy"


def test_a_page_of_another_site_embeds_it(open_page: OpenPage, address: str) -> None:
    with device_server() as other:
        page = open_page(url=other)
        script = LOAD.replace('"/on_device', f'"{address}on_device')
        places = {name: f"{address}{name}" for name in ("model", "yunet.onnx", "runtime")}
        options = {"model": places["model"], "detector": places["yunet.onnx"], "runtime": places["runtime"]}
        assert page.page.evaluate(script, options).get("backend") == "wasm"
        assert len(page.recognize(FACE)["faces"]) == 1


def test_takes_what_a_page_has(device: DevicePage) -> None:
    script = """async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 100, height: 80 });
      canvas.getContext("2d").fillRect(0, 0, 10, 10);
      const blob = await new Promise((done) => canvas.toBlob(done));
      const image = new Image();
      image.src = URL.createObjectURL(blob);
      await image.decode();
      const bitmap = await createImageBitmap(canvas);
      const frame = new VideoFrame(canvas, { timestamp: 0 });
      const sizes = [];
      for (const source of [canvas, blob, image, bitmap, frame, new ImageData(100, 80)]) {
        const { width, height, faces, milliseconds } = await recognizer.recognize(source);
        sizes.push([width, height, faces.length, milliseconds > 0]);
      }
      return [sizes, bitmap.width, frame.format];
    }"""
    sizes, width, kind = device.page.evaluate(script)
    assert sizes == [[100, 80, 0, True]] * 6
    assert width == 0 and kind is None  # handed over


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("new Image()", "image"),
        ("new Blob(['no image'])", "image"),
        ("Object.assign(document.createElement('canvas'), { width: 0 })", "image"),
    ],
)
def test_an_image_that_cannot_be_read(device: DevicePage, source: str, reason: str) -> None:
    script = f"recognizer.recognize({source}).catch(({{ name, reason, message }}) => [name, reason, message])"
    name, found, message = device.page.evaluate(script)
    assert (name, found) == ("DeviceError", reason) and "Expected" in message


def test_closed(open_page: OpenPage) -> None:
    page = open_page()
    script = """async () => {
      const { EmotionRecognizer } = await import("/on_device/index.js");
      const recognizer = new EmotionRecognizer();
      const waiting = recognizer.recognize(new ImageData(8, 8));
      recognizer.close();
      const later = recognizer.track(new ImageData(8, 8), { seconds: 1 });
      const reason = (call) => call.then(() => "", (error) => error.reason);
      return [await reason(waiting), await reason(later)];
    }"""
    assert page.page.evaluate(script) == ["closed", "closed"]


def refused(page: DevicePage, **options: Any) -> tuple[str, str]:
    error = page.load(**options)["error"]
    assert error["name"] == "DeviceError"
    return error["reason"], error["message"]


@pytest.mark.parametrize(
    ("script", "reason", "told"),
    [
        ("WebAssembly.validate = () => false", "no_simd", "WebAssembly SIMD"),
        ("delete window.OffscreenCanvas", "unsupported", "too old"),
        ("Object.defineProperty(window, 'isSecureContext', { value: false })", "insecure", "https"),
    ],
)
def test_browsers_that_cannot(open_page: OpenPage, script: str, reason: str, told: str) -> None:
    page = open_page(script)
    found, message = refused(page)
    assert found == reason and told in message
    checked = "import('/on_device/index.js').then(({ EmotionRecognizer }) => EmotionRecognizer.unsupported().reason)"
    assert page.page.evaluate(checked) == reason


def test_no_webgpu(open_page: OpenPage) -> None:
    assert refused(open_page(), backend="webgpu")[0] == "no_webgpu"


def test_unreachable_cdn(open_page: OpenPage) -> None:
    page = open_page()
    page.page.context.route("https://cdn.jsdelivr.net/**", lambda route: route.abort())
    reason, message = refused(page, runtime=None)
    assert reason == "network" and "cdn.jsdelivr.net cannot be reached" in message


@pytest.mark.parametrize(
    "file", ["model/onnx/model_quantized.onnx", "model/config.json", "runtime/ort.wasm.bundle.min.mjs"]
)
def test_a_damaged_file(open_page: OpenPage, folders: tuple[Path, str], file: str) -> None:
    folder, url = folders
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).unlink()
    (folder / file).write_bytes(data)
    reason, message = refused(open_page(url=url))
    assert reason == "corrupt" and Path(file).name in message


def test_a_missing_file(open_page: OpenPage, folders: tuple[Path, str]) -> None:
    folder, url = folders
    (folder / "model/onnx/model.onnx").unlink()
    reason, message = refused(open_page(url=url), precision="float32")
    assert reason == "missing" and "model.onnx" in message and "404" in message


def test_without_int8_or_report_it_is_float32(open_page: OpenPage, folders: tuple[Path, str]) -> None:
    folder, url = folders
    (folder / "model/onnx/model_quantized.onnx").unlink()
    (folder / "model/report.json").unlink()
    assert open_page(url=url).load()["precision"] == "float32"


@pytest.mark.slow
def test_another_network_as_the_detector(open_page: OpenPage) -> None:
    reason, message = refused(open_page(), detector="model/onnx/model_quantized.onnx")
    assert reason == "model" and "no YuNet" in message
    assert refused(open_page(), detector="model/config.json")[0] == "corrupt"


@pytest.fixture
def launch(browser: Any, address: str) -> Iterator[OpenPage]:
    """Launch further Chromiums, with flags, and open a page in each."""
    launched = []

    def launch_one(*flags: str) -> DevicePage:
        launched.append(launch_chromium(SimpleNamespace(chromium=browser.browser_type), *flags))
        page = launched[-1].new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        return DevicePage(page)

    yield launch_one
    for one in launched:
        one.close()


def test_low_memory(launch: OpenPage) -> None:
    reason, message = refused(launch("--js-flags=--wasm-max-mem-pages=300"))  # 20 MB
    assert reason == "memory" and "Close other tabs" in message


@pytest.mark.slow
def test_webgpu_and_its_loss(launch: OpenPage, python_engine: EmotionRecognizer) -> None:
    page = launch("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader")
    if page.page.evaluate("navigator.gpu?.requestAdapter().then((adapter) => !adapter)") is not False:
        pytest.skip("this Chromium has no WebGPU")
    assert page.load()["backend"] == "wasm"  # a software adapter is slower
    loaded = page.load(backend="webgpu")
    assert (loaded["backend"], loaded["precision"]) == ("webgpu", "float32")
    difference = compare(python_engine(FACE), page.recognize(FACE))
    assert difference.labels == 1 and difference.pixels <= 0.05 and difference.probability <= 0.01

    processes = psutil.Process().children(recursive=True)
    graphics = [process for process in processes if "--type=gpu-process" in process.cmdline()]
    max(graphics, key=lambda process: process.create_time()).kill()  # this Chromium's is the last one started
    page.page.wait_for_timeout(500)  # until the browser has noticed
    assert compare(python_engine(FACE), page.recognize(FACE)).labels == 1
    assert page.page.evaluate("[recognizer.backend, recognizer.precision]") == ["wasm", "int8"]
