"""The video tab: a file in; an annotated copy, a plot over time, a summary and tables out. Also `/recognize_video`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr

from gradio_ui.listeners import abandonment
from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.video import SUFFIXES
from gradio_ui.recognition.video_analysis import VideoAnalysis, write_json
from gradio_ui.settings import Settings
from gradio_ui.views import html as charts
from gradio_ui.views.background_work import Changes, LongWork
from gradio_ui.views.face_labels import face_drawer
from gradio_ui.views.plots import progress, summary_html, timeline

RATES: list[tuple[str, float]] = [("2 per second", 2), ("5 per second", 5), ("10 per second", 10), ("every frame", 0)]
TELL_EVERY = 0.3  # seconds between two reports of progress


def video_tab(models: Models, model: gr.State, settings: Settings) -> None:
    """Adds the tab's components and events to the surrounding Blocks.

    Args:
        models: find and score the faces of each frame.
        model: name of the one that this session uses.
        settings: its limits are told on the page and hold for every video.
    """
    limits = f"up to {settings.max_file_size.upper()} and {settings.max_video_minutes:g} minutes"
    welcome = charts.message("info", "No video yet", f"Choose an MP4, MOV, WebM, AVI or MKV file ({limits}).")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            source = gr.File(label="Video", file_types=["video", *SUFFIXES], height=160, elem_id="video-file")
            rate = gr.Dropdown(RATES, value=10, label="Frames to analyse", elem_id="video-rate")
            smoothing = gr.Slider(
                0, 2, value=0.5, step=0.1, label="Smoothing (seconds)", info="0 shows every frame as it is."
            )
            with gr.Row():
                start = gr.Button("Analyse", variant="primary")
                cancel = gr.Button("Cancel", interactive=False)
        with gr.Column(min_width=300):
            notice = gr.HTML(welcome, apply_default_css=False, elem_id="video-notice")
            annotated = gr.Video(label="Annotated video", visible=False, elem_id="video-result")
            with gr.Row():
                table = gr.DownloadButton("Download CSV", visible=False)
                json_file = gr.DownloadButton("Download JSON", visible=False)
    summary = gr.HTML(apply_default_css=False, elem_id="video-summary")
    plot = gr.Plot(show_label=False, visible=False, elem_id="video-plot")
    under_way: WeakValueDictionary[str, VideoAnalysis] = WeakValueDictionary()  # by session, for Cancel

    def analysis_of(path: str, per_second: float, seconds: float, name: str) -> VideoAnalysis:
        return VideoAnalysis(
            path,
            models[name],
            per_second=per_second or None,
            time_constant=seconds,
            max_seconds=settings.max_video_minutes * 60,
            abandoned=abandonment(),
        )

    cleared: Changes = {
        annotated: gr.Video(value=None, visible=False),
        table: gr.DownloadButton(visible=False),
        json_file: gr.DownloadButton(visible=False),
        summary: "",
        plot: gr.Plot(value=None, visible=False),
    }

    tab = LongWork(source, start, cancel, notice, cleared)

    def analyse(
        file: dict[str, Any] | None, per_second: float, seconds: float, name: str, request: gr.Request
    ) -> Iterator[Changes]:
        if file is None:
            yield cleared | tab.idle(welcome)
            return
        yield tab.busy(progress(0, None, 0))
        analysis = analysis_of(file["path"], per_second, seconds, name)
        under_way[str(request.session_hash)] = analysis
        with TemporaryDirectory() as folder:
            files = Files(Path(folder), Path(file["path"]).stem)
            begun = told = time.monotonic()
            try:
                for reached in analysis.run(files.table, files.video, face_drawer(models[name].labels)):
                    if time.monotonic() - told >= TELL_EVERY:
                        told = time.monotonic()
                        yield {notice: progress(reached, analysis.duration, told - begun)}
            except RecognitionError as error:
                yield tab.idle(charts.message("error", "This video cannot be analysed", str(error)))
                return
            if not analysis.analyzed:
                yield tab.idle(charts.message("info", "Cancelled", f"Choose another video ({limits})."))
                return
            found = analysis.summary()
            write_json(files.table, files.json, found)
            yield tab.idle(outcome(found)) | {
                annotated: gr.Video(value=files.video, visible=True),
                table: gr.DownloadButton(value=files.table, visible=True),
                json_file: gr.DownloadButton(value=files.json, visible=True),
                summary: summary_html(found, analysis.moments),
                plot: gr.Plot(value=timeline(files.table, found), visible=bool(found["faces"])),
            }

    def stop(request: gr.Request) -> gr.Button:
        if analysis := under_way.get(str(request.session_hash)):
            analysis.stop()
        return gr.Button(interactive=False)

    def recognize_video(
        video: dict[str, Any] | None, per_second: float = 10, smoothing: float = 0.5, model_name: str = models.default
    ) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Recognises the apparent expression of every face in a video over time.

        Args:
            video: an MP4, MOV, WebM, AVI or MKV file.
            per_second: frames to analyse in each second; 0 analyses every frame.
            smoothing: time constant in seconds over which probabilities are smoothed; 0 switches it off.
            model_name: one of the models that the page offers.

        Returns:
            an MP4 file: the annotated video with the original sound
            a CSV file: for each face and analysed frame its time in seconds, a stable face id, box and probabilities
            a JSON file: the same and the summary
            dominant: the label shown for the longest time, over all faces
            seconds: the time that faces were seen, added up over all faces
            shares: for each label its share of that time in 0-1
            faces: dominant, seconds and shares for each face
            moments: for each label when it was most probable, in which face
            duration, size, analyzed_frames: of the video, in seconds, pixels and frames
            problem: what of a damaged file could not be read; empty for a sound one
        """
        if video is None:
            raise gr.Error("Expected a video, got none. Pass one with gradio_client.handle_file(path).")
        try:
            analysis = analysis_of(video["path"], per_second, smoothing, model_name)
            with TemporaryDirectory() as folder:
                files = Files(Path(folder), Path(video["path"]).stem)
                for _ in analysis.run(files.table, files.video, face_drawer(models[model_name].labels)):
                    pass
                write_json(files.table, files.json, analysis.summary())
                # Yielded, not returned: Gradio copies the files before it goes on and the folder is deleted.
                yield str(files.video), str(files.table), str(files.json), analysis.summary()
        except (RecognitionError, ValueError) as error:
            raise gr.Error(str(error)) from error

    one_at_a_time: dict[str, Any] = {"concurrency_id": "video", "concurrency_limit": 1}
    tab.connect(
        analyse,
        stop,
        [source, rate, smoothing, model],
        welcome=welcome,
        failed=charts.message("error", "The analysis stopped", "Try again, or another video."),
        queue=one_at_a_time,
    )
    gr.Button(visible=False).click(
        recognize_video,
        inputs=[
            gr.File(visible=False, label="video"),
            gr.Number(10, visible=False, label="per_second"),
            gr.Number(0.5, visible=False, label="smoothing"),
            gr.Textbox(models.default, visible=False, label="model name"),
        ],
        outputs=[
            gr.File(visible=False, label="annotated video"),
            gr.File(visible=False, label="CSV"),
            gr.File(visible=False, label="JSON"),
            gr.JSON(visible=False, label="summary"),
        ],
        preprocess=False,
        api_name="recognize_video",
        **one_at_a_time,
    )


class Files:
    """The files of a result, named after the video, in a folder."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.video = folder / f"{stem}-expressions.mp4"
        self.table = folder / f"{stem}-expressions.csv"
        self.json = folder / f"{stem}-expressions.json"


def outcome(found: dict[str, Any]) -> str:
    """What came out, as a message.

    Args:
        found: of `VideoAnalysis.summary`.
    """
    count = len(found["faces"])
    if found["problem"]:
        return charts.message("warning", "Partial result", found["problem"])
    if not count:
        return charts.message(
            "warning", "No face found", "Try a video where faces are larger, better lit or turned to the camera."
        )
    return charts.message(
        "info", f"{count} {'face' if count == 1 else 'faces'} found", f"{found['analyzed_frames']} frames analysed."
    )
