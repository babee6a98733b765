"""/health tells a proxy the truth, and SIGTERM leaves the work under way its time, but no more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from gradio_ui.model_registry import Models
from gradio_ui.recognition.types import Recognition
from gradio_ui.server import health as module
from gradio_ui.server.health import Health, State, WorkCount
from tests.support.app_fixtures import FakeRecognizer, serve


def models(recognizer: Any) -> Models:
    return Models({"me/fake": lambda: recognizer})


def wait_for(ready: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


class Gated(FakeRecognizer):
    """Answers once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()

    def __call__(self, frame: np.ndarray, *, whole_image: bool = False) -> Recognition:
        assert self.open.wait(30)
        return super().__call__(frame, whole_image=whole_image)


def test_health_waits_for_a_recognition(gradio_files: Any) -> None:
    recognizer = Gated()
    for url in serve(recognizer):
        starting = httpx.get(f"{url}health")
        assert (starting.status_code, starting.json()) == (503, {"ready": False, "state": "starting"})
        recognizer.open.set()
        wait_for(lambda address=f"{url}health": httpx.get(address).status_code == 200)  # type: ignore[misc]
        ready = httpx.get(f"{url}health")
        assert ready.json() == {"ready": True, "state": "ready"}
        assert ready.headers["cache-control"] == "no-store" and ready.headers["x-content-type-options"] == "nosniff"
        assert httpx.head(f"{url}health").status_code == 200


ANSWER = FakeRecognizer.__call__


def blind(frame: np.ndarray) -> Recognition:
    return ANSWER(FakeRecognizer(), np.zeros_like(frame))


def broken(frame: np.ndarray) -> Recognition:
    found = ANSWER(FakeRecognizer(), frame)
    return Recognition(found.faces, np.full_like(found.probabilities, np.nan), found.labels, found.size)


def crashing(frame: np.ndarray) -> Recognition:
    raise RuntimeError("secret")


@pytest.mark.parametrize("wrong", [blind, broken, crashing])
def test_a_model_that_answers_wrongly_is_tried_again(
    wrong: Callable[[np.ndarray], Recognition], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    calls = 0

    def recognize(frame: np.ndarray) -> Recognition:
        nonlocal calls
        calls += 1
        return wrong(frame) if calls <= 2 else ANSWER(FakeRecognizer(), frame)

    monkeypatch.setattr(FakeRecognizer, "__call__", lambda _, frame: recognize(frame))
    health = Health(models(FakeRecognizer(source=SimpleNamespace(notice=""))), 1)
    with health.probing():
        wait_for(lambda: calls == 1)
        wait_for(lambda: health.state is State.READY)
    assert calls == 3
    assert caplog.text.count("The model does not answer yet") == 2 and "secret" not in caplog.text


def test_a_drain_waits_for_running_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.05)
    health, done = Health(models(FakeRecognizer()), 30), threading.Event()
    drain = threading.Thread(target=lambda: (health.drain(), done.set()))
    with health.working():
        drain.start()
        wait_for(lambda: health.state is State.DRAINING)
        assert not done.wait(0.3)
    assert done.wait(10)
    drain.join()


def test_a_drain_waits_for_events_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.05)
    end = time.monotonic() + 0.4
    Health(models(FakeRecognizer()), 30).drain(lambda: time.monotonic() < end)
    assert end <= time.monotonic() < end + 10


def test_a_drain_has_an_end() -> None:
    health = Health(models(FakeRecognizer()), 0.2)
    start = time.monotonic()
    with health.working():
        health.drain()
    assert 0.2 <= time.monotonic() - start < 10


def test_a_drained_process_is_never_ready_again() -> None:
    recognizer = Gated()
    health = Health(models(recognizer), 0)
    with health.probing():
        health.drain()
        recognizer.open.set()
        wait_for(lambda: not any(thread.name == "health probe" for thread in threading.enumerate()))
    assert health.state is State.DRAINING


@pytest.mark.parametrize(
    ("path", "work"),
    [
        ("/gradio_api/upload", 1),
        ("/gradio_api/component_server", 1),
        ("/gradio_api/queue/data", 1),
        ("/", 1),
        ("/health", 0),
        ("/metrics", 0),
        ("/gradio_api/heartbeat/abc", 0),
        ("/gradio_api/mcp/", 0),
    ],
)
def test_streams_without_end_are_no_work(path: str, work: int) -> None:
    health = Health(models(FakeRecognizer()), 0)
    seen = []

    async def answer(*_: Any) -> None:
        seen.append(health.running)

    app = SimpleNamespace(get_blocks=lambda: SimpleNamespace(health=health))
    scope: Any = {"type": "http", "path": path, "app": app}
    with ThreadPoolExecutor(1) as thread:  # a browser test before it leaves an event loop running in this one
        thread.submit(asyncio.run, WorkCount(answer)(scope, None, None)).result()  # type: ignore[arg-type]
    assert (seen, health.running) == ([work], 0)
