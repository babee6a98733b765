"""The about tab: what is served, what happens to pictures, what the labels mean, and the model card."""

from __future__ import annotations

import mimetypes
import re
from functools import partial
from pathlib import Path

import gradio as gr

from gradio_ui.language import filled, label_name, t, text
from gradio_ui.model_registry import Models
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.server.temp_files import KEPT_MINUTES
from gradio_ui.views.html import data_url
from gradio_ui.views.static import STATIC

TITLE = "The model card"  # which is in English


def about_tab(models: Models, model: gr.State) -> None:
    """Add the tab's text to the surrounding Blocks.

    Args:
        models: What can be served; the default one is loaded.
        model: Name of the one that this session uses; the text is about that one.
    """
    outputs = [
        gr.Markdown(text("about.facts"), elem_id="served", elem_classes="fer-prose"),
        gr.Markdown(texts(models, models.default)[1], elem_id="card", elem_classes="fer-prose"),
    ]
    model.change(partial(texts, models), model, outputs, show_progress="hidden", api_visibility="private")


def texts(models: Models, name: str) -> tuple[str, str]:
    """Write what is served under a name, and the model's card, as Markdown."""
    card = model_card(Path(models[name].source.folder))
    return facts(models[name]), f"## {TITLE}\n\n{card}" if card else ""


def facts(recognizer: EmotionRecognizer) -> str:
    """Describe what is served, as Markdown: id, revision, labels, detector, and what they can and cannot say."""
    source, detector = recognizer.source, recognizer.detector.name
    revision = f"`{source.revision}`" if source.revision else t("about.no_revision")
    if source.origin == "cache":
        revision += f" {t('about.cached')}"
    rows = (
        ("checkpoint", f"`{source.model_id}`"),
        ("revision", revision),
        ("labels", ", ".join(map(label_name, recognizer.labels))),
        ("detector", t(f"about.{detector}") if detector in ("yunet", "whole") else detector),
    )
    served = "\n".join(f"- **{t(f'about.{key}')}** {value}" for key, value in rows)
    return (
        f"## {t('about.served')}\n\n{served}\n\n"
        f"## {t('about.privacy')}\n\n{t('about.privacy_text', minutes=KEPT_MINUTES)}\n\n"
        f"## {t('about.limits')}\n\n{filled((STATIC / 'limits.html').read_text(encoding='utf-8'))}"
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
