"""No cell of a CSV file runs as a formula, whatever a file or a label is called."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.__main__ import main
from gradio_ui.recognition.tables import (
    escape_cell,
    face_dict,
    label_columns,
    raw_columns,
    write_csv,
)
from gradio_ui.recognition.types import Faces, Recognition
from gradio_ui.recognition.video_analysis import COLUMNS, VideoAnalysis, write_json
from gradio_ui.views.batch_files import write_tables
from gradio_ui.views.html import to_csv
from gradio_ui.views.plots import timeline
from tests.support.clips import make_clip
from tests.support.foreign_models import write_foreign
from training.notebooks import sample

FORMULAS = ["=1+2", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=", "-", "--1", "+1-2"]
LABELS = ("=HYPERLINK(1)", "path", "face")  # no formula, and no label in the place of a column
PROBABILITIES = (0.7, 0.2, 0.1)
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
    images = tmp_path / "pictures"
    images.mkdir()
    monkeypatch.chdir(images)
    Image.fromarray(portrait).save("=cmd.png")
    shutil.copy("=cmd.png", "-5")
    make_clip(Path("@talk.mp4"), [0.0, 0.04], sound=False, frame=portrait[:400, :400])
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


def face() -> dict[str, Any]:
    return face_dict(1, (-3.5, 2, 30, 40), 0.9, LABELS[0], LABELS, PROBABILITIES)


def check_row(row: dict[str, str]) -> None:
    """The cells of `face`, as every table has them."""
    assert (row["face"], row["left"], row["label"]) == ("1", "-3.5", "'=HYPERLINK(1)")
    assert [float(row[name]) for name in ("'=HYPERLINK(1)", "path_probability", "face_probability")] == [0.7, 0.2, 0.1]


def test_table_of_the_image_tab_is_data() -> None:
    [row] = csv.DictReader(io.StringIO(to_csv([face()]), newline=""))
    check_row(row)
    assert not any(cell.startswith("=") for cell in (*row, *row.values()))
    assert to_csv([]) == "face,left,top,right,bottom,confidence,label,probability,unclear,shown\r\n"


def test_table_of_the_batch_tab_is_data(tmp_path: Path) -> None:
    entries = [
        {"file": "=cmd.png", "size": [64, 64], "faces": [face()]},
        {"file": "@none.png", "error": "-no picture"},
    ]
    table, json_file = write_tables(entries, LABELS, tmp_path)
    with open(table, newline="", encoding="utf-8") as file:
        found, unread = csv.DictReader(file)
    check_row(found)
    assert (found["file"], unread["file"], unread["error"]) == ("'=cmd.png", "'@none.png", "'-no picture")
    assert json.loads(Path(json_file).read_text())["images"] == entries


class OneFace:
    """A recognizer that sees `face` in every frame."""

    labels = LABELS

    def __call__(self, frame: np.ndarray) -> Recognition:
        faces = Faces(np.array([[-3.5, 2, 30, 40]], np.float32), np.array([0.9], np.float32))
        return Recognition(faces, np.array([PROBABILITIES], np.float32), LABELS, (frame.shape[1], frame.shape[0]))


def test_table_of_a_video_is_data(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [0.0, 0.04])
    analysis = VideoAnalysis(clip, OneFace(), time_constant=0)
    list(analysis.run(tmp_path / "t.csv"))
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file))
        rows = [dict(zip(header, cells, strict=True)) for cells in csv.reader(file)]
    names = ["=HYPERLINK(1)", "path_probability", "face_probability"]
    assert header == [*COLUMNS, f"'{names[0]}", *names[1:], *(f"raw_{name}" for name in names)]
    for row in rows:
        check_row(row)
    write_json(tmp_path / "t.csv", tmp_path / "t.json", analysis.summary())
    read = json.loads((tmp_path / "t.json").read_text())["timeline"]
    names = ("face", "label", "unclear", "shown", "=HYPERLINK(1)", "path_probability")
    assert [[row[name] for name in names] for row in read] == [
        [1, "=HYPERLINK(1)", False, "=HYPERLINK(1)", 0.7, 0.2]
    ] * 2
    plot = timeline(tmp_path / "t.csv", analysis.summary())
    assert {line.name: line.y[0] for line in plot.data} == dict(zip(LABELS, PROBABILITIES, strict=True))


def test_table_of_the_webcam_follows_the_same_rule(root: Path, tmp_path: Path) -> None:
    """The table in the browser writes what `write_csv` would, byte for byte."""
    if not shutil.which("node"):
        pytest.skip("there is no node")
    texts = [value for value in HARMLESS if isinstance(value, str)]
    labels = [*FORMULAS, *texts, "path", "width", "face", "face_probability", "raw_angry", "7", "a,b", 'say "x"']
    program = tmp_path / "program.mjs"
    source = f'import {{ Table }} from "{(root / "gradio_ui/static/table.js").as_uri()}";'
    ours = "const labels = JSON.parse(process.argv[2]); const table = new Table();"
    add = """
for (const [i, label] of labels.entries()) {
  const of = Object.fromEntries(labels.map((name, at) => [name, (at + 1) / 64]));
  const scores = { probabilities: of, raw: of };
  const told = { label, unclear: i % 2 > 0, ...scores };
  table.add(i, [64, 48], labels, [{ face: 1, box: [-3.5, 2, 30, 40], confidence: 0.5, ...told }]);
}
process.stdout.write(table.toCSV());
"""
    program.write_text(source + ours + add, encoding="utf-8")
    done = subprocess.run(["node", program, json.dumps(labels)], capture_output=True, check=True, timeout=60)
    smoothed, raw = label_columns(labels), raw_columns(labels)
    values = [(at + 1) / 64 for at in range(len(labels))]
    probabilities = dict(zip([*smoothed.values(), *raw.values()], values * 2, strict=True))
    place = {
        "face": 1,
        "left": -3.5,
        "top": 2,
        "right": 30,
        "bottom": 40,
        "width": 64,
        "height": 48,
        "confidence": 0.5,
    }
    doubt = f"{labels[-1]} or {labels[-2]}"  # the most probable ones
    rows = [
        {"seconds": i, **place, "label": label, "unclear": i % 2 > 0, "shown": doubt if i % 2 else label}
        | probabilities
        for i, label in enumerate(labels)
    ]
    expected = io.StringIO(newline="")
    write_csv(expected, list(rows[0]), rows)
    assert done.stdout.decode() == expected.getvalue()


def test_tables_of_the_notebooks_are_data(tmp_path: Path) -> None:
    path = sample._write_csv(tmp_path / "votes.csv", ("=a", "b"), [("@x", -3)])
    assert Path(path).read_bytes() == b"'=a,b\r\n'@x,-3\r\n"
