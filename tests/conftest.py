"""Fixtures that several test modules share. Everything runs offline on a CPU."""

from pathlib import Path

import pytest

from gradio_ui.recognition.telemetry import disable_telemetry

disable_telemetry()  # before any library that sends it is imported

pytest_plugins = [
    "tests.support.app_fixtures",
    "tests.support.browser",
    "tests.support.dataset_fixtures",
    "tests.support.hub_fixtures",
    "tests.support.model_fixtures",
]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data beside the checkout; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the real data is not beside the checkout")
    return folder
