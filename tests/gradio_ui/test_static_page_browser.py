"""The page of plain files in a real headless Chromium: both tabs, without a server behind them or a network."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.support.device_server import RUNTIME
from training.hub.static_space import StaticModel, static_files, write_folder

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]


class Quiet(SimpleHTTPRequestHandler):
    """What `python -m http.server` answers, without its log."""

    def log_message(self, *values: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page with the shipped model."""
    if not RUNTIME.is_dir():
        pytest.skip("onnxruntime-web is not installed; `make test` does that where there is npm")
    folder = tmp_path_factory.mktemp("site") / "page"
    write_folder(static_files(root, StaticModel.from_folder(root / "model_card/fer2013"), RUNTIME), folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A portrait, a cat, two faces, and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    head = data.astronaut()[:300, 110:350]
    made = {"portrait": data.astronaut(), "cat": data.chelsea(), "pair": np.hstack([head, head[:, ::-1]])}
    for name, pixels in made.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return [folder / f"{name}.png" for name in (*made, "broken")]


def saved(page: Any, what: str) -> str:
    with page.expect_download() as download:
        page.locator(f"#image [data-do={what}]").click()
    return Path(download.value.path()).read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_works_again_without_a_network(page: Any, site: str, images: list[Path]) -> None:
    """After one start the network is cut; the page opens again, and both tabs give results."""
    page.goto(f"{site}#image")
    page.locator("[type=file]").set_input_files(images[0])
    page.get_by_text("1 face found").wait_for()
    page.wait_for_function("navigator.serviceWorker.controller")
    page.context.set_offline(True)
    page.goto(f"{site}?again#image")
    assert page.evaluate("crossOriginIsolated"), "the service worker lets WebAssembly use threads"
    page.locator("[type=file]").set_input_files(images[0])
    page.get_by_text("1 face found").wait_for()
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()
    page.get_by_role("tab", name="About").click()
    page.wait_for_function("document.querySelector('#webcam .fer-cam').dataset.state === 'idle'")
    page.context.set_offline(False)


@pytest.mark.slow
def test_a_batch_gives_a_table(page: Any, site: str, images: list[Path]) -> None:
    page.goto(f"{site}#image")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.post_data or ''}"))
    page.locator("[type=file]").set_input_files(images)
    page.get_by_text("3 faces in 4 pictures. 1 could not be read.").wait_for()
    assert set(asked) == {"GET "}, "nothing is uploaded"
    rows = list(csv.DictReader(io.StringIO(saved(page, "all-csv"))))
    assert [(row["file"], row["face"]) for row in rows] == [
        *(("portrait.png", "1"), ("cat.png", ""), ("pair.png", "1"), ("pair.png", "2"), ("broken.png", "")),
    ]
    assert rows[0]["label"] == "happy" and float(rows[0]["happy"]) == float(rows[0]["probability"]) > 0.5
    assert "cannot be read" in rows[4]["error"] and not rows[1]["error"]
    found = json.loads(saved(page, "all-json"))
    assert [image["file"] for image in found["images"]] == [path.name for path in images]
    page.get_by_role("button", name="pair.png").click()
    page.locator(".fer-still-faces select").select_option("1")
    page.get_by_role("heading", name="Apparent expression of face 2").wait_for()
    assert [face["face"] for face in json.loads(saved(page, "json"))["faces"]] == [1, 2]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").last.click()
    assert Image.open(Path(download.value.path())).size == (480, 300)


def test_it_agrees_with_python(page: Any, site: str, images: list[Path], root: Path) -> None:
    from gradio_ui.recognition.recognizer import EmotionRecognizer

    (expected,) = EmotionRecognizer.from_pretrained(root / "model_card/fer2013")(str(images[0])).to_dicts()
    page.goto(f"{site}#image")
    page.locator("[type=file]").set_input_files(images[0])
    page.get_by_text("1 face found").wait_for()
    (face,) = json.loads(saved(page, "json"))["faces"]
    assert face["box"] == pytest.approx(expected["box"], abs=1)
    assert face["label"] == expected["label"]
    assert face["probabilities"] == pytest.approx(expected["probabilities"], abs=0.05)  # int8 against float32


PASTE = """async (address) => {
  const file = new File([await (await fetch(address)).blob()], "pasted.png", { type: "image/png" });
  const clipboardData = new DataTransfer();
  clipboardData.items.add(file);
  TARGET
}"""


@pytest.mark.parametrize(
    "target",
    [
        "document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }));",
        "document.querySelector('.fer-still-drop')"
        ".dispatchEvent(new DragEvent('drop', { dataTransfer: clipboardData }));",
    ],
    ids=["paste", "drop"],
)
@pytest.mark.slow
def test_images_are_pasted_and_dropped(page: Any, site: str, target: str) -> None:
    page.goto(f"{site}#image")
    page.evaluate(PASTE.replace("TARGET", target), f"{site}icon-192.png")
    page.get_by_text("No face found").wait_for()


@pytest.mark.slow
def test_a_picture_is_taken(page: Any, site: str) -> None:
    page.goto(f"{site}#image")
    page.get_by_role("button", name="Take a picture").click()
    page.get_by_role("button", name="Take it").click()
    page.get_by_text("1 face found").wait_for()
    assert page.evaluate("document.querySelector('#image video').srcObject === null"), "the camera is released"


def test_tabs_follow_the_keyboard(page: Any, site: str) -> None:
    page.goto(site)
    page.get_by_role("tab", name="Webcam").press("ArrowRight")
    assert page.get_by_role("tab", name="Image").get_attribute("aria-selected") == "true"
    page.get_by_role("tab", name="Image").press("End")
    page.get_by_role("heading", name="Main figures").wait_for()
    assert "0.703" in page.locator("#about").inner_text()


def test_without_a_model_the_reason_is_told(page: Any, site: str) -> None:
    page.add_init_script("delete Navigator.prototype.serviceWorker")  # whose requests are not blocked
    page.route("**/model/onnx/*", lambda route: route.abort())
    page.goto(site)
    page.get_by_role("button", name="Start camera").click()
    page.locator(".fer-cover-text").filter(has_text="cannot be reached").wait_for()
    assert page.locator(".fer-place").is_hidden(), "there is no server to choose"
    page.unroute("**/model/onnx/*")
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()
