"""The webcam tab. The browser keeps the video and draws over it; the server sees one small JPEG at a time.

The next frame is sent only when the last answer is in, so a slow server lowers the rate and never the freshness.
Frames stay in memory: they come as base64 text in JSON, since Gradio would spool an uploaded file to disk.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any

import gradio as gr

from gradio_ui.annotate import COLORS, OTHER_COLOR, text_color
from gradio_ui.image_tab import STATIC
from gradio_ui.recognition.errors import ImageError, RecognitionError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.recognizer import EmotionRecognizer


def webcam_tab(recognizer: EmotionRecognizer) -> None:
    """Adds the tab's component to the surrounding Blocks.

    Args:
        recognizer: frame -> Recognition; called from several threads at once.
    """

    def recognize_frame(frame: str) -> dict[str, Any]:
        """One frame as a JPEG data URL -> its faces, boxes in pixels of that frame, and the milliseconds it took."""
        start = time.perf_counter()
        try:
            recognition = recognizer(read_image(decode_data_url(frame)))
        except RecognitionError as error:
            return {"error": str(error)}
        return {
            "faces": recognition.to_dicts(),
            "labels": list(recognition.labels),
            "server_ms": (time.perf_counter() - start) * 1000,
        }

    gr.HTML(
        html_template=(STATIC / "webcam.html").read_text(encoding="utf-8"),
        js_on_load="\n".join((STATIC / name).read_text(encoding="utf-8") for name in ("timeline.js", "webcam.js")),
        server_functions=[recognize_frame],
        apply_default_css=False,
        elem_id="webcam",
        colors={label: [color, text_color(color)] for label, color in COLORS.items()},
        other_color=[OTHER_COLOR, text_color(OTHER_COLOR)],
    )


def decode_data_url(url: str) -> bytes:
    """The bytes of a base64 data URL.

    Raises:
        ImageError: It is none.
    """
    try:
        return base64.b64decode(url.partition(";base64,")[2], validate=True)
    except (binascii.Error, AttributeError) as error:
        raise ImageError("expected a frame as a base64 data URL, got something else; reload the page") from error
