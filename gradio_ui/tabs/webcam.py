"""The webcam tab. The browser keeps the video and draws over it; the server sees one small JPEG at a time.

A frame is sent only when the server has had the time for the one before, so a slow server lowers the rate and never
the freshness. Frames stay in memory: they come as base64 text in JSON, since Gradio would spool a file to disk.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import anyio
import anyio.to_thread
import gradio as gr
from gradio.context import Context

from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.palette import COLORS, OTHER_COLOR, text_color
from gradio_ui.views.face_labels import face_drawer
from gradio_ui.views.static import STATIC
from gradio_ui.webcam.viewers import LiveFrame, Viewer, Viewers

SCRIPTS = ("timeline.js", "recorder.js", "view.js", "webcam.js")  # together the body of one function


def webcam_tab(models: Models) -> gr.HTML:
    """Adds the tab's component to the surrounding Blocks.

    Args:
        models: score the frames; called from several threads at once.

    Returns:
        The component. Its prop `model` is the name of the model that its session uses.
    """

    @cache
    def viewers_with(model: str) -> Viewers:  # a page that changes to another model starts anew there
        return Viewers(models[model], face_drawer(models[model].labels))

    # First come, first served, and no more at once than there are cores: with many viewers each waits equally long.
    turns = anyio.CapacityLimiter(os.cpu_count() or 1)

    def viewer_of(session: str, data: dict[str, Any]) -> Viewer:
        return viewers_with(str(data.get("model", models.default)))[session]

    def see(session: str, data: dict[str, Any]) -> dict[str, Any]:
        frame = LiveFrame.parse(data)
        return viewer_of(session, data).see(frame)

    async def recognize_frame(data: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        """One `LiveFrame` -> what `Viewer.see` gives, and the milliseconds from its arrival to this answer."""
        arrived = time.perf_counter()
        try:
            seen = await anyio.to_thread.run_sync(see, await session_of(request), data, limiter=turns)
        except RecognitionError as error:
            return {"error": str(error)}
        return seen | {"server_ms": (time.perf_counter() - arrived) * 1000}

    async def take_recording(data: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        """The next part of a recording's file; see `Viewer.take`."""
        try:
            number, have, finish = int(data["number"]), int(data["have"]), bool(data["finish"])
        except (KeyError, TypeError, ValueError):
            return {"error": "expected number, have and finish, got something else; reload the page"}
        session = await session_of(request)
        try:
            return await anyio.to_thread.run_sync(lambda: viewer_of(session, data).take(number, have, finish))
        except RecognitionError as error:
            return {"error": str(error)}

    webcam = gr.HTML(
        html_template=(STATIC / "webcam.html").read_text(encoding="utf-8"),
        js_on_load="\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS),
        server_functions=[recognize_frame, take_recording],
        apply_default_css=False,
        elem_id="webcam",
        colors={label: [color, text_color(color)] for label, color in COLORS.items()},
        other_color=[OTHER_COLOR, text_color(OTHER_COLOR)],
        model=models.default,
    )

    def forget(request: gr.Request) -> None:
        for name in filter(models.is_loaded, models.names):
            viewers_with(name).drop(str(request.session_hash))

    if Context.root_block is not None:
        Context.root_block.unload(forget)
    return webcam


async def session_of(request: gr.Request) -> str:
    """Gradio's session, which it sends beside the arguments of a server function but does not hand on."""
    return str((await request.json())["session_hash"])
