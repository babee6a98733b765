"""The image tab: one picture in; boxes, bars, a table and downloads out. Also the `/recognize` endpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
import numpy as np

from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.types import Recognition
from gradio_ui.settings import Settings
from gradio_ui.views import html as charts
from gradio_ui.views.face_labels import annotate

STATIC = Path(__file__).parents[1] / "static"
EMPTY: dict[str, Any] = {"size": [0, 0], "labels": [], "faces": []}

NO_FACE = charts.message(
    "warning",
    "No face found",
    "Try a picture where the face is larger, better lit or turned to the camera. "
    "If the picture is itself one cut-out face, tick “The picture is one face”.",
)


def example_pictures(folder: Path) -> list[Path]:
    """Writes the example pictures into a folder and returns their paths.

    They are made from the pictures inside scikit-image: a NASA portrait (public domain) and a cat (CC0).
    """
    from PIL import Image
    from skimage import data

    portrait = Image.fromarray(data.astronaut())
    head = portrait.crop((110, 0, 350, 300))
    pair = Image.new("RGB", (480, 300))
    pair.paste(head, (0, 0))
    pair.paste(head.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(8, Image.Resampling.BICUBIC), (240, 0))
    pictures = {"portrait": portrait, "two-faces": pair, "no-person": Image.fromarray(data.chelsea())}
    paths = [folder / f"{name}.jpg" for name in pictures]
    for path, picture in zip(paths, pictures.values(), strict=True):
        picture.save(path, quality=92)
    return paths


def image_tab(models: Models, model: gr.State, settings: Settings) -> None:
    """Adds the tab's components and events to the surrounding Blocks.

    Args:
        models: score the picture and explain a score.
        model: name of the one that this session uses.
        settings: its limits are told on the page.
    """
    welcome = charts.message(
        "info",
        "No picture yet",
        f"Drop, paste, choose or snap one (up to {settings.max_file_size.upper()}), or take an example.",
    )
    html = partial(gr.HTML, apply_default_css=False)  # the look is app.css's
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            picture = gr.Image(
                label="Picture",
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard", "webcam"],
                height=340,
                webcam_options=gr.WebcamOptions(mirror=True),
                buttons=[],
                elem_id="picture",
            )
            whole = gr.Checkbox(
                label="The picture is one face",
                info="Skips the search for faces: for cut-outs such as FER-2013's.",
                elem_id="whole-picture",
            )
            with TemporaryDirectory() as folder:  # gr.Examples copies the files into Gradio's own cache
                gr.Examples(
                    [[str(path)] for path in example_pictures(Path(folder))],
                    inputs=[picture],
                    label="Examples",
                    cache_examples=False,
                    api_visibility="private",
                )
        with gr.Column(min_width=300):
            notice = html(welcome, elem_id="notice")
            annotated = html(js_on_load=(STATIC / "picture.js").read_text(encoding="utf-8"), elem_id="annotated")
            chosen = gr.Dropdown(
                label="Face",
                info="Or click on a face in the picture.",
                type="index",
                visible=False,
                elem_id="chosen-face",
            )
            chart = html(elem_id="bars")
            with gr.Accordion("Where did the model look?", open=False, visible=False, elem_id="saliency") as where:
                expression = gr.Dropdown(label="Expression", elem_id="expression")
                heat = html(elem_id="heat")
    table = html(elem_id="faces")
    links = html(elem_id="downloads")
    result = gr.State(EMPTY)  # as_result() of this session's picture

    def run(image: dict[str, Any], whole_picture: bool, name: str) -> tuple[np.ndarray, Recognition]:
        frame = read_image(image["path"])
        return frame, models[name](frame, whole_picture=whole_picture)

    def show(image: dict[str, Any] | None, whole_picture: bool, name: str) -> dict[Any, Any]:
        cleared: dict[Any, Any] = {
            notice: welcome,
            annotated: "",
            chosen: gr.Dropdown([], value=None, visible=False),
            chart: "",
            where: gr.Accordion(open=False, visible=False),
            heat: "",
            table: "",
            links: "",
            result: EMPTY,
        }
        if image is None:
            return cleared
        try:
            frame, recognition = run(image, whole_picture, name)
        except RecognitionError as error:
            return cleared | {notice: charts.message("error", "This picture cannot be read", str(error))}
        if not len(recognition):
            return cleared | {notice: NO_FACE}
        found = as_result(recognition)
        names = [face_name(face) for face in found["faces"]]
        return {
            notice: charts.message("info", "1 face found" if len(names) == 1 else f"{len(names)} faces found"),
            annotated: charts.picture(annotate(frame, recognition), f"Faces marked: {', '.join(names)}"),
            chosen: gr.Dropdown(names, value=names[0], visible=len(names) > 1),
            chart: face_bars(found, 0),
            where: gr.Accordion(open=False, visible=True),
            expression: gr.Dropdown(found["labels"], value=found["faces"][0]["label"]),
            heat: "",
            table: charts.table(found["faces"]),
            links: charts.downloads(found),
            result: found,
        }

    def explain(
        image: dict[str, Any], whole_picture: bool, name: str, found: dict[str, Any], face: str, label: str
    ) -> str:
        index = [face_name(f) for f in found["faces"]].index(face)
        try:
            return charts.saliency(
                *models[name].explain(image["path"], index, label, whole_picture=whole_picture), label
            )
        except RecognitionError as error:
            return charts.message("error", "There is no map of this face", str(error))

    def recognize(
        image: dict[str, Any] | None, whole_picture: bool = False, model_name: str = models.default
    ) -> dict[str, Any]:
        """Recognises the apparent expression of every face in a picture.

        Args:
            image: the picture: JPEG, PNG, WebP, BMP, TIFF or the first frame of a GIF.
            whole_picture: take the whole picture as one face instead of looking for faces.
            model_name: one of the models that the page offers.

        Returns:
            size (width and height in pixels)
            labels (the names of the expressions)
            faces (for each its number, box as left, top, right, bottom in pixels, label and all probabilities, 0-1)
        """
        if image is None:
            raise gr.Error("Expected a picture, got none. Pass one with gradio_client.handle_file(path).")
        try:
            return as_result(run(image, whole_picture, model_name)[1])
        except RecognitionError as error:
            raise gr.Error(str(error)) from error

    gr.on(
        [picture.change, whole.change, model.change],
        show,
        inputs=[picture, whole, model],
        outputs=[notice, annotated, chosen, chart, where, expression, heat, table, links, result],
        preprocess=False,  # the engine reads the file, so that EXIF, odd formats and errors are its own
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=notice,
        api_visibility="private",
    )
    view = [chart, where, expression, heat]
    chosen.input(show_face, [result, chosen], view, show_progress="hidden", api_visibility="private")
    annotated.click(face_at, [result], [chosen, *view], show_progress="hidden", api_visibility="private")
    gr.on(
        [where.expand, expression.input],
        explain,
        inputs=[picture, whole, model, result, chosen, expression],
        outputs=heat,
        preprocess=False,
        trigger_mode="always_last",
        show_progress="minimal",
        api_visibility="private",
    )
    gr.Button(visible=False).click(
        recognize,
        inputs=[
            gr.Image(type="filepath", image_mode=None, visible=False, label="image"),
            gr.Checkbox(visible=False),
            gr.Textbox(models.default, visible=False, label="model name"),
        ],
        outputs=gr.JSON(visible=False, label="result"),
        preprocess=False,
        api_name="recognize",
    )


def as_result(recognition: Recognition) -> dict[str, Any]:
    """The JSON form of a result, as the endpoint and the download give it."""
    return {"size": list(recognition.size), "labels": list(recognition.labels), "faces": recognition.to_dicts()}


def face_name(face: charts.FaceDict) -> str:
    """The face as the list of faces calls it."""
    return f"{face['face']} · {face['label']} {face['probability']:.0%}"


def face_bars(result: dict[str, Any], index: int | None) -> str:
    """The bars of one face, counted from 0; nothing where there is none."""
    faces = result["faces"]
    if index is None or index >= len(faces):
        return ""
    title = "Apparent expression" if len(faces) == 1 else f"Apparent expression of face {index + 1}"
    return charts.bars(faces[index]["probabilities"], title)


def show_face(result: dict[str, Any], index: int) -> tuple[Any, ...]:
    """The bars of one face, counted from 0, and its map folded away until it is asked for."""
    label = result["faces"][index]["label"]
    return face_bars(result, index), gr.Accordion(open=False), gr.Dropdown(value=label), ""


def face_at(result: dict[str, Any], event: gr.EventData) -> tuple[Any, ...]:
    """Chooses the face that was clicked on: the smallest box around the point, as boxes may overlap.

    Args:
        result: of `as_result`.
        event: x and y as fractions of the picture, 0-1.
    """
    x, y = event.x * result["size"][0], event.y * result["size"][1]

    def area(face: charts.FaceDict) -> float:
        left, top, right, bottom = face["box"]
        return (right - left) * (bottom - top)

    hit = [f for f in result["faces"] if f["box"][0] <= x <= f["box"][2] and f["box"][1] <= y <= f["box"][3]]
    if not hit:
        return (gr.skip(),) * 5
    face = min(hit, key=area)
    return gr.Dropdown(value=face_name(face)), *show_face(result, face["face"] - 1)
