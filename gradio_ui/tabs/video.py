"""The video tab: a file in; an annotated copy, a plot over time, a summary and tables out. Also `/recognize_video`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

import gradio as gr

from gradio_ui.language import counted, t, text, translated
from gradio_ui.model_registry import Models
from gradio_ui.recognition.doubt import UNCLEAR_BELOW
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.video import SUFFIXES
from gradio_ui.recognition.video_analysis import VideoAnalysis, write_json
from gradio_ui.server.arguments import boolean, number
from gradio_ui.server.guard import refusal
from gradio_ui.server.listeners import abandonment
from gradio_ui.server.uploads import open_upload, stem_of
from gradio_ui.settings import Settings
from gradio_ui.views import html as charts
from gradio_ui.views.background_work import Workplace, busy, connect, idle
from gradio_ui.views.blur import blur_before
from gradio_ui.views.face_labels import face_drawer
from gradio_ui.views.plots import progress, summary_html, timeline
from gradio_ui.views.static import script

RATES = (2, 5, 10, 0)  # frames in each second; 0 for every frame
RATE, MAX_RATE = 10, 240  # frames analyzed in each second
SMOOTHING, MAX_SMOOTHING = 0.5, 60  # seconds
TELL_EVERY = 0.3  # seconds between two reports of progress


class VideoView(NamedTuple):
    """What the tab shows: its components in the layout, their new values in a handler."""

    notice: Any = gr.skip()
    changed: Any = gr.skip()
    start: Any = gr.skip()
    cancel: Any = gr.skip()
    annotated: Any = gr.skip()
    table: Any = gr.skip()
    json_file: Any = gr.skip()
    summary: Any = gr.skip()
    plot: Any = gr.skip()


def limits(settings: Settings) -> dict[str, str]:
    """Give the limits of a video, for the texts that name them."""
    return {"size": settings.max_file_size.upper(), "minutes": f"{settings.max_video_minutes:g}"}


def welcome(settings: Settings) -> str:
    """Say that there is no video yet, and how large it may be."""
    return charts.message("info", t("video.none"), t("video.choose", **limits(settings)))


class VideoHandlers:
    """What the events of the tab and its endpoint do.

    Args:
        models: Find and score the faces of each frame.
        settings: Its limits are shown on the page and hold for every video.
    """

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._max_seconds = settings.max_video_minutes * 60
        self._limits = limits(settings)
        self._workplace = Workplace()
        self.stop = self._workplace.stop
        self.welcome = partial(welcome, settings)
        self.cleared = VideoView(
            annotated=gr.Video(value=None, visible=False),
            table=gr.DownloadButton(visible=False),
            json_file=gr.DownloadButton(visible=False),
            summary="",
            plot=gr.Plot(value=None, visible=False),
        )

    def analyze(
        self,
        file: dict[str, Any] | None,
        per_second: float,
        seconds: float,
        threshold: float,
        blur: bool,
        name: str,
        request: gr.Request,
    ) -> Iterator[VideoView]:
        """Analyze the video and show the progress, then the results."""
        if file is None:
            yield idle(self.cleared, self.welcome())
            return
        work = self._analyze(file, request, blur, per_second, seconds, threshold, name)
        try:
            yield from self._workplace.in_turn(request, self.cleared, work)
        except RecognitionError as error:
            yield idle(VideoView(), charts.message("error", t("video.unreadable"), translated(str(error))))

    def _analyze(self, file: Any, request: gr.Request, blur: Any, *options: Any) -> Iterator[VideoView]:
        yield busy(self.cleared, progress(0, None, 0))
        with open_upload(file) as video, TemporaryDirectory() as folder:
            files = Files(Path(folder), stem_of(file))
            analysis = self._analysis(video, *options)
            draw = face_drawer(analysis.session.labels)
            if boolean("blur", blur):
                draw = blur_before(draw)
            begun = told = time.monotonic()
            with self._workplace.cancellable(request, analysis.stop):
                for reached in analysis.run(files.table, files.video, draw):
                    if time.monotonic() - told >= TELL_EVERY:
                        told = time.monotonic()
                        yield VideoView(progress(reached, analysis.duration, told - begun))
            if not analysis.analyzed:
                yield idle(
                    VideoView(), charts.message("info", t("work.cancelled"), t("video.another", **self._limits))
                )
                return
            found = analysis.summary()
            write_json(files.table, files.json, found)
            seen = bool(found["faces"])  # otherwise there is nothing to download
            shown = VideoView(
                annotated=gr.Video(value=files.video, visible=True),
                table=gr.DownloadButton(value=files.table if seen else None, visible=seen),
                json_file=gr.DownloadButton(value=files.json if seen else None, visible=seen),
                summary=summary_html(found, analysis.moments),
                plot=gr.Plot(value=timeline(files.table, found) if seen else None, visible=seen),
            )
            # Yielded, not returned: Gradio copies the files before it goes on and the folder is deleted.
            yield idle(shown, outcome(found))

    def recognize_video(
        self,
        video: dict[str, Any] | None,
        per_second: float = RATE,
        smoothing: float = SMOOTHING,
        model_name: str | None = None,
        threshold: float = UNCLEAR_BELOW,
    ) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Recognize the apparent expression of every face in a video over time.

        Args:
            video: an MP4, MOV, WebM, AVI or MKV file.
            per_second: frames to analyze in each second; 0 analyzes every frame.
            smoothing: time constant in seconds over which probabilities are smoothed; 0 switches it off.
            model_name: one of the models that the page offers.
            threshold: probability below which a label is unclear, 0-1.

        Returns:
            an MP4 file: the annotated video with the original sound
            a CSV file: for each face and analyzed frame its time in seconds, a stable face id, box and probabilities
            a JSON file: the same and the summary
            dominant: the label shown for the longest time, over all faces
            seconds: the time that faces were seen, added up over all faces
            shares: for each label its share of that time in 0-1
            unclear: share of that time in which the label was unclear, 0-1
            faces: dominant, seconds, shares and unclear for each face
            moments: for each label when it was most probable, in which face
            duration, size, analyzed_frames: of the video, in seconds, pixels and frames
            problem: what of a damaged file could not be read; empty for a sound one
        """
        if video is None:
            raise refusal("Expected a video, got none. Pass one with gradio_client.handle_file(path).")
        with open_upload(video) as opened, TemporaryDirectory() as folder, self._workplace.turn() as wait:
            wait(None)
            files = Files(Path(folder), stem_of(video))
            analysis = self._analysis(opened, per_second, smoothing, threshold, model_name)
            for _ in analysis.run(files.table, files.video, face_drawer(analysis.session.labels)):
                pass
            write_json(files.table, files.json, analysis.summary())
            yield str(files.video), str(files.table), str(files.json), analysis.summary()

    def _analysis(self, video: BinaryIO, per_second: Any, smoothing: Any, threshold: Any, name: Any) -> VideoAnalysis:
        return VideoAnalysis(
            video,
            self._models[name],
            per_second=number("per_second", per_second, 0, MAX_RATE, RATE) or None,
            time_constant=number("smoothing", smoothing, 0, MAX_SMOOTHING, SMOOTHING),
            threshold=number("threshold", threshold, 0, 1, UNCLEAR_BELOW),
            max_seconds=self._max_seconds,
            abandoned=abandonment(),
        )


def video_tab(models: Models, model: gr.State, settings: Settings) -> None:
    """Add the tab's components and events to the surrounding Blocks.

    Args:
        models: Find and score the faces of each frame.
        model: Name of the one that this session uses.
        settings: Its limits are shown on the page and hold for every video.
    """
    handlers = VideoHandlers(models, settings)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            source = gr.File(
                label=text("video.video"), file_types=["video", *SUFFIXES], height=160, elem_id="video-file"
            )
            rate = gr.Dropdown(
                [(text(f"video.rate.{each}"), each) for each in RATES],
                value=RATE,
                label=text("video.frames"),
                elem_id="video-rate",
            )
            smoothing = gr.Slider(
                0, 2, value=SMOOTHING, step=0.1, label=text("video.smoothing"), info=text("video.smoothing_info")
            )
            threshold = gr.Slider(**charts.threshold_slider(settings.unclear_below))
            blur = gr.Checkbox(**charts.blur_box())
            with gr.Row():
                start = gr.Button(text("work.analyze"), variant="primary")
                cancel = gr.Button(text("work.cancel"), interactive=False)
        with gr.Column(min_width=300):
            notice = gr.HTML(text("video.welcome"), apply_default_css=False, elem_id="video-notice")
            changed = gr.HTML(apply_default_css=False, elem_id="video-changed")
            annotated = gr.Video(label=text("video.annotated"), visible=False, elem_id="video-result")
            with gr.Row():
                table = gr.DownloadButton(str(text("save.csv")), visible=False)
                json_file = gr.DownloadButton(str(text("save.json")), visible=False)
    summary = gr.HTML(apply_default_css=False, js_on_load=script("explorer.js"), elem_id="video-summary")
    plot = gr.Plot(show_label=False, visible=False, elem_id="video-plot")
    connect(
        VideoView(notice, changed, start, cancel, annotated, table, json_file, summary, plot),
        source,
        handlers.analyze,
        handlers.stop,
        [rate, smoothing, threshold, blur, model],
        cleared=handlers.cleared,
        welcome=handlers.welcome,
    )
    video_endpoint(handlers, models.default)


def video_endpoint(handlers: VideoHandlers, default: str) -> None:
    """Add the endpoint; `default` names the model that it uses where a call names none."""
    gr.Button(visible=False).click(
        handlers.recognize_video,
        inputs=[
            gr.File(visible=False, label="video"),
            gr.Number(RATE, visible=False, label="per_second"),
            gr.Number(SMOOTHING, visible=False, label="smoothing"),
            gr.Textbox(default, visible=False, label="model name"),
            gr.Number(UNCLEAR_BELOW, visible=False, label="threshold"),
        ],
        outputs=[
            gr.File(visible=False, label="annotated video"),
            gr.File(visible=False, label="CSV"),
            gr.File(visible=False, label="JSON"),
            gr.JSON(visible=False, label="summary"),
        ],
        preprocess=False,
        api_name="recognize_video",
        concurrency_limit=1,
    )


class Files:
    """The files of a result, named after the video, in a folder."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder = folder
        self.video = folder / f"{stem}-expressions.mp4"
        self.table = folder / f"{stem}-expressions.csv"
        self.json = folder / f"{stem}-expressions.json"


def outcome(found: dict[str, Any]) -> str:
    """Report what came out, as a message.

    Args:
        found: Of `VideoAnalysis.summary`.
    """
    count = len(found["faces"])
    if found["problem"]:
        return charts.message("warning", t("work.partial"), translated(found["problem"]))
    if not count:
        return charts.message("warning", t("face.none"), t("video.advice"))
    return charts.message("info", counted("face.found", count), t("video.analyzed", count=found["analyzed_frames"]))
