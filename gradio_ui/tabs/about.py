"""The about tab: what is served, what happens to pictures, what the labels mean, and the model card."""

from __future__ import annotations

import mimetypes
import re
from functools import partial
from pathlib import Path

import gradio as gr

from gradio_ui.model_registry import Models
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.server.temp_files import KEPT_MINUTES
from gradio_ui.views.html import data_url
from gradio_ui.views.static import STATIC

DETECTORS = {
    "yunet": "YuNet, a small neural network (OpenCV)",
    "whole": "none; every picture is taken as one face",
}

FACTS = """
## What is served

- **Checkpoint:** `{model}`
- **Revision:** {revision}
- **Expressions:** {labels}
- **Face detector:** {detector}

## What happens to your pictures

With the webcam on this device, the default where a browser can, no frame is sent: the browser itself recognizes the
faces. The badge on that tab says which it is. With the webcam on the server, frames are sent there, processed in
memory and never stored. Pictures and videos of the other tabs are processed on this server; nothing is passed on or
used for training. The pictures and videos that you upload, and the files made from them, are kept in a temporary
folder so that your browser can show them, and are deleted after at most {minutes} minutes.

## What the labels can and cannot say

{limits}
"""


def about_tab(models: Models, model: gr.State) -> None:
    """Add the tab's text to the surrounding Blocks.

    Args:
        models: What can be served; the default one is loaded.
        model: Name of the one that this session uses; the text is about that one.
    """
    served, card = texts(models, models.default)
    outputs = [
        gr.Markdown(served, elem_id="served", elem_classes="fer-prose"),
        gr.Markdown(card, elem_id="card", elem_classes="fer-prose"),
    ]
    model.change(partial(texts, models), model, outputs, show_progress="hidden", api_visibility="private")


def texts(models: Models, name: str) -> tuple[str, str]:
    """Write what is served under a name, and the model's card, as Markdown."""
    card = model_card(Path(models[name].source.folder))
    return facts(models[name]), f"## The model card\n\n{card}" if card else ""


def facts(recognizer: EmotionRecognizer) -> str:
    """Describe what is served, as Markdown: id, revision, labels, detector, and what they can and cannot say."""
    source, detector = recognizer.source, recognizer.detector
    revision = f"`{source.revision}`" if source.revision else "none; it is a folder beside the app"
    if source.origin == "cache":
        revision += " (from the cache, since the Hub could not be reached)"
    return FACTS.format(
        model=source.model_id,
        revision=revision,
        labels=", ".join(recognizer.labels),
        detector=DETECTORS.get(detector.name, detector.name),
        minutes=KEPT_MINUTES,
        limits=(STATIC / "limits.html").read_text(encoding="utf-8"),
    )


def model_card(folder: Path) -> str:
    """Read the card of a model folder as Markdown that stands alone: no front matter, images inlined; or ""."""
    path = folder / "README.md"
    if not path.is_file():
        return ""
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)

    def inline(match: re.Match[str]) -> str:
        image = (folder / match["path"]).resolve()
        if not image.is_relative_to(folder.resolve()) or not image.is_file():
            return match[0]
        mime = mimetypes.guess_type(image.name)[0] or "image/png"
        return f"![{match['alt']}]({data_url(mime, image.read_bytes())})"

    return re.sub(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)\s:]+)\)", inline, text)
