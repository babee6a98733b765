"""The command: folders in, one table out; what fails has a row, what was interrupted continues."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gradio_ui.recognition.__main__ import main, parse_options, write_table
from gradio_ui.recognition.bulk import recognize_many
from gradio_ui.recognition.corpus.command import DEFAULT_MODEL
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.recognition.tables import face_columns
from tests.support.clips import make_clip
from tests.support.model_fixtures import LABELS


@pytest.fixture
def folder(tmp_path: Path, portrait: np.ndarray) -> Path:
    """Three portraits, one in a sub-folder, and a gray picture."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.jpg", "b.PNG", "deep/c.webp"):
        Image.fromarray(portrait).save(folder / name)
    Image.new("RGB", (64, 64), "#808080").save(folder / "empty.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def run(model_folder: Path) -> Any:
    return lambda *arguments: main([*map(str, arguments), "--model", str(model_folder), "--detector", "yunet"])


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_a_folder_becomes_one_table(suffix: str, folder: Path, run: Any, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    assert run(folder, "--out", out, "--batch-size", 3) == 0
    read = {".csv": pd.read_csv, ".json": pd.read_json, ".parquet": pd.read_parquet}[suffix]
    table = read(out)
    assert [Path(path).name for path in table["path"]] == ["a.jpg", "b.PNG", "c.webp", "empty.png"]
    assert table["label"].notna().tolist() == [True, True, True, False]
    assert table.loc[:2, list(LABELS)].sum(axis=1).to_numpy() == pytest.approx(1, abs=5e-4)  # four digits each
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in", out.name])


def test_a_batch_gives_what_single_images_give(folder: Path, model_folder: Path) -> None:
    recognizer = EmotionRecognizer.from_pretrained(model_folder, detector="yunet")
    paths = [folder / "a.jpg", folder / "notes.txt", folder / "empty.png", folder / "b.PNG"]
    first, error, none, last = recognizer.batch(paths)
    for path, result in ((paths[0], first), (paths[2], none), (paths[3], last)):
        single = recognizer(path)
        np.testing.assert_allclose(result.probabilities, single.probabilities, atol=1e-5)
        assert result.faces.xyxy.tolist() == single.faces.xyxy.tolist() and result.size == single.size
    assert "notes.txt is no picture" in str(error)


def test_a_bad_file_has_a_row_and_stops_nothing(
    folder: Path, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.jpg").write_bytes(b"not a picture")
    (folder / "bad.mp4").write_bytes(b"not a video")
    (tmp_path / "nothing").mkdir()
    out = tmp_path / "out.csv"
    assert run(folder, tmp_path / "missing.png", tmp_path / "nothing", "--out", out) == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 4
    for name in ("bad.jpg", "bad.mp4", "missing.png", "nothing"):
        assert any(name in line for line in failed)
    table = pd.read_csv(out)
    assert len(table) == 8
    errors = table[table["error"].notna()].set_index("path")["error"]
    assert [Path(path).name for path in errors.index] == ["bad.jpg", "bad.mp4", "missing.png", "nothing"]
    assert {line.removeprefix("failed: ") for line in failed} == {f"{path}: {why}" for path, why in errors.items()}
    assert table[table["error"].notna()].drop(columns=["path", "error"]).isna().all(axis=None)


def test_a_video_has_a_row_per_face_and_moment(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], portrait: np.ndarray
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [i / 25 for i in range(10)], sound=False, frame=portrait[:400, :400])
    cut = make_clip(tmp_path / "cut.mkv", [i / 25 for i in range(100)])
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    out = tmp_path / "out.csv"
    assert run(clip, cut, "--out", out, "--per-second", 10) == 1
    assert "cut.mkv: The video breaks off after" in capsys.readouterr().err
    table = pd.read_csv(out)
    seen = table[table["face"].notna()]
    assert seen["seconds"].tolist() == [0.0, 0.12, 0.2, 0.32]
    assert set(seen["face"]) == {1}
    assert seen["left"].between(150, 200).all() and seen["error"].isna().all()
    assert table[table["face"].isna()]["path"].tolist() == [str(cut)] * 2  # no face, and what was not read
    assert table["error"].iloc[-1].startswith("The video breaks off after")


def test_broken_off_it_goes_on_where_it_stopped(
    folder: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen = tmp_path / "out.csv", []

    def broken_off(images: Iterable[Path], *arguments: Any, **options: Any) -> Any:
        images = list(images)
        for path, result in zip(images, recognize_many(images, *arguments, **options), strict=True):
            if len(seen) == 2:
                raise KeyboardInterrupt
            seen.append(path.name)
            yield result

    monkeypatch.setattr("gradio_ui.recognition.__main__.recognize_many", broken_off)
    assert run(folder, "--out", out, "--batch-size", 1) == 130
    assert seen == ["a.jpg", "b.PNG"] and not out.exists()
    progress = tmp_path / ".out.csv.progress"
    (progress / ".part-000002-0.parquet.0").write_text("cut o")  # as a kill in the middle of a part leaves it
    shutil.copy(folder / "empty.png", folder / "b.PNG")  # changed in between: done again
    seen.append("interrupted")
    assert run(folder, "--out", out, "--batch-size", 1) == 0
    assert seen[3:] == ["b.PNG", "c.webp", "empty.png"]
    assert pd.read_csv(out)["label"].notna().tolist() == [True, False, True, False]
    assert not progress.exists()


def test_other_settings_start_afresh(folder: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        patch.setattr("gradio_ui.recognition.__main__.write_table", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(SystemExit, match=r"error: .*out\.csv cannot be written \(full\)"):
            run(folder, "--out", out)
    assert run(folder, "--out", out, "--whole-picture") == 0
    assert pd.read_csv(out)["label"].notna().all()


@pytest.mark.slow
def test_faces_are_scored_with_their_mirror_images(folder: Path, run: Any, model_folder: Path, tmp_path: Path) -> None:
    recognizer = EmotionRecognizer.from_pretrained(model_folder, detector="yunet")
    for options, flip in (([], True), (["--no-flip"], False)):
        assert run(folder / "a.jpg", *options, "--out", tmp_path / "out.csv") == 0
        expected = recognizer(folder / "a.jpg", flip=flip).probabilities[0]
        assert pd.read_csv(tmp_path / "out.csv").loc[0, list(LABELS)].to_numpy(float) == pytest.approx(
            expected, abs=1e-4
        )
        scores = tmp_path / f"scores{flip}"
        assert run("corpus", folder / "deep", "--out", scores, "--workers", 1, *options) == 0
        expected = recognizer(folder / "deep/c.webp", flip=flip).probabilities[0]
        (part,) = scores.glob("*.parquet")
        assert pd.read_parquet(part).loc[0, list(LABELS)].to_numpy(float) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(SystemExit, match="other options"):
        run("corpus", folder / "deep", "--out", scores, "--workers", 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--out", "out.xlsx"], "expected a .csv, .json or .parquet file"),
        (["--out", "no/such/folder/out.csv"], "in an existing folder"),
        (["--out", "out.csv", "--per-second", "-1"], "--per-second: expected 0 or more, got -1"),
        (["--out", "out.csv", "--batch-size", "0"], "--batch-size: expected 1 or more, got 0"),
    ],
)
def test_wrong_options_are_refused(options: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["a.jpg", *options])
    assert end.value.code == 2
    assert expected in capsys.readouterr().err


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="error: "):
        main(["a.jpg", "--out", str(tmp_path / "o.csv"), "--model", str(tmp_path / "none"), "--detector", "yunet"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_is_no_text_loses_nothing(folder: Path, run: Any, tmp_path: Path, capsys: Any) -> None:
    shutil.copy(folder / "a.jpg", os.fsencode(folder) + b"/caf\xe9.jpg")
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.jpg")).write_bytes(b"no image")
    make_clip(tmp_path / "clip.mp4", [0.0, 0.04], sound=False)
    shutil.move(tmp_path / "clip.mp4", os.fsencode(folder) + b"/\xfe.mp4")
    for suffix in ("csv", "json", "parquet"):
        out = tmp_path / f"out.{suffix}"
        assert run(folder, "--out", out) == 1
        table = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}[suffix](out)
        names = [Path(path).name for path in table["path"]]
        assert sorted(names) == sorted(
            [r"\xfe.mp4", "a.jpg", "b.PNG", r"bad\xff.jpg", r"caf\xe9.jpg", "c.webp", "empty.png"]
        )
        by_name = table.set_index(pd.Index(names))
        assert by_name.loc[r"caf\xe9.jpg", "label"] == by_name.loc["a.jpg", "label"]
        assert r"bad\xff.jpg is no picture" in by_name.loc[r"bad\xff.jpg", "error"]
        assert by_name.loc[r"\xfe.mp4", ["label", "error"]].isna().all()
    assert r"bad\xff.jpg" in capsys.readouterr().err


def test_another_file_in_place_of_the_parts(folder: Path, run: Any, tmp_path: Path) -> None:
    progress = tmp_path / ".out.csv.progress"
    progress.write_bytes(b"something else")
    with pytest.raises(SystemExit, match=r"^error: .*out\.csv\.progress is a file[^\n]*$"):
        run(folder, "--out", tmp_path / "out.csv")
    assert progress.read_bytes() == b"something else"


def test_a_damaged_part_is_one_line(folder: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = tmp_path / ".out.csv.progress"
    with monkeypatch.context() as patch:
        patch.setattr("gradio_ui.recognition.__main__.write_table", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(SystemExit):
            run(folder, "--out", tmp_path / "out.csv")
    (part,) = progress.iterdir()
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(SystemExit, match=rf"^error: .*{part.name} cannot be read[^\n]*$"):
        run(folder, "--out", tmp_path / "out.csv")
    part.unlink()
    assert run(folder, "--out", tmp_path / "out.csv") == 0
    assert not progress.exists()


@pytest.mark.parametrize("choice", ["haar", "gone.onnx"])
def test_an_unknown_detector_is_one_line(choice: str, model_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    line = f"^error: detector: expected auto, yunet, whole or a YuNet .onnx file, got '{choice}', which is no file$"
    arguments = ["a.jpg", "--out", str(tmp_path / "o.csv"), "--model", str(model_folder)]
    with pytest.raises(SystemExit, match=line):
        main([*arguments, "--detector", choice])
    monkeypatch.setenv("FER_DETECTOR", choice)
    with pytest.raises(SystemExit, match=line):
        main(arguments)


def test_options_and_their_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FER_MODEL", raising=False)
    out = tmp_path / "o.json"
    plain = {"paths": [Path("a.jpg"), Path("b")], "out": out, "crops": None, "model": DEFAULT_MODEL, "detector": None}
    plain |= {"per_second": 10, "smoothing": 0.5, "whole_image": False, "flip": True, "batch_size": 16, "ahead": 64}
    assert vars(parse_options(["a.jpg", "b", "--out", str(out)])) == plain
    monkeypatch.setenv("FER_MODEL", "owner/one,owner/two")
    assert parse_options(["a.jpg", "--out", str(out)]).model == "owner/one"
    given = "a.jpg --crops faces --model m --detector whole --per-second 0 --smoothing 0 --whole-picture".split()
    assert vars(parse_options([*given, "--batch-size", "1", "--ahead", "1", "--no-flip"])) == {
        **{"paths": [Path("a.jpg")], "out": None, "crops": Path("faces"), "model": "m", "detector": "whole"},
        **{"per_second": 0, "smoothing": 0, "whole_image": True, "flip": False, "batch_size": 1, "ahead": 1},
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--smoothing", "-0.1"], "--smoothing: expected 0 or more, got -0.1"),
        (["--smoothing", "inf"], "--smoothing: expected 0 or more, got inf"),
        (["--ahead", "0"], "--ahead: expected 1 or more, got 0"),
        (["--per-second", "nan"], "--per-second: expected 0 or more, got nan"),
    ],
)
def test_values_out_of_range_are_refused(options: list[str], expected: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        parse_options(["a.jpg", "--out", str(tmp_path / "o.csv"), *options])
    assert expected in capsys.readouterr().err


def test_crops_go_outside_of_what_is_read(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        parse_options([str(tmp_path), "elsewhere", "--crops", str(tmp_path / "faces")])
    assert "--crops: expected a folder outside of those to read" in capsys.readouterr().err


def test_json_is_a_list_of_records(tmp_path: Path) -> None:
    write_table([{"path": "a.jpg", "face": 1, "label": "happy"}, {"path": "b.jpg"}], ["happy"], tmp_path / "o.json")
    text = (tmp_path / "o.json").read_text()
    first, second = json.loads(text)
    assert (first["path"], first["face"], first["label"], second["face"]) == ("a.jpg", 1, "happy", None)
    assert len(text.splitlines()) > 2  # to be read by people, too
    assert list(first) == ["path", "seconds", *face_columns(["happy"]), "error"]
