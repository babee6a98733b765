"""The endpoints, through gradio_client over HTTP as a user would call them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.support.app_fixtures import FakeRecognizer, serve


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    with_client = Client(url, verbose=False)
    yield with_client
    with_client.close()


def test_recognize_gives_all_faces(client: Client, portrait_file: Path) -> None:
    result = client.predict(handle_file(portrait_file), False, api_name="/recognize")
    assert result["size"] == [512, 512]
    assert [face["label"] for face in result["faces"]] == ["happy", "sad"]
    assert set(result["faces"][0]["probabilities"]) == set(result["labels"])


def test_recognize_takes_the_picture_as_one_face(client: Client, portrait_file: Path) -> None:
    result = client.predict(handle_file(portrait_file), True, api_name="/recognize")
    assert [face["box"] for face in result["faces"]] == [[0, 0, 512, 512]]


def test_a_broken_picture_is_one_clear_error(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    with pytest.raises(AppError, match=r"broken\.jpg is no picture of a known format"):
        client.predict(handle_file(broken), False, api_name="/recognize")


def test_no_picture_is_one_clear_error(client: Client) -> None:
    with pytest.raises(AppError, match="Expected a picture, got none"):
        client.predict(None, False, api_name="/recognize")


def test_only_the_named_endpoints_are_public_and_documented(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/recognize", "/recognize_batch", "/recognize_video"}
    assert "apparent expression" in endpoints["/recognize"]["description"]
    assert [p["parameter_name"] for p in endpoints["/recognize"]["parameters"]] == [
        "image",
        "whole_picture",
        "model_name",
    ]


def test_uploads_are_deleted(
    fake: FakeRecognizer, gradio_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradio_ui.demo.KEPT_MINUTES", 1 / 15)
    mine = tmp_path / "mine.png"
    Image.new("RGB", (64, 64), "#123456").save(mine)
    for url in serve(fake):
        client = Client(url, verbose=False)
        client.predict(handle_file(mine), False, api_name="/recognize")
        client.close()
        assert list(gradio_files.rglob("mine.png"))
        deadline = time.monotonic() + 30
        while list(gradio_files.rglob("mine.png")):
            assert time.monotonic() < deadline, "the upload is still there"
            time.sleep(0.2)
