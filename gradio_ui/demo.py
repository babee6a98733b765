"""Composes the page out of its tabs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from gradio_ui.mcp_files import agents_lifespan
from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.settings import Settings
from gradio_ui.tabs.about import KEPT_MINUTES, about_tab
from gradio_ui.tabs.batch import batch_tab
from gradio_ui.tabs.image import STATIC, image_tab
from gradio_ui.tabs.video import video_tab
from gradio_ui.tabs.webcam import webcam_tab
from gradio_ui.views import html as charts
from gradio_ui.webcam.session_guard import SessionGuard

TITLE = "Facial expression recognition"
PURPOSE = "Reads the apparent expression of every face, in a picture, a video or live. Nothing is stored."


def build_demo(models: Models, settings: Settings) -> gr.Blocks:
    """Builds the page; nothing is loaded or served yet.

    Args:
        models: what a visitor may choose from; the default one is loaded.
        settings: what the app was started with.
    """
    sweep = KEPT_MINUTES * 60 // 2  # a file is gone after its age plus at most one round of the sweep
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(sweep, sweep)) as demo:
        model = gr.State(models.default)  # of this session, set once that model is loaded
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                gr.HTML(
                    f"<header><h1>{TITLE}</h1><p>{PURPOSE}</p></header>", elem_id="header", apply_default_css=False
                )
            with gr.Column(min_width=240, visible=len(models.names) > 1):
                choice = gr.Dropdown(models.names, value=models.default, label="Model", elem_id="model")
        notice = gr.HTML(model_notice(models, models.default), apply_default_css=False, elem_id="model-notice")
        with gr.Tabs(overflow_behavior="wrap"):  # on a phone the menu would hide most of them
            with gr.Tab("Image", id="image"):
                image_tab(models, model, settings)
            with gr.Tab("Batch", id="batch"):
                batch_tab(models, model, settings)
            with gr.Tab("Webcam", id="webcam"):
                webcam = webcam_tab(models)
            with gr.Tab("Video", id="video"):
                video_tab(models, model, settings)
            with gr.Tab("About", id="about"):
                about_tab(models, model)

        def choose(wanted: str, served: str) -> Iterator[dict[Any, Any]]:
            if not models.is_loaded(wanted):
                waiting = charts.message("info", f"Loading {wanted} …", f"Until it is here, {served} answers.")
                yield {choice: gr.Dropdown(interactive=False), notice: waiting}
            try:
                models[wanted]
            except RecognitionError as error:
                refused = charts.message("error", f"{wanted} cannot be served", f"{error} {served} stays in use.")
                yield {choice: gr.Dropdown(value=served, interactive=True), notice: refused}
            else:
                yield {
                    choice: gr.Dropdown(interactive=True),
                    notice: model_notice(models, wanted),
                    model: wanted,
                    # All props, as Gradio would drop the others where the tab was never opened.
                    webcam: gr.HTML(**(webcam.props | {"model": wanted})),
                }

        choice.input(
            choose,
            [choice, model],
            [choice, notice, model, webcam],
            show_progress="hidden",
            trigger_mode="once",
            concurrency_limit=8,  # nobody waits for somebody else's download
            api_visibility="private",
        )
    # Two pictures at a time keep two cores busy; a longer queue than 32 is better told than waited for.
    return demo.queue(max_size=32, default_concurrency_limit=2)


def model_notice(models: Models, name: str) -> str:
    """What there is to say about where a model came from; mostly nothing."""
    notice = models[name].source.notice
    return charts.message("warning", "The Hub does not answer", notice) if notice else ""


def launch_options(settings: Settings) -> dict[str, Any]:
    """The arguments of `Blocks.launch`, where Gradio 6 wants look, limits and privacy."""
    system = ("system-ui", "-apple-system", "Roboto", "sans-serif")  # no font is fetched from anywhere
    return {
        "server_name": settings.host,
        "server_port": settings.port,
        "max_file_size": settings.max_file_size,
        "theme": gr.themes.Default(primary_hue="indigo", neutral_hue="slate", radius_size="lg", font=system).set(
            body_text_color_subdued="*neutral_500",  # Gradio's neutral_400 is too faint on white (WCAG AA)
            body_text_color_subdued_dark="*neutral_400",
            checkbox_border_color="*neutral_400",
            checkbox_border_color_dark="*neutral_400",
        ),
        "css_paths": [STATIC / "app.css"],
        "footer_links": ["api", "gradio"],
        "mcp_server": True,  # the documented endpoints are tools for agents, too
        "app_kwargs": {"lifespan": agents_lifespan, "middleware": [Middleware(SessionGuard)]},
        "run_history": False,
        "enable_monitoring": False,
        "show_error": True,
    }
