"""The clients of the soak test, each with a portrait at a place of its own, and the tally of their answers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from skimage.data import astronaut

from tests.support.clips import make_clip

SIZE, HEAD = (480, 360), 180  # pixels: of a frame, and of the portrait in it
GRID = (10, 5)  # places for the portrait, far enough apart to tell one sender from another
PLACES = GRID[0] * GRID[1]
CLOSE = 8.0  # pixels that a box may lie from where it belongs; neighboring places are 30 apart

Act = Callable[[], Awaitable[tuple[str, str]]]  # what a client does; its outcome, and what the server said


def scene(place: int) -> Image.Image:
    """A portrait at one of the `PLACES`."""
    row, column = divmod(place, GRID[0])
    image = Image.new("RGB", SIZE, "#405060")
    head = Image.fromarray(astronaut()).crop((100, 0, 360, 260)).resize((HEAD, HEAD))
    image.paste(head, (30 * column, 36 * row))
    return image


@cache
def portrait(place: int) -> bytes:
    """The same as a JPEG file."""
    file = io.BytesIO()
    scene(place).save(file, "JPEG", quality=80)
    return file.getvalue()


def make_video() -> bytes:
    """Two seconds with one face, as an MP4 file."""
    with tempfile.TemporaryDirectory() as folder:
        times = [number / 25 for number in range(50)]
        return make_clip(Path(folder) / "clip.mp4", times, frame=np.asarray(scene(0))).read_bytes()


@dataclass
class Tally:
    """What came back. `answers` counts by kind and outcome: right, refused, busy, mixed up, error or left."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    messages: Counter[str] = field(default_factory=Counter)

    def total(self, outcome: str) -> int:
        return sum(count for (_, name), count in self.answers.items() if name == outcome)


@dataclass
class Client:
    """One sender.

    Attributes:
        http: the connection.
        number: decides the place of its portrait.
        boxes: the box of a face at each place, as the app gave it before the load: left, top, right, bottom.
        webcam: id of the webcam tab's component.
        clip: the video that it sends, as an MP4 file.
    """

    http: httpx.AsyncClient
    number: int
    boxes: dict[int, list[float]]
    webcam: int
    clip: bytes

    @property
    def place(self) -> int:
        return self.number % PLACES

    def outcome(self, answer: dict[str, Any]) -> str:
        """Compare the faces of an answer with the one that was sent."""
        if answer.get("late"):
            return "right"
        if "error" in answer:
            return "busy" if "busy" in str(answer["error"]).lower() else "error"
        if len(answer["faces"]) != 1:
            return "mixed up"
        gap = np.abs(np.subtract(answer["faces"][0]["box"], self.boxes[self.place])).max()
        return "right" if gap <= CLOSE else "mixed up"

    async def see(self) -> tuple[str, str]:
        """A frame of the webcam tab."""
        seconds = time.monotonic()
        data = {
            "image": f"data:image/jpeg;base64,{base64.b64encode(portrait(self.place)).decode()}",
            "start": self.number,
            "seconds": seconds,
        }
        data |= {"smoothing": 0, "recording": 0}
        body = {"session_hash": f"soak{self.number}", "component_id": self.webcam, "fn_name": "recognize_frame"}
        answer = (await self.http.post("/gradio_api/component_server", json=body | {"data": data})).json()
        return self.outcome(answer), str(answer.get("error", ""))

    async def call(self, name: str, **arguments: Any) -> tuple[str, Any]:
        """An endpoint: ("complete", data) or ("error", message)."""
        event = (await self.http.post(f"/gradio_api/call/v2/{name}", json=arguments)).json()["event_id"]
        text = (await self.http.get(f"/gradio_api/call/{name}/{event}")).text
        kind, _, data = text.rpartition("event: ")[2].partition("\ndata: ")
        return kind, json.loads(data)

    async def upload(self, name: str, data: bytes) -> dict[str, Any]:
        (path,) = (await self.http.post("/gradio_api/upload", files={"files": (name, data)})).json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    async def recognize(self) -> tuple[str, str]:
        file = await self.upload("portrait.jpg", portrait(self.place))
        kind, data = await self.call("recognize", image=file)
        return (self.outcome(data[0]), "") if kind == "complete" else self.refusal(data, "error")

    async def break_upload(self) -> tuple[str, str]:
        data = bytearray(portrait(self.place))
        del data[random.randrange(2, len(data)) :]  # noqa: S311
        kind, told = await self.call("recognize", image=await self.upload("broken.jpg", bytes(data)))
        return ("error", "a broken image was taken") if kind == "complete" else self.refusal(told, "refused")

    async def half_upload(self) -> tuple[str, str]:
        """Break off in the middle of the body."""

        async def body() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.jpg"\r\n\r\n' + bytes(50_000)
            raise ConnectionAbortedError

        with suppress(ConnectionAbortedError, httpx.HTTPError):
            kind = {"Content-Type": "multipart/form-data; boundary=b"}
            await self.http.post("/gradio_api/upload", content=body(), headers=kind)
        return "left", ""

    async def video(self) -> tuple[str, str]:
        kind, data = await self.call("recognize_video", video=await self.upload("clip.mp4", self.clip), per_second=5)
        return ("right" if data[3]["faces"] else "mixed up", "") if kind == "complete" else self.refusal(data, "error")

    async def leave(self) -> tuple[str, str]:
        """Ask for something and go before the answer is there."""
        work = random.choice((self.see, self.recognize, self.video))  # noqa: S311
        with suppress(TimeoutError, httpx.HTTPError):
            await asyncio.wait_for(work(), random.uniform(0.01, 0.5))  # noqa: S311
        return "left", ""

    @staticmethod
    def refusal(data: Any, otherwise: str) -> tuple[str, str]:
        told = str(data["error"] if isinstance(data, dict) else data)
        return ("busy" if "busy" in told.lower() or "queue is full" in told.lower() else otherwise), told


async def repeat(
    kind: str, act: Callable[[], Awaitable[tuple[str, str]]], every: float, end: float, tally: Tally
) -> None:
    """Do something again and again until the end, and count what comes of it."""
    await asyncio.sleep(random.uniform(0, every))  # noqa: S311
    while (start := time.monotonic()) < end:
        try:
            outcome, told = await act()
        except (httpx.HTTPError, ValueError, KeyError) as error:
            outcome, told = "error", repr(error)
        took = time.monotonic() - start
        tally.answers[kind, outcome] += 1
        if outcome == "right":
            tally.seconds[kind].append(took)
        if outcome in ("error", "mixed up"):
            tally.messages[f"{kind}: {told[:120]}"] += 1
        await asyncio.sleep(max(0.0, every - took))
