"""Video analysis: table, annotated copy and summary, and no files left by an interrupted one."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from gradio_ui.recognition.errors import AbandonedError, VideoError
from gradio_ui.recognition.types import Faces, Recognition
from gradio_ui.recognition.video import VideoReader
from gradio_ui.recognition.video_analysis import COLUMNS, VideoAnalysis, write_json
from tests.support.clips import frame_times, make_clip

LABELS = ("happy", "sad")


class Fake:
    """One face in the bright half; happy at first, sad from the 26th frame on."""

    labels = LABELS

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frame: np.ndarray) -> Recognition:
        self.calls += 1
        row = (0.9, 0.1) if frame[:, -1, 2].mean() < 36 else (0.2, 0.8)
        faces = Faces(np.array([[10, 10, 40, 50]], np.float32), np.array([0.9], np.float32))
        return Recognition(faces, np.array([row], np.float32), LABELS, (frame.shape[1], frame.shape[0]))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", [i / 25 for i in range(30)])


def test_every_frame_is_in_the_table_and_the_copy(clip: Path, tmp_path: Path) -> None:
    drawn = []

    def draw(image: np.ndarray, faces: list) -> np.ndarray:
        drawn.append([face.face for face in faces])
        return np.full_like(image, 255)

    analysis = VideoAnalysis(clip, Fake(), time_constant=0)
    steps = list(analysis.run(tmp_path / "t.csv", tmp_path / "o.mp4", draw))
    assert steps == pytest.approx([i / 25 for i in range(30)])
    assert frame_times(tmp_path / "o.mp4") == frame_times(clip)
    assert drawn == [[1]] * 30
    with VideoReader(tmp_path / "o.mp4") as reader:
        assert next(iter(reader)).image.min() > 250
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert list(rows[0]) == [*COLUMNS, "happy", "sad", "raw_happy", "raw_sad"]
    assert [float(row["seconds"]) for row in rows] == pytest.approx(steps)
    labels = [row["label"] for row in rows]
    first_sad = labels.index("sad")
    assert labels == ["happy"] * first_sad + ["sad"] * (30 - first_sad) and 15 < first_sad < 25
    summary = analysis.summary()
    assert (summary["dominant"], summary["size"], summary["analyzed_frames"]) == ("happy", [96, 64], 30)
    assert summary["duration"] == pytest.approx(1.2, abs=0.05)
    assert [m["label"] for m in summary["moments"]] == ["happy", "sad"]
    assert analysis.moments["sad"].seconds == pytest.approx(first_sad / 25)
    assert analysis.moments["sad"].thumbnail.ndim == 3


@pytest.mark.parametrize(("per_second", "expected"), [(10, 12), (5, 6), (0.5, 1), (100, 30)])
def test_n_frames_per_second(per_second: float, expected: int, clip: Path, tmp_path: Path) -> None:
    recognizer = Fake()
    analysis = VideoAnalysis(clip, recognizer, per_second=per_second)
    times = list(analysis.run(tmp_path / "t.csv", tmp_path / "o.mp4"))
    assert len(times) == recognizer.calls == expected
    assert len(frame_times(tmp_path / "o.mp4")) == 30


def test_json_holds_the_same_as_the_table(clip: Path, tmp_path: Path) -> None:
    analysis = VideoAnalysis(clip, Fake(), per_second=5)
    list(analysis.run(tmp_path / "t.csv"))
    write_json(tmp_path / "t.csv", tmp_path / "t.json", analysis.summary())
    read = json.loads((tmp_path / "t.json").read_text())
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["seconds"] for row in read["timeline"]] == [float(row["seconds"]) for row in rows]
    assert read["timeline"][0]["face"] == 1 and read["timeline"][0]["label"] == "happy"
    assert read["summary"]["dominant"] == "happy"


def test_an_interrupted_analysis_leaves_no_files(clip: Path, tmp_path: Path) -> None:
    run = VideoAnalysis(clip, Fake()).run(tmp_path / "t.csv", tmp_path / "o.mp4")
    next(run)
    run.close()
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_cut_off_video_gives_its_part_and_says_so(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", [i / 25 for i in range(100)])
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    analysis = VideoAnalysis(clip, Fake(), per_second=10)
    list(analysis.run(tmp_path / "t.csv", tmp_path / "o.mp4"))
    assert "breaks off after" in analysis.summary()["problem"]
    assert 0.5 < analysis.seconds < 3.5
    assert len(frame_times(tmp_path / "o.mp4")) > 10


def test_a_video_over_the_limit_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"clip\.mp4 is longer than the limit of 0\.01 minutes"):
        list(VideoAnalysis(clip, Fake(), max_seconds=0.6).run(tmp_path / "t.csv"))
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("per_second", [0, -1, float("inf"), float("nan")])
def test_a_rate_out_of_range_is_refused(per_second: float) -> None:
    with pytest.raises(ValueError, match="per_second: expected a number above 0"):
        VideoAnalysis("clip.mp4", Fake(), per_second=per_second)


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for seconds in (4, 20):
        clip = make_clip(tmp_path / f"{seconds}.mp4", [i / 25 for i in range(25 * seconds)], sound=False)
        run = VideoAnalysis(clip, Fake()).run(tmp_path / "t.csv")
        next(run)
        tracemalloc.start()
        list(run)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000  # bytes; a frame alone has 18,000


def test_stopped_it_leaves_whole_files_of_its_part(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [i / 25 for i in range(100)])
    analysis = VideoAnalysis(clip, Fake(), per_second=5)
    for seconds in analysis.run(tmp_path / "t.csv", tmp_path / "o.mp4"):
        if seconds >= 1:
            analysis.stop()
    assert analysis.summary()["problem"].startswith("Stopped after 1.0 of 4.0 seconds")
    times = [float(row["seconds"]) for row in csv.DictReader((tmp_path / "t.csv").read_text().splitlines())]
    assert times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert frame_times(tmp_path / "o.mp4") == pytest.approx([i / 25 for i in range(26)])
    with av.open(str(tmp_path / "o.mp4")) as out:
        assert sum(piece.samples for piece in out.decode(audio=0)) / 48_000 == pytest.approx(1.0, abs=0.1)


def test_it_stops_when_nobody_waits_for_it(clip: Path, tmp_path: Path) -> None:
    """Also between two analyzed frames: there is only one here."""
    asked: list[bool] = []

    def abandoned() -> bool:
        asked.append(len(asked) >= 3)
        return asked[-1]

    recognizer = Fake()
    analysis = VideoAnalysis(clip, recognizer, per_second=0.1, abandoned=abandoned)
    with pytest.raises(AbandonedError):
        list(analysis.run(tmp_path / "t.csv", tmp_path / "o.mp4"))
    assert len(asked) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_open_file_is_analyzed(clip: Path, tmp_path: Path) -> None:
    with clip.open("rb") as file:
        list(VideoAnalysis(file, Fake(), per_second=5).run(tmp_path / "t.csv", tmp_path / "o.mp4"))
        assert not file.closed
        with pytest.raises(VideoError, match=r"^The file is longer than the limit of 0\.01 minutes"):
            list(VideoAnalysis(file, Fake(), max_seconds=0.6).run(tmp_path / "t.csv"))
    assert len(frame_times(tmp_path / "o.mp4")) == 30


def test_failing_recognition_leaves_no_files(clip: Path, tmp_path: Path) -> None:
    class Broken(Fake):
        def __call__(self, frame: np.ndarray) -> Recognition:
            raise MemoryError("full")

    with pytest.raises(MemoryError, match="full"):
        list(VideoAnalysis(clip, Broken()).run(tmp_path / "t.csv", tmp_path / "o.mp4"))
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]
