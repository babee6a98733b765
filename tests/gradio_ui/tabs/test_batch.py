"""The batch tab: its endpoint through gradio_client, and in a real browser what a user sees and cancels."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from gradio_ui.recognition.types import Recognition
from gradio_ui.tabs import batch as batch_tab
from gradio_ui.tabs.batch import as_entry
from gradio_ui.views.batch_files import THUMBNAIL, write_thumbnail
from gradio_ui.views.batch_results import caption, outcome
from tests.support.app_fixtures import LABELS, FakeRecognizer, serve


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two faces, one face, none, and a file that is no picture; the names are as users' are."""
    folder = tmp_path_factory.mktemp("holiday")
    frame = np.full((300, 400, 3), 90, np.uint8)
    for name, seen in (("both", frame), ("one face, 1", frame * (np.arange(400) < 200)[:, None]), ("none", frame * 0)):
        Image.fromarray(seen.astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return [folder / name for name in ("both.png", "broken.jpg", "one face, 1.png", "none.png")]


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    client = Client(url, verbose=False)
    yield client
    client.close()


def test_recognize_batch_gives_all_and_one_table(client: Client, images: list[Path]) -> None:
    files = [handle_file(path) for path in images]
    result, table = client.predict(files, api_name="/recognize_batch")
    assert [entry["file"] for entry in result["images"]] == [path.name for path in images]
    assert result["images"][0]["size"] == [400, 300]
    labels = [[face["label"] for face in entry.get("faces", ())] for entry in result["images"]]
    assert labels == [["happy", "sad"], [], ["happy"], []]
    assert "is no picture of a known format" in result["images"][1]["error"]
    rows = list(csv.DictReader(Path(table).open(newline="")))
    assert list(rows[0]) == [
        *("file", "face", "left", "top", "right", "bottom", "confidence", "label", "probability"),
        *("unclear", "shown", *LABELS, "error"),
    ]
    assert [(row["file"], row["face"], row["label"]) for row in rows] == [
        ("both.png", "1", "happy"),
        ("both.png", "2", "sad"),
        ("broken.jpg", "", ""),
        ("one face, 1.png", "1", "happy"),
        ("none.png", "", ""),
    ]
    assert float(rows[0]["happy"]) == float(rows[0]["probability"]) == pytest.approx(0.7)
    assert "no picture of a known format" in rows[2]["error"] and not rows[4]["error"]


def test_every_image_may_be_one_face(client: Client, images: list[Path]) -> None:
    result, _ = client.predict([handle_file(images[3])], True, api_name="/recognize_batch")
    assert result["images"][0]["faces"][0]["box"] == [0, 0, 400, 300]


def test_none_and_too_many_are_clear_errors(
    client: Client, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AppError, match="Expected pictures, got none"):
        client.predict([], api_name="/recognize_batch")
    monkeypatch.setattr(batch_tab, "MAX_IMAGES", 1)
    with pytest.raises(AppError, match=r"Expected up to 1 pictures at once, got 2.*command line"):
        client.predict([handle_file(images[0])] * 2, api_name="/recognize_batch")


def test_a_file_of_the_server_cannot_be_named(url: str, root: Path) -> None:
    secret = {"path": str(root / "app.py")}
    for sent in (secret, secret | {"meta": {"_type": "gradio.FileData"}}):
        call = f"{url}gradio_api/call/recognize_batch"
        event = httpx.post(call, json={"data": [[sent], False, "me/fake"]}).json()["event_id"]
        answer = httpx.get(f"{call}/{event}").text
        assert "event: error" in answer and "no picture of a known format" not in answer


def test_thumbnails_are_small_and_captions_short(fake: FakeRecognizer, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    Image.new("RGB", (3000, 2000), "white").save(large)
    recognition = fake(np.asarray(Image.open(large)))
    write_thumbnail(large.read_bytes(), recognition, tmp_path / "small.jpg")
    assert Image.open(tmp_path / "small.jpg").size == (THUMBNAIL, 427)
    entry = as_entry({"path": str(large), "orig_name": "ä b.png"}, recognition)
    assert caption(entry) == "1 happy, 1 sad · ä b.png"
    assert caption(entry | {"faces": []}) == "no face · ä b.png"


def test_outcome_counts_failed_and_left_out() -> None:
    entries: list[dict[str, Any]] = [{"faces": [{}, {}]}, {"error": "no"}]
    assert "2 faces in 1 picture<" in outcome(entries, 2) and "1 could not be read" in outcome(entries, 2)
    assert "Partial result" in outcome(entries, 5) and "Stopped after 2 of 5" in outcome(entries, 5)


def open_batch(page: Any, url: str, paths: list[Path]) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Batch").click()
    page.locator("#batch-files input[type=file]").set_input_files(paths)


@pytest.mark.browser
def test_many_images_become_a_gallery_and_one_table(page: Any, url: str, images: list[Path]) -> None:
    open_batch(page, url, images)
    page.get_by_text("3 faces in 3 pictures").wait_for()
    page.locator("#batch-gallery .grid-container img").nth(2).wait_for()
    captions = page.locator("#batch-gallery .caption-label").all_inner_texts()
    assert [text.strip() for text in captions] == [
        "1 happy, 1 sad · both.png",
        "happy · one face, 1.png",
        "no face · none.png",
    ]
    table = page.locator("#batch-results")
    files = lambda: [text.strip() for text in table.locator("tbody th:visible").all_inner_texts()]  # noqa: E731
    assert "is no picture of a known format" in table.locator("tr", has_text="broken.jpg").inner_text()
    assert table.locator(".fer-totals li").all_inner_texts()[0].split() == ["happy", "2"]
    table.locator("[data-kind='not read']").click()
    assert files() == ["broken.jpg"]
    table.locator("[data-kind='happy']").click()
    assert files() == ["both.png", "one face, 1.png"]
    table.get_by_role("button", name="Faces").click()
    assert files() == ["one face, 1.png", "both.png"]
    table.get_by_role("button", name="one face, 1.png").click()
    page.locator("#batch-gallery [data-testid=detailed-image], #batch-gallery .preview img").first.wait_for()
    assert page.locator("#batch-gallery .preview").get_by_text("happy · one face, 1.png").count()
    with page.expect_download() as saved:
        page.locator("[role=tabpanel]:visible").get_by_role("button", name="Download CSV").click()
    assert saved.value.suggested_filename == "expressions.csv"
    assert len(list(csv.DictReader(saved.value.path().open(newline="")))) == 5
    with page.expect_download() as saved:
        page.locator("[role=tabpanel]:visible").get_by_role("button", name="Download JSON").click()
    assert json.loads(saved.value.path().read_text())["images"][0]["file"] == "both.png"
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


class Slow(FakeRecognizer):
    """Takes its time."""

    def batch(self, images: Any, *, whole_image: bool = False) -> list[Recognition | Any]:
        time.sleep(1)
        return super().batch(images, whole_image=whole_image)


@pytest.mark.browser
@pytest.mark.slow
def test_cancel_keeps_what_is_done(
    page: Any, images: list[Path], gradio_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    many = [images[0]] * 5
    for url in serve(Slow()):
        open_batch(page, url, many)
        page.get_by_text("1 of 5 pictures").wait_for()
        panel = page.locator("[role=tabpanel]:visible")
        panel.get_by_role("button", name="Cancel").click()
        page.get_by_text("Partial result").wait_for()
        page.locator("#batch-gallery .grid-container img").first.wait_for()
        shown = page.locator("#batch-gallery .grid-container img").count()
        assert 1 < shown < 5
        assert f"Stopped after {shown} of 5" in page.locator("#batch-notice").inner_text()
        assert panel.get_by_role("button", name="Recognize").is_enabled()
        assert not list(tmp_path.rglob("*both*"))
