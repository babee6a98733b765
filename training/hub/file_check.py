"""Checks of one file of a package by its content, whatever its name says.

Each check refuses what runs code where the file is opened: pickles, scripts and event handlers in SVG, code named in a
config, ONNX files that read other files.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from training.errors import PublishError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICKLE = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04|\x93NUMPY")  # pickle; zip, as torch.save writes; NumPy
CODE_KEYS = {"auto_map", "custom_pipelines", "custom_generate", "trust_remote_code"}  # what transformers would import

SVG = "http://www.w3.org/2000/svg"
SVG_ELEMENTS = set("svg g defs use path rect circle ellipse line polyline polygon text tspan clipPath".split())
SVG_ELEMENTS |= set("style title desc metadata linearGradient radialGradient stop".split())
# Metadata as matplotlib writes it; nothing of it is drawn or fetched.
SVG_METADATA = {"http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://purl.org/dc/elements/1.1/"}
SVG_METADATA |= {"http://creativecommons.org/ns#"}
FETCHES = re.compile(
    r"url\s*\(\s*(?!['\"]?#)|@|\\|//|(image-set|image|src|expression)\s*\(|javascript:", re.IGNORECASE
)
HTML = re.compile(
    r"\0|<\s*(script|iframe|object|embed|link|meta|base|form)\b|javascript:|<[^>]*\son\w+\s*=", re.IGNORECASE
)


def check_file(path: Path) -> None:
    """Check a file of a package by its content.

    Args:
        path: its suffix says what it has to be.

    Raises:
        PublishError: it is something else, damaged, or holds code; the message says which, without the name.
    """
    with path.open("rb") as file:
        if PICKLE.match(file.read(8)):
            raise PublishError("may hold a pickle, which runs code when it is loaded; use safetensors")
    if path.suffix not in CHECKS:
        raise PublishError(f"expected one of {', '.join(CHECKS)}; delete it")
    CHECKS[path.suffix](path)


def _check_png(path: Path) -> None:
    from PIL import Image, UnidentifiedImageError

    data = path.read_bytes()
    if not data.startswith(PNG_SIGNATURE):
        raise PublishError(f"expected a PNG image, got a file that begins with {data[:8].hex(' ') or 'nothing'}")
    end, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND" and end + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, end)
        end += 12 + length
    if kind != b"IEND" or end != len(data):
        raise PublishError(f"expected a PNG image that ends at byte {len(data)}, got one that ends at byte {end}")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise PublishError(f"is no PNG image: {error}") from error


def _check_svg(path: Path) -> None:
    """Refuse entities, elements beyond shapes and text, event handlers, and references to anything outside."""
    parser = expat.ParserCreate(namespace_separator=" ")
    opened: list[str] = []
    styles: list[str] = []

    def refuse(what: str) -> None:
        raise PublishError(f"expected an SVG figure of shapes and text, got {what}")

    def start(name: str, attributes: dict[str, str]) -> None:
        namespace, _, element = name.rpartition(" ")
        opened.append(element)
        if namespace in SVG_METADATA:
            return
        if namespace != SVG or element not in SVG_ELEMENTS:
            refuse(f"the element <{element}>")
        for key, value in attributes.items():
            attribute = key.rpartition(" ")[2].lower()
            outward = attribute in ("href", "src", "base") and not value.startswith("#")
            if attribute.startswith("on") or outward or FETCHES.search(value):
                refuse(f'the attribute {attribute}="{value[:40]}"')

    def characters(text: str) -> None:
        if opened[-1] == "style":
            styles.append(text)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: opened.pop()
    parser.CharacterDataHandler = characters
    parser.EntityDeclHandler = lambda name, *_: refuse(f"the entity {name}")
    parser.ProcessingInstructionHandler = lambda target, _: refuse(f"the instruction <?{target}?>")
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise PublishError(f"is no SVG: {error}") from error
    if found := FETCHES.search("".join(styles)):  # whole, since a comment may cut a word in two
        refuse(f"{found[0]!r} in a style")


def _check_json(path: Path) -> None:
    def refuse_code(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if found := CODE_KEYS.intersection(names):
            raise PublishError(f"names code to load, {', '.join(sorted(found))}; delete that entry")
        if len(set(names)) < len(names):
            raise PublishError(f"holds an entry twice: {max(names, key=names.count)}")
        return dict(pairs)

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=refuse_code)
    except (ValueError, RecursionError) as error:
        raise PublishError(f"is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise PublishError(f"expected a JSON object, got {type(content).__name__}")


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as tensors:
            tensors.keys()
    except (SafetensorError, OSError) as error:
        raise PublishError(f"is no safetensors file: {error}") from error


def _check_onnx(path: Path) -> None:
    import onnx
    from onnx.external_data_helper import uses_external_data

    try:
        onnx.checker.check_model(str(path))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise PublishError(f"is no ONNX model: {str(error).strip()}") from error
    if any(map(uses_external_data, onnx.load_model(path, load_external_data=False).graph.initializer)):
        raise PublishError("keeps weights in another file; export it again")


def _check_markdown(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PublishError(f"is no text: {error}") from error
    if found := HTML.search(text):
        raise PublishError(f"expected Markdown without scripts, got {found[0]!r}")


CHECKS: dict[str, Callable[[Path], None]] = {
    ".json": _check_json,
    ".md": _check_markdown,
    ".onnx": _check_onnx,
    ".png": _check_png,
    ".safetensors": _check_safetensors,
    ".svg": _check_svg,
}
