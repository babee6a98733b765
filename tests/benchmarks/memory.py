"""Memory of the running app during and after mixed use.

    python -m tests.benchmarks.memory [--scale 0.1] [--settle 60] [--record]

Starts app.py and sends it, at scale 1, 500 images of 0.3 to 24 megapixels to `/recognize`, 5 videos to
`/recognize_video` (one of 1920x1080), and 10 minutes of webcam frames from 4 viewers, one of whom records; a browser
asks for the map of where the model looked. `--scale` shortens the images' number, the videos and the webcam's time
alike. The target is less than 700 MB of resident memory a minute after the last request.
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import sync_playwright
from skimage.data import astronaut

from tests.benchmarks.record import describe, machine, record
from tests.benchmarks.video import make_clip
from tests.benchmarks.webcam import app
from tests.support.browser import launch_chromium

TARGET = 700  # MB
IMAGES, VIDEOS, VIDEO_SECONDS, WEBCAM_SECONDS, VIEWERS = 500, 5, 60, 600, 4
SIZES = ((640, 480), (1920, 1080), (4000, 3000), (800, 600), (6000, 4000))


def make_images(folder: Path) -> list[Path]:
    """Portraits of `SIZES`."""
    paths = []
    for size in SIZES:
        image = Image.fromarray(astronaut()).resize((min(size),) * 2)
        canvas = Image.new("RGB", size, "#405060")
        canvas.paste(image, ((size[0] - min(size)) // 2, 0))
        canvas.save(path := folder / f"{size[0]}.jpg", quality=90)
        paths.append(path)
    return paths


def send_images(url: str, paths: list[Path], count: int) -> None:
    """Post images one after the other."""
    client = Client(url, verbose=False)
    for number in range(count):
        client.predict(handle_file(paths[number % len(paths)]), api_name="/recognize")
    client.close()


def send_videos(url: str, clips: list[Path]) -> None:
    """Post videos one after the other."""
    client = Client(url, verbose=False)
    for clip in clips:
        client.predict(handle_file(clip), api_name="/recognize_video")
    client.close()


def send_frames(url: str, seconds: float, number: int) -> None:
    """Be a viewer of the webcam tab; the first one records for the first half of the time."""
    component = next(
        c["id"] for c in httpx.get(f"{url}/config").json()["components"] if c["props"].get("elem_id") == "webcam"
    )
    file = io.BytesIO()
    Image.fromarray(astronaut()).resize((480, 360)).save(file, "JPEG", quality=80)
    image = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    begin, have, asked = time.monotonic(), 0, 0.0
    with httpx.Client(timeout=60) as client:

        def call(name: str, data: dict[str, Any]) -> dict[str, Any]:
            body = {"component_id": component, "fn_name": name, "session_hash": f"memory{number}", "data": data}
            return client.post(f"{url}/gradio_api/component_server/", json=body).json()

        while (now := time.monotonic() - begin) < seconds:
            recording = int(number == 0 and now < seconds / 2)
            call(
                "recognize_frame",
                {"image": image, "start": 1, "seconds": now, "smoothing": 0.5, "recording": recording},
            )
            if number == 0 and now - asked > 1:
                asked = now
                taken = call("take_recording", {"number": 1, "have": have, "finish": not recording})
                have += len(taken.get("pieces", ()))


def ask_for_map(url: str) -> None:
    """Open the page, take the first example and unfold the map."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(url)
        page.locator("button.gallery-item, .gallery button, table tr.tr-body").first.click()
        page.get_by_text("face found").or_(page.get_by_text("faces found")).first.wait_for()
        page.get_by_text("Where did the model look?").click()
        page.locator(".fer-saliency").wait_for()
        browser.close()


def measure(scale: float, settle: float) -> dict[str, float]:
    """The server's resident memory in MB after each part, and `settle` seconds after the last."""
    seen: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, app() as (url, server):
        folder = Path(name)
        images = make_images(folder)
        clips = [folder / f"{number}.mp4" for number in range(VIDEOS)]
        for number, clip in enumerate(clips):
            make_clip(clip, max(10, VIDEO_SECONDS * scale), (1920, 1080) if number == 0 else (640, 360), 25)

        def run(part: str, *works: Callable[[], None]) -> None:
            with ThreadPoolExecutor(len(works)) as pool:
                for future in [pool.submit(work) for work in works]:
                    future.result()
            tell(part, server)

        def tell(part: str, process: psutil.Process) -> None:
            seen[part] = round(process.memory_info().rss / 1e6)
            print(f"{part}: {seen[part]:.0f} MB, {process.num_threads()} threads", flush=True)

        count = max(len(SIZES), round(IMAGES * scale))
        tell("start", server)
        run("one image", partial(send_images, url, images[:1], 1))
        run("map", partial(ask_for_map, url))
        run("images", *[partial(send_images, url, images, count // 2)] * 2)
        run("videos", partial(send_videos, url, clips))
        run("webcam", *[partial(send_frames, url, WEBCAM_SECONDS * scale, number) for number in range(VIEWERS)])
        run(
            "all at once",
            partial(send_images, url, images, max(len(SIZES), count // 4)),
            partial(send_videos, url, clips[:2]),
            partial(send_frames, url, 10, VIEWERS),
        )
        time.sleep(settle)
        tell(f"{settle:g} s later", server)
    return seen


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full amount of work")
    parser.add_argument("--settle", type=float, default=60, help="seconds between the last request and the last look")
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    arguments = parser.parse_args()
    measured_on = machine()
    print(describe(measured_on))
    seen = measure(arguments.scale, arguments.settle)
    last = list(seen.values())[-1]
    print(f"target: below {TARGET} MB; {'met' if last < TARGET else 'missed'}")
    if arguments.record:
        record("memory", {"scale": arguments.scale, "settle_s": arguments.settle, "megabytes": seen}, measured_on)


if __name__ == "__main__":
    main()
