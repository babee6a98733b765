"""Endpoints as MCP tools: two mends of what Gradio 6.31 does with files that agents send.

A tool's file arguments are texts, URLs or data URLs, which Gradio's MCP server turns into files. It does so in no list
of files, and of a data URL it keeps a copy on disk that nobody deletes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import gradio as gr


def several_files(label: str) -> gr.File:
    """The input of an endpoint that takes a list of files, hidden in the page.

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
    """Mends the MCP server of the app while it runs: lists of files are converted, and copies deleted like uploads.

    Args:
        app: Gradio's FastAPI app.
    """
    blocks = app.get_blocks()
    if (server := blocks.mcp_server_obj) is not None:  # where there is none, Gradio has said why
        convert = server.convert_strings_to_filedata

        def convert_all(arguments: dict[str, Any], positions: list[list[str | int]]) -> dict[str, Any]:
            converted = convert(arguments, [each for position in positions for each in _each(position, arguments)])
            blocks.upload_file_set.update(_local_paths(converted))
            return converted

        server.convert_strings_to_filedata = convert_all
    yield


def _each(position: list[str | int], arguments: dict[str, Any]) -> Iterator[list[str | int]]:
    """The position of a file in the schema as its positions in the arguments: one for each element of a list."""
    if position[1:] == ["items"]:
        yield from ([position[0], index] for index in range(len(arguments.get(str(position[0]), ()))))
    else:
        yield position


def _local_paths(value: Any) -> Iterator[str]:
    """The paths of all files in the arguments that are no URLs."""
    if isinstance(value, list):
        for item in value:
            yield from _local_paths(item)
    elif isinstance(value, dict):
        if "meta" in value and os.path.isabs(value["path"]):
            yield value["path"]
        else:
            yield from _local_paths(list(value.values()))
