"""Whether this process should get visitors: /health for a proxy or a container, and the end that leaves work its time.

A process is ready once its model has found the face in a portrait, and no longer once it was told to end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse

from gradio_ui.recognition.errors import ModelError, RecognitionError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from gradio_ui.model_registry import Models

RETRY_SECONDS = 5.0  # between two recognitions, until one succeeds
QUIET_SECONDS = 1.0  # without work, after which a process is drained: results are fetched at once
POLL_SECONDS = 0.05
# Not work: the probes themselves, and the streams that stay open for as long as a page or an agent does.
NOT_WORK = ("/health", "/metrics", "/gradio_api/heartbeat/", "/gradio_api/mcp")

logger = logging.getLogger(__name__)


class Terminated(KeyboardInterrupt):
    """Raised by SIGTERM: the process is to end, after the work under way."""


class State(StrEnum):
    """The phases of a serving process, in their order."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Health:
    """The state of a serving process. Requests are counted in the server's thread, and read in any.

    Args:
        models: Their default one is probed.
        drain_seconds: Longest time for the work under way, once the process is told to end; 0 for none.

    Attributes:
        state: The phase that the process is in.
        running: How many requests are being answered.
    """

    def __init__(self, models: Models, drain_seconds: float) -> None:
        self.state = State.STARTING
        self.running = 0
        self._models = models
        self._drain_seconds = drain_seconds
        self._last_work = time.monotonic()
        self._stopped = Event()

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Probe the model in a thread of its own until it has answered once, or until the context ends."""
        self._stopped.clear()
        thread = Thread(target=self._probe_on, name="health probe", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a request as work for as long as the context lasts."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._last_work = time.monotonic()

    def drain(self, working: Callable[[], bool] = lambda: False) -> None:
        """Wait until there has been no work for `QUIET_SECONDS`, or the time for that is over.

        Args:
            working: () -> whether there is work besides the requests, such as events that nobody listens to yet.
        """
        self.state = State.DRAINING
        self._stopped.set()
        start = time.monotonic()
        while (now := time.monotonic()) < start + self._drain_seconds:
            if self.running or working():
                self._last_work = now
            elif now - max(start, self._last_work) > QUIET_SECONDS:
                return
            time.sleep(POLL_SECONDS)

    def _probe_on(self) -> None:
        while not self._stopped.is_set():
            try:
                self._probe()
            except RecognitionError as error:
                logger.error("The model does not answer yet: %s", error)
            except Exception as error:  # of a runtime; whatever it is, the process is not ready
                logger.error("The model does not answer yet (%s).", type(error).__name__)
            else:
                if self.state is State.STARTING:
                    self.state = State.READY
                return
            self._stopped.wait(RETRY_SECONDS)

    def _probe(self) -> None:
        """Recognize the face of a portrait with the default model.

        Raises:
            ModelError: There is no face in the result, or its probabilities are no numbers.
        """
        from skimage.data import astronaut

        found = self._models[self._models.default](astronaut())
        if not len(found.faces) or not np.isfinite(found.probabilities).all():
            raise ModelError(f"expected a face with its probabilities, got {len(found.faces)} faces; check the model.")


class WorkCount:
    """ASGI middleware that counts the requests being answered, those of `NOT_WORK` aside.

    Args:
        app: What answers the requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path.startswith(NOT_WORK):
            await self._app(scope, receive, send)
            return
        with health_of(scope["app"]).working():
            await self._app(scope, receive, send)


def health_of(app: Any) -> Health:
    """Give the health of the page that Gradio's FastAPI app serves."""
    health: Health = app.get_blocks().health
    return health


async def report_health(request: Request) -> JSONResponse:
    """Answer /health: 200 where visitors may be sent here, otherwise 503."""
    state = health_of(request.app).state
    ready = state is State.READY
    return JSONResponse({"ready": ready, "state": state}, 200 if ready else 503, {"Cache-Control": "no-store"})
