"""Rate and delay of the webcam tab, and the server's memory over time.

    python -m tests.benchmarks.webcam --seconds 300 --viewers 1 [--clip people.mjpeg]

Starts app.py, which takes its settings from the environment (FER_MODEL, FER_DETECTOR), and headless Chromium, whose
fake camera plays the clip at 640x480. Browser and server share this machine. The delay is the time from the moment a
frame is shown in the page to the moment its boxes are drawn over the video.
"""

import argparse
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

from tests.benchmarks.record import describe, machine, record
from tests.support.browser import free_port, launch_chromium, write_clip

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
    """Run app.py as a user would; yield its address and its process."""
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


def watch(pages: list[Any], url: str) -> None:
    """Open the webcam tab in new pages, start their cameras, and wait for the first result of each.

    Clicks are dispatched: an ordinary one waits for the page to hold still, which many videos on two cores do not do.
    """
    for page in pages:
        page.set_default_timeout(START * 1000)
        page.add_init_script(LISTEN)
        page.goto(url)
        page.get_by_role("tab", name="Webcam").dispatch_event("click")
    for page in pages:
        page.locator("#webcam .fer-badge").filter(has_text="On this device").wait_for()
        page.locator("#webcam").get_by_label("On the server").dispatch_event("click")
        page.get_by_role("button", name="Start camera").dispatch_event("click")
    for page in pages:
        page.wait_for_function("window.results.length")


def measure(seconds: float, viewers: int, clip: Path) -> tuple[list[list[dict[str, float]]], list[float]]:
    """Return the results of each viewer, and the server's resident memory in MB at every second."""
    with app() as (url, server), sync_playwright() as playwright:
        browser = launch_chromium(
            playwright, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={clip}"
        )
        pages = [browser.new_context(permissions=["camera"]).new_page() for _ in range(viewers)]
        watch(pages, url)
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


def summary(seen: list[dict[str, float]], seconds: float) -> dict[str, float]:
    """Summarize one viewer: results per second, delays and server time in ms, faces per frame."""
    if len(seen) < 2:
        return {"per_second": len(seen) / seconds}
    delays, served, faces = ([one[name] for one in seen] for name in ("delay", "server_ms", "faces"))
    return {
        "per_second": round(len(seen) / seconds, 1),
        "delay_median": round(statistics.median(delays), 1),
        "delay_p95": round(statistics.quantiles(delays, n=20, method="inclusive")[-1], 1),
        "delay_most": round(max(delays), 1),
        "server_median": round(statistics.median(served), 1),
        "faces": round(statistics.mean(faces), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--clip", type=Path, help="MJPEG file for the camera; by default a portrait that moves")
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    arguments = parser.parse_args()
    measured_on = machine()
    print(describe(measured_on))
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or write_clip(Path(folder) / "clip.mjpeg")
        results, memory = measure(arguments.seconds, arguments.viewers, clip.resolve())
    print(f"{arguments.viewers} viewer(s), {arguments.seconds:.0f} s, camera at 640x480; times in ms")
    viewers = [summary(seen, arguments.seconds) for seen in results]
    for number, figures in enumerate(viewers, start=1):
        print(f"viewer {number}:", ", ".join(f"{name} {value:g}" for name, value in figures.items()))
    print(f"server memory: {memory[0]:.0f} MB at first, {memory[-1]:.0f} MB at last, {memory[-1] - memory[0]:+.0f} MB")
    if arguments.record:
        content = {"seconds": arguments.seconds, "viewers": viewers, "megabytes": [memory[0], memory[-1]]}
        record(f"webcam_{arguments.viewers}", content, measured_on)


if __name__ == "__main__":
    main()
