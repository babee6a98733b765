"""One row format for a face, whatever the labels are called."""

import numpy as np
import pytest

from gradio_ui.recognition.tables import FACE_COLUMNS, face_cells, face_columns, face_dict, label_columns, printable
from gradio_ui.recognition.types import Faces, Recognition

FACE = {
    "face": 2,
    "box": [-3.2, 4.0, 50.1, 60.0],
    "confidence": 0.875,
    "label": "happy",
    "probability": 0.25,
    "unclear": True,
    "shown": "sad or happy",
    "probabilities": {"sad": 0.75, "happy": 0.25},
}


def test_a_face_is_described_once() -> None:
    box = np.array([-3.24, 4, 50.05001, 60], np.float32)
    got = face_dict(2, box, np.float32(0.875), "happy", ("sad", "happy"), np.array([0.75, 0.25], np.float32))
    assert got == FACE
    assert [type(got[key]) for key in ("face", "confidence", "probability")] == [int, float, float]


def test_a_recognition_uses_the_same_format() -> None:
    faces = Faces(np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32), np.array([0.5, 0.25], np.float32))
    result = Recognition(faces, np.array([[0.75, 0.25], [0.125, 0.875]], np.float32), ("sad", "happy"), (9, 9))
    assert result.top() == [("sad", 0.75), ("happy", 0.875)]
    assert result.to_dicts() == [
        face_dict(1, [1, 2, 3, 4], 0.5, "sad", result.labels, [0.75, 0.25]),
        face_dict(2, [5, 6, 7, 8], 0.25, "happy", result.labels, [0.125, 0.875]),
    ]


def test_cells_are_those_of_the_columns() -> None:
    cells = face_cells(FACE)
    assert list(cells) == face_columns(["sad", "happy"]) == [*FACE_COLUMNS, "sad", "happy"]
    assert list(cells.values()) == [2, -3.2, 4.0, 50.1, 60.0, 0.875, "happy", 0.25, True, "sad or happy", 0.75, 0.25]


@pytest.mark.parametrize("name", ["path", "file", "seconds", "error", *FACE_COLUMNS])
def test_no_label_overwrites_a_column(name: str) -> None:
    labels = (name, "happy", f"{name}_probability")
    columns = label_columns(labels)
    assert columns == {
        name: f"{name}_probability_probability",
        "happy": "happy",
        f"{name}_probability": f"{name}_probability",
    }
    cells = face_cells(face_dict(7, [1, 2, 3, 4], 0.5, name, labels, [0.5, 0.25, 0.125]))
    assert [cells[column] for column in FACE_COLUMNS] == [7, 1.0, 2.0, 3.0, 4.0, 0.5, name, 0.5, False, name]
    assert [cells[columns[label]] for label in labels] == [0.5, 0.25, 0.125]


def test_bytes_that_are_no_text_are_shown() -> None:
    assert printable("caf\udce9 \udc80é.jpg") == r"caf\xe9 \x80é.jpg"
