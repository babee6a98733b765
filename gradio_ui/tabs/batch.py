"""The batch tab: many pictures in; a gallery of annotated ones and one table out. Also `/recognize_batch`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, NamedTuple

import gradio as gr

from gradio_ui.language import t, text, translated
from gradio_ui.model_registry import Models
from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.errors import ImageError, RecognitionError
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.recognition.types import Recognition
from gradio_ui.server.arguments import boolean, number
from gradio_ui.server.guard import refusal
from gradio_ui.server.mcp_files import several_files
from gradio_ui.server.uploads import UploadedImages, name_of, read_upload, stem_of
from gradio_ui.settings import Settings
from gradio_ui.views import html as charts
from gradio_ui.views.background_work import Workplace, busy, connect, idle
from gradio_ui.views.batch_files import write_tables, write_thumbnail
from gradio_ui.views.batch_results import Entry, caption, outcome, progress, results
from gradio_ui.views.static import script

MAX_IMAGES = 500  # at once; for more there is `python -m gradio_ui.recognition`
PIECE = 8  # pictures that are scored together, at most; after each piece the progress is shown
PIECE_SECONDS = 1.0  # that a piece should take, so that Cancel is answered soon after

File = dict[str, Any]  # Gradio's: "path" on the server, "orig_name" on the visitor's machine


class BatchView(NamedTuple):
    """What the tab shows: its components in the layout, their new values in a handler."""

    notice: Any = gr.skip()
    changed: Any = gr.skip()
    start: Any = gr.skip()
    cancel: Any = gr.skip()
    results: Any = gr.skip()
    table: Any = gr.skip()
    json_file: Any = gr.skip()
    gallery: Any = gr.skip()


def welcome(settings: Settings) -> str:
    """Say that there are no pictures yet, and how many there may be."""
    limits = {"count": MAX_IMAGES, "size": settings.max_file_size.upper()}
    return charts.message("info", t("batch.none"), t("batch.choose", **limits))


class BatchHandlers:
    """What the events of the tab and its endpoint do.

    Args:
        models: Score the pictures.
        settings: Its limits are shown on the page.
    """

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._workplace = Workplace()
        self.stop = self._workplace.stop
        self.welcome = partial(welcome, settings)
        self.cleared = BatchView(
            results="",
            table=gr.DownloadButton(visible=False),
            json_file=gr.DownloadButton(visible=False),
            gallery=gr.Gallery(value=None, visible=False),
        )

    def recognize_all(
        self, files: list[File] | None, whole: bool, threshold: float, blur: bool, name: str, request: gr.Request
    ) -> Iterator[BatchView]:
        """Recognize the faces of all pictures and show the progress, then the results."""
        if not files:
            yield idle(self.cleared, self.welcome())
        elif len(files) > MAX_IMAGES:
            yield idle(self.cleared, charts.message("error", t("batch.too_many"), too_many(files)))
        else:
            work = self._recognize_all(files, request, whole, threshold, blur, name)
            try:
                yield from self._workplace.in_turn(request, self.cleared, work)
            except RecognitionError as error:
                yield idle(BatchView(), charts.message("error", t("work.stopped"), translated(str(error))))

    def _recognize_all(
        self, files: list[File], request: gr.Request, whole: Any, threshold: Any, blur: Any, name: Any
    ) -> Iterator[BatchView]:
        yield busy(self.cleared, charts.progress_bar(t("batch.reading"), None))
        threshold, blur = number("threshold", threshold, 0, 1, UNCLEAR_BELOW), boolean("blur", blur)
        cancelled = Event()
        begun = time.monotonic()
        entries: list[Entry] = []
        shown: list[tuple[str, str]] = []
        recognizer = self._models[name]
        with TemporaryDirectory() as folder, self._workplace.cancellable(request, cancelled.set):
            for piece in recognize_files(recognizer, files, boolean("whole_image", whole)):
                for file, result in piece:
                    entries.append(as_entry(file, result, threshold))
                    if isinstance(result, Recognition):
                        path = Path(folder) / f"{len(entries)}-{stem_of(file)}.jpg"
                        write_thumbnail(read_upload(file), result, path, threshold, blur=blur)
                        shown.append((str(path), caption(entries[-1])))
                if cancelled.is_set():
                    break
                yield BatchView(progress(len(entries), len(files), time.monotonic() - begun))
            table, json_file = write_tables(entries, recognizer.labels, Path(folder), threshold)
            done = BatchView(
                results=results(entries, recognizer.labels),
                table=gr.DownloadButton(value=table, visible=True),
                json_file=gr.DownloadButton(value=json_file, visible=True),
                gallery=gr.Gallery(value=shown, visible=bool(shown)),
            )
            # Yielded, not returned: Gradio copies the files before it goes on and the folder is deleted.
            yield idle(done, outcome(entries, len(files)))

    def recognize_batch(
        self,
        images: list[File] | None,
        whole_image: bool = False,
        model_name: str | None = None,
        threshold: float = UNCLEAR_BELOW,
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Recognize the apparent expression of every face in many pictures at once.

        Args:
            images: up to 500 pictures: JPEG, PNG, WebP, BMP, TIFF or the first frame of a GIF.
            whole_image: take every picture as one face instead of looking for faces.
            model_name: one of the models that the page offers.
            threshold: probability below which a label is unclear, 0-1.

        Returns:
            labels: the expressions that the model knows
            threshold: as given
            images: in the order given, each with its file name, and either size and faces, or error
            size: width and height in pixels
            faces: largest first, each with its box, the detector's confidence, label, probability and probabilities
            unclear: whether the label's probability is below the threshold
            shown: the label, or "happy or fear" where it is unclear
            box: left, top, right and bottom in pixels
            confidence, probability, probabilities: in 0-1; probabilities has one for every label
            error: why a picture could not be read; the others are there all the same
            a CSV file: a row for each face, and for each picture without one
        """
        if not images:
            raise refusal("Expected pictures, got none. Pass a list of gradio_client.handle_file(path).")
        if len(images) > MAX_IMAGES:
            raise refusal(too_many(images))
        recognizer, whole = self._models[model_name], boolean("whole_image", whole_image)
        threshold = number("threshold", threshold, 0, 1, UNCLEAR_BELOW)
        with TemporaryDirectory() as folder, self._workplace.turn() as wait:
            wait(None)
            pieces = recognize_files(recognizer, images, whole)
            entries = [as_entry(*one, threshold) for piece in pieces for one in piece]
            table, _ = write_tables(entries, recognizer.labels, Path(folder), threshold)
            yield {"labels": list(recognizer.labels), "threshold": threshold, "images": entries}, table


def batch_tab(models: Models, model: gr.State, settings: Settings) -> None:
    """Add the tab's components and events to the surrounding Blocks.

    Args:
        models: Score the pictures.
        model: Name of the one that this session uses.
        settings: Its limits are shown on the page.
    """
    handlers = BatchHandlers(models, settings)
    html = partial(gr.HTML, apply_default_css=False)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            source = gr.File(
                label=text("batch.pictures"),
                file_count="multiple",
                file_types=["image"],
                height=200,
                elem_id="batch-files",
            )
            whole = gr.Checkbox(label=text("batch.whole"), info=text("image.whole_info"))
            threshold = gr.Slider(**charts.threshold_slider(settings.unclear_below))
            blur = gr.Checkbox(**charts.blur_box())
            with gr.Row():
                start = gr.Button(text("work.start"), variant="primary")
                cancel = gr.Button(text("work.cancel"), interactive=False)
        with gr.Column(min_width=300):
            notice = html(text("batch.welcome"), elem_id="batch-notice")
            changed = html(elem_id="batch-changed")
            with gr.Row():
                table = gr.DownloadButton(str(text("save.csv")), visible=False)
                json_file = gr.DownloadButton(str(text("save.json")), visible=False)
            shown = html(js_on_load=script("batch.js"), elem_id="batch-results")
    gallery = gr.Gallery(
        label=text("batch.gallery"),
        show_label=False,
        columns=4,
        object_fit="contain",
        height="auto",
        interactive=False,
        buttons=["download", "fullscreen"],
        visible=False,
        elem_id="batch-gallery",
    )
    connect(
        BatchView(notice, changed, start, cancel, shown, table, json_file, gallery),
        source,
        handlers.recognize_all,
        handlers.stop,
        [whole, threshold, blur, model],
        cleared=handlers.cleared,
        welcome=handlers.welcome,
    )
    shown.click(open_picture, None, gallery, show_progress="hidden", api_visibility="private", queue=False)
    batch_endpoint(handlers, models.default)


def open_picture(event: gr.EventData) -> Any:
    """Open the picture of the row that was clicked on; the event has its `place` in the gallery, from 0."""
    place = event.place
    return gr.skip() if isinstance(place, bool) or not isinstance(place, int) else gr.Gallery(selected_index=place)


def batch_endpoint(handlers: BatchHandlers, default: str) -> None:
    """Add the endpoint; `default` names the model that it uses where a call names none."""
    gr.Button(visible=False).click(
        handlers.recognize_batch,
        inputs=[
            several_files("images"),
            gr.Checkbox(visible=False, label="whole picture"),
            gr.Textbox(default, visible=False, label="model name"),
            gr.Number(UNCLEAR_BELOW, visible=False, label="threshold"),
        ],
        outputs=[gr.JSON(visible=False, label="result"), gr.File(visible=False, label="CSV")],
        preprocess=False,
        api_name="recognize_batch",
        concurrency_limit=1,
    )


def recognize_files(
    recognizer: EmotionRecognizer, files: Sequence[File], whole_image: bool
) -> Iterator[list[tuple[File, Recognition | ImageError]]]:
    """Recognize files in pieces of about `PIECE_SECONDS`; yield each with its result or error.

    The first piece is one picture, and no picture stays in memory.
    """
    start, size = 0, 1
    while start < len(files):
        piece = files[start : start + size]
        begun = time.monotonic()
        found = recognizer.batch(UploadedImages(piece), whole_image=whole_image)
        each = (time.monotonic() - begun) / len(piece)
        start, size = start + size, min(PIECE, max(1, int(PIECE_SECONDS / max(each, 1e-3))))
        yield list(zip(piece, found, strict=True))


def as_entry(file: File, result: Recognition | ImageError, threshold: float = UNCLEAR_BELOW) -> Entry:
    """Give one picture's result as JSON."""
    name = name_of(file)
    if isinstance(result, ImageError):
        return {"file": name, "error": str(result)}
    return {"file": name, "size": list(result.size), "faces": result.to_dicts(threshold)}


def too_many(files: Sequence[File]) -> str:
    """Say that the limit is exceeded, and what to do."""
    command = "python -m gradio_ui.recognition FOLDER --out results.csv"
    return t("batch.too_many_info", limit=MAX_IMAGES, count=len(files), command=command)
