"""The page in a real headless Chromium: what a user sees, clicks and is told."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser


def open_tab(page: Any, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name=name).click()


def upload(page: Any, path: Path) -> None:
    page.locator("#picture input[type=file]").set_input_files(path)


def test_upload_shows_faces_bars_table_and_downloads(page: Any, url: str, portrait_file: Path) -> None:
    page.goto(url)
    upload(page, portrait_file)
    page.get_by_text("2 faces found").wait_for()
    assert "1 · happy 70%, 2 · sad 70%" in page.locator("#annotated img").get_attribute("alt")
    assert page.locator("#bars li").first.inner_text().split() == ["happy", "70.0%"]
    assert page.locator("#faces tbody tr").count() == 2
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download JSON").click()
    assert [face["label"] for face in json.loads(saved.value.path().read_text())["faces"]] == ["happy", "sad"]
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download CSV").click()
    assert saved.value.suggested_filename == "portrait-expressions.csv"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture").first.click()
    assert Image.open(saved.value.path()).size == (512, 512)


def chosen_faces(page: Any) -> list[str]:
    """Whose bars are shown, and which face the picture, the table and the list mark."""
    return [
        page.locator("#bars h2").inner_text(),
        page.locator("#annotated [aria-pressed=true]").get_attribute("aria-label"),
        page.locator("#faces [aria-current=true] th").inner_text(),
        page.locator("#chosen-face input").input_value(),
    ]


def test_a_face_is_chosen_by_list_image_and_row(page: Any, url: str, portrait_file: Path) -> None:
    page.goto(url)
    upload(page, portrait_file)
    page.locator("#chosen-face input").click()
    page.get_by_role("option", name="2 · sad 70%").click()
    page.get_by_text("Apparent expression of face 2").wait_for()
    second = ["Apparent expression of face 2", "Face 2 · sad 70%", "2", "2 · sad 70%"]
    first = ["Apparent expression of face 1", "Face 1 · happy 70%", "1", "1 · happy 70%"]
    page.locator("#annotated [data-face='1'][aria-pressed=true]").wait_for()
    assert chosen_faces(page) == second
    image, face = page.locator("#annotated img").bounding_box(), page.locator("#annotated [data-face='0']")
    box = face.bounding_box()
    assert box["x"] - image["x"] == pytest.approx(0.1 * image["width"], abs=2)
    assert box["height"] == pytest.approx(0.5 * image["height"], abs=2)
    face.click()
    page.get_by_text(first[0]).wait_for()
    assert chosen_faces(page)[:3] == first[:3]
    page.locator("#faces tbody tr").nth(1).click()
    page.get_by_text(second[0]).wait_for()
    assert chosen_faces(page)[:3] == second[:3]
    page.get_by_role("button", name="Choose face 1").press("Enter")
    page.get_by_text(first[0]).wait_for()
    assert chosen_faces(page)[:3] == first[:3]


def test_doubt_follows_the_slider(page: Any, url: str, portrait_file: Path) -> None:
    page.goto(url)
    upload(page, portrait_file)
    page.get_by_text("2 faces found").wait_for()
    slider = page.locator("#threshold input[type=range]")
    slider.focus()
    slider.press("End")  # 1, which nothing reaches
    page.get_by_text("Unclear: happy or angry. No expression reaches 100%.").wait_for()
    assert page.locator("#faces tbody td").first.inner_text() == "unclear: happy or angry"


def bright_half(page: Any) -> str:
    """On which side the heat map that is shown is bright."""
    image = page.locator("#heat img").nth(1)
    image.wait_for()
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.get_attribute("src").partition(",")[2]))))
    return "left" if pixels[:, :24].mean() > pixels[:, -24:].mean() else "right"


@pytest.mark.slow
def test_where_the_model_looked_is_shown_on_request(page: Any, url: str, portrait_file: Path) -> None:
    page.goto(url)
    upload(page, portrait_file)
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


def test_no_face_and_broken_file_are_told_in_place(page: Any, url: str, portrait_file: Path, tmp_path: Path) -> None:
    black, broken = tmp_path / "black.png", tmp_path / "broken.png"
    Image.new("RGB", (64, 64)).save(black)
    broken.write_bytes(b"not a picture")
    page.goto(url)
    upload(page, black)
    page.get_by_text("No face found").wait_for()
    page.get_by_label("The picture is one face").check()
    page.get_by_text("1 face found").wait_for()
    page.get_by_role("button", name="Another picture").click()
    page.get_by_text("No picture yet").wait_for()
    upload(page, broken)
    page.get_by_text("is no picture of a known format").wait_for()


def test_an_example_is_one_click(page: Any, url: str) -> None:
    page.goto(url)
    page.locator(".gallery-item").first.click()
    page.get_by_text("2 faces found").wait_for()


def test_a_phone_scrolls_down_only_and_asks_no_host(browser: Any, url: str, portrait_file: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    upload(page, portrait_file)
    page.locator("#faces table").wait_for()
    for tab in ("Image", "Webcam", "About"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    context.close()
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []


def test_about_tells_what_is_served(page: Any, url: str) -> None:
    open_tab(page, url, "About")
    about = page.get_by_role("tabpanel").filter(has_text="What is served")
    for text in ("me/fake", "abc", "YuNet, a small neural network", "deleted after at most", "AI Act"):
        assert text in about.inner_text()


def test_the_shipped_model_sees_the_portrait_smile(page: Any, shipped_url: str, portrait_file: Path) -> None:
    page.goto(shipped_url)
    upload(page, portrait_file)
    page.get_by_text("1 face found").wait_for()
    assert page.locator("#bars li").first.inner_text().startswith("happy")
