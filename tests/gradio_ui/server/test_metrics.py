"""/metrics counts what the app did, is off unless asked for, and says nothing about anybody."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from gradio_ui.server.metrics import FRAME, KINDS, REASONS
from tests.support.app_fixtures import FakeRecognizer, serve

VISITOR = "grandmother"


@pytest.fixture(scope="module")
def measured(gradio_files: Any) -> Iterator[str]:
    yield from serve(FakeRecognizer(), metrics=True)


def samples(url: str) -> dict[str, float]:
    """The values by name and labels, as in the text."""
    families = text_string_to_metric_families(httpx.get(f"{url}metrics").text)
    return {
        ",".join([one.name, *map("=".join, sorted(one.labels.items()))]): one.value
        for family in families
        for one in family.samples
    }


def added(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What has grown, of the counts."""
    grown = {
        name: after[name] - before[name] for name in after if name.startswith(("fer_result_seconds_count", "fer_e"))
    }
    return {name: value for name, value in grown.items() if value}


def picture(side: int = 64) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 200, np.uint8)).save(file, "PNG")
    return file.getvalue()


def recognize(url: str, data: bytes) -> None:
    (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": (f"{VISITOR}.png", data)}).json()
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = httpx.post(f"{url}gradio_api/call/v2/recognize", json={"image": image}).json()["event_id"]
    httpx.get(f"{url}gradio_api/call/recognize/{event}", timeout=60)


def see(url: str, image: str) -> Any:
    components = httpx.get(f"{url}config").json()["components"]
    (webcam,) = [one["id"] for one in components if one["props"].get("elem_id") == "webcam"]
    data = {"image": image, "start": 1, "seconds": 1, "smoothing": 0, "recording": 0}
    body = {"session_hash": VISITOR, "component_id": webcam, "fn_name": "recognize_frame", "data": data}
    return httpx.post(f"{url}gradio_api/component_server", json=body, headers={"X-Forwarded-For": VISITOR}).json()


def test_metrics_are_off_unless_asked_for(url: str) -> None:
    assert httpx.get(f"{url}metrics").status_code == 404


def test_results_and_refusals_are_counted(measured: str) -> None:
    before = samples(measured)
    recognize(measured, picture())
    recognize(measured, b"no picture")
    assert "faces" in see(measured, f"data:image/png;base64,{base64.b64encode(picture()).decode()}")
    assert "error" in see(measured, VISITOR)
    after = samples(measured)
    assert added(before, after) == {
        "fer_result_seconds_count,kind=image": 1,
        "fer_errors_total,kind=image,reason=refused": 1,
        "fer_result_seconds_count,kind=frame": 1,
        "fer_errors_total,kind=frame,reason=refused": 1,
    }
    assert after["fer_result_seconds_sum,kind=image"] > before["fer_result_seconds_sum,kind=image"]
    assert after["fer_viewers"] == 1 and after["fer_ready"] == 1 and after["fer_queue_waiting"] == 0
    assert after["fer_requests_running"] == 0 and after["process_resident_memory_bytes"] > 1e7


def test_faults_of_ours_are_counted_apart(measured: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FakeRecognizer, "__call__", fail)
    before = samples(measured)
    recognize(measured, picture())
    assert added(before, samples(measured)) == {"fer_errors_total,kind=image,reason=failed": 1}


def test_steps_of_one_video_are_one_result(measured: str) -> None:
    """A handler that yields is called once for each step; one result comes of it."""
    functions = httpx.get(f"{measured}config").json()["dependencies"]
    (number,) = [each["id"] for each in functions if each["api_name"] == "recognize_all"]
    (path,) = httpx.post(f"{measured}gradio_api/upload", files={"files": ("a.png", picture())}).json()
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    (inputs,) = [len(each["inputs"]) for each in functions if each["id"] == number]
    body = {"data": [files, *[None] * (inputs - 1)], "fn_index": number, "session_hash": "steps"}
    before = samples(measured)
    httpx.post(f"{measured}gradio_api/queue/join", json=body)
    with httpx.stream(
        "GET", f"{measured}gradio_api/queue/data", params={"session_hash": "steps"}, timeout=60
    ) as stream:
        told = [json.loads(line.removeprefix("data: "))["msg"] for line in stream.iter_lines() if line]
    assert told.count("process_generating") > 1 and told.count("process_completed") == 1
    assert added(before, samples(measured)) == {"fer_result_seconds_count,kind=batch": 1}


def test_every_function_counted_is_on_the_page(measured: str) -> None:
    functions = {each["api_name"] for each in httpx.get(f"{measured}config").json()["dependencies"]}
    assert set(KINDS) <= functions


def test_nothing_of_a_visitor_is_told(measured: str) -> None:
    recognize(measured, picture())
    see(measured, f"data:image/png;base64,{base64.b64encode(picture()).decode()}")
    httpx.get(f"{measured}{VISITOR}", headers={"User-Agent": VISITOR})
    answer = httpx.get(f"{measured}metrics")
    assert answer.headers["content-type"].startswith("text/plain") and "nosniff" in answer.headers.values()
    for word in (VISITOR, "127.0.0.1", "happy", "me/fake", ".png"):
        assert word not in answer.text
    labels = {
        (name, value)
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
        for name, value in one.labels.items()
        if name != "le"
    }
    assert labels == {("kind", kind) for kind in (FRAME, *KINDS.values())} | {("reason", reason) for reason in REASONS}
