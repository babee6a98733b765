"""What a picture comes in by: the drop area, the switch for cut-out faces, the threshold and the examples."""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from gradio_ui.language import text
from gradio_ui.views import html as charts
from gradio_ui.views.examples import example_images


class ImageInputs(NamedTuple):
    """The components."""

    image: gr.Image
    whole: gr.Checkbox
    threshold: gr.Slider
    examples: gr.Dataset


def image_inputs(unclear_below: float) -> ImageInputs:
    """Add what a picture comes in by to the surrounding Blocks; the threshold begins at `unclear_below`."""
    image = gr.Image(
        label=text("image.picture"),
        type="filepath",
        image_mode=None,
        format="png",  # of the examples; uploads stay as they are
        sources=["upload", "clipboard", "webcam"],
        height=340,
        webcam_options=gr.WebcamOptions(mirror=False),  # the picture; app.css mirrors what one sees before
        buttons=[],
        elem_id="picture",
    )
    gr.HTML(
        '<p class="fer-message fer-error" role="alert" hidden></p>', elem_id="camera-refused", apply_default_css=False
    )
    whole = gr.Checkbox(
        label=text("image.whole"),
        info=text("image.whole_info"),
        elem_id="whole-picture",
    )
    threshold = gr.Slider(**charts.threshold_slider(unclear_below), elem_id="threshold")
    # Not gr.Examples: it names files of the server in /config, and keeps them among the visitors' files.
    examples = gr.Dataset(
        label=text("image.examples"),
        components=[gr.HTML(visible=False)],
        samples=[[charts.thumbnail(frame, f"image.example.{name}")] for name, frame in example_images().items()],
        type="index",
        elem_id="examples",
    )
    return ImageInputs(image, whole, threshold, examples)
