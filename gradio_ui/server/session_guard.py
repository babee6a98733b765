"""ASGI middleware that checks the size and the session id of what is posted, before Gradio reads it.

Gradio reads a body of any size whole, and keeps a state for every session id it is sent, of any length.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gradio_ui.server.sessions import RequestError, parse_session

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/gradio_api"
UPLOAD = f"{API}/upload"  # goes to the disk as it comes, up to the limit of the settings
COMPONENT = f"{API}/component_server"  # functions that a component calls by itself: here the webcam's
HEARTBEAT = f"{API}/heartbeat/"  # the id follows
# Bytes of any other request. The page sends a few kB, since files are uploaded; agents send them as data URLs, and the
# largest photos of a phone have 12 MB. Parsed, JSON may take some ten times as much memory.
MAX_BODY = 16_000_000


class SessionGuard:
    """Refuse what is too large or has no proper session id; pass on all other requests unchanged.

    The functions of components need an id; elsewhere it may be left out.

    Args:
        app: what answers the requests.
        max_component: largest body of a request to the function of a component, in bytes.
    """

    def __init__(self, app: ASGIApp, max_component: int) -> None:
        self._app, self._max_component = app, max_component

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", "")).rstrip("/")
        posted = scope["type"] == "http" and scope["method"] not in ("GET", "HEAD", "OPTIONS") and path != UPLOAD
        component = path == COMPONENT
        try:
            if path.startswith(HEARTBEAT):
                parse_session(path.removeprefix(HEARTBEAT))
            if posted:
                most = self._max_component if component else MAX_BODY
                body = await _read(receive, most)
                if body is None:
                    return  # the client has left
                if len(body) > most:
                    sentence = f"Expected a request of up to {most // 1000} kB, got a larger one."
                    await _refuse(send, 413, sentence if component else f"{sentence} Upload files first.")
                    return
                _check(body, component)
                receive = _replay(body, receive)
        except RequestError as error:
            await _refuse(send, 400, str(error))
        else:
            await self._app(scope, receive, send)


def _check(body: bytes, component: bool) -> None:
    """Check the session id within a body; one that is no JSON object has none.

    Raises:
        RequestError: it is wrong, or is missing where a component's function needs it.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        if component:
            raise RequestError("Expected a request in JSON; reload the page.") from None
        return  # Gradio refuses it, too, or wants none
    session = request.get("session_hash") if isinstance(request, dict) else None
    if component or session is not None:
        parse_session(session)


async def _read(receive: Receive, most: int) -> bytes | None:
    """Read a body until it is complete or longer than `most` bytes."""
    body, more = bytearray(), True
    while more and len(body) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


async def _refuse(send: Send, status: int, sentence: str) -> None:
    # The functions of components put it under "error", Gradio's own endpoints under "detail".
    body = json.dumps({"error": sentence, "detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
