"""A plain web server with the on-device engine, a model folder, YuNet and onnxruntime-web, as a static host is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from gradio_ui.recognition.detector import find_yunet

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "tests/javascript/node_modules/onnxruntime-web/dist"
PAGE = b"<!doctype html><meta charset=utf-8><title>On this device</title><body></body>"
ISOLATION = (("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp"))


def places() -> dict[str, Path]:
    """First part of a path -> what it stands for."""
    return {
        "on_device": ROOT / "gradio_ui/static/on_device",
        "pace.js": ROOT / "gradio_ui/static/pace.js",
        "model": ROOT / "model_card/fer2013",
        "runtime": RUNTIME,
        "yunet.onnx": find_yunet(),
    }


class Handler(SimpleHTTPRequestHandler):
    """Answers from `places`; `/` is an empty page."""

    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *request: object, places: dict[str, Path], isolated: bool) -> None:
        self.places, self.isolated = places, isolated
        super().__init__(*request)  # type: ignore[arg-type]

    def translate_path(self, path: str) -> str:
        first, _, rest = unquote(path.partition("?")[0]).strip("/").partition("/")
        if first not in self.places or ".." in rest:
            return str(ROOT / "missing")
        return str(self.places[first] / rest if rest else self.places[first])

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")  # as the Hub and the CDN do
        if self.isolated:
            for name, value in ISOLATION:
                self.send_header(name, value)
        super().end_headers()

    def log_message(self, *values: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Goes on where a page is closed during a download."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def device_server(isolated: bool = False, **more: Path) -> Iterator[str]:
    """Serve on a free port.

    Args:
        isolated: with the headers that allow threads.
        more: first part of a path -> a folder or file, beside or instead of those of `places`.

    Yields:
        The address, with a slash at its end.
    """
    handler = partial(Handler, places=places() | more, isolated=isolated)
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
