"""The engine in a page of its own, loaded once for all tests of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gradio_ui.recognition import EmotionRecognizer
from tests.support.device_page import DevicePage
from tests.support.device_server import RUNTIME, device_server


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Serve the engine and its files."""
    if not RUNTIME.is_dir():
        pytest.skip("onnxruntime-web is not installed; `make test` does that where there is npm")
    with device_server() as url:
        yield url


@pytest.fixture(scope="session")
def device(browser: Any, address: str) -> Iterator[DevicePage]:
    """Load the engine in float32, as Python's is."""
    context = browser.new_context()
    page = DevicePage(context.new_page())
    page.page.goto(address)
    assert "error" not in page.load(precision="float32", backend="wasm")
    yield page
    context.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., DevicePage]]:
    """Open pages with nothing loaded and nothing cached; a script is run before their own."""
    contexts = []

    def open_one(script: str = "", url: str = address) -> DevicePage:
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.add_init_script(script)
        page.goto(url)
        return DevicePage(page)

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def python_engine(root: Path) -> EmotionRecognizer:
    """Load the engine that the browser's is compared with."""
    return EmotionRecognizer.from_pretrained(root / "model_card/fer2013", detector="yunet")
