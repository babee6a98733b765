"""The page with a fake recognizer, served on a free port of loopback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.errors import ImageError, SaliencyError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.types import Faces, Recognition
from gradio_ui.server.temp_files import TempFiles
from gradio_ui.settings import Settings
from tests.support.browser import free_port
from tests.support.device_server import RUNTIME

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@dataclass
class FakeRecognizer:
    """A recognizer: a happy face where the left half of an image is not black, a sad one where the right is not."""

    source: Any = field(
        default_factory=lambda: SimpleNamespace(
            folder="nowhere", model_id="me/fake", revision="abc", origin="hub", notice="The Hub cannot be reached."
        )
    )
    detector: Any = field(default_factory=lambda: SimpleNamespace(name="yunet"))
    labels: tuple[str, ...] = LABELS

    def __call__(self, frame: np.ndarray, *, whole_image: bool = False) -> Recognition:
        height, width = frame.shape[:2]
        half = width // 2
        boxes, rows = [], []
        for left, label in ((0, "happy"), (half, "sad")):
            if whole_image or frame[:, left : left + half].any():
                boxes.append((left + half * 0.2, height * 0.25, left + half * 0.8, height * 0.75))
                rows.append([0.7 if name == label else 0.05 for name in LABELS])
        if whole_image:
            boxes, rows = [(0, 0, width, height)], rows[:1]
        return Recognition(
            Faces(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32)),
            np.array(rows, np.float32).reshape(-1, len(LABELS)),
            LABELS,
            (width, height),
        )

    def batch(self, images: Sequence[str], *, whole_image: bool = False) -> list[Recognition | ImageError]:
        results: list[Recognition | ImageError] = []
        for image in images:
            try:
                results.append(self(read_image(image), whole_image=whole_image))
            except ImageError as error:
                results.append(error)
        return results

    def explain(
        self, image: str, face: int, label: str, *, whole_image: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a map with one bright half, the left for face 0; an empty one for angry, and none for fear."""
        if label == "fear":
            raise SaliencyError("this model gives no map")
        heat = np.zeros((64, 64), np.float32)
        if label != "angry":
            heat[:, 32 * face : 32 * face + 32] = 1
        return np.full((64, 64, 3), 128, np.uint8), heat


def serve(recognizer: Any, **settings: Any) -> Iterator[str]:
    """Serve the page as app.py does and yield its address; a `Models` may stand for the recognizer.

    Args:
        recognizer: what answers.
        **settings: of `Settings`, where other than the defaults.
    """
    from gradio_ui.demo import build_demo, launch_options
    from gradio_ui.model_registry import Models

    chosen = Settings(port=free_port(), **settings)
    models = recognizer if isinstance(recognizer, Models) else Models({"me/fake": lambda: recognizer})
    demo = build_demo(models, chosen)
    _, url, _ = demo.launch(**launch_options(models, chosen), prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.fixture(scope="session")
def gradio_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder in which Gradio keeps uploads and outputs."""
    with TempFiles(tmp_path_factory.mktemp("gradio")) as files:
        yield files.uploads


@pytest.fixture(scope="session")
def fake() -> FakeRecognizer:
    return FakeRecognizer()


@pytest.fixture(scope="session")
def url(fake: FakeRecognizer, gradio_files: Path) -> Iterator[str]:
    yield from serve(fake)


@pytest.fixture(scope="session")
def shipped_url(root: Path, gradio_files: Path) -> Iterator[str]:
    """The page with the shipped weights, which browsers can load, too."""
    from gradio_ui.recognition import EmotionRecognizer

    yield from serve(EmotionRecognizer.from_pretrained(root / "model_card/fer2013", detector="yunet"))


@pytest.fixture(scope="session")
def device_app(shipped_url: str) -> str:
    """The same for tests that recognize faces in the browser; they are skipped where its runtime is missing."""
    if not RUNTIME.is_dir():
        pytest.skip("onnxruntime-web is not installed; `make test` does that where there is npm")
    return shipped_url


@pytest.fixture(scope="session")
def portrait_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the astronaut (public domain) as a file."""
    from skimage import data

    path = tmp_path_factory.mktemp("pictures") / "portrait.jpg"
    Image.fromarray(data.astronaut()).save(path)
    return path
