"""The files with which a browser recognizes faces by itself: page modules, model, face detector and runtime.

Everything lies under /device/. A request names one of a few known files; its path is looked up, never opened. Browsers
keep the files and ask each time whether they have changed, so a new model or a new version shows at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from gradio_ui.model_registry import Models

PREFIX = "/device"
DETECTOR = "yunet.onnx"
ONNX_FILES = ("onnx/model.onnx", "onnx/model_quantized.onnx")
MODEL_FILES = ("config.json", "preprocessor_config.json", "report.json", *ONNX_FILES)
PAGE_SUFFIXES = (".js", ".css", ".json")
KINDS = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".wasm": "application/wasm",  # compiled while it arrives only under this type
    ".onnx": "application/octet-stream",
}
_RUNTIME_FILE = re.compile(r"ort[\w.-]*\.(mjs|wasm)")


class DeviceFiles:
    """The routes under `PREFIX`.

    Args:
        models: What a visitor may choose from; the files of those that are loaded are given out.
        static: Folder of the page's modules and style sheets.
        runtime: Folder of onnxruntime-web's files; None leaves browsers to its public CDN.
        enabled: Whether models are given out; the page's own files always are.
    """

    def __init__(self, models: Models, static: Path, runtime: Path | None = None, enabled: bool = True) -> None:
        self._models = models
        self._enabled = enabled
        self._page = _files_below(static)
        self._runtime = _runtime_files(runtime) if runtime else {}

    def routes(self) -> list[BaseRoute]:
        """Give the routes, for the application that serves them."""
        return [
            Route(f"{PREFIX}/page/{{name:path}}", self._page_file),
            Route(f"{PREFIX}/runtime/{{name}}", self._runtime_file),
            Route(f"{PREFIX}/{DETECTOR}", self._detector_file),
            Route(f"{PREFIX}/models/{{number:int}}/device.json", self._describe),
            Route(f"{PREFIX}/models/{{number:int}}/{{name:path}}", self._model_file),
        ]

    async def _page_file(self, request: Request) -> Response:
        return _answer(request, self._page.get(request.path_params["name"]))

    async def _runtime_file(self, request: Request) -> Response:
        return _answer(request, self._runtime.get(request.path_params["name"]))

    async def _detector_file(self, request: Request) -> Response:
        return _answer(request, self._detector(self._models.default))

    async def _model_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        folder = self._folder(request.path_params["number"])
        return _answer(request, folder / name if folder and name in MODEL_FILES else None)

    async def _describe(self, request: Request) -> Response:
        """Say where the browser finds what it needs, relative to this very address; or why it cannot have it."""
        folder = self._folder(request.path_params["number"])
        if not self._enabled:
            return _refuse("The owner of this page keeps the model on the server.")
        if folder is None or not any((folder / name).is_file() for name in ONNX_FILES):
            return _refuse("This model has no ONNX files, which browsers need.")
        detector = self._detector(self._models.default)
        if detector is None:
            return _refuse("This server takes every image as one face, which browsers are not told to do.")
        answer = {
            "model": "./",  # the browser verifies its files against report.json
            "detector": f"../../{DETECTOR}",
            "checksums": {"detector": hashlib.sha256(detector.read_bytes()).hexdigest()},
            **({"runtime": "../../runtime/"} if self._runtime else {}),
        }
        return JSONResponse(answer, headers={"cache-control": "no-cache"})

    def _folder(self, number: int) -> Path | None:
        """Give the folder of a model that is loaded; the page loads a model before it asks for its files."""
        names = self._models.names
        if not self._enabled or number >= len(names) or not self._models.is_loaded(names[number]):
            return None
        return Path(self._models[names[number]].source.folder)

    def _detector(self, model: str) -> Path | None:
        return getattr(self._models[model].detector, "path", None)


def _files_below(folder: Path) -> Mapping[str, Path]:
    paths = (path for path in folder.rglob("*") if path.suffix in PAGE_SUFFIXES)
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _runtime_files(folder: Path) -> Mapping[str, Path]:
    return {path.name: path for path in folder.iterdir() if _RUNTIME_FILE.fullmatch(path.name)}


def _answer(request: Request, path: Path | None) -> Response:
    """Send a file, or say that the browser's copy is the newest."""
    if path is None or not path.is_file():
        return _refuse("There is no such file.")
    response = FileResponse(
        path, media_type=KINDS[path.suffix], stat_result=path.stat(), headers={"cache-control": "no-cache"}
    )
    if StaticFiles(check_dir=False).is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return response


def _refuse(sentence: str) -> Response:
    return JSONResponse({"detail": sentence}, 404)
