"""Work stops when the client that asked for it has left, and the next visitor's begins."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file

from gradio_ui.recognition.types import Recognition
from gradio_ui.server import listeners
from tests.support.app_fixtures import FakeRecognizer, serve
from tests.support.clips import make_clip


class Counting(FakeRecognizer):
    """Take 0.2 seconds for a frame, and count them."""

    calls = 0

    def __call__(self, frame: np.ndarray, *, whole_image: bool = False) -> Recognition:
        self.calls += 1
        time.sleep(0.2)
        return super().__call__(frame, whole_image=whole_image)


@pytest.fixture
def slow() -> Counting:
    return Counting()


@pytest.fixture
def served(slow: Counting, gradio_files: Path) -> Iterator[str]:
    yield from serve(slow)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds, of which the recognizer takes 40 to analyze."""
    return make_clip(tmp_path_factory.mktemp("film") / "film.mp4", [i / 25 for i in range(200)], sound=False)


def ask(url: str, film: Path) -> str:
    """Ask for an analysis, as a program does that speaks HTTP; the id of the event."""
    with film.open("rb") as file:
        (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()
    sent = {"video": {"path": path, "meta": {"_type": "gradio.FileData"}}, "per_second": 0}
    return str(httpx.post(f"{url}gradio_api/call/v2/recognize_video", json=sent).json()["event_id"])


def require_stopped(slow: Counting, url: str, film: Path) -> None:
    """The work ends soon, and somebody else is served."""
    assert 0 < slow.calls < 60
    begun = slow.calls
    client = Client(url, verbose=False)
    summary = client.predict(handle_file(film), 0.25, api_name="/recognize_video")[3]
    client.close()
    assert summary["analyzed_frames"] == 2
    assert slow.calls < begun + 40, "the work went on"


@pytest.mark.slow
def test_work_stops_when_the_client_disconnects(slow: Counting, served: str, film: Path) -> None:
    event = ask(served, film)
    leaving = threading.Event()
    with httpx.stream("GET", f"{served}gradio_api/call/recognize_video/{event}", timeout=60):
        while slow.calls < 5:
            leaving.wait(0.05)
    require_stopped(slow, served, film)


@pytest.mark.slow
def test_work_stops_when_nobody_asks_for_the_result(
    slow: Counting, served: str, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "PATIENCE", 1.0)
    ask(served, film)
    while slow.calls < 5:
        time.sleep(0.05)
    require_stopped(slow, served, film)


def test_who_leaves_at_once_leaves_no_error_in_the_log(
    slow: Counting, served: str, film: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    event = ask(served, film)
    with httpx.stream("GET", f"{served}gradio_api/call/recognize_video/{event}", timeout=60):
        pass  # before the first frame is analyzed, so that there is no video to hand over
    require_stopped(slow, served, film)
    assert not caplog.records


@pytest.mark.slow
def test_work_goes_on_while_somebody_waits(
    slow: Counting, served: str, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "PATIENCE", 1.0)
    client = Client(served, verbose=False)
    summary = client.predict(handle_file(film), 2, api_name="/recognize_video")[3]  # 3.2 seconds
    client.close()
    assert summary["analyzed_frames"] == 16 and summary["problem"] == ""


def test_outside_of_gradio_nothing_is_abandoned() -> None:
    assert listeners.abandonment()() is False
