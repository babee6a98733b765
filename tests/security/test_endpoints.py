"""Every function of the app, named or private, called by a hostile visitor: one refusal, no pixels, no hang."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from PIL import Image

from gradio_ui.server.guard import MISFIT
from gradio_ui.server.uploads import REFUSAL

JUNK = (None, "x", 10**400, -1, [], {}, [[[]]], float("inf"), {"__type__": "update"})
SECONDS = 20  # that an answer may take on a busy machine; a worker that hangs never answers
JSON = {"content-type": "application/json"}  # as text, since httpx itself refuses what is no number
MARK = {"_type": "gradio.FileData"}
# One for all: each of its own would read the certificates of the world first.
CLIENT = httpx.Client(timeout=SECONDS)


def ask(url: str, function: int, data: list[Any], **more: Any) -> Any:
    """Call a function as the page does; give what it puts out, without its timings."""
    session = uuid4().hex
    body = {"data": data, "fn_index": function, "session_hash": session, **more}
    joined = CLIENT.post(f"{url}gradio_api/queue/join", json=body, timeout=SECONDS)
    if joined.status_code != 200:
        return joined.json()["detail"]
    with CLIENT.stream(
        "GET", f"{url}gradio_api/queue/data", params={"session_hash": session}, timeout=SECONDS
    ) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line else {}
            if message.get("msg") == "process_completed":
                return {name: value for name, value in message["output"].items() if "duration" not in name}
    raise AssertionError("the stream ended without an answer")


def run(client: httpx.Client, function: int, data: list[Any]) -> str:
    """Call a function at once, beside the queue; give the raw answer without its timings."""
    body = {"data": data, "fn_index": function, "session_hash": uuid4().hex}
    return re.sub(r'"[a-z_]*duration": ?[\d.e-]+', "", client.post("run/any", json=body).text)


def call(url: str, name: str, **values: Any) -> str:
    """Call an endpoint as the README shows it; give the raw answer."""
    posted = CLIENT.post(f"{url}gradio_api/call/v2/{name}", json=values, timeout=SECONDS)
    if posted.status_code != 200:
        return f"{posted.status_code} {posted.text}"
    with CLIENT.stream("GET", f"{url}gradio_api/call/{name}/{posted.json()['event_id']}", timeout=SECONDS) as stream:
        return "".join(stream.iter_text())


def upload(url: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        stored = CLIENT.post(f"{url}gradio_api/upload", files={"files": (path.name, file)}).json()[0]
    return {"path": stored, "meta": MARK}


@pytest.fixture(scope="module")
def functions(url: str) -> list[dict[str, Any]]:
    config = CLIENT.get(f"{url}config").json()
    kinds = {component["id"]: component for component in config["components"]}
    return [
        {"id": each["id"], "name": each["api_name"], "inputs": [kinds[i] for i in each["inputs"]]}
        for each in config["dependencies"]
        if each["inputs"]
    ]


def takes_a_file(function: dict[str, Any]) -> bool:
    return any(each["type"] in ("image", "file") for each in function["inputs"])


def values(function: dict[str, Any], file: Any) -> list[Any]:
    """The file at every input, in a list where several are taken."""
    several = [each["props"].get("file_count") == "multiple" for each in function["inputs"]]
    return [[file] if many else file for many in several]


@contextmanager
def within(folder: Path) -> Iterator[Path]:
    """A place in the upload folder like that of an upload."""
    place = folder / ("0" * 64)
    place.mkdir()
    yield place
    for path in place.iterdir():
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    place.rmdir()


def test_foreign_paths_get_one_answer_everywhere(
    url: str, gradio_files: Path, functions: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.png"
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(secret)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with within(gradio_files) as place:
        (place / "link.png").symlink_to(secret)
        os.mkfifo(place / "pipe")
        (place / "folder").mkdir()
        (gradio_files / "tmphalf").write_bytes(secret.read_bytes())
        paths = [
            *(str(secret), str(tmp_path / "missing.png"), str(tmp_path), str(tmp_path / "pipe"), "/dev/zero"),
            *("secret.png", "~/secret.png", f"{gradio_files}/../{secret.name}", f"file://{secret}", "", "\0"),
            *(str(gradio_files), str(place), f"{place}/.", f"{place}/..", f"{place}/link.png", f"{place}/pipe"),
            *(f"{place}/folder", f"{place}/missing.png", str(gradio_files / "tmphalf"), f"{place}//link.png"),
            *("http://127.0.0.1:1/a.png", f"{url}gradio_api/file={secret}", "https://[", "x" * 5000),
        ]
        with httpx.Client(base_url=f"{url}gradio_api", timeout=SECONDS) as client:
            for function in functions:
                kinds = paths if takes_a_file(function) else paths[:5]
                files = [values(function, {"path": path, "meta": MARK}) for path in kinds]
                answers = {run(client, function["id"], file) for file in files}
                assert len(answers) == 1, (function["name"], answers)
                assert "data:image" not in answers.pop()
                if takes_a_file(function):
                    assert all(REFUSAL in json.dumps(ask(url, function["id"], file)) for file in (files[0], files[3]))
        (gradio_files / "tmphalf").unlink()


@pytest.mark.parametrize(
    "file",
    [
        {"path": "SECRET"},
        {"path": "SECRET", "meta": {"_type": "other"}},
        {"path": "SECRET", "is_stream": True, "meta": MARK},
        {"path": None, "url": "SECRET", "meta": MARK},
        {"url": "file://SECRET", "meta": MARK},
        {"path": ["SECRET"], "meta": MARK},
        {"path": {"path": "SECRET", "meta": MARK}, "meta": MARK},
        {"video": {"path": "SECRET", "meta": MARK}},
        [[{"path": "SECRET", "meta": MARK}]],
        "SECRET",
        "data:image/png;base64,iVBORw0KGgo=",
        7,
        True,
        {},
    ],
)
def test_other_shapes_are_refused(url: str, functions: list[dict[str, Any]], tmp_path: Path, file: Any) -> None:
    secret = tmp_path / "secret.png"
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(secret)
    sent = json.loads(json.dumps(file).replace("SECRET", str(secret)))
    for function in functions:
        if takes_a_file(function):
            assert REFUSAL in json.dumps(ask(url, function["id"], values(function, sent))), function["name"]


def test_an_upload_passes_and_its_answer_names_no_path(url: str, portrait_file: Path, gradio_files: Path) -> None:
    mine = upload(url, portrait_file)
    assert '"label": "happy"' in call(url, "recognize", image=mine)
    assert '"label": "happy"' in call(url, "recognize", image={"path": mine["path"]})  # as in Gradio's own guide
    assert str(gradio_files) not in call(url, "recognize", image=mine)


@pytest.mark.parametrize(
    ("name", "sent", "answer"),
    [
        ("recognize", {"model_name": ["x"]}, "expected one of the models me/fake, got ['x']"),
        ("recognize", {"model_name": {"a": 1}}, "expected one of the models"),
        ("recognize", {"whole_image": "no"}, "whole_image: expected true or false, got 'no'"),
        ("recognize_batch", {"whole_image": 3}, "whole_image: expected true or false, got 3"),
        ("recognize_batch", {"model_name": 5}, "expected one of the models"),
        ("recognize_video", {"per_second": "many"}, "per_second: expected a number from 0 to 240, got 'many'"),
        ("recognize_video", {"per_second": 1e999}, "per_second: expected a number from 0 to 240, got inf"),
        ("recognize_video", {"per_second": -1}, "per_second: expected a number from 0 to 240, got -1"),
        ("recognize_video", {"smoothing": float("nan")}, "smoothing: expected a number from 0 to 60, got nan"),
        ("recognize_video", {"smoothing": [1]}, "smoothing: expected a number"),
    ],
)
def test_values_of_other_kinds_are_sentences(
    url: str, portrait_file: Path, name: str, sent: dict[str, Any], answer: str
) -> None:
    mine = upload(url, portrait_file)
    file = {"recognize": {"image": mine}, "recognize_batch": {"images": [mine]}, "recognize_video": {"video": mine}}
    body = json.dumps(file[name] | sent)
    posted = CLIENT.post(f"{url}gradio_api/call/v2/{name}", content=body, headers=JSON, timeout=SECONDS)
    with CLIENT.stream("GET", f"{url}gradio_api/call/{name}/{posted.json()['event_id']}", timeout=SECONDS) as stream:
        told = "".join(stream.iter_text())
    assert answer in json.loads(told.partition("data: ")[2])["error"]


def test_missing_and_unknown_arguments_are_sentences(url: str) -> None:
    for name, sent in (("recognize", {}), ("recognize", {"image": None, "other": 1}), ("nothing", {})):
        answer = CLIENT.post(f"{url}gradio_api/call/v2/{name}", json=sent)
        assert answer.status_code == 400 and answer.json()["detail"].startswith("Expected a request"), name
    expected = "Expected 4 values (image, whole picture, model name, threshold), got 1"
    assert expected in json.dumps(ask(url, *named(url), [None]))


def named(url: str) -> tuple[int]:
    """The number of /recognize."""
    functions = CLIENT.get(f"{url}config").json()["dependencies"]
    return (next(each["id"] for each in functions if each["api_name"] == "recognize"),)


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_at_every_input_is_answered(url: str, functions: list[dict[str, Any]], junk: Any) -> None:
    for function in functions:
        body = json.dumps(
            {"data": [junk] * len(function["inputs"]), "fn_index": function["id"], "session_hash": uuid4().hex}
        )
        answer = CLIENT.post(f"{url}gradio_api/run/any", content=body, headers=JSON, timeout=SECONDS)
        if answer.status_code != 200:
            told = answer.json().get("error") or answer.json()["detail"]
            assert isinstance(told, str) and " " in told and "site-packages" not in told, (function["name"], told)


def test_a_value_that_does_not_fit_is_a_sentence(url: str, functions: list[dict[str, Any]]) -> None:
    choose = next(each for each in functions if each["name"] == "choose")
    answer = json.dumps(ask(url, choose["id"], [{"a": 1}, None]))
    assert "not in the list of choices" in answer or MISFIT in answer or "expected one of the models" in answer


def test_a_full_disk_is_told_on_upload(url: str, portrait_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/where")

    monkeypatch.setattr("gradio.route_utils.NamedTemporaryFile", full)
    answer = CLIENT.post(f"{url}gradio_api/upload", files={"files": portrait_file.read_bytes()})
    assert answer.status_code == 507 and "disk is full" in answer.text and "/some" not in answer.text


def test_nothing_of_a_visitor_is_logged(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "my-private-name.png"
    broken.write_bytes(b"no picture")
    mine = upload(url, broken)
    call(url, "recognize", image=mine)
    call(url, "recognize_batch", images=[mine])
    call(url, "recognize_video", video=mine)
    call(url, "recognize", image={"path": "/my-private-name"})
    call(url, "recognize", image=mine, model_name="my-private-name")
    call(url, "my-private-name", image=mine)
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "my-private-name" not in logged and "Traceback" not in logged
