"""The batch tab: many pictures in; a gallery of annotated ones and one table out. Also `/recognize_batch`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, NamedTuple

import gradio as gr

from gradio_ui.model_registry import Models
from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.errors import ImageError, RecognitionError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.recognition.tables import face_cells, face_columns, write_csv
from gradio_ui.recognition.types import Recognition
from gradio_ui.server.arguments import boolean, number
from gradio_ui.server.guard import refusal
from gradio_ui.server.mcp_files import several_files
from gradio_ui.server.uploads import UploadedImages, name_of, read_upload, stem_of
from gradio_ui.settings import Settings
from gradio_ui.views import html as charts
from gradio_ui.views.background_work import Cancellable, busy, connect, idle
from gradio_ui.views.face_labels import annotate
from gradio_ui.views.plots import clock, progress_bar

MAX_IMAGES = 500  # at once; for more there is `python -m gradio_ui.recognition`
PIECE = 8  # pictures that are scored together; after each piece the progress is shown
THUMBNAIL = 640  # pixels, the long side of a picture in the gallery
QUEUE = "batch"  # one batch at a time, of all visitors

File = dict[str, Any]  # Gradio's: "path" on the server, "orig_name" on the visitor's machine
Entry = dict[str, Any]  # of one picture: "file" and either "size" and "faces", or "error"


class BatchView(NamedTuple):
    """What the tab shows: its components in the layout, their new values in a handler."""

    notice: Any = gr.skip()
    start: Any = gr.skip()
    cancel: Any = gr.skip()
    failures: Any = gr.skip()
    table: Any = gr.skip()
    json_file: Any = gr.skip()
    gallery: Any = gr.skip()


class BatchHandlers:
    """What the events of the tab and its endpoint do.

    Args:
        models: Score the pictures.
        settings: Its limits are shown on the page.
    """

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._under_way = Cancellable(Event.set)
        self.stop = self._under_way.stop
        limits = f"up to {MAX_IMAGES} at once, {settings.max_file_size.upper()} each"
        self.welcome = charts.message("info", "No pictures yet", f"Drop or choose as many as you like ({limits}).")
        self.cleared = BatchView(
            failures="",
            table=gr.DownloadButton(visible=False),
            json_file=gr.DownloadButton(visible=False),
            gallery=gr.Gallery(value=None, visible=False),
        )

    def recognize_all(
        self, files: list[File] | None, whole_image: bool, threshold: float, name: str, request: gr.Request
    ) -> Iterator[BatchView]:
        """Recognise the faces of all pictures and show the progress, then the results."""
        if not files:
            yield idle(self.cleared, self.welcome)
        elif len(files) > MAX_IMAGES:
            yield idle(self.cleared, charts.message("error", "Too many pictures", too_many(files)))
        else:
            yield busy(self.cleared, progress_bar("Reading the pictures", None))
            try:
                yield from self._recognize_all(files, whole_image, threshold, name, request)
            except RecognitionError as error:
                yield idle(BatchView(), charts.message("error", "The work stopped", str(error)))

    def _recognize_all(
        self, files: list[File], whole: Any, threshold: Any, name: Any, request: gr.Request
    ) -> Iterator[BatchView]:
        threshold = number("threshold", threshold, 0, 1, UNCLEAR_BELOW)
        cancelled = Event()
        self._under_way.begin(request, cancelled)
        begun = time.monotonic()
        entries: list[Entry] = []
        shown: list[tuple[str, str]] = []
        recognizer = self._models[name]
        with TemporaryDirectory() as folder:
            for piece in recognize_files(recognizer, files, boolean("whole_image", whole)):
                for file, result in piece:
                    entries.append(as_entry(file, result, threshold))
                    if isinstance(result, Recognition):
                        path = Path(folder) / f"{len(entries)}-{stem_of(file)}.jpg"
                        write_thumbnail(read_upload(file), result, path, threshold)
                        shown.append((str(path), caption(entries[-1])))
                if cancelled.is_set():
                    break
                yield BatchView(progress(len(entries), len(files), time.monotonic() - begun))
            table, json_file = write_tables(entries, recognizer.labels, Path(folder), threshold)
            results = BatchView(
                failures=failure_list(entries),
                table=gr.DownloadButton(value=table, visible=True),
                json_file=gr.DownloadButton(value=json_file, visible=True),
                gallery=gr.Gallery(value=shown, visible=bool(shown)),
            )
            # Yielded, not returned: Gradio copies the files before it goes on and the folder is deleted.
            yield idle(results, outcome(entries, len(files)))

    def recognize_batch(
        self,
        images: list[File] | None,
        whole_image: bool = False,
        model_name: str | None = None,
        threshold: float = UNCLEAR_BELOW,
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Recognise the apparent expression of every face in many pictures at once.

        Args:
            images: up to 500 pictures: JPEG, PNG, WebP, BMP, TIFF or the first frame of a GIF.
            whole_image: take every picture as one face instead of looking for faces.
            model_name: one of the models that the page offers.
            threshold: probability below which a label is unclear, 0-1.

        Returns:
            labels: the expressions that the model knows
            threshold: as given
            pictures: in the order given, each with its file name, and either size and faces, or error
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
        entries = [as_entry(*one, threshold) for piece in recognize_files(recognizer, images, whole) for one in piece]
        with TemporaryDirectory() as folder:
            table, _ = write_tables(entries, recognizer.labels, Path(folder), threshold)
            yield {"labels": list(recognizer.labels), "threshold": threshold, "pictures": entries}, table


def batch_tab(models: Models, model: gr.State, settings: Settings) -> None:
    """Add the tab's components and events to the surrounding Blocks.

    Args:
        models: Score the pictures.
        model: Name of the one that this session uses.
        settings: Its limits are shown on the page.
    """
    handlers = BatchHandlers(models, settings)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            source = gr.File(
                label="Pictures", file_count="multiple", file_types=["image"], height=200, elem_id="batch-files"
            )
            whole = gr.Checkbox(
                label="Every picture is one face", info="Skips the search for faces: for cut-outs such as FER-2013's."
            )
            threshold = gr.Slider(**charts.THRESHOLD_SLIDER)
            with gr.Row():
                start = gr.Button("Recognise", variant="primary")
                cancel = gr.Button("Cancel", interactive=False)
        with gr.Column(min_width=300):
            notice = gr.HTML(handlers.welcome, apply_default_css=False, elem_id="batch-notice")
            failures = gr.HTML(apply_default_css=False, elem_id="batch-failures")
            with gr.Row():
                table = gr.DownloadButton("Download CSV", visible=False)
                json_file = gr.DownloadButton("Download JSON", visible=False)
    gallery = gr.Gallery(
        label="Annotated pictures",
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
        BatchView(notice, start, cancel, failures, table, json_file, gallery),
        source,
        handlers.recognize_all,
        handlers.stop,
        [source, whole, threshold, model],
        cleared=handlers.cleared,
        welcome=handlers.welcome,
        queue=QUEUE,
    )
    batch_endpoint(handlers, models.default)


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
        concurrency_id=QUEUE,
        concurrency_limit=1,
    )


def recognize_files(
    recognizer: EmotionRecognizer, files: Sequence[File], whole_image: bool
) -> Iterator[list[tuple[File, Recognition | ImageError]]]:
    """Recognise `PIECE` files at a time; yield each with its result or error. No picture stays in memory."""
    for start in range(0, len(files), PIECE):
        piece = files[start : start + PIECE]
        results = recognizer.batch(UploadedImages(piece), whole_image=whole_image)
        yield list(zip(piece, results, strict=True))


def as_entry(file: File, result: Recognition | ImageError, threshold: float = UNCLEAR_BELOW) -> Entry:
    """Give one picture's result as JSON."""
    name = name_of(file)
    if isinstance(result, ImageError):
        return {"file": name, "error": str(result)}
    return {"file": name, "size": list(result.size), "faces": result.to_dicts(threshold)}


def write_thumbnail(content: bytes, recognition: Recognition, path: Path, threshold: float = UNCLEAR_BELOW) -> None:
    """Write a small annotated copy of a picture as JPEG; decoding it again keeps only one in memory."""
    from PIL import Image

    image = Image.fromarray(annotate(read_image(content), recognition, threshold))
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
    result = {"labels": list(labels), "threshold": threshold, "pictures": entries}
    json_file.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return str(table), str(json_file)


def rows_of(entry: Entry) -> list[dict[str, Any]]:
    """Return a row of named cells for each face of an entry, or one that says there is none."""
    place = {"file": entry["file"], "error": entry.get("error", "")}
    return [place | face_cells(face) for face in entry.get("faces", ())] or [place]


def too_many(files: Sequence[File]) -> str:
    """Say that the limit is exceeded, and what to do."""
    return (
        f"Expected up to {MAX_IMAGES} pictures at once, got {len(files)}. Take fewer, or use the command line: "
        "python -m gradio_ui.recognition FOLDER --out results.csv."
    )


def caption(entry: Entry) -> str:
    """Give the label of the largest face, how many more there are, and the file's name."""
    faces = entry["faces"]
    if not faces:
        return f"no face · {entry['file']}"
    more = f" and {len(faces) - 1} more" if len(faces) > 1 else ""
    return f"{charts.verdict_text(faces[0])}{more} · {entry['file']}"


def progress(done: int, total: int, elapsed: float) -> str:
    """Show how many pictures are done, and how long the others will take."""
    return progress_bar(f"{done} of {total} pictures, {clock(elapsed * (total / done - 1))} left", done / total)


def outcome(entries: Sequence[Entry], total: int) -> str:
    """Report what came out of so many pictures, as a message."""
    failed = sum("error" in entry for entry in entries)
    faces = sum(len(entry.get("faces", ())) for entry in entries)
    found = f"{count(faces, 'face')} in {count(len(entries) - failed, 'picture')}"
    unread = f"{failed} could not be read." if failed else ""
    if len(entries) < total:
        stopped = f"Stopped after {len(entries)} of {total} pictures: {found}. {unread}"
        return charts.message("warning", "Partial result", stopped.strip())
    return charts.message("warning" if failed or not faces else "info", found, unread)


def count(number: int, thing: str) -> str:
    """Give the number with its noun."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def failure_list(entries: Sequence[Entry]) -> str:
    """List the pictures that could not be read, each with the reason; nothing where there is none."""
    items = "".join(
        f"<li>{escape(entry['file'])}: {escape(entry['error'])}</li>" for entry in entries if "error" in entry
    )
    return f'<ul class="fer-failures" tabindex="0" aria-label="Not read">{items}</ul>' if items else ""
