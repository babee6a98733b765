"""The image tab: one picture in; boxes, bars, a table and downloads out. Also the `/recognize` endpoint."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from gradio_ui.model_registry import Models
from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.types import Recognition
from gradio_ui.server.arguments import boolean, number
from gradio_ui.server.guard import refusal
from gradio_ui.server.uploads import read_upload
from gradio_ui.settings import Settings
from gradio_ui.views import html as charts
from gradio_ui.views.examples import example_images
from gradio_ui.views.face_labels import annotate
from gradio_ui.views.static import script

EMPTY: dict[str, Any] = {"size": [0, 0], "labels": [], "threshold": UNCLEAR_BELOW, "faces": []}
SKIP = gr.skip()  # leaves a component as it is

NO_FACE = charts.message(
    "warning",
    "No face found",
    "Try a picture where the face is larger, better lit or turned to the camera. "
    "If the picture is itself one cut-out face, tick “The picture is one face”.",
)


class ImageView(NamedTuple):
    """What the tab shows: its components in the layout, their new values in a handler."""

    notice: Any = SKIP
    annotated: Any = SKIP
    chosen: Any = SKIP
    chart: Any = SKIP
    where: Any = SKIP
    expression: Any = SKIP
    heat: Any = SKIP
    table: Any = SKIP
    links: Any = SKIP
    result: Any = SKIP


class ImageHandlers:
    """What the events of the tab and its endpoint do.

    Args:
        models: Score the picture and explain a score.
        welcome: Message for when there is no picture.
    """

    def __init__(self, models: Models, welcome: str) -> None:
        self._models = models
        self._cleared = ImageView(
            notice=welcome,
            annotated="",
            chosen=gr.Dropdown([], value=None, visible=False),
            chart="",
            where=gr.Accordion(open=False, visible=False),
            heat="",
            table="",
            links="",
            result=EMPTY,
        )

    def show(self, image: dict[str, Any] | None, whole_image: bool, threshold: float, name: str) -> ImageView:
        """Recognise the faces of the picture, or clear the tab where there is none."""
        if image is None:
            return self._cleared
        try:
            frame, recognition = self._run(image, whole_image, name)
            found = as_result(recognition, threshold)
        except RecognitionError as error:
            return self._cleared._replace(notice=charts.message("error", "This picture cannot be read", str(error)))
        if not len(recognition):
            return self._cleared._replace(notice=NO_FACE)
        faces = found["faces"]
        names = sorted(
            ((charts.face_name(face), i) for i, face in enumerate(faces)), key=lambda n: faces[n[1]]["face"]
        )
        marked = f"Faces marked: {', '.join(name for name, _ in names)}"
        return ImageView(
            notice=charts.message("info", "1 face found" if len(names) == 1 else f"{len(names)} faces found"),
            annotated=charts.image(annotate(frame, recognition, found["threshold"]), marked, faces, found["size"]),
            chosen=gr.Dropdown(names, value=0, visible=len(names) > 1),
            chart=face_bars(found, 0),
            where=gr.Accordion(open=False, visible=True),
            expression=gr.Dropdown(found["labels"], value=faces[0]["label"]),
            heat="",
            table=charts.table(faces),
            links=charts.downloads(found),
            result=found,
        )

    def explain(
        self,
        image: dict[str, Any] | None,
        whole_image: bool,
        name: str,
        found: dict[str, Any],
        face: int,
        label: str,
    ) -> str:
        """Show where the model looked on one face for one label, as HTML."""
        if image is None or not face_bars(found, face):
            return charts.message("info", "No face yet", "Choose a picture with a face first.")
        try:
            recognizer, content = self._models[name], read_upload(image)
            whole = boolean("whole_image", whole_image)
            crop, heat = recognizer.explain(content, face, label, whole_image=whole)
        except RecognitionError as error:
            return charts.message("error", "There is no map of this face", str(error))
        return charts.saliency(crop, heat, label)

    def recognize(
        self,
        image: dict[str, Any] | None,
        whole_image: bool = False,
        model_name: str | None = None,
        threshold: float = UNCLEAR_BELOW,
    ) -> dict[str, Any]:
        """Recognise the apparent expression of every face in a picture.

        Args:
            image: the picture: JPEG, PNG, WebP, BMP, TIFF or the first frame of a GIF.
            whole_image: take the whole picture as one face instead of looking for faces.
            model_name: one of the models that the page offers.
            threshold: probability below which a label is unclear, 0-1.

        Returns:
            size (width and height in pixels)
            labels (the names of the expressions)
            threshold (as given)
            faces (for each its number, box as left, top, right, bottom in pixels, label and all probabilities, 0-1;
                unclear, and shown: the label, or "happy or fear" where it is unclear)
        """
        if image is None:
            raise refusal("Expected a picture, got none. Pass one with gradio_client.handle_file(path).")
        return as_result(self._run(image, whole_image, model_name)[1], threshold)

    def _run(self, image: Any, whole_image: Any, name: Any) -> tuple[np.ndarray, Recognition]:
        recognizer, whole = self._models[name], boolean("whole_image", whole_image)
        frame = read_image(read_upload(image))
        return frame, recognizer(frame, whole_image=whole)


def image_tab(models: Models, model: gr.State, settings: Settings) -> None:
    """Add the tab's components and events to the surrounding Blocks.

    Args:
        models: Score the picture and explain a score.
        model: Name of the one that this session uses.
        settings: Its limits are shown on the page.
    """
    limit = f"up to {settings.max_file_size.upper()}"
    welcome = charts.message(
        "info", "No picture yet", f"Drop, paste, choose or snap one ({limit}), or take an example."
    )
    handlers = ImageHandlers(models, welcome)
    html = partial(gr.HTML, apply_default_css=False)  # the look is app.css's
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            image, whole, threshold = image_inputs()
        with gr.Column(min_width=300):
            notice = html(welcome, elem_id="notice")
            annotated = html(js_on_load=script("picture.js"), elem_id="annotated")
            chosen = gr.Dropdown(
                label="Face",
                info="Or click on a face in the picture.",
                visible=False,
                elem_id="chosen-face",
            )
            chart = html(js_on_load=script("picture.js"), elem_id="bars")
            with gr.Accordion("Where did the model look?", open=False, visible=False, elem_id="saliency") as where:
                expression = gr.Dropdown(label="Expression", elem_id="expression")
                heat = html(elem_id="heat")
    view = ImageView(
        *(notice, annotated, chosen, chart, where, expression, heat),
        table=html(js_on_load=script("picture.js"), elem_id="faces"),
        links=html(elem_id="downloads"),
        result=gr.State(EMPTY),  # as_result() of this session's picture
    )
    gr.on(
        [image.change, whole.change, threshold.change, model.change],
        handlers.show,
        inputs=[image, whole, threshold, model],
        outputs=list(view),
        preprocess=False,  # the engine reads the file, so that EXIF, odd formats and errors are its own
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=notice,
        api_visibility="private",
    )
    face = [chart, where, expression, heat]
    chosen.input(show_face, [view.result, chosen], face, show_progress="hidden", api_visibility="private")
    gr.on(
        [annotated.click, view.table.click],
        choose_face,
        [view.result],
        [chosen, *face],
        show_progress="hidden",
        api_visibility="private",
    )
    gr.on(
        [where.expand, expression.input],
        handlers.explain,
        inputs=[image, whole, model, view.result, chosen, expression],
        outputs=heat,
        preprocess=False,
        trigger_mode="always_last",
        show_progress="minimal",
        api_visibility="private",
    )
    recognize_endpoint(handlers, models.default)


def image_inputs() -> tuple[gr.Image, gr.Checkbox, gr.Slider]:
    """Add what a picture comes in by: the drop area, the switch for cut-out faces, and the examples."""
    image = gr.Image(
        label="Picture",
        type="filepath",
        image_mode=None,
        format="png",  # of the examples; uploads stay as they are
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
    threshold = gr.Slider(**charts.THRESHOLD_SLIDER, elem_id="threshold")
    # Not gr.Examples: it names files of the server in /config, and keeps them among the visitors' files.
    examples = gr.Dataset(
        label="Examples",
        components=[gr.HTML(visible=False)],
        samples=[[charts.thumbnail(frame, name)] for name, frame in example_images().items()],
        type="index",
        elem_id="examples",
    )
    examples.click(take_example, examples, image, show_progress="hidden", api_visibility="private", queue=False)
    return image, whole, threshold


def recognize_endpoint(handlers: ImageHandlers, default: str) -> None:
    """Add the endpoint; `default` names the model that it uses where a call names none."""
    gr.Button(visible=False).click(
        handlers.recognize,
        inputs=[
            gr.Image(type="filepath", image_mode=None, visible=False, label="image"),
            gr.Checkbox(visible=False, label="whole picture"),
            gr.Textbox(default, visible=False, label="model name"),
            gr.Number(UNCLEAR_BELOW, visible=False, label="threshold"),
        ],
        outputs=gr.JSON(visible=False, label="result"),
        preprocess=False,
        api_name="recognize",
    )


def take_example(index: int) -> Any:
    """Give the example at this place, counted from 0."""
    images = list(example_images().values())
    if not isinstance(index, int) or not 0 <= index < len(images):
        raise refusal(f"Expected the number of an example, 0 to {len(images) - 1}.")
    return images[index]


def as_result(recognition: Recognition, threshold: Any = UNCLEAR_BELOW) -> dict[str, Any]:
    """Give a result as JSON, as the endpoint and the download have it.

    Raises:
        ArgumentError: The threshold is not in 0-1.
    """
    threshold = number("threshold", threshold, 0, 1, UNCLEAR_BELOW)
    return {
        "size": list(recognition.size),
        "labels": list(recognition.labels),
        "threshold": threshold,
        "faces": recognition.to_dicts(threshold),
    }


def face_bars(result: dict[str, Any], index: int | None) -> str:
    """Draw the bars of one face, counted from 0; nothing where there is none."""
    faces = result["faces"]
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(faces):
        return ""
    face = faces[index]
    title = "Apparent expression" if len(faces) == 1 else f"Apparent expression of face {face['face']}"
    note = f"Unclear: {face['shown']}. No expression reaches {result['threshold']:.0%}." if face["unclear"] else ""
    return charts.bars(face["probabilities"], title, note, index)


def show_face(result: dict[str, Any], index: int | None) -> tuple[Any, ...]:
    """Show the bars of one face, counted from 0, and fold its map away until it is asked for."""
    if not (bars := face_bars(result, index)):
        return (SKIP,) * 4
    return bars, gr.Accordion(open=False), gr.Dropdown(value=result["faces"][index]["label"]), ""


def choose_face(result: dict[str, Any], event: gr.EventData) -> tuple[Any, ...]:
    """Choose the face that was clicked on, in the picture or in the table.

    Args:
        result: Of `as_result`.
        event: `face`, its index from 0.
    """
    if not face_bars(result, event.face):
        return (SKIP,) * 5
    return gr.Dropdown(value=event.face), *show_face(result, event.face)
