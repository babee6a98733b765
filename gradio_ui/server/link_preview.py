"""What a link to the page shows elsewhere, and the icon of its tab: our own, from no other host."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

IMAGES = {"/preview.jpg": "preview.jpg", "/favicon.ico": "icon.png"}  # path -> file
_FOREIGN = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*', re.I)


class LinkPreview:
    """ASGI middleware: title, description and picture of the page for those who are shown a link to it.

    Args:
        app: What answers the requests.
        title: Of the page.
        description: One or two sentences.
        folder: Holds the files of `IMAGES`.
    """

    def __init__(self, app: ASGIApp, title: str, description: str, folder: Path) -> None:
        self._app, self._folder = app, folder
        self._texts = {"og:title": title, "og:description": description, "og:type": "website"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if reads and path in IMAGES:
            await FileResponse(self._folder / IMAGES[path])(scope, receive, send)
        elif reads and scope["method"] == "GET" and path in ("", "/"):
            await self._app(scope, receive, _Rewriter(send, self._head(scope)))
        else:
            await self._app(scope, receive, send)

    def _head(self, scope: Scope) -> str:
        """Write the elements; addresses are absolute, as those who read them require."""
        request = Request(scope)
        scheme = request.headers.get("x-forwarded-proto", request.url.scheme).split(",")[0].strip()
        page = request.base_url.replace(scheme=scheme if scheme in ("http", "https") else request.url.scheme)
        told = self._texts | {"og:url": f"{page}", "og:image": f"{page}preview.jpg"}
        told["og:image:alt"] = "A portrait whose face has a box and the label happy"
        properties = "".join(f'<meta property="{name}" content="{escape(text)}" />' for name, text in told.items())
        description = escape(self._texts["og:description"])
        return (
            f'{properties}<meta name="twitter:card" content="summary_large_image" />'
            f'<meta name="description" content="{description}" /><link rel="icon" href="favicon.ico" />'
        )


class _Rewriter:
    """Sends a page on with other link elements: `head` instead of those that Gradio wrote.

    The start of the answer waits for its body, as the length changes.
    """

    def __init__(self, send: Send, head: str) -> None:
        self._send, self._head = send, head
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        headers = [(name.lower(), value) for name, value in self._start["headers"]]
        named = dict(headers)
        if named.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in named:
            page = _FOREIGN.sub("", self._body.decode())
            self._body = page.replace("</head>", f"{self._head}</head>", 1).encode()
            headers = [header for header in headers if header[0] != b"content-length"]
            headers.append((b"content-length", str(len(self._body)).encode()))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": self._body})
