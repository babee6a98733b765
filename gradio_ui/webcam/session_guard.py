"""ASGI middleware that checks the size and the session id of what reaches the webcam's functions.

Gradio keeps a state for every session id it is sent, of any length, before it calls a function of a component.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gradio_ui.webcam.frames import MAX_BYTES, RequestError, parse_session

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/component_server"  # of functions that a component calls by itself
MAX_BODY = MAX_BYTES * 4 // 3 + 10_000  # bytes: a frame as base64, and the rest of the JSON


class SessionGuard:
    """Refuse requests whose body is too large or no JSON with a proper session id; pass on all others unchanged.

    Args:
        app: what answers the requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or not scope["path"].rstrip("/").endswith(PATH):
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # the client has left
        if len(body) > MAX_BODY:
            await _refuse(send, 413, f"Expected a request of up to {MAX_BODY // 1000} kB, got a larger one.")
            return
        try:
            request = json.loads(body)
            parse_session(request.get("session_hash") if isinstance(request, dict) else None)
        except RequestError as error:
            await _refuse(send, 400, str(error))
        except (ValueError, RecursionError):
            await _refuse(send, 400, "Expected a request in JSON; reload the page.")
        else:
            await self._app(scope, _replay(body, receive), send)


async def _read(receive: Receive) -> bytes | None:
    """Read a body until it is complete or longer than `MAX_BODY`."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
