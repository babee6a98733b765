"""What passes between the network and the handlers: checked requests in; safe headers and plain sentences out.

Every event, endpoint and tool of Gradio goes through `GuardedBlocks`, every request of HTTP through `Guard`.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import time
import traceback
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradio_ui.language import translated
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.server.health import Health, Terminated
from gradio_ui.server.metrics import KINDS, Metrics
from gradio_ui.server.uploads import UploadError, admit

FAILED = "Something went wrong on the server. Try again; if it happens again, please report it."
MISFIT = "Expected values of the kinds that the page sends, got another. Reload the page, or see “Use via API” there."
UNFIT = "Expected a request as “Use via API” on the page shows it, with all required values."
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self' https://huggingface.co https://*.huggingface.co "
    "https://*.hf.space",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
}
# Gradio's endpoints that keep what a visitor sends, or fetch what a visitor names; the page needs none of them.
CLOSED = re.compile(
    r"/gradio_api/(deep_link|process_recording|runs|run-history|vibe|undo-vibe|proxy=|file[=/]\s*https?:)", re.I
)
FILE_COMPONENTS = (gr.File, gr.Image)

logger = logging.getLogger(__name__)


class GuardedBlocks(gr.Blocks):
    """Blocks whose handlers only get files that were uploaded, and whose errors are sentences.

    Args:
        health: Of the process that serves them.
        **options: Of `gr.Blocks`.

    Attributes:
        health: As given.
        metrics: What the handlers did so far.
    """

    def __init__(self, health: Health, **options: Any) -> None:
        self.health = health
        self.metrics = Metrics(health, waiting=lambda: len(self._queue))
        super().__init__(**options)

    def block_thread(self) -> None:
        """Wait until a signal ends the app. On SIGTERM the work under way is finished first, see `Health.drain`."""
        try:
            while self.is_running:
                time.sleep(0.1)
        except Terminated:
            self.health.drain(lambda: len(self._queue) > 0 or any(self._queue.active_jobs))
        except KeyboardInterrupt:
            pass
        if self.server is not None:
            self.server.config.timeout_graceful_shutdown = 1  # second, for streams that do not end by themselves
        self.close(verbose=False)

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> list[Any]:
        """Check the number, the files and the kinds of a handler's inputs before Gradio touches them."""
        expected = block_fn.inputs
        if len(inputs) < len(expected):
            names = ", ".join(str(getattr(block, "label", None) or block.get_block_name()) for block in expected)
            raise refusal(f"Expected {len(expected)} values ({names}), got {len(inputs)}.")
        pairs = zip(expected, inputs, strict=False)  # Gradio ignores what is there too much
        admitted = [value if block.stateful else _admit_for(block, value) for block, value in pairs]
        try:
            return await super().preprocess_data(block_fn, admitted, state, explicit_call)
        except gr.Error:
            raise
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
        ) as error:  # of a component, on another kind of value
            _log(error)
            raise refusal(MISFIT) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a handler; whatever it raises becomes one sentence for the visitor, and nothing of theirs is logged."""
        function = kwargs["block_fn"] if "block_fn" in kwargs else args[0]
        try:
            with self.metrics.attempt(KINDS.get(str(function.name)), self._asked(kwargs.get("event_id"))) as attempt:
                output = await super().process_api(*args, **kwargs)
                if output.get("is_generating"):
                    attempt.outcome = "partial"
            return output
        except gr.Error as error:
            error.print_exception = False
            raise
        except RecognitionError as error:
            raise refusal(str(error)) from None
        except Exception as error:  # the boundary of the app: a fault of ours is logged, and hidden from the visitor
            _log(error)
            raise refusal(FAILED) from None

    def _asked(self, event_id: str | None) -> float | None:
        """Give the time, as of `time.monotonic`, at which an event came into the queue; None where it did not."""
        event = self._queue.event_ids_to_events.get(event_id) if event_id else None
        return None if event is None else event.enqueue_time


def _admit_for(block: Any, value: Any) -> Any:
    several = isinstance(block, gr.File) and block.file_count != "single"
    if isinstance(block, FILE_COMPONENTS) and value is not None:
        files = value if several else [value]
        if not isinstance(files, list) or not all(isinstance(file, dict) and "path" in file for file in files):
            raise UploadError
    return admit(value)


def refusal(sentence: str) -> gr.Error:
    """Make the error that tells a visitor one sentence and leaves no trace in the log."""
    return gr.Error(translated(sentence), print_exception=False)


class Guard:
    """ASGI middleware: security headers, closed endpoints, and a sentence where Gradio would answer a bare 500.

    Args:
        app: What answers the requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if CLOSED.match(path):
            await _answer(send_with_headers, path, 404, "This app does not offer that.")
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # nobody is left to be answered
        except Exception as error:  # the boundary of the server: logged without what the visitor sent
            _log(error)
            if not started:
                status, sentence = _explain(error)
                await _answer(send_with_headers, path, status, sentence)


async def misfit(_: Request, error: Exception) -> JSONResponse:
    """Answer a request whose body is not what the endpoint takes; FastAPI itself would repeat it field by field."""
    return JSONResponse({"detail": UNFIT}, 422)


def _explain(error: Exception) -> tuple[int, str]:
    """Give the HTTP status and the sentence for an exception that Gradio lets through."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return 507, "The server's disk is full. Try again in half an hour, when old files are deleted."
        return 500, FAILED
    if isinstance(error, (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)):
        return 400, UNFIT
    return 500, FAILED


async def _answer(send: Send, path: str, status: int, sentence: str) -> None:
    # The page shows the answer to an upload as it is.
    plain = path.rstrip("/").endswith("/upload")
    body = (sentence if plain else json.dumps({"detail": sentence})).encode()
    kind = b"text/plain; charset=utf-8" if plain else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _log(error: BaseException) -> None:
    """Log where an exception comes from, without its message, which may repeat what a visitor sent."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-3:])
    places = (f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}" for frame in frames)
    logger.error("%s at %s", type(error).__name__, " < ".join(places))
