"""The webcam tab on this device, in a real headless Chromium: nothing is sent, and what cannot be done is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import pytest

from tests.gradio_ui.tabs.test_webcam_browser import download, open_webcam, saved_rows

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]
BARS = "#webcam .fer-bars li"


def start(page: Any) -> None:
    page.get_by_role("button", name="Start camera").click()
    page.locator(BARS).first.wait_for()


def badge(page: Any) -> str:
    return str(page.locator("#webcam .fer-badge").inner_text())


def test_no_image_leaves_this_device(page: Any, device_app: str) -> None:
    """Once it is loaded every request is blocked, and results, recording and files still come."""
    page.add_init_script(
        """window.told = []; window.results = 0;
        document.addEventListener("fer-result", () => (window.results += 1));
        new MutationObserver(() => {
          const text = document.querySelector(".fer-cover-text")?.textContent;
          if (text && text !== window.told.at(-1)) window.told.push(text);
        }).observe(document, { subtree: true, childList: true, characterData: true });"""
    )
    open_webcam(page, device_app)
    page.locator("#webcam .fer-badge").filter(has_text="On this device: no picture is sent").wait_for()
    start(page)
    assert any(re.fullmatch(r"Loading the model: \d+\.\d of 19\.\d MB, once", text) for text in page.evaluate("told"))
    sent: list[str] = []
    page.route("**/*", lambda route: (sent.append(route.request.url), route.abort()))
    page.evaluate("window.results = 0")
    page.wait_for_function("window.results >= 3")
    assert page.locator(f"{BARS} .fer-value").nth(3).inner_text() != "–"
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name=re.compile(r"Stop recording 0:(0[2-9]|[1-5]\d), \d+\.\d MB")).click()
    page.get_by_text("Only your browser has it").wait_for()
    with av.open(str(download(page, "video"))) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.width, stream.codec_context.height) == (640, 480), "the camera's full resolution"
        assert len(list(video.decode(video=0))) > 5
    page.get_by_role("button", name="Stop").click()  # so that both files hold the same rows
    rows, summary = saved_rows(page)
    assert rows[-1]["label"] == summary["dominant"] == "happy"
    assert (rows[0]["width"], rows[0]["height"]) == (640, 480)
    # Gradio itself keeps a connection open that says the page is still there; it carries nothing.
    assert not [address for address in sent if not address.startswith("blob:") and "heartbeat" not in address]
    start(page)


@pytest.mark.slow
def test_the_server_is_the_other_choice(page: Any, device_app: str) -> None:
    open_webcam(page, device_app)
    page.locator("#webcam").get_by_label("On the server").check()
    page.locator("#webcam .fer-badge").filter(has_text="On the server: frames are sent there").wait_for()
    with page.expect_request("**/component_server/**"):
        start(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#webcam").get_by_label("On this device").check()
    page.locator(BARS).first.wait_for()
    page.locator("#webcam .fer-cam[data-state=live]").wait_for()
    page.wait_for_timeout(200)
    assert badge(page).startswith("On this device")
    asked.clear()
    page.wait_for_timeout(500)
    assert not [address for address in asked if "component_server" in address]


@pytest.mark.parametrize(
    ("blocked", "reason"),
    [("**/device/runtime/*", "cannot be reached"), ("**/device/page/on_device/**", "engine cannot be reached")],
)
@pytest.mark.slow
def test_out_of_reach_the_server_takes_over(page: Any, device_app: str, blocked: str, reason: str) -> None:
    page.route(blocked, lambda route: route.abort())
    open_webcam(page, device_app)
    start(page)
    page.locator("#webcam .fer-why").filter(has_text=reason).wait_for()
    assert "The server recognizes instead" in page.locator("#webcam .fer-why").inner_text()
    assert badge(page).startswith("On the server")
    assert page.locator("#webcam").get_by_label("On the server").is_checked()


@pytest.mark.slow
def test_a_damaged_model_is_not_run(page: Any, device_app: str, root: Path) -> None:
    body = bytearray((root / "model_card/fer2013/onnx/model_quantized.onnx").read_bytes())
    body[len(body) // 2] ^= 1
    page.route("**/onnx/*", lambda route: route.fulfill(body=bytes(body)))
    open_webcam(page, device_app)
    start(page)
    page.locator("#webcam .fer-why").filter(has_text="is damaged").wait_for()


@pytest.mark.slow
def test_a_hidden_page_goes_on_when_it_is_seen(page: Any, device_app: str) -> None:
    open_webcam(page, device_app)
    start(page)
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
      if (hidden) document.querySelector("#webcam video").pause(); // as phones do
    }"""
    page.evaluate(hide, True)
    page.evaluate(hide, False)
    page.wait_for_function("!document.querySelector('#webcam video').paused")
    page.get_by_role("button", name="Pause").click()
    page.evaluate(hide, True)
    page.evaluate(hide, False)
    page.wait_for_timeout(200)
    assert page.evaluate("document.querySelector('#webcam video').paused"), "a pause of the visitor's own stays"


# A camera that is turned after a second, as a phone's is: its stream changes from 640x480 to 480x640.
TURNED = """
navigator.mediaDevices.getUserMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const context = canvas.getContext("2d");
  setInterval(() => {
    if (window.turn && canvas.width === 640) Object.assign(canvas, { width: 480, height: 640 });
    context.fillStyle = `hsl(${Date.now() % 360} 50% 50%)`;
    context.fillRect(0, 0, 640, 640);
  }, 30);
  return canvas.captureStream(30);
};
document.addEventListener("fer-result", ({ detail }) => (window.last = [detail.width, detail.height].join("x")));
"""


@pytest.mark.slow
def test_a_turned_phone_keeps_its_recording(page: Any, device_app: str) -> None:
    page.add_init_script(TURNED)
    open_webcam(page, device_app)
    start(page)
    page.get_by_role("button", name="Record").click()
    page.wait_for_function("window.last === '640x480'")
    page.evaluate("window.turn = true")
    page.wait_for_function("window.last === '480x640'")
    ratio = page.locator("#webcam .fer-stage").evaluate("stage => stage.style.aspectRatio")
    assert ratio.replace(" ", "") == "480/640"
    page.get_by_role("button", name=re.compile("Stop recording 0:(0[1-9]|[1-5])")).click()
    page.get_by_text("Only your browser has it").wait_for()
    with av.open(str(download(page, "video"))) as video:
        assert {(frame.width, frame.height) for frame in video.decode(video=0)} == {(640, 480)}
