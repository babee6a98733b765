"""The webcam's functions of the served page against hostile requests: bounded, answered in a sentence, not logged."""

from __future__ import annotations

import base64
import io
import logging
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import psutil
import pytest
from PIL import Image

from gradio_ui.demo import MAX_SESSIONS
from gradio_ui.server.session_guard import MAX_BODY
from gradio_ui.webcam.recording import MAX_RECORDINGS
from gradio_ui.webcam.viewers import MAX_VIEWERS
from tests.gradio_ui.webcam.test_viewers import page_data, recorders, wait_until
from tests.support.app_fixtures import FakeRecognizer, serve

VISITOR = "zzvisitorzz"


class Webcam:
    """A program that calls the functions of the webcam tab."""

    def __init__(self, url: str) -> None:
        self.url = url
        config = httpx.get(f"{url}config").json()
        self.component = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "webcam")
        self.client = httpx.Client(timeout=60)

    def post(self, content: bytes) -> httpx.Response:
        headers = {"content-type": "application/json"}
        return self.client.post(f"{self.url}gradio_api/component_server/", content=content, headers=headers)

    def call(self, data: Any, session: Any = "tester", name: str = "recognize_frame") -> httpx.Response:
        import json

        body = {"component_id": self.component, "fn_name": name, "session_hash": session, "data": data}
        return self.post(json.dumps(body).encode())  # also NaN and Infinity


@pytest.fixture(scope="module")
def webcam(gradio_files: Any) -> Iterator[Webcam]:
    for url in serve(FakeRecognizer()):
        yield Webcam(url)


def huge_png() -> str:
    file = io.BytesIO()
    Image.new("RGB", (7000, 7000), "#102030").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_huge_images_are_refused_without_memory(webcam: Webcam) -> None:
    """Each would take 147 MB to decode; 32 at once took the server from 1.9 to 8.5 GB."""
    data = page_data(0.0, image=huge_png())
    assert 100_000 < len(data["image"]) < 500_000
    process, peak, done = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: webcam.call(data, f"huge{n}").json(), range(32)))
    finally:
        done.set()
        thread.join()
    assert {answer["error"] for answer in answers} == {
        "Expected a frame as a JPEG, WebP or PNG file of up to 500 kB and 1 megapixel, got 7000x7000 pixels."
    }
    assert peak[0] - before < 120e6


@pytest.mark.slow
def test_sessions_and_recordings_are_bounded(gradio_files: Any) -> None:
    for url in serve(FakeRecognizer()):  # of its own, since it ends full
        fill(Webcam(url))


def fill(webcam: Webcam) -> None:
    threads = threading.active_count()
    data = page_data(0.0, recording=1)
    answers = [webcam.call(data, f"many{n}").json() for n in range(MAX_VIEWERS + 100)]
    served = [answer for answer in answers if "faces" in answer]
    refused = {answer.get("error") for answer in answers} - {None}
    assert 0 < len(served) <= MAX_VIEWERS
    assert refused == {f"The server is busy: {MAX_VIEWERS} cameras are in use. Try again in a minute."}
    assert 0 < len(recorders()) <= MAX_RECORDINGS
    assert threading.active_count() - threads < MAX_RECORDINGS + 40  # those of anyio are bounded, too
    part = {"number": 1, "have": 0, "finish": True}
    busy = webcam.call(part, f"many{MAX_RECORDINGS + 3}", "take_recording").json()
    assert "recordings are in progress" in busy["error"]
    stranger = webcam.call(part, "stranger", "take_recording").json()
    assert "recording is lost" in stranger["error"]
    for number in range(MAX_RECORDINGS + 3):
        webcam.call(part, f"many{number}", "take_recording")
    wait_until(lambda: not recorders())


@pytest.mark.parametrize("session", ["x" * 1_000_000, "x" * 65, "", "a b", "../..", None, 7, ["a"], {}])
def test_odd_session_ids_leave_no_state(webcam: Webcam, session: Any) -> None:
    answer = webcam.call(page_data(0.0), session)
    assert answer.status_code in (400, 413)
    assert answer.json()["error"].startswith("Expected a request of up to" if len(str(session)) > 1e5 else "session_")


@pytest.mark.parametrize("session", ["x" * 1_000_000, "x" * 65, "", "a b", "../..", 7, ["a"], {}])
@pytest.mark.parametrize("path", ["queue/join", "run/recognize", "api/recognize", "call/v2/recognize", "cancel"])
def test_no_endpoint_takes_an_odd_session_id(webcam: Webcam, path: str, session: Any) -> None:
    body = {"data": [None] * 3, "fn_index": 0, "event_id": "a", "session_hash": session}
    answer = webcam.client.post(f"{webcam.url}gradio_api/{path}", json=body)
    assert answer.status_code == 400 and answer.json()["detail"].startswith("session_hash: expected 1 to 64 letters")


def test_a_heartbeat_has_a_session_id(webcam: Webcam) -> None:
    answer = webcam.client.get(f"{webcam.url}gradio_api/heartbeat/{'x' * 65}")
    assert answer.status_code == 400 and "session_hash" in answer.json()["detail"]


@pytest.mark.slow
def test_gradio_keeps_few_sessions(webcam: Webcam, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradio.state_holder import StateHolder

    held: list[StateHolder] = []
    get = StateHolder.__getitem__
    monkeypatch.setattr(StateHolder, "__getitem__", lambda self, key: held.append(self) or get(self, key))
    for number in range(MAX_SESSIONS + 5):
        webcam.call(None, f"kept{number}")
    assert len(held[-1].session_data) == MAX_SESSIONS


@pytest.mark.parametrize("path", ["queue/join", "call/v2/recognize", "mcp/", "component_server"])
def test_large_requests_are_refused(webcam: Webcam, path: str) -> None:
    body = b'{"session_hash": "a", "data": "' + b"x" * MAX_BODY + b'"}'
    try:
        answer = webcam.client.post(f"{webcam.url}gradio_api/{path}", content=body)
    except httpx.TransportError:
        return  # cut off while it was sent
    assert answer.status_code == 413 and answer.json()["detail"].startswith("Expected a request of up to")


def test_large_uploads_are_taken(webcam: Webcam) -> None:
    files = {"files": ("large.bin", bytes(MAX_BODY + 1))}
    assert webcam.client.post(f"{webcam.url}gradio_api/upload", files=files).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe", b'{"session_hash": NaN}'])
def test_what_is_no_request_is_a_sentence(webcam: Webcam, body: bytes) -> None:
    answer = webcam.post(body)
    assert answer.status_code == 400 and "xpected" in answer.json()["error"]


def test_a_body_without_end_is_cut_off(webcam: Webcam) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 100_000
            yield b" " * 100_000

    try:
        answer = webcam.client.post(f"{webcam.url}gradio_api/component_server/", content=endless())
    except httpx.TransportError:
        pass  # cut off while it was sent
    else:
        assert answer.status_code == 413
    assert webcam.call(page_data(0.0), "after").status_code == 200


WRONG: list[dict[str, Any]] = [
    {"recording": math.inf},
    {"recording": math.nan},
    {"recording": VISITOR},
    {"recording": 10**30},
    {"start": None},
    {"seconds": -math.inf},
    {"seconds": 1e21},  # at which the tracker would no longer tell two moments apart
    {"smoothing": {VISITOR: 1}},
    {"model": [VISITOR]},
    {"model": {}},
    {"model": VISITOR},
    {"image": VISITOR},
    {"image": 3},
    {"image": f"data:image/{VISITOR};base64,AAAA"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong!r:.30}")
def test_wrong_values_are_sentences(
    webcam: Webcam, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        answer = webcam.call(page_data(0.0) | wrong, "wrong")
    assert answer.status_code == 200
    assert "xpected" in answer.json()["error"] and len(answer.json()["error"]) < 200
    assert VISITOR not in answer.text + caplog.text + "".join(capfd.readouterr())
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("data", [None, 3, "text", [], [{}], {"number": math.inf, "have": 0, "finish": True}])
def test_wrong_kinds_are_sentences(webcam: Webcam, data: Any) -> None:
    for name in ("recognize_frame", "take_recording"):
        answer = webcam.call(data, "wrong", name)
        assert answer.status_code == 200 and "expected" in answer.json()["error"]
