"""Make the README's picture of the page and its clip of the webcam tab, in a real Chromium with the shipped models.

    python -m tests.screenshots

Who is seen: Eileen Collins (NASA, in scikit-image) and Grace Hopper (US Navy, in matplotlib), both photographs in the
public domain.
"""

from __future__ import annotations

import io
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image
from skimage import data

from gradio_ui.server.temp_files import TempFiles
from gradio_ui.settings import Settings
from tests.support.browser import free_port, launch_chromium

FOLDER = Path(__file__).parent
DESK = {"width": 1280, "height": 800}
FRAMES, EVERY_MS, SHOWN_MS = 24, 330, 330  # of the clip: shots, from one to the next, and how long each is shown
CAMERA = (640, 360)  # pixels
CAMERA_STEPS = 240  # frames of the camera's loop
MAX_BYTES = 1_500_000


def main() -> None:
    """Write page.webp and live.webp."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, served() as url, sync_playwright() as playwright:
        picture, camera = Path(folder, "two-pilots.jpg"), Path(folder, "camera.mjpeg")
        side_by_side().save(picture, quality=92)
        write_camera(camera)
        flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={camera}")
        chromium = launch_chromium(playwright, *flags)
        for shoot in (lambda page: shoot_page(page, url, picture), lambda page: shoot_live(page, url)):
            page = chromium.new_page(viewport=DESK, locale="en-US", permissions=["camera"])
            page.set_default_timeout(90_000)
            tell(shoot(page))
            page.close()
        chromium.close()


@contextmanager
def served() -> Iterator[str]:
    """Serve the app with its shipped models, and yield its address."""
    from gradio_ui.demo import build_demo, launch_options
    from gradio_ui.model_registry import load_models

    settings = Settings(port=free_port())
    with TempFiles():
        models = load_models(settings)
        demo = build_demo(models, settings)
        _, url, _ = demo.launch(**launch_options(models, settings), prevent_thread_lock=True, quiet=True)
        yield url
        demo.close()


def portraits() -> list[Image.Image]:
    """The heads of both, of the same height."""
    hopper = Image.open(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")).convert("RGB")
    collins = Image.fromarray(data.astronaut())
    heads = collins.crop((80, 10, 380, 310)), hopper.crop((0, 0, 512, 512))
    return [head.resize((640, 640), Image.Resampling.LANCZOS) for head in heads]


def side_by_side() -> Image.Image:
    """One picture of both."""
    pair = Image.new("RGB", (1280, 640))
    for place, head in enumerate(portraits()):
        pair.paste(head, (640 * place, 0))
    return pair


def write_camera(path: Path) -> None:
    """Write what the camera sees: both, a little to and fro, as MJPEG."""
    scene = side_by_side().resize((840, 420), Image.Resampling.LANCZOS)
    width, height = CAMERA
    across, down = (scene.width - width) / 2, (scene.height - height) / 2
    with path.open("wb") as file:
        for step in range(CAMERA_STEPS):
            turn = 2 * math.pi * step / CAMERA_STEPS
            left, top = round(across * (1 + 0.5 * math.sin(turn))), round(down * (1 + 0.8 * math.cos(turn)))
            scene.crop((left, top, left + width, top + height)).save(file, "JPEG", quality=90)


def shoot_page(page: Any, url: str, picture: Path) -> Path:
    """Take the picture of the image tab with a result."""
    page.goto(url)
    page.locator("#picture input[type=file]").set_input_files(picture)
    page.locator("#bars li").first.wait_for()
    page.locator("#annotated [data-face]").last.click()  # the one on the left
    page.get_by_role("heading", name="Apparent expression of face 1").wait_for()
    page.wait_for_timeout(1500)  # until its parts have moved into place
    return write("page.webp", [shot(page)], quality=88)


def shoot_live(page: Any, url: str) -> Path:
    """Take the clip of the webcam tab."""
    page.add_init_script("Object.defineProperty(InputDeviceInfo.prototype, 'label', { get: () => 'Camera' })")
    page.goto(f"{url}#webcam")
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()
    page.wait_for_timeout(8000)  # so that the last minute has something to show
    shots = []
    for _ in range(FRAMES):
        shots.append(shot(page))
        page.wait_for_timeout(EVERY_MS)
    return write("live.webp", shots, quality=62)


def shot(page: Any) -> Image.Image:
    """Take a picture of what is in view."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def write(name: str, shots: list[Image.Image], quality: int) -> Path:
    """Write one picture, or several as a clip, 960 pixels wide."""
    path = FOLDER / name
    if len(shots) > 1:
        shots = [one.resize((960, round(960 * one.height / one.width)), Image.Resampling.LANCZOS) for one in shots]
        shots[0].save(
            path, save_all=True, append_images=shots[1:], duration=SHOWN_MS, loop=0, quality=quality, method=4
        )
    else:
        shots[0].save(path, quality=quality, method=6)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path}: expected up to {MAX_BYTES} bytes, got {path.stat().st_size}; lower the quality")
    return path


def tell(path: Path) -> None:
    """Say what was written."""
    sys.stdout.write(f"{path} ({path.stat().st_size / 1e3:.0f} kB)\n")


if __name__ == "__main__":
    main()
