"""The endpoints as MCP tools, through the protocol's own client, as an agent would call them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool
from PIL import Image

from gradio_ui.server.uploads import REFUSAL
from tests.gradio_ui.test_api import sweep_all


def ask(url: str, question: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    """Opens a session with the app and returns the answer to the question."""

    async def session() -> Any:
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await question(client)

    with ThreadPoolExecutor(1) as thread:  # the browser tests leave an event loop running in this one
        return thread.submit(asyncio.run, session()).result()


def call(url: str, tool: str, **arguments: Any) -> CallToolResult:
    return ask(url, lambda client: client.call_tool(tool, arguments))


def data_url(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


@pytest.fixture(scope="module")
def tools(url: str) -> dict[str, Tool]:
    return {tool.name: tool for tool in ask(url, lambda client: client.list_tools()).tools}


def test_the_endpoints_and_nothing_else_are_tools(tools: dict[str, Tool]) -> None:
    assert set(tools) == {"recognize", "recognize_batch", "recognize_video"}


def test_every_tool_documents_input_and_output(tools: dict[str, Tool]) -> None:
    for tool in tools.values():
        assert "apparent expression" in tool.description and "Returns: " in tool.description
        for name, argument in tool.inputSchema["properties"].items():
            assert argument.get("description"), f"{tool.name}: {name}"
    assert tools["recognize_video"].inputSchema["required"] == ["video"]
    assert "in each second" in tools["recognize_video"].inputSchema["properties"]["per_second"]["description"]
    assert tools["recognize_batch"].inputSchema["properties"]["images"]["items"]["type"] == "string"


def test_a_tool_is_called_with_an_image(url: str, portrait_file: Path) -> None:
    result = call(url, "recognize", image=data_url(portrait_file))
    assert not result.isError
    assert "'size': [512, 512]" in result.content[0].text and "'label': 'happy'" in result.content[0].text


def test_a_tool_is_called_with_many_images(url: str, portrait_file: Path) -> None:
    broken = "data:image/jpeg;base64," + base64.b64encode(b"no picture").decode()
    result = call(url, "recognize_batch", images=[data_url(portrait_file), broken], whole_image=True)
    assert not result.isError
    assert result.content[0].text.count("'label': 'happy'") == 1
    assert "no picture of a known format" in result.content[0].text


def test_an_error_is_told_as_it_is(url: str) -> None:
    broken = "data:image/jpeg;base64," + base64.b64encode(b"no picture").decode()
    result = call(url, "recognize", image=broken)
    assert result.isError and "no picture of a known format" in result.content[0].text


def test_what_an_agent_sends_is_deleted(url: str, gradio_files: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "#123456").save(tmp_path / "mine.bmp")
    mine = "data:image/bmp;base64," + base64.b64encode((tmp_path / "mine.bmp").read_bytes()).decode()
    call(url, "recognize", image=mine)
    call(url, "recognize_batch", images=[mine])
    assert list(gradio_files.rglob("*.bmp"))
    sweep_all(gradio_files)
    assert not list(gradio_files.rglob("*.bmp"))


def test_an_agent_may_name_its_own_upload_only(url: str, portrait_file: Path) -> None:
    with portrait_file.open("rb") as file:
        path = httpx.post(f"{url}gradio_api/upload", files={"files": file}).json()[0]
    assert not call(url, "recognize", image=f"{url}gradio_api/file={path}").isError
    for foreign in ("http://127.0.0.1:1/portrait.jpg", f"{url}gradio_api/file={portrait_file}"):
        result = call(url, "recognize", image=foreign)
        assert result.isError and REFUSAL in result.content[0].text
