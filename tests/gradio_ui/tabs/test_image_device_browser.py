"""The image tab on this device, in a real headless Chromium: pictures are chosen and read, and none is sent."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]
IMAGES = "#image-device"


def choose_device(page: Any, device_app: str) -> None:
    page.goto(f"{device_app}#image")
    page.locator(IMAGES).get_by_role("radio", name="On this device").check()


def test_a_picture_stays_on_this_device(page: Any, device_app: str, portrait_file: Path) -> None:
    choose_device(page, device_app)
    assert page.locator("#picture").is_hidden(), "what the server would take is out of the way"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.post_data or ''}"))
    page.locator(f"{IMAGES} [type=file]").set_input_files(portrait_file)
    page.locator(IMAGES).get_by_text("1 face found").wait_for()
    assert page.locator(f"{IMAGES} .fer-bars li").first.inner_text().split()[0] == "happy"
    assert set(asked) <= {"GET "}, "nothing is uploaded"
    page.locator(IMAGES).get_by_role("radio", name="On the server").check()
    assert page.locator("#picture").is_visible() and page.locator(f"{IMAGES} .fer-still-drop").is_hidden()


@pytest.mark.slow
def test_a_hundred_pictures_in_one_table(page: Any, device_app: str, portrait: np.ndarray, tmp_path: Path) -> None:
    files = [tmp_path / f"{number:03}.png" for number in range(100)]
    for number, file in enumerate(files):
        Image.fromarray(portrait[:300, 100 + number % 10 : 360]).resize((96, 96)).save(file)
    choose_device(page, device_app)
    page.locator(IMAGES).get_by_role("checkbox").check()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.post_data or ''}"))
    page.locator(f"{IMAGES} [type=file]").set_input_files(files)
    page.locator(f"{IMAGES} progress").wait_for()
    page.locator(IMAGES).get_by_text("100 faces in 100 pictures").wait_for()
    with page.expect_download() as saved:
        page.locator(f"{IMAGES} [data-do=all-csv]").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))
    assert [row["file"] for row in rows] == [file.name for file in files]
    assert {row["label"] for row in rows} == {"happy"} and set(asked) <= {"GET "}


def test_why_it_is_not_possible(page: Any, url: str) -> None:
    """The recognizer of `url` has no files for browsers."""
    page.goto(f"{url}#image")
    page.locator(IMAGES).get_by_role("radio", name="On this device").click()
    page.locator(f"{IMAGES} .fer-why").filter(has_text="Not on this device: ").wait_for()
    assert page.locator(IMAGES).get_by_role("radio", name="On the server").is_checked()
    assert page.locator("#picture").is_visible()
