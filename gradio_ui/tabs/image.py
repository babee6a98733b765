"""The image tab: one picture in; boxes, bars, a table and downloads out. Also the `/recognize` endpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from gradio_ui.language import counted, label_name, t, text, translated
from gradio_ui.model_registry import Models
from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.image_io import MAX_PIXELS, read_image
from gradio_ui.recognition.types import Recognition
from gradio_ui.server.arguments import boolean, number
from gradio_ui.server.guard import refusal
from gradio_ui.server.uploads import read_upload, stem_of
from gradio_ui.settings import Settings
from gradio_ui.views import html as charts
from gradio_ui.views.blur import blur_faces
from gradio_ui.views.comparison import comparison, face_bars, has_face
from gradio_ui.views.device import device_props
from gradio_ui.views.examples import example_images
from gradio_ui.views.face_choice import SKIP, FaceView, connect_faces
from gradio_ui.views.face_labels import annotate
from gradio_ui.views.image_inputs import image_inputs
from gradio_ui.views.static import script

EMPTY: dict[str, Any] = {"size": [0, 0], "labels": [], "threshold": UNCLEAR_BELOW, "faces": []}
HTML = partial(gr.HTML, apply_default_css=False)  # the look is app.css's


def of_face(image: Any, found: Any, face: Any, view: Callable[[], str], failed: str) -> str:
    """Return what `view` shows of a chosen face, or a message where there is none or `view` fails.

    Args:
        image: The picture, or None.
        found: Its result, as `as_result` gives it.
        face: Index into its faces.
        view: Gives HTML; its `RecognitionError` is shown.
        failed: Title of that message.
    """
    if image is None or not has_face(found, face):
        return charts.message("info", t("image.no_face_yet"), t("image.choose_face"))
    try:
        return view()
    except RecognitionError as error:
        return charts.message("error", failed, translated(str(error)))


def no_face() -> str:
    """Say that the picture shows no face, and what helps."""
    return charts.message("warning", t("face.none"), f"{t('face.advice')} {t('face.cut_out')}")


def welcome(settings: Settings) -> str:
    """Say that there is no picture yet, and how large it may be."""
    limits = {"size": settings.max_file_size.upper(), "megapixels": MAX_PIXELS // 1_000_000}
    return charts.message("info", t("image.none"), t("image.choose", **limits))


class ImageView(NamedTuple):
    """What the tab shows besides the chosen face: its components in the layout, their new values in a handler."""

    notice: Any = SKIP
    annotated: Any = SKIP
    table: Any = SKIP
    links: Any = SKIP
    result: Any = SKIP


class ImageHandlers:
    """What the events of the tab and its endpoint do.

    Args:
        models: Score the picture and explain a score.
        settings: Its limits are shown on the page.
    """

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._settings = settings
        self._cleared = ImageView(annotated="", table="", links="", result=EMPTY)
        self._no_face = FaceView(
            chosen=gr.Dropdown([], value=None, visible=False),
            chart="",
            where=gr.Accordion(open=False, visible=False),
            heat="",
            second=gr.Accordion(open=False, visible=False),
            compared="",
        )

    def show(
        self, image: dict[str, Any] | None, whole_image: bool, threshold: float, name: str, blur: bool = False
    ) -> tuple[ImageView, FaceView]:
        """Recognize the faces of the picture, or clear the tab where there is none."""
        if image is None:
            return self._cleared._replace(notice=welcome(self._settings)), self._no_face
        try:
            frame, recognition = self._run(image, whole_image, name)
            found = as_result(recognition, threshold)
            if boolean("blur", blur):
                frame = blur_faces(frame, recognition.faces.xyxy)
        except RecognitionError as error:
            told = charts.message("error", t("image.unreadable"), translated(str(error)))
            return self._cleared._replace(notice=told), self._no_face
        faces = found["faces"]
        if not faces:
            return self._cleared._replace(notice=no_face()), self._no_face
        in_order = sorted(range(len(faces)), key=lambda i: faces[i]["face"])
        names = [(charts.face_name(faces[i]), i) for i in in_order]
        stem = f"{stem_of(image)}-expressions"
        marked = t("face.marked", faces=", ".join(name for name, _ in names))
        drawn = annotate(frame, recognition, found["threshold"])
        return ImageView(
            notice=charts.message("info", counted("face.found", len(names))),
            annotated=charts.image(drawn, marked, faces, found["size"], f"{stem}.jpg"),
            table=charts.table(faces),
            links=charts.downloads(found, stem),
            result=found,
        ), FaceView(
            chosen=gr.Dropdown(names, value=0, visible=len(names) > 1),
            chart=face_bars(found, 0),
            where=gr.Accordion(open=False, visible=True),
            expression=gr.Dropdown([(label_name(label), label) for label in found["labels"]], value=faces[0]["label"]),
            heat="",
            second=gr.Accordion(open=False, visible=len(self._models.names) > 1),
            compared="",
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

        def saliency() -> str:
            recognizer, whole = self._models[name], boolean("whole_image", whole_image)
            return charts.saliency(*recognizer.explain(read_upload(image), face, label, whole_image=whole), label)

        return of_face(image, found, face, saliency, t("image.no_map"))

    def compare(
        self,
        image: dict[str, Any] | None,
        whole_image: bool,
        name: str,
        found: dict[str, Any],
        face: int,
        other: str,
    ) -> str:
        """Show what another model says of the same face, beside what the present one said, as HTML."""

        def compared() -> str:
            second = as_result(self._run(image, whole_image, other)[1], found["threshold"])
            titles = {key: translated(title) for key, title in self._models.titles.items()}
            return comparison((titles.get(name, name), found), (titles[other], second), face)

        return of_face(image, found, face, compared, t("image.no_comparison"))

    def recognize(
        self,
        image: dict[str, Any] | None,
        whole_image: bool = False,
        model_name: str | None = None,
        threshold: float = UNCLEAR_BELOW,
    ) -> dict[str, Any]:
        """Recognize the apparent expression of every face in a picture.

        Args:
            image: the picture: JPEG, PNG, WebP, BMP, TIFF or the first frame of a GIF.
            whole_image: take the whole picture as one face instead of looking for faces.
            model_name: one of the models that the page offers.
            threshold: probability below which a label is unclear, 0-1.

        Returns:
            size (width and height in pixels)
            labels (the names of the expressions)
            threshold (as given)
            faces (for each its number, box as left, top, right, bottom in pixels, label and all probabilities, 0-1,
                averaged over the face and its mirror image; unclear, and shown: the label, or "happy or fear" where it
                is unclear)
        """
        if image is None:
            raise refusal("Expected a picture, got none. Pass one with gradio_client.handle_file(path).")
        return as_result(self._run(image, whole_image, model_name)[1], threshold)

    def _run(self, image: Any, whole_image: Any, name: Any) -> tuple[np.ndarray, Recognition]:
        recognizer, whole = self._models[name], boolean("whole_image", whole_image)
        frame = read_image(read_upload(image))
        return frame, recognizer(frame, whole_image=whole)


def image_tab(models: Models, model: gr.State, settings: Settings) -> gr.HTML:
    """Add the tab's components and events to the surrounding Blocks.

    Args:
        models: Score the picture and explain a score.
        model: Name of the one that this session uses.
        settings: Its limits are shown on the page.

    Returns:
        The component that recognizes pictures on the visitor's device. Its prop `model` is the name of the model that
        its session uses.
    """
    handlers = ImageHandlers(models, settings)
    on_device = HTML(
        text("image_place.html"),
        js_on_load=script("device_images_on_load.js"),
        elem_id="image-device",
        visible=settings.on_device,
        **device_props(models, settings.unclear_below),
    )
    with gr.Row(equal_height=False, elem_id="image-tab"):
        with gr.Column(elem_id="image-input"):
            image, whole, threshold, examples = image_inputs(settings.unclear_below)
        with gr.Column(elem_id="image-seen"):
            with gr.Row(elem_id="image-told"):
                notice = HTML(text("image.welcome"), elem_id="notice")
                another = gr.Button(text("image.another"), size="sm", scale=0, min_width=130, elem_id="another")
            annotated = HTML(js_on_load=script("picture.js"), elem_id="annotated")
            blur = gr.Checkbox(**charts.blur_box(), elem_id="blur")
        with gr.Column(elem_id="image-faces"):
            faces = face_view(models)
    view = ImageView(
        *(notice, annotated),
        table=HTML(js_on_load=script("picture.js"), elem_id="faces"),
        links=HTML(elem_id="downloads"),
        result=gr.State(EMPTY),  # as_result() of this session's picture
    )
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    examples.click(take_example, examples, image, **quick)
    another.click(None, None, image, js="() => null", **quick)
    gr.on(
        [image.change, whole.change, threshold.change, model.change, blur.change],
        lambda *values: [part for parts in handlers.show(*values) for part in parts],
        inputs=[image, whole, threshold, model, blur],
        outputs=[*view, *faces],
        preprocess=False,  # the engine reads the file, so that EXIF, odd formats and errors are its own
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=notice,
        api_name="show",  # as /metrics counts it
        api_visibility="private",
    )
    marks, inputs = [annotated, view.table], [image, whole, model]
    connect_faces(faces, marks, view.result, inputs, handlers.explain, handlers.compare)
    recognize_endpoint(handlers, models.default)
    return on_device


def face_view(models: Models) -> FaceView:
    """Add what shows one face to the surrounding Blocks."""
    chosen = gr.Dropdown(label=text("image.face"), info=text("image.face_info"), visible=False, elem_id="chosen-face")
    chart = HTML(js_on_load=script("picture.js"), elem_id="bars")
    with gr.Accordion(text("image.where"), open=False, visible=False, elem_id="saliency") as where:
        expression = gr.Dropdown(label=text("image.expression"), elem_id="expression")
        heat = HTML(elem_id="heat")
    with gr.Accordion(text("image.second"), open=False, visible=False, elem_id="second") as second:
        other = gr.Dropdown(models.choices, value=models.names[-1], label=text("image.other_model"), elem_id="other")
        compared = HTML(elem_id="compared")
    return FaceView(chosen, chart, where, expression, heat, second, other, compared)


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
