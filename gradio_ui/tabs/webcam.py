"""The webcam tab. The browser keeps the video, draws over it and, where it can, also recognizes the faces.

Where it cannot, or the visitor wants it so, the server gets one small JPEG at a time. A frame is sent only when the
server has had the time for the one before, so a slow server lowers the rate and never the freshness. Frames stay in
memory: they come as base64 text in JSON, since Gradio would spool a file to disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import anyio
import anyio.to_thread
import gradio as gr
from gradio.context import Context

from gradio_ui.language import preferred, speaking, text
from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.video_analysis import Draw
from gradio_ui.server.metrics import FRAME, Metrics
from gradio_ui.server.sessions import RequestError, parse_session
from gradio_ui.views.device import device_props
from gradio_ui.views.face_labels import face_drawer
from gradio_ui.views.static import script
from gradio_ui.webcam.frames import LiveFrame, PartRequest
from gradio_ui.webcam.recording import BusyError, Recordings
from gradio_ui.webcam.viewers import MAX_VIEWERS, Viewer, Viewers, lost

MAX_WAITING = 2 * MAX_VIEWERS  # frames that wait for their turn; a page sends two at a time


class LiveHandlers:
    """The functions that the page calls.

    Args:
        models: score the frames; called from several threads at once.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._recordings = Recordings()
        self.viewers = Viewers(self._new_viewer)
        self._drawer: Callable[[str], Draw] = cache(lambda model: face_drawer(models[model].labels))
        # First come, first served, and no more at once than there are cores: all viewers wait equally long.
        self._turns = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def recognize_frame(self, data: Any, session: Any) -> dict[str, Any]:
        """Recognize the faces of one frame.

        Args:
            data: JSON of a `LiveFrame`, and the name of the page's "model".
            session: id of the browser session.

        Returns:
            The answer of `Viewer.see` and "server_ms", the milliseconds from the frame's arrival; or an "error".
        """
        arrived = time.perf_counter()
        try:
            viewer_of, frame = self._viewer_of(data, session), LiveFrame.parse(data)
            if self._turns.statistics().tasks_waiting >= MAX_WAITING:
                raise BusyError("The server is busy: too many frames are waiting. Trying again…")
            seen = await anyio.to_thread.run_sync(
                lambda: self.viewers.join(*viewer_of).see(frame), limiter=self._turns
            )
        except RecognitionError as error:
            return {"error": str(error)}
        return seen | {"server_ms": (time.perf_counter() - arrived) * 1000}

    async def take_recording(self, data: Any, session: Any) -> dict[str, Any]:
        """Hand over the next part of a recording's file.

        Args:
            data: JSON of a `PartRequest`, and the name of the page's "model".
            session: id of the browser session.

        Returns:
            The answer of `Viewer.take`, or an "error".
        """
        try:
            part, viewer = PartRequest.parse(data), self.viewers.find(*self._viewer_of(data, session))
            if viewer is None:
                raise lost()
            return await anyio.to_thread.run_sync(viewer.take, part)
        except RecognitionError as error:
            return {"error": str(error)}

    def _viewer_of(self, data: Any, session: Any) -> tuple[str, str]:
        """Check the id of the session and the name of the model."""
        model = data.get("model", self._models.default) if isinstance(data, dict) else self._models.default
        if model not in self._models.names:
            raise RequestError(f"model: expected one of {', '.join(self._models.names)}; reload the page")
        return parse_session(session), model

    def _new_viewer(self, model: str) -> Viewer:
        return Viewer(self._models[model], self._drawer(model), self._recordings)


async def session_of(request: gr.Request) -> Any:
    """Read Gradio's session, which comes beside the arguments of a component's function but is not handed on."""
    return (await request.json()).get("session_hash")


def webcam_tab(models: Models, metrics: Metrics, unclear_below: float) -> gr.HTML:
    """Add the tab's component to the surrounding Blocks.

    Args:
        models: score the frames; called from several threads at once.
        metrics: count the results and the viewers.
        unclear_below: where the threshold of doubt begins, 0-1.

    Returns:
        The component. Its prop `model` is the name of the model that its session uses.
    """
    handlers = LiveHandlers(models)
    metrics.viewers.set_function(lambda: float(len(handlers.viewers)))

    async def recognize_frame(data: Any, request: gr.Request) -> dict[str, Any]:
        with metrics.attempt(FRAME) as attempt:
            with speaking(preferred(request.headers.get("accept-language", ""))):  # of what is recorded
                answer = await handlers.recognize_frame(data, await session_of(request))
            attempt.outcome = "refused" if "error" in answer else "result"
        return answer

    async def take_recording(data: Any, request: gr.Request) -> dict[str, Any]:
        return await handlers.take_recording(data, await session_of(request))

    def forget(request: gr.Request) -> None:
        handlers.viewers.drop(str(request.session_hash))

    webcam = gr.HTML(
        text("webcam.html"),
        js_on_load=script("webcam_on_load.js"),
        server_functions=[recognize_frame, take_recording],
        apply_default_css=False,
        elem_id="webcam",
        **device_props(models, unclear_below),
    )
    if Context.root_block is not None:
        Context.root_block.unload(forget)
    return webcam
