"""The page with a fake recognizer, served on a free port, and a real Chromium to look at it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.errors import SaliencyError
from gradio_ui.recognition.types import Faces, Recognition
from gradio_ui.settings import Settings

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CHROMIUM = Path("/usr/bin/chromium")


@dataclass
class FakeRecognizer:
    """Finds a happy face where the picture's left half is not black, and a sad one where its right half is not."""

    source: Any = field(
        default_factory=lambda: SimpleNamespace(
            folder="nowhere", model_id="me/fake", revision="abc", origin="hub", notice="The Hub cannot be reached."
        )
    )
    detector: Any = field(default_factory=lambda: SimpleNamespace(name="haar", notice="YuNet was not found."))
    labels: tuple[str, ...] = LABELS

    def __call__(self, frame: np.ndarray, *, whole_picture: bool = False) -> Recognition:
        height, width = frame.shape[:2]
        half = width // 2
        boxes, rows = [], []
        for left, label in ((0, "happy"), (half, "sad")):
            if whole_picture or frame[:, left : left + half].any():
                boxes.append((left + half * 0.2, height * 0.25, left + half * 0.8, height * 0.75))
                rows.append([0.7 if name == label else 0.05 for name in LABELS])
        if whole_picture:
            boxes, rows = [(0, 0, width, height)], rows[:1]
        return Recognition(
            Faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32)),
            np.array(rows, np.float32).reshape(-1, len(LABELS)),
            LABELS,
            (width, height),
        )

    def explain(
        self, picture: str, face: int, label: str, *, whole_picture: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """A map whose bright half is the face's number; angry is spoken for by nothing, fear has none."""
        if label == "fear":
            raise SaliencyError("this model gives no map")
        heat = np.zeros((64, 64), np.float32)
        if label != "angry":
            heat[:, 32 * face : 32 * face + 32] = 1
        return np.full((64, 64, 3), 128, np.uint8), heat


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(recognizer: Any) -> Iterator[str]:
    """Serves the page as app.py does and yields its address."""
    from gradio_ui.demo import build_demo, launch_options

    settings = Settings(port=free_port())
    demo = build_demo(recognizer, settings)
    _, url, _ = demo.launch(**launch_options(settings), prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.fixture(scope="session")
def gradio_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which Gradio keeps uploads and outputs."""
    folder = tmp_path_factory.mktemp("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def fake() -> FakeRecognizer:
    return FakeRecognizer()


@pytest.fixture(scope="session")
def url(fake: FakeRecognizer, gradio_files: Path) -> Iterator[str]:
    yield from serve(fake)


@pytest.fixture(scope="session")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut (public domain) as a file."""
    from skimage import data

    path = tmp_path_factory.mktemp("pictures") / "portrait.jpg"
    Image.fromarray(data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MJPEG file that Chromium's fake camera plays in a loop."""
    return write_clip(tmp_path_factory.mktemp("camera") / "clip.mjpeg")


def write_clip(path: Path) -> Path:
    """The astronaut moving sideways, 640x480, as MJPEG."""
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
    """Chromium with a camera that plays `clip`, allowed for every page."""
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
    """A fresh desktop page; a script error in it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
    page = context.new_page()
    page.set_default_timeout(30_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []
