"""The endpoints, through gradio_client over HTTP as a user would call them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from gradio_ui.server.temp_files import TempFiles


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


def test_recognize_takes_the_image_as_one_face(client: Client, portrait_file: Path) -> None:
    result = client.predict(handle_file(portrait_file), True, api_name="/recognize")
    assert [face["box"] for face in result["faces"]] == [[0, 0, 512, 512]]


def test_a_broken_image_is_one_clear_error(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    with pytest.raises(AppError, match="is no picture of a known format"):
        client.predict(handle_file(broken), False, api_name="/recognize")


def test_no_image_is_one_clear_error(client: Client) -> None:
    with pytest.raises(AppError, match="Expected a picture, got none"):
        client.predict(None, False, api_name="/recognize")


def test_only_named_endpoints_are_public(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/recognize", "/recognize_batch", "/recognize_video"}
    assert "apparent expression" in endpoints["/recognize"]["description"]
    assert [p["parameter_name"] for p in endpoints["/recognize"]["parameters"]] == [
        "image",
        "whole_image",
        "model_name",
        "threshold",
    ]


def test_uploads_are_deleted(client: Client, gradio_files: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.png"
    Image.new("RGB", (64, 64), "#123456").save(mine)
    client.predict(handle_file(mine), False, api_name="/recognize")
    assert list(gradio_files.rglob("mine.png"))
    sweep_all(gradio_files)
    assert not list(gradio_files.rglob("mine.png"))
    client.predict(handle_file(mine), False, api_name="/recognize")  # and it can be uploaded again


def sweep_all(uploads: Path) -> None:
    """Sweep as it is done half an hour later."""
    files = TempFiles(kept_seconds=0)
    files.uploads, files.work = uploads, uploads.parent / "work"
    files.sweep()
