"""How fast and how fresh the webcam tab is, and whether the server's memory stays flat.

    python -m tests.benchmarks.webcam --seconds 300 --viewers 1 [--clip people.mjpeg]

Starts app.py, which takes its settings from the environment (FER_MODEL, FER_DETECTOR), and headless Chromium, whose
fake camera plays the clip at 640x480. Browser and server share this machine. The delay is the time from the moment a
frame is shown in the page to the moment its boxes are drawn over the video.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright

from tests.ui.conftest import free_port, launch_chromium, write_clip

ROOT = Path(__file__).resolve().parents[2]
START, WARM_UP = 120, 5  # seconds, at most and exactly
LISTEN = """
window.results = [];
document.addEventListener("fer-result", ({ detail: { delay, server_ms, faces } }) => {
  window.results.push({ delay, server_ms, faces: faces.length });
});
"""


@contextmanager
def app() -> Iterator[tuple[str, psutil.Process]]:
    """Runs app.py as a user would; its address and its process."""
    port = free_port()
    with subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.PIPE) as server:
        try:
            for line in server.stdout or ():
                if b"Running on" in line:
                    break
            else:
                sys.exit("error: app.py did not start; see its message above")
            yield f"http://127.0.0.1:{port}", psutil.Process(server.pid)
        finally:
            server.terminate()


def watch(page: Any, url: str) -> None:
    """Opens the webcam tab in a fresh page and waits for its first result."""
    page.add_init_script(LISTEN)
    page.goto(url)
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start camera").click()
    page.wait_for_function("window.results.length", timeout=START * 1000)


def machine() -> str:
    """What the figures were measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = models[0].partition(": ")[2] if models else platform.machine()
    load = os.getloadavg()[0]
    return (
        f"{psutil.cpu_count()} cores ({name}), {psutil.virtual_memory().total / 2**30:.0f} GiB, load {load:.1f} before"
    )


def measure(seconds: float, viewers: int, clip: Path) -> tuple[list[list[dict[str, float]]], list[float]]:
    """The results of each viewer, and the server's resident memory in MB at every second."""
    with app() as (url, server), sync_playwright() as playwright:
        browser = launch_chromium(
            playwright, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={clip}"
        )
        pages = [browser.new_context(permissions=["camera"]).new_page() for _ in range(viewers)]
        for page in pages:
            watch(page, url)
        time.sleep(WARM_UP)
        for page in pages:
            page.evaluate("window.results.length = 0")
        memory = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            memory.append(server.memory_info().rss / 1e6)
            time.sleep(1)
        results = [page.evaluate("window.results") for page in pages]
        browser.close()
    return results, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--clip", type=Path, help="MJPEG file for the camera; by default a portrait that moves")
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or write_clip(Path(folder) / "clip.mjpeg")
        results, memory = measure(arguments.seconds, arguments.viewers, clip.resolve())
    print(f"{arguments.viewers} viewer(s), {arguments.seconds:.0f} s, camera at 640x480")
    for number, seen in enumerate(results, start=1):
        if len(seen) < 2:
            print(f"viewer {number}: {len(seen)} results")
            continue
        delays, served, faces = ([one[name] for one in seen] for name in ("delay", "server_ms", "faces"))
        late = statistics.quantiles(delays, n=20, method="inclusive")[-1]
        print(
            f"viewer {number}: {len(seen) / arguments.seconds:.1f} results/s, "
            f"delay {statistics.median(delays):.0f} ms median, {late:.0f} ms 95th percentile, {max(delays):.0f} ms "
            f"at most, server {statistics.median(served):.0f} ms, {statistics.mean(faces):.1f} faces"
        )
    print(f"server memory: {memory[0]:.0f} MB at first, {memory[-1]:.0f} MB at last, {memory[-1] - memory[0]:+.0f} MB")


if __name__ == "__main__":
    main()
