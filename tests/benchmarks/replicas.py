"""Two replicas of app.py behind HAProxy, one of them killed: how long do viewers wait, and whose answers do they get.

    python -m tests.benchmarks.replicas [--viewers 50] [--seconds 30] [--every 2]

Each viewer has a cookie jar of its own and sends webcam frames with a portrait at a place of its own, as in the soak
test, so that an answer meant for somebody else is noticed. A wait lasts from the first try to the right answer. Ends
with status 1 if an answer was mixed up or a wait was longer than `MOST_SECONDS`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx

from gradio_ui.recognition import EmotionRecognizer
from gradio_ui.settings import DEFAULT_MODEL
from tests.benchmarks.record import ROOT, describe, machine
from tests.benchmarks.soak_clients import PLACES, Client, portrait
from tests.support.browser import free_port

MOST_SECONDS = 5.0  # that a viewer may wait
START_SECONDS, STOP_SECONDS = 120, 30
RETRY_SECONDS = 0.2
CONFIG = "gradio_ui/server/haproxy.cfg"


def proxy_program() -> str | None:
    """Find HAProxy, also where it is not in a user's path."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Replica:
    """A child process with app.py."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def health(self) -> int:
        """Ask it for its health: the HTTP status, or 0 where it does not answer."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=10, trust_env=False).status_code
        except httpx.TransportError:
            return 0


@dataclass
class Cluster:
    """The replicas by the value of their cookie, and the address in front of them."""

    url: str
    replicas: dict[str, Replica]


@contextmanager
def cluster(folder: Path, *flags: str) -> Iterator[Cluster]:
    """Start two replicas and the proxy, wait until all are ready, and end them afterwards.

    Args:
        folder: for their temporary files.
        *flags: of app.py.
    """
    program = proxy_program()
    if program is None:
        raise FileNotFoundError("expected the program haproxy, got none; install it first: apt install haproxy")
    children: list[subprocess.Popen[bytes]] = []
    replicas = {}
    try:
        for name in ("one", "two"):
            port = free_port()
            command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), *flags]
            own = os.environ | {"TMPDIR": str(folder), "GRADIO_TEMP_DIR": str(folder)}
            children.append(subprocess.Popen(command, cwd=ROOT, env=own, stdout=subprocess.DEVNULL))
            replicas[name] = Replica(name, port, children[-1])
        addresses = {f"REPLICA_{n}": f"127.0.0.1:{one.port}" for n, one in enumerate(replicas.values(), 1)}
        front = f"127.0.0.1:{free_port()}"
        wait_until(lambda: all(one.health() == 200 for one in replicas.values()))
        children.append(
            subprocess.Popen([program, "-f", CONFIG], cwd=ROOT, env=os.environ | addresses | {"FRONTEND": front})
        )
        wait_until(lambda: httpx.get(f"http://{front}/health", trust_env=False).status_code == 200)
        yield Cluster(f"http://{front}", replicas)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()


def wait_until(ready: object, seconds: float = START_SECONDS) -> None:
    """Ask again and again until the answer is yes; one that fails to connect is a no."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ready():  # type: ignore[operator]
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"expected the app to be ready within {seconds:g} s")


@dataclass
class Waits:
    """What came back.

    Attributes:
        before, after: seconds of each wait that began before and after the kill.
        outcomes: how many answers were right, busy, mixed up, or an error that was tried again.
        homes: how many viewers each replica had, before the kill and at the end.
    """

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    homes: list[Counter[str | None]] = field(default_factory=list)

    @property
    def longest(self) -> float:
        return max([*self.before, *self.after])


async def watch(group: Cluster, viewers: int, every: float, seconds: float) -> Waits:
    """Let viewers come and stay; replica one is killed in the middle of the time.

    Each asks at least once after the kill, however long that takes.
    """
    waits, recognizer = Waits(), EmotionRecognizer.from_pretrained(DEFAULT_MODEL)
    places = range(min(viewers, PLACES))
    boxes = {place: recognizer(portrait(place)).to_dicts()[0]["box"] for place in places}
    jars = [httpx.AsyncClient(base_url=group.url, timeout=30, trust_env=False) for _ in range(viewers)]
    components = (await jars[0].get("/config")).json()["components"]
    (webcam,) = [one["id"] for one in components if one["props"].get("elem_id") == "webcam"]
    start, killed = time.monotonic(), float("inf")

    async def stay(number: int) -> None:
        client = Client(jars[number], number, boxes, webcam, b"")
        await asyncio.sleep(random.uniform(0, every))  # noqa: S311
        last = start
        while last < killed or time.monotonic() < start + seconds:
            asked = last = time.monotonic()
            while (outcome := await attempt(client)) != "right":
                waits.outcomes[outcome] += 1
                if outcome == "mixed up":
                    return
                await asyncio.sleep(RETRY_SECONDS)
            waits.outcomes["right"] += 1
            (waits.before if asked < killed else waits.after).append(time.monotonic() - asked)
            await asyncio.sleep(max(0.0, asked + every - time.monotonic()))

    async def kill() -> None:
        nonlocal killed
        await asyncio.sleep(seconds / 2)
        waits.homes.append(Counter(jar.cookies.get("replica") for jar in jars))
        group.replicas["one"].process.kill()
        killed = time.monotonic()

    for jar in jars:
        await jar.get("/health")  # any page that is no call comes with the cookie
    start = time.monotonic()
    await asyncio.gather(kill(), *(stay(number) for number in range(viewers)))
    await asyncio.gather(*(jar.get("/health") for jar in jars))  # a call sent again brings no new cookie
    waits.homes.append(Counter(jar.cookies.get("replica") for jar in jars))
    for jar in jars:
        await jar.aclose()
    return waits


async def attempt(client: Client) -> str:
    """Send one frame; an answer that is none of the app's counts as an error."""
    try:
        return (await client.see())[0]
    except (httpx.HTTPError, ValueError):
        return "error"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--every", type=float, default=2, help="seconds between two frames of one viewer")
    options = parser.parse_args()
    print(describe(machine()), flush=True)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as group:
        waits = asyncio.run(watch(group, options.viewers, options.every, options.seconds))
    for name, values in (("before the kill", waits.before), ("after the kill", waits.after)):
        print(f"{name:16} {len(values):6} waits  median {median(values):.2f} s  longest {max(values):.2f} s")
    print(f"answers: {dict(waits.outcomes)}; viewers of each replica: {[dict(home) for home in waits.homes]}")
    if waits.outcomes["mixed up"] or waits.longest > MOST_SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
