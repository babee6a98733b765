"""The video tab: its endpoint through gradio_client, and in a real browser what a user sees and cancels."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from gradio_ui.recognition.palette import COLORS
from gradio_ui.recognition.tables import write_csv
from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.recognition.types import Recognition
from gradio_ui.recognition.video_analysis import video_columns
from gradio_ui.tabs.video import face_drawer, outcome
from gradio_ui.views.plots import progress, timeline
from tests.support.app_fixtures import LABELS, FakeRecognizer, serve
from tests.support.clips import frame_times, make_clip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with sound; the fake recognizer sees a happy face in the bright left half, and a sad one."""
    return make_clip(tmp_path_factory.mktemp("film") / "film.mp4", [i / 25 for i in range(50)], size=(160, 120))


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    client = Client(url, verbose=False)
    yield client
    client.close()


def test_recognize_video_gives_files_and_summary(client: Client, film: Path) -> None:
    video, table, json_file, summary = client.predict(handle_file(film), 5, 0.5, api_name="/recognize_video")
    assert Path(video).name == "film-expressions.mp4"
    assert frame_times(Path(video)) == frame_times(film)
    rows = list(csv.DictReader(Path(table).open(newline="")))
    assert {(row["face"], row["label"]) for row in rows} == {("1", "happy"), ("2", "sad")}
    assert len({row["seconds"] for row in rows}) == summary["analyzed_frames"] == 10
    assert json.loads(Path(json_file).read_text())["summary"] == summary
    assert summary["shares"]["happy"] == pytest.approx(0.5)
    assert summary["problem"] == ""


def test_a_cut_off_video_gives_its_part_and_says_so(client: Client, tmp_path: Path) -> None:
    cut = make_clip(tmp_path / "cut.mkv", [i / 25 for i in range(75)])
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    video, table, _, summary = client.predict(handle_file(cut), api_name="/recognize_video")
    assert "breaks off after" in summary["problem"]
    assert 5 < len(frame_times(Path(video))) < 70
    assert len(Path(table).read_text().splitlines()) > 5


def test_a_broken_video_is_one_clear_error(client: Client, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video at all")
    with pytest.raises(AppError, match="The file cannot be read as a video"):
        client.predict(handle_file(broken), api_name="/recognize_video")
    with pytest.raises(AppError, match="Expected a video, got none"):
        client.predict(None, api_name="/recognize_video")
    with pytest.raises(AppError, match="per_second: expected a number from 0 to 240, got -1"):
        client.predict(handle_file(broken), -1, api_name="/recognize_video")


def test_the_endpoint_is_documented(client: Client) -> None:
    endpoint = client.view_api(return_format="dict")["named_endpoints"]["/recognize_video"]
    assert "apparent expression" in endpoint["description"]
    names = [p["parameter_name"] for p in endpoint["parameters"]]
    assert names == ["video", "per_second", "smoothing", "model_name", "threshold"]
    assert [p["parameter_has_default"] for p in endpoint["parameters"]] == [False, True, True, True, True]


def test_faces_are_drawn_on_a_copy_in_their_color() -> None:
    row = np.full(7, 0.05, np.float32)
    face = TrackedFace(0.0, 1, [50.0, 60.0, 150.0, 160.0], 0.9, "happy", row, row, False, "happy")
    frame = np.full((200, 300, 3), 40, np.uint8)
    drawn = face_drawer(LABELS)(frame, [face])
    assert (frame == 40).all() and drawn.shape == frame.shape
    assert drawn[110, 50].tolist() == [int(COLORS["happy"][i : i + 2], 16) for i in (1, 3, 5)]
    assert face_drawer(LABELS)(frame, []) is frame


def test_time_left_is_told() -> None:
    assert "1:00 of 4:00 analyzed, 0:30 left" in progress(60, 240, 10)
    assert "1:00 analyzed" in progress(60, None, 10)


def test_outcome_says_what_is_missing() -> None:
    found: dict[str, Any] = {"faces": [], "problem": "", "analyzed_frames": 3}
    assert "No face found" in outcome(found)
    assert "Partial result" in outcome(found | {"problem": "The video breaks off."})


def test_the_plot_has_panels_and_gaps(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    one = {"face": 1, "label": "happy", "happy": 0.9, "sad": 0.1}
    rows = [one | {"seconds": t, "unclear": t == 0.2} for t in (0, 0.2, 0.4, 9.0, 9.2)]
    rows.append({"seconds": 0.2, "face": 2, "label": "sad", "unclear": False, "happy": 0.3, "sad": 0.7})
    with table.open("w", newline="", encoding="utf-8") as file:
        write_csv(file, video_columns(["happy", "sad"]), rows)
    figure = timeline(table, {"shares": {"happy": 0.5, "sad": 0.5}, "faces": [{"face": 1}, {"face": 2}]})
    lines = [trace for trace in figure.data if trace.hoverinfo != "skip"]
    shown = [trace for trace in figure.data if trace.hoverinfo == "skip"]
    assert [(trace.name, len(trace.x)) for trace in lines] == [
        ("happy", 5),
        ("sad", 5),
        ("happy", 1),
        ("sad", 1),
    ]
    assert np.isnan(lines[0].y).tolist() == [False, False, False, True, False]
    assert lines[0].line.dash != lines[1].line.dash
    # Broad where the video shows that label: not in the gap, and not where it is unclear.
    assert [trace.name for trace in shown] == ["happy", "sad"] * 2
    assert [np.isnan(trace.y).tolist() for trace in shown[:2]] == [[False, True, False, True, False], [True] * 5]


class Slow(FakeRecognizer):
    """Takes its time, and counts what it was asked."""

    calls = 0

    def __call__(self, frame: np.ndarray, *, whole_image: bool = False) -> Recognition:
        self.calls += 1
        time.sleep(0.2)
        return super().__call__(frame, whole_image=whole_image)


@pytest.mark.browser
def test_a_video_becomes_a_copy_plot_and_tables(page: Any, url: str, film: Path) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Video").click()
    page.locator("#video-file input[type=file]").set_input_files(film)
    page.get_by_text("2 faces found").wait_for()
    page.locator("#video-plot .annotation", has_text="happy").first.wait_for()  # the line's own name
    assert page.locator("#video-summary figure").count() == 2
    page.wait_for_function("document.querySelector('#video-result video').duration > 1.9")
    assert page.evaluate("document.querySelector('#video-result video').videoWidth") == 160
    page.evaluate("document.querySelector('#video-result video').currentTime = 1")
    page.locator(".fer-cursor").wait_for()
    plot = page.locator("#video-plot .nsewdrag").first.bounding_box()
    page.mouse.click(plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2)
    page.wait_for_function("Math.abs(document.querySelector('#video-result video').currentTime - 0.9) < 0.25")
    cursor = page.locator(".fer-cursor").bounding_box()
    assert cursor["x"] == pytest.approx(plot["x"] + plot["width"] / 2, abs=plot["width"] / 10)
    page.locator("#video-summary [data-seconds]").first.click()
    page.wait_for_function("document.querySelector('#video-result video').currentTime < 0.3")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download CSV").click()
    assert saved.value.suggested_filename == "film-expressions.csv"
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
@pytest.mark.slow
def test_cancel_keeps_the_part_that_is_done(
    page: Any, film: Path, gradio_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    slow = Slow()
    for url in serve(slow):
        page.goto(url)
        page.get_by_role("tab", name="Video").click()
        page.locator("#video-file input[type=file]").set_input_files(film)
        page.get_by_text("left").wait_for()
        assert list(tmp_path.rglob(".film-expressions.mp4.part"))
        page.get_by_role("button", name="Cancel").click()
        page.get_by_text("Partial result").wait_for()
        stopped = slow.calls
        assert "Stopped after" in page.locator("#video-notice").inner_text()
        page.locator("#video-plot .js-plotly-plot").wait_for()
        page.wait_for_function("document.querySelector('#video-result video').duration < 1.9")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Download JSON").click()
        partial = json.loads(saved.value.path().read_text())
        assert 0 < partial["summary"]["analyzed_frames"] < 20
        assert "Stopped after" in partial["summary"]["problem"]
        time.sleep(1)
        assert slow.calls == stopped < 20
        assert not list(tmp_path.rglob("*film*"))
        page.get_by_role("button", name="Analyze").click()
        page.get_by_text("2 faces found").wait_for()
        assert not list(tmp_path.rglob("*film*"))


@pytest.mark.browser
@pytest.mark.slow
def test_taking_the_video_away_stops_the_work(
    page: Any, film: Path, gradio_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    slow = Slow()
    for url in serve(slow):
        page.goto(url)
        page.get_by_role("tab", name="Video").click()
        page.locator("#video-file input[type=file]").set_input_files(film)
        page.get_by_text("left").wait_for()
        page.get_by_label("Clear", exact=True).first.click()
        page.get_by_text("No video yet").wait_for()
        time.sleep(1)
        stopped = slow.calls
        time.sleep(0.5)
        assert slow.calls == stopped < 20
        assert "No video yet" in page.locator("#video-notice").inner_text(), "and it stays so"
        assert not list(tmp_path.rglob("*film*"))
