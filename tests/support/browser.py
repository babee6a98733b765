"""One headless Chromium with a fake camera for all tests."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CHROMIUM = Path("/usr/bin/chromium")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the MJPEG file that Chromium's fake camera plays in a loop."""
    return write_clip(tmp_path_factory.mktemp("camera") / "clip.mjpeg")


def write_clip(path: Path) -> Path:
    """Write the astronaut moving sideways, 640x480, as MJPEG."""
    from skimage import data

    portrait = Image.fromarray(data.astronaut()).resize((480, 480))
    with path.open("wb") as file:
        for step in range(20):
            frame = Image.new("RGB", (640, 480), "#405060")
            frame.paste(portrait, (60 + 4 * abs(step - 10), 0))
            frame.save(file, "JPEG", quality=85)
    return path


def launch_chromium(playwright: Any, *flags: str) -> Any:
    return playwright.chromium.launch(
        executable_path=str(CHROMIUM),
        args=[
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            *flags,
        ],
    )


@pytest.fixture(scope="session")
def browser(clip: Path) -> Iterator[Any]:
    """Start Chromium with a camera that plays `clip`, allowed for every page."""
    if not (CHROMIUM.exists() or shutil.which(CHROMIUM.name)):
        pytest.skip("there is no /usr/bin/chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = launch_chromium(
            playwright, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={clip}"
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Open a fresh desktop page; a script error in it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
    page = context.new_page()
    page.set_default_timeout(30_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def patience(page: Any) -> None:
    """Wait longer for everything on the page: on a busy machine the first start of the networks in it is slow."""
    page.set_default_timeout(120_000)
