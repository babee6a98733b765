"""Fixtures that several test modules share. Everything runs offline on a CPU."""

import os
from pathlib import Path

import pytest

# Beside other test processes, one thread each: more would only wait for one another. Read when PyTorch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
from gradio_ui.recognition.telemetry import disable_telemetry

disable_telemetry()  # before any library that sends it is imported

pytest_plugins = [
    "tests.support.browser",  # first: the next one imports it, and then its assertions could not be rewritten
    "tests.support.app_fixtures",
    "tests.support.dataset_fixtures",
    "tests.support.hub_fixtures",
    "tests.support.model_fixtures",
    "tests.support.scheduling",
]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with the real data beside the checkout; skip the test where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the real data is not beside the checkout")
    return folder
