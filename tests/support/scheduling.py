"""How tests are shared out: which parameters are left to the slow ones, and which tests stay in one process.

pytest-xdist's own `--dist loadgroup` has no effect with pytest 9.2, in which an item's id cannot be changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ENGINE, TABS, TRAINING = "tests/gradio_ui/on_device", "tests/gradio_ui/tabs", "tests/training/"


def some_slow(values: Iterable[str | int], quick: Collection[str | int]) -> list[Any]:
    """Return parameters of which only these are quick; the others are run by `make test-slow`."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


class GroupScheduling(LoadScopeScheduling):
    """Give whole groups of tests to a process."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return what a test shares a process with: the pages in a browser, the engine in one, or else its file."""
    file = nodeid.partition("::")[0]
    if file.startswith(ENGINE):
        return ENGINE
    return TABS if file.startswith(TABS) or file.endswith("_browser.py") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    return GroupScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the groups that take long first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: [not group_of(item.nodeid).startswith(long) for long in (TABS, ENGINE, TRAINING)])
