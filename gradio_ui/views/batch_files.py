"""The files of a batch: annotated copies of the pictures, and tables of all results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.tables import face_cells, face_columns, write_csv
from gradio_ui.recognition.types import Recognition
from gradio_ui.views.batch_results import Entry
from gradio_ui.views.blur import blur_faces
from gradio_ui.views.face_labels import annotate

THUMBNAIL = 640  # pixels, the long side of a picture in the gallery


def write_thumbnail(
    content: bytes, recognition: Recognition, path: Path, threshold: float = UNCLEAR_BELOW, *, blur: bool = False
) -> None:
    """Write a small annotated copy of a picture as JPEG; decoding it again keeps only one in memory."""
    from PIL import Image

    frame = read_image(content)
    if blur:
        frame = blur_faces(frame, recognition.faces.xyxy)
    image = Image.fromarray(annotate(frame, recognition, threshold))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(path, quality=85)


def write_tables(
    entries: Sequence[Entry], labels: Sequence[str], folder: Path, threshold: float = UNCLEAR_BELOW
) -> tuple[str, str]:
    """Write all results into a folder.

    Returns:
        The paths of the CSV file, with a row for each face and for each picture without one, and of the JSON file.
    """
    table, json_file = folder / "expressions.csv", folder / "expressions.json"
    with table.open("w", newline="", encoding="utf-8") as file:
        write_csv(file, ["file", *face_columns(labels), "error"], (row for entry in entries for row in rows_of(entry)))
    result = {"labels": list(labels), "threshold": threshold, "images": entries}
    json_file.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return str(table), str(json_file)


def rows_of(entry: Entry) -> list[dict[str, Any]]:
    """Return a row of named cells for each face of an entry, or one that says there is none."""
    place = {"file": entry["file"], "error": entry.get("error", "")}
    return [place | face_cells(face) for face in entry.get("faces", ())] or [place]
