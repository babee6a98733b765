"""What works on the whole page: addresses, keys, pasting, and the order of things on a phone and on a desk."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gradio_ui.model_registry import Models
from tests.support.app_fixtures import FakeRecognizer, serve

pytestmark = pytest.mark.browser

PASTE = """(bytes) => {
  const data = new DataTransfer();
  const content = Uint8Array.from(atob(bytes), (sign) => sign.charCodeAt(0));
  data.items.add(new File([content], "me.jpg", { type: "image/jpeg" }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def two_models(gradio_files: Path) -> Iterator[str]:
    """The page with two models that have titles."""
    titles = {"one": "7 expressions, FER-2013", "two": "8 with contempt, FER+"}

    def load() -> FakeRecognizer:
        recognizer = FakeRecognizer()
        recognizer.source.notice = ""
        return recognizer

    yield from serve(Models({"one": load, "two": load}, titles))  # type: ignore[dict-item]


def bottom(page: Any, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    return float(box["y"] + box["height"])


def upload(page: Any, path: Path) -> None:
    page.locator("#picture input[type=file]").set_input_files(path)
    page.locator("#bars li").first.wait_for()


def test_the_address_opens_a_tab_and_keys_work(page: Any, url: str) -> None:
    page.goto(f"{url}#webcam")
    page.get_by_role("button", name="Start camera").click()
    page.locator(".fer-cam[data-state=live]").wait_for()
    page.locator("body").press(" ")
    page.get_by_role("button", name="Resume").wait_for()
    page.locator("body").press(" ")
    with page.expect_download():
        page.locator("body").press("s")
    page.locator("body").press("?")
    assert "Start or stop a recording" in page.locator("dialog").inner_text()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("tab", name="About").click()
    assert page.url.endswith("#about")


def test_an_image_is_pasted_anywhere(page: Any, url: str, portrait_file: Path) -> None:
    page.goto(f"{url}#about")
    page.get_by_text("What is served").wait_for()
    for _ in range(2):  # the second one takes the place of the first
        page.evaluate(PASTE, base64.b64encode(portrait_file.read_bytes()).decode())
        page.locator("#bars li").first.wait_for()
    assert page.get_by_role("button", name="Save picture").first.get_attribute("data-name") == "me-expressions.jpg"


def test_a_phone_shows_image_and_bars_first(page: Any, two_models: str, portrait_file: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(two_models)
    upload(page, portrait_file)
    assert bottom(page, "#bars ul") <= 844
    assert not page.locator("#picture").is_visible()
    assert page.locator("#model").bounding_box()["y"] > bottom(page, "#faces")
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()
    assert bottom(page, "#webcam .fer-bars") <= 844


@pytest.mark.slow
def test_a_desk_shows_image_and_bars_at_once(page: Any, url: str, portrait_file: Path) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(url)
    upload(page, portrait_file)
    assert max(bottom(page, "#annotated img"), bottom(page, "#bars ul")) <= 900
    page.get_by_role("button", name="Another picture").click()
    page.locator("#picture").wait_for()
    page.get_by_text("No picture yet").wait_for()


@pytest.mark.slow
def test_two_models_stand_side_by_side(page: Any, two_models: str, portrait_file: Path) -> None:
    page.goto(two_models)
    upload(page, portrait_file)
    page.get_by_role("button", name="What does another model say?").click()
    page.locator(".fer-compare").wait_for()
    assert page.locator(".fer-compare h2").all_inner_texts() == ["7 expressions, FER-2013", "8 with contempt, FER+"]
    assert "Both say happy" in page.locator("#compared").inner_text()


def test_a_refused_camera_is_told(browser: Any, url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') }"
    )
    page.goto(url)
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_text("The camera was refused").wait_for()
    context.close()


@pytest.mark.slow
def test_changed_settings_ask_for_another_run(page: Any, two_models: str, portrait_file: Path) -> None:
    page.goto(f"{two_models}#batch")
    page.locator("#batch-files input[type=file]").set_input_files([portrait_file])
    page.get_by_text("2 faces in 1 picture").wait_for()
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="8 with contempt").click()
    page.get_by_text("Settings changed: run again").wait_for()
    page.locator("[role=tabpanel]:visible").get_by_role("button", name="Recognize").click()
    page.get_by_text("Settings changed: run again").wait_for(state="detached")


def test_no_click_is_lost_while_scripts_load(page: Any, url: str) -> None:
    def late(route: Any) -> None:
        page.wait_for_timeout(1000)
        route.continue_()

    page.route("**/webcam.js", late)
    page.goto(f"{url}#webcam")
    page.get_by_role("button", name="Start camera").click()
    page.locator(".fer-cam[data-state=live]").wait_for()


@pytest.mark.slow
def test_a_model_switch_asks_before_it_wipes(page: Any, two_models: str) -> None:
    page.goto(f"{two_models}#webcam")
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam [data-do=csv]:enabled").wait_for()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="8 with contempt").click()
    page.wait_for_function("document.querySelector('#model input').value.startsWith('7')")
    assert "starts the live session again" in asked[0]
