"""Lists of files as arguments of MCP tools, which Gradio 6.31 does not handle.

An agent sends a file as a data URL, or as the URL that it got for an upload; Gradio's MCP server turns that into a
file, but not within a list.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import gradio as gr


def several_files(label: str) -> gr.File:
    """Make the hidden input of an endpoint that takes a list of files.

    Its schema holds no references: those would be lost within the schema of a tool.
    """
    meta = {"type": "object", "properties": {"_type": {"const": "gradio.FileData"}}}
    properties = {"path": {"type": "string"}, "meta": meta}
    schema = {"type": "array", "items": {"type": "object", "title": "FileData", "properties": properties}}
    files = gr.File(visible=False, label=label, file_count="multiple")
    files.api_info = lambda: schema  # type: ignore[method-assign]
    return files


@asynccontextmanager
async def agents_lifespan(app: Any) -> AsyncIterator[None]:
    """Let the MCP server of the app convert lists of files while it runs.

    Args:
        app: Gradio's FastAPI app.
    """
    if (server := app.get_blocks().mcp_server_obj) is not None:  # where there is none, Gradio has said why
        convert = server.convert_strings_to_filedata

        def convert_all(arguments: dict[str, Any], positions: list[list[str | int]]) -> dict[str, Any]:
            return convert(arguments, [each for position in positions for each in _each(position, arguments)])

        server.convert_strings_to_filedata = convert_all
    yield


def _each(position: list[str | int], arguments: dict[str, Any]) -> Iterator[list[str | int]]:
    """Turn a file's position in the schema into those in the arguments: one for each element of a list."""
    if position[1:] == ["items"]:
        files = arguments.get(str(position[0]))
        files = files if isinstance(files, list) else []
        yield from ([position[0], index] for index in range(len(files)))
    else:
        yield position
