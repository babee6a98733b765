"""The page in a real headless Chromium: what a user sees, clicks and is told."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.ui.conftest import serve

pytestmark = pytest.mark.browser

# Remembers every track that the page opens, to see later whether it was released.
SPY = """
window.tracks = [];
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wish) => {
  const stream = await open(wish);
  window.tracks.push(...stream.getTracks());
  return stream;
};
"""
ALL_ENDED = "window.tracks.length > 0 && window.tracks.every((track) => track.readyState === 'ended')"


def open_tab(page: Any, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name=name).click()


def upload(page: Any, path: Path) -> None:
    page.locator("#picture input[type=file]").set_input_files(path)


def start_webcam(page: Any, url: str) -> None:
    page.add_init_script(SPY)
    open_tab(page, url, "Webcam")
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


def test_upload_shows_faces_bars_table_and_downloads(page: Any, url: str, portrait: Path) -> None:
    page.goto(url)
    upload(page, portrait)
    page.get_by_text("2 faces found").wait_for()
    assert "1 · happy 70%, 2 · sad 70%" in page.locator("#annotated img").get_attribute("alt")
    assert page.locator("#bars li").first.inner_text().split() == ["happy", "70.0%"]
    assert page.locator("#faces tbody tr").count() == 2
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download JSON").click()
    assert [face["label"] for face in json.loads(saved.value.path().read_text())["faces"]] == ["happy", "sad"]
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download CSV").click()
    assert saved.value.suggested_filename == "expressions.csv"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture").first.click()
    assert Image.open(saved.value.path()).size == (512, 512)


def test_another_face_is_chosen_from_the_list_and_by_a_click(page: Any, url: str, portrait: Path) -> None:
    page.goto(url)
    upload(page, portrait)
    page.locator("#chosen-face input").click()
    page.get_by_role("option", name="2 · sad 70%").click()
    page.get_by_text("Apparent expression of face 2").wait_for()
    picture = page.locator("#annotated img")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.25, "y": box["height"] * 0.5})
    page.get_by_text("Apparent expression of face 1").wait_for()


def bright_half(page: Any) -> str:
    """On which side the heat map that is shown is bright."""
    picture = page.locator("#heat img").nth(1)
    picture.wait_for()
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.get_attribute("src").partition(",")[2]))))
    return "left" if pixels[:, :24].mean() > pixels[:, -24:].mean() else "right"


def test_where_the_model_looked_is_shown_on_request(page: Any, url: str, portrait: Path) -> None:
    page.goto(url)
    upload(page, portrait)
    page.get_by_text("2 faces found").wait_for()
    assert page.locator("#heat img").count() == 0
    page.get_by_role("button", name="Where did the model look?").click()
    assert bright_half(page) == "left"
    assert "raise this model’s score for “happy”" in page.locator("#heat").inner_text()
    page.locator("#chosen-face input").click()
    page.get_by_role("option", name="2 · sad 70%").click()
    page.locator("#heat img").first.wait_for(state="hidden")
    page.get_by_role("button", name="Where did the model look?").click()
    assert bright_half(page) == "right"
    assert "“sad”" in page.locator("#heat").inner_text()
    for label, told in (("angry", "No part of this face speaks for “angry”"), ("fear", "this model gives no map")):
        page.locator("#expression input").click()
        page.get_by_role("option", name=label).click()
        page.get_by_text(told).wait_for()


def test_no_face_and_broken_file_are_told_in_place(page: Any, url: str, portrait: Path, tmp_path: Path) -> None:
    black, broken = tmp_path / "black.png", tmp_path / "broken.png"
    Image.new("RGB", (64, 64)).save(black)
    broken.write_bytes(b"not a picture")
    page.goto(url)
    upload(page, black)
    page.get_by_text("No face found").wait_for()
    page.get_by_label("The picture is one face").check()
    page.get_by_text("1 face found").wait_for()
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.get_by_text("No picture yet").wait_for()
    upload(page, broken)
    page.get_by_text("is no picture of a known format").wait_for()


def test_an_example_is_one_click(page: Any, url: str) -> None:
    page.goto(url)
    page.locator(".gallery-item").first.click()
    page.get_by_text("2 faces found").wait_for()


def test_webcam_gives_results_and_stop_releases_the_camera(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.wait_for_function("parseFloat(document.querySelector('[data-read=rate]').textContent) > 0")
    assert page.locator("#webcam .fer-bars li").nth(3).inner_text().split() == ["happy", "70%"]
    overlay = "document.querySelector('#webcam .fer-stage canvas').getContext('2d')"
    drawn = f"{overlay}.getImageData(0, 0, 640, 480).data.some(Boolean)"
    assert page.evaluate(drawn)
    assert not page.evaluate(ALL_ENDED)
    assert "fer-mirrored" in page.locator("#webcam video").get_attribute("class")
    page.get_by_label("Mirror").uncheck()
    assert "fer-mirrored" not in page.locator("#webcam video").get_attribute("class")
    assert page.locator("#webcam .fer-stage canvas").get_attribute("class") is None, "text is never mirrored"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture").click()
    assert Image.open(saved.value.path()).size == (640, 480)
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate(ALL_ENDED)
    assert not page.evaluate(drawn)
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


def test_a_session_is_drawn_and_saved_by_the_browser_alone(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.get_by_text(re.compile(r"share of ([2-9]|\d\d+) s: happy 100%")).wait_for()
    drawn = """() => {
      const canvas = document.querySelector(".fer-time canvas");
      const pixel = (x) => [...canvas.getContext("2d").getImageData(x, canvas.height / 2, 1, 1).data];
      return [pixel(canvas.width - 4), pixel(4)];
    }"""
    assert page.evaluate(drawn) == [[0xE6, 0x9F, 0x00, 255], [0, 0, 0, 0]], "happy now, and nothing a minute ago"
    page.get_by_role("button", name="Stop").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_download() as saved:
        page.locator("#webcam").get_by_role("button", name="Download JSON").click()
    session = json.loads(saved.value.path().read_text())
    with page.expect_download() as saved:
        page.locator("#webcam").get_by_role("button", name="Download CSV").click()
    assert not [address for address in asked if not address.startswith("blob:")]
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text())))
    assert len(rows) == len(session["results"]) == 2 * session["frames"]
    times = [float(row["time"]) for row in rows[::2]]
    assert times == sorted(set(times)) and times[0] == 0 and 1.4 < times[-1] < 60  # the page rounds to "2 s"
    for row, result in zip(rows, session["results"], strict=True):
        assert [float(row[side]) for side in ("left", "top", "right", "bottom")] == result["box"]
        assert [int(row["width"]), int(row["height"])] == result["size"] == [640, 480]
        assert row["face"] == str(result["face"]) and row["label"] == result["label"]
        assert {label: float(row[label]) for label in session["labels"]} == result["probabilities"]
    page.get_by_role("button", name="Start camera").click()
    page.get_by_text("will be drawn here").wait_for()


# A camera of the page's own, so that each viewer shows something else: the halves of a picture that are not black.
HALVES = """
navigator.mediaDevices.getUserMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const context = canvas.getContext("2d");
  setInterval(() => {
    context.fillStyle = `hsl(${Date.now() % 360} 50% 50%)`;
    context.clearRect(0, 0, 640, 480);
    for (const left of HERE) context.fillRect(left + 40, 0, 240, 480);
  }, 30);
  return canvas.captureStream(30);
};
window.results = [];
document.addEventListener("fer-result", ({ detail }) => window.results.push(detail));
"""


def test_several_viewers_share_the_server_and_see_only_their_own(browser: Any, url: str) -> None:
    shown = {"[0]": {"happy"}, "[320]": {"sad"}, "[0, 320]": {"happy", "sad"}}
    contexts = [browser.new_context() for _ in shown]
    pages = [context.new_page() for context in contexts]
    for page, halves in zip(pages, shown, strict=True):
        page.add_init_script(HALVES.replace("HERE", halves))
        open_tab(page, url, "Webcam")
    for page in pages:
        page.get_by_role("button", name="Start camera").click()
    for script in ("window.results.length", "(window.results.length = 0, true)", "window.results.length >= 5"):
        for page in pages:
            page.wait_for_function(script)
    results = [page.evaluate("window.results") for page in pages]
    for context in contexts:
        context.close()
    for seen, expected in zip(results, shown.values(), strict=True):
        assert {frozenset(face["label"] for face in one["faces"]) for one in seen} == {frozenset(expected)}
        assert max(one["delay"] for one in seen) < 3000  # milliseconds, on a machine that may be busy
    counts = [len(seen) for seen in results]
    assert max(counts) < 4 * min(counts), counts


def test_leaving_the_tab_releases_the_camera(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.get_by_role("tab", name="About").click()
    page.wait_for_function(ALL_ENDED)
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


def test_one_frame_at_a_time_and_none_on_disk(page: Any, url: str, gradio_files: Path) -> None:
    flying, most, done = 0, 0, 0

    def count(step: int) -> Any:
        def on(request: Any) -> None:
            nonlocal flying, most, done
            if "component_server" in request.url:
                flying, done = flying + step, done + (step < 0)
                most = max(most, flying)

        return on

    page.on("request", count(1))
    page.on("requestfinished", count(-1))
    files = sorted(gradio_files.rglob("*"))
    start_webcam(page, url)
    for _ in range(100):
        page.wait_for_timeout(200)
        if done > 3:
            break
    page.get_by_role("button", name="Pause").click()
    for _ in range(100):
        page.wait_for_timeout(500)  # the frame on its way, and perhaps the last one shown, are still answered
        if not flying:
            break
    assert done > 3 and most == 1
    assert sorted(gradio_files.rglob("*")) == files
    before = done
    page.wait_for_timeout(500)
    assert done == before, "a paused camera still sends frames"
    page.get_by_role("button", name="Resume").click()
    page.wait_for_function("!document.querySelector('#webcam video').paused")


def test_a_lost_server_is_told_and_found_again(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.route("**/component_server/**", lambda route: route.abort())
    page.get_by_text("The server does not answer").wait_for()
    page.unroute("**/component_server/**")
    page.get_by_text("The server does not answer").wait_for(state="hidden")


def test_an_unplugged_camera_is_told_with_a_way_back(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.evaluate("window.tracks[0].dispatchEvent(new Event('ended'))")
    page.get_by_text("The camera was unplugged").wait_for()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


def test_a_camera_that_does_not_start_is_told(page: Any, url: str) -> None:
    open_tab(page, url, "Webcam")
    for name, told in (
        ("NotAllowedError", "The camera was refused"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "The camera is busy"),
    ):
        refuse = f"async () => {{ throw new DOMException('', '{name}') }}"
        page.evaluate(f"navigator.mediaDevices.getUserMedia = {refuse}; 0")
        page.get_by_role("button", name="Start camera").click()
        page.get_by_text(told).wait_for()
    assert page.get_by_role("button", name="Start camera").is_enabled()


def test_nothing_scrolls_sideways_on_a_phone_or_comes_from_elsewhere(browser: Any, url: str, portrait: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    upload(page, portrait)
    page.locator("#faces table").wait_for()
    for tab in ("Image", "Webcam", "About"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    context.close()
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []


def test_about_tells_what_is_served(page: Any, url: str) -> None:
    open_tab(page, url, "About")
    about = page.get_by_role("tabpanel").filter(has_text="What is served")
    for text in ("me/fake", "abc", "Haar cascade", "YuNet was not found.", "deleted after at most", "AI Act"):
        assert text in about.inner_text()


@pytest.fixture(scope="module")
def real_url(root: Path) -> Iterator[str]:
    """The page with the shipped weights."""
    from gradio_ui.recognition.recognizer import EmotionRecognizer

    folder = root / "model_card" / "fer2013"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("no weights are shipped yet")
    yield from serve(EmotionRecognizer.from_pretrained(folder, detector="haar"))


def test_the_shipped_model_sees_the_portrait_smile(page: Any, real_url: str, portrait: Path) -> None:
    page.goto(real_url)
    upload(page, portrait)
    page.get_by_text("1 face found").wait_for()
    assert page.locator("#bars li").first.inner_text().startswith("happy")
