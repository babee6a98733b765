"""Faces cut out of photographs, as the model gets them when it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.__main__ import main
from gradio_ui.recognition.recognizer import EmotionRecognizer


@pytest.fixture
def photographs(tmp_path: Path, portrait: np.ndarray) -> Path:
    """Two people who are happy in one photograph, one who is sad and leans over, and a wall."""
    folder = tmp_path / "photos"
    for name in ("happy", "sad"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(np.concatenate([portrait, portrait], axis=1)).save(folder / "happy/two.png")
    Image.fromarray(portrait).rotate(20).save(folder / "sad/one.png")
    Image.new("RGB", (64, 64), "#808080").save(folder / "sad/wall.png")
    return folder


@pytest.fixture
def run(model_folder: Path) -> Any:
    return lambda *arguments: main([*map(str, arguments), "--model", str(model_folder), "--detector", "yunet"])


def test_crops_are_what_the_classifier_gets(
    photographs: Path, model_folder: Path, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photographs, "--crops", tmp_path / "faces") == 0
    files = sorted(path for path in (tmp_path / "faces").rglob("*") if path.is_file())
    assert [path.relative_to(tmp_path / "faces").as_posix() for path in files] == [
        "happy/two.png.1.png",
        "happy/two.png.2.png",
        "sad/one.png.1.png",
    ]
    told = capsys.readouterr().err
    assert "3 faces written" in told and "no face found: " in told and "wall.png" in told
    assert "several faces, look through them: " in told
    recognizer = EmotionRecognizer.from_pretrained(model_folder, detector="yunet")
    served = recognizer(photographs / "sad/one.png").probabilities
    crop = np.asarray(Image.open(files[2]))
    np.testing.assert_array_equal(
        recognizer.classifier([crop], flip=True), served
    )  # turned upright, with the model's margin


def test_what_cannot_be_cropped_is_named(
    photographs: Path, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "clip.mp4").touch()
    (photographs / "broken.jpg").write_bytes(b"no image")
    assert run(photographs, photographs / "sad/one.png", photographs / "sad", "--crops", tmp_path / "faces") == 1
    told = capsys.readouterr().err
    assert "clip.mp4: a video" in told and "broken.jpg is no picture" in told
    assert not list((tmp_path / "faces").rglob(".*"))


def test_two_photographs_for_one_place(
    photographs: Path, run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "happy/one.png").write_bytes((photographs / "sad/one.png").read_bytes())
    assert run(photographs / "happy", photographs / "sad", "--crops", tmp_path / "faces") == 1
    assert "sad/one.png: another photograph goes to the same place" in capsys.readouterr().err
    assert len(list((tmp_path / "faces").iterdir())) == 3


def test_wrong_targets_are_refused(photographs: Path, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--crops", photographs / "faces"], "expected a folder outside of those to read"),
        ([], "one of the arguments --out --crops is required"),
    ):
        with pytest.raises(SystemExit):
            run(photographs, *more)
        assert message in capsys.readouterr().err
