"""Composes the page out of its tabs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gradio_ui import charts
from gradio_ui.about_tab import KEPT_MINUTES, about_tab
from gradio_ui.image_tab import STATIC, image_tab
from gradio_ui.settings import Settings
from gradio_ui.video_tab import video_tab
from gradio_ui.webcam_tab import webcam_tab

TITLE = "Facial expression recognition"
PURPOSE = "Reads the apparent expression of every face, in a picture, a video or live. Nothing is stored."


def build_demo(recognizer: Any, settings: Settings) -> gr.Blocks:
    """Builds the page; nothing is loaded or served yet.

    Args:
        recognizer: an `EmotionRecognizer`, or anything with its call, `explain`, `labels`, `source` and `detector`.
        settings: what the app was started with.
    """
    sweep = KEPT_MINUTES * 60 // 2  # a file is gone after its age plus at most one round of the sweep
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(sweep, sweep)) as demo:
        gr.HTML(f"<header><h1>{TITLE}</h1><p>{PURPOSE}</p></header>", elem_id="header", apply_default_css=False)
        if notice := recognizer.source.notice:
            gr.HTML(charts.message("warning", "Another model is served", notice), apply_default_css=False)
        if notice := recognizer.detector.notice:
            gr.HTML(charts.message("warning", "Simple face detector in use", notice), apply_default_css=False)
        with gr.Tab("Image", id="image"):
            image_tab(recognizer, settings)
        with gr.Tab("Webcam", id="webcam"):
            webcam_tab(recognizer)
        with gr.Tab("Video", id="video"):
            video_tab(recognizer, settings)
        with gr.Tab("About", id="about"):
            about_tab(recognizer)
    # Two pictures at a time keep two cores busy; a longer queue than 32 is better told than waited for.
    return demo.queue(max_size=32, default_concurrency_limit=2)


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
        "run_history": False,
        "enable_monitoring": False,
        "show_error": True,
    }
