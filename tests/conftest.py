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
]
ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and those that share a browser in another, one after the other.

    The groups that take long come first, so that no process is left alone with one at the end.
    """
    groups = {}
    for item in items:
        group = item.path.relative_to(ROOT).as_posix()
        if item.get_closest_marker("browser"):
            group = "engine" if group.startswith("tests/gradio_ui/on_device/") else "page"
        item.add_marker(pytest.mark.xdist_group(group))
        groups[item] = group
    items.sort(
        key=lambda item: [not groups[item].startswith(first) for first in ("page", "engine", "tests/training/")]
    )


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
