"""No cell of a CSV file runs as a formula, whatever a file or a label is called."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.__main__ import main
from gradio_ui.recognition.tables import escape_cell, write_csv
from tests.support.clips import make_clip
from tests.support.foreign_models import write_foreign

FORMULAS = ["=1+2", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=", "-", "--1", "+1-2"]
HARMLESS = ["", "angry", "a=b", "'", "-3.5", "+1", "-1e-05", ".5", "1.", 0, -3.5, float("-inf"), None, True]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_escaped(text: str) -> None:
    assert escape_cell(text) == "'" + text


@pytest.mark.parametrize("value", HARMLESS)
def test_numbers_and_other_texts_stay(value: Any) -> None:
    assert escape_cell(value) is value


def test_header_and_cells_are_escaped() -> None:
    file = io.StringIO(newline="")
    write_csv(file, ["path", "=label", "left"], [{"path": "@a, b", "left": -3.5}, {"=label": "-2"}])
    assert file.getvalue() == "path,'=label,left\r\n\"'@a, b\",,-3.5\r\n,-2,\r\n"


def test_a_model_and_file_names_cannot_plant_one(tmp_path: Path, portrait: np.ndarray, monkeypatch: Any) -> None:
    """The labels of a stranger's model and the names of files, in images and in a video."""
    labels = ("=HYPERLINK(1)", "path", "happy")
    model = write_foreign(tmp_path / "model", labels, always="=HYPERLINK(1)")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    monkeypatch.chdir(pictures)
    Image.fromarray(portrait).save("=cmd.png")
    shutil.copy("=cmd.png", "-5")
    make_clip(Path("@talk.mp4"), [0.0, 0.04], sound=False, picture=portrait[:400, :400])
    out = tmp_path / "out.csv"
    assert main(["--model", str(model), "--out", str(out), "--", "=cmd.png", "-5", "@talk.mp4"]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[-4:] == ["'=HYPERLINK(1)", "path_probability", "happy", "error"]
    assert [row[0] for row in rows] == ["'=cmd.png", "-5", "'@talk.mp4"]
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert cells["label"] == "'=HYPERLINK(1)"
        assert float(cells["probability"]) == float(cells["'=HYPERLINK(1)"]) > 0.9
        assert float(cells["path_probability"]) < 0.1
