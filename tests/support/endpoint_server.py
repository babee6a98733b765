"""An Inference Endpoint on loopback: the default container for an image-classification repository."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def serve_endpoint(folder: Path) -> Iterator[str]:
    """Serve a model folder with the stock pipeline and yield the endpoint's address.

    A request holds an image, or JSON with the image in base64 as `inputs`, and `parameters`.
    """
    from PIL import Image
    from transformers import pipeline

    classify = pipeline("image-classification", model=str(folder), device="cpu")

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body, parameters = self.rfile.read(int(self.headers["Content-Length"])), {}
            if self.headers["Content-Type"] == "application/json":
                wanted = json.loads(body)
                body, parameters = base64.b64decode(wanted["inputs"]), wanted.get("parameters", {})
            answer = json.dumps(classify(Image.open(io.BytesIO(body)), **parameters)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
