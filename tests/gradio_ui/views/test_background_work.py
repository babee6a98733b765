"""Long work in turn: those who wait are told how many are before them, and may leave."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import gradio as gr

from gradio_ui.views import background_work
from gradio_ui.views.background_work import Workplace


class View(NamedTuple):
    notice: Any = gr.skip()
    changed: Any = gr.skip()
    start: Any = gr.skip()
    cancel: Any = gr.skip()


def request(session: str) -> Any:
    return SimpleNamespace(session_hash=session)


def work(name: str) -> Iterator[View]:
    yield View(f"{name} begun")
    yield View(f"{name} done")


def test_work_waits_for_its_turn(monkeypatch: Any) -> None:
    monkeypatch.setattr(background_work, "TELL_EVERY", 0)
    place = Workplace()
    first, second, third = (place.in_turn(request(name), View(), work(name)) for name in "abc")
    assert next(first).notice == "a begun"
    waiting = next(second)
    assert "Waiting, 1 before you" in waiting.notice and waiting.cancel.interactive
    assert "Waiting, 2 before you" in next(third).notice
    assert [view.notice for view in first] == ["a done"]
    assert next(second).notice == "b begun"
    second.close()  # the visitor left
    assert next(third).notice == "c begun"


def test_who_waits_can_cancel(monkeypatch: Any) -> None:
    monkeypatch.setattr(background_work, "TELL_EVERY", 0)
    place = Workplace()
    first, second = (place.in_turn(request(name), View(), work(name)) for name in "ab")
    next(first), next(second)
    assert place.stop(request("b")).value == "Cancelling …"
    assert ["Cancelled" in view.notice for view in second] == [True]
    assert next(first).notice == "a done"
    assert place.stop(request("b")).value != "Cancelling …"
