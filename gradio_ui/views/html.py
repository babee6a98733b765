"""The picture, bars, table and downloads of a result, as HTML of escaped text that fits every theme.

Pictures and files are data URLs: the server writes none of them to disk.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from gradio_ui.language import label_name, shown_name, t
from gradio_ui.language import text as text_of
from gradio_ui.recognition.palette import colors_of
from gradio_ui.recognition.tables import face_cells, face_columns, write_csv
from gradio_ui.views.face_labels import heat_overlay, heat_scale

FaceDict = dict[str, Any]  # one element of Recognition.to_dicts()


def threshold_slider(unclear_below: float) -> dict[str, Any]:
    """Give the arguments of gr.Slider for the threshold of doubt, which begins at this probability."""
    return {
        "minimum": 0,
        "maximum": 1,
        "step": 0.05,
        "value": unclear_below,
        "label": text_of("option.unclear"),
        "info": text_of("option.unclear_info"),
    }


def blur_box() -> dict[str, Any]:
    """Give the arguments of gr.Checkbox for the blur."""
    return {"label": text_of("option.blur"), "info": text_of("option.blur_info")}


def data_url(mime: str, content: bytes) -> str:
    """Give the content as a URL that carries it."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def image(
    frame: np.ndarray,
    description: str,
    faces: Sequence[FaceDict] = (),
    size: Sequence[int] = (1, 1),
    name: str = "expressions.jpg",
) -> str:
    """Show a picture with a button over each face, to choose it, and one to save the picture.

    Args:
        frame: (h, w, 3) uint8 RGB.
        description: What it shows, for those who cannot see it.
        faces: Its faces, the first one chosen; their boxes count in pixels of an image of `size`.
        size: Width and height of that image.
        name: Of the file that is saved.
    """
    buttons = "".join(
        f'<button type="button" data-face="{index}" aria-pressed="{"false" if index else "true"}" '
        f'aria-label="{escape(t("face.number", number=face_name(face)))}" title="{escape(face_name(face))}" '
        f'style="{_over(face, size)}"></button>'
        for index, face in enumerate(faces)
    )
    return (
        f'<div class="fer-picture"><div class="fer-faces">{_img(frame, description)}{buttons}</div>'
        '<button type="button" class="fer-button" data-do="save" '
        f'data-name="{escape(name)}">{t("image.save")}</button></div>'
    )


def _over(face: FaceDict, size: Sequence[int]) -> str:
    """Give the style of an element that lies over a face, its part in the picture."""
    left, top, right, bottom = (
        100 * min(max(v / side, 0), 1) for v, side in zip(face["box"], (*size, *size), strict=True)
    )
    return f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"


def verdict_text(face: FaceDict) -> str:
    """Say what to report of a face: its label with the probability, or what it may be where that is unclear."""
    if face["unclear"]:
        return t("face.unclear_as", shown=shown_name(face))
    return f"{label_name(face['label'])} {face['probability']:.0%}"


def table_text(face: FaceDict) -> str:
    """Say what is shown for a face, where its probability stands beside it."""
    return t("face.unclear_as", shown=shown_name(face)) if face["unclear"] else label_name(face["label"])


def face_name(face: FaceDict) -> str:
    """Name a face by its number and what to report of it."""
    return f"{face['face']} · {verdict_text(face)}"


def thumbnail(frame: np.ndarray, key: str, height: int = 96) -> str:
    """Show a small copy of a picture, whose name page.js fills in.

    Args:
        frame: (h, w, 3) uint8 RGB.
        key: Of its name in the files of texts.
        height: In pixels.
    """
    from PIL import Image

    small = Image.fromarray(frame)
    small.thumbnail((4 * height, height))
    return _img(np.asarray(small), t(key)).replace("<img", f'<img data-i18n-alt="{key}"', 1)


def _img(frame: np.ndarray, description: str) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=90)
    return f'<img src="{data_url("image/jpeg", file.getvalue())}" alt="{escape(description)}">'


def saliency(crop: np.ndarray, heat: np.ndarray, label: str) -> str:
    """Show a face beside the map of what raised a label's score, with what that map does and does not show.

    Args:
        crop: (h, w, 3) uint8 RGB.
        heat: (h, w) float32 in 0-1; all 0 where nothing raised its score.
        label: The expression that the map is of.
    """
    name = label_name(label)
    if not heat.any():
        return message("info", t("map.nothing", label=name), t("map.choose"))
    scale = f'<i style="background:linear-gradient(90deg,{",".join(heat_scale())})"></i>'
    return (
        f'<div class="fer-saliency"><figure>{_img(crop, t("map.face_alt"))}'
        f"<figcaption>{t('map.face')}</figcaption></figure>"
        f"<figure>{_img(heat_overlay(crop, heat), t('map.map_alt', label=name))}"
        f'<figcaption dir="ltr">{t("map.little")} {scale} {t("map.much")}</figcaption></figure></div>'
        f'<p class="fer-hint">{escape(t("map.hint", label=name))}</p>'
    )


def bars(probabilities: Mapping[str, float], title: str = "", note: str = "", chosen: int | None = None) -> str:
    """Draw a bar per label, the most probable first; plain text for a screen reader.

    Args:
        probabilities: Label -> probability in 0-1.
        title: Heading above the bars.
        note: Sentence below the heading.
        chosen: Index of the face that they are of, from 0; picture.js marks it in the picture and the table.
    """
    colors = colors_of(list(probabilities))
    rows = "".join(
        f'<li><span class="fer-name">{escape(label_name(label))}</span>'
        f'<span class="fer-track" aria-hidden="true"><i style="width:{p:.1%};background:{colors[label]}"></i></span>'
        f'<span class="fer-value">{p:.1%}</span></li>'
        for label, p in sorted(probabilities.items(), key=lambda item: -item[1])
    )
    mark = "" if chosen is None else f' data-chosen="{chosen}"'
    hint = f'<p class="fer-hint">{escape(note)}</p>' if note else ""
    return f'<h2 class="fer-title"{mark}>{escape(title)}</h2>{hint}<ul class="fer-bars">{rows}</ul>'


def message(kind: str, title: str, text: str = "") -> str:
    """Show a short notice in the page.

    Args:
        kind: "info", "warning" or "error"; sets the color only.
        title: What happened.
        text: What to do next.
    """
    return (
        f'<div class="fer-message fer-{kind}" role="{"alert" if kind == "error" else "status"}">'
        f"<strong>{escape(title)}</strong>{f'<span>{escape(text)}</span>' if text else ''}</div>"
    )


def progress_bar(text: str, share: float | None) -> str:
    """Draw a bar under a text, filled up to the share in 0-1, or moving where that is not known."""
    value = "" if share is None else f' value="{share:.3f}"'
    return (
        f'<div class="fer-message" role="status"><strong>{escape(text)}</strong>'
        f'<progress{value} aria-label="{t("work.progress")}"></progress></div>'
    )


def table(faces: Sequence[FaceDict]) -> str:
    """Tabulate all faces by number: label, probability, box in pixels, detector's confidence; a row chooses one."""
    head = "".join(
        f'<th scope="col">{t(f"image.{name}")}</th>'
        for name in ("face", "expression", "probability", "box", "detector")
    )
    rows = "".join(
        f'<tr data-face="{index}" aria-current="{"false" if index else "true"}"><th scope="row">'
        f'<button type="button" aria-label="{t("image.choose_number", number=face["face"])}">'
        f"{face['face']}</button></th>"
        f"<td>{escape(table_text(face))}</td><td>{face['probability']:.1%}</td>"
        f"<td>{', '.join(f'{v:.0f}' for v in face['box'])}</td><td>{face['confidence']:.0%}</td></tr>"
        for index, face in sorted(enumerate(faces), key=lambda one: one[1]["face"])
    )
    return (
        f'<div class="fer-scroll" tabindex="0" role="region" aria-label="{t("image.all_faces")}">'
        '<table class="fer-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def to_csv(faces: Sequence[FaceDict]) -> str:
    """Write all faces as CSV (RFC 4180) with a header; one column per probability."""
    text = io.StringIO(newline="")
    write_csv(text, face_columns(faces[0]["probabilities"] if faces else ()), map(face_cells, faces))
    return text.getvalue()


def downloads(result: dict[str, Any], stem: str = "expressions") -> str:
    """Add links that save the result as JSON and CSV, in files of that name."""
    files = (
        (t("save.json"), f"{stem}.json", "application/json", json.dumps(result, indent=2)),
        (t("save.csv"), f"{stem}.csv", "text/csv", to_csv(result["faces"])),
    )
    links = "".join(
        f'<a class="fer-button" download="{escape(name)}" href="{data_url(mime, content.encode())}">{label}</a>'
        for label, name, mime, content in files
    )
    return f'<div class="fer-actions">{links}</div>'
