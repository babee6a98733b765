"""The engine in the browser: results a second, delay, drawn frames a second, memory; and how far it is from Python's.

    python -m tests.benchmarks.on_device --seconds 300 [--record]
    python -m tests.benchmarks.on_device --parity --dataset fer2013.csv [--images 200]

Headless Chromium, whose fake camera plays one face and then six at 640x480, tracks every frame that it has time for.
The delay is the time from the moment a frame is shown to the moment its result is there to be drawn.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import sync_playwright

from gradio_ui.recognition import EmotionRecognizer
from tests.benchmarks.record import RESULTS, describe, machine, record
from tests.support.browser import launch_chromium, write_clip
from tests.support.device_page import DevicePage
from tests.support.device_server import ROOT, device_server
from tests.support.parity import compare, group

WARM_UP = 40  # seconds; until then Chromium fills its cache of images drawn on a canvas, which is bounded
TARGETS = {1: 25, 6: 15}  # faces -> results/s
LIVE = """async (seconds) => {
  const { Pace } = await import("/pace.js"), pace = new Pace();
  const video = document.body.appendChild(Object.assign(document.createElement("video"), { muted: true }));
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  await video.play();
  const canvas = document.body.appendChild(document.createElement("canvas"));
  const results = [], painted = [];
  let done = false;
  const paint = (now) => { painted.push(now); if (!done) requestAnimationFrame(paint); };
  requestAnimationFrame(paint);
  const see = async () => {
    if (done) return;
    video.requestVideoFrameCallback(see);
    const taken = performance.now();
    if (!pace.ready(taken)) return;
    pace.sent(taken);
    const answer = await recognizer.track(video, { seconds: taken / 1000 });
    pace.answered(answer.milliseconds);
    if (answer.late) return;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const { box: [l, t, r, b] } of answer.faces) context.strokeRect(l, t, r - l, b - t);
    const now = performance.now();
    results.push({ now, delay: now - taken, faces: answer.faces.length });
  };
  video.requestVideoFrameCallback(see);
  await new Promise((end) => setTimeout(end, 1000 * seconds));
  done = true;
  for (const track of video.srcObject.getTracks()) track.stop();
  return { results, painted };
}"""


def write_group(path: Path) -> Path:
    """Write six faces that sway, 640x480, as MJPEG."""
    image = Image.fromarray(group())
    with path.open("wb") as file:
        for step in range(20):
            frame = Image.new("RGB", (640, 480), "#405060")
            frame.paste(image, (abs(step - 10), 0))
            frame.save(file, "JPEG", quality=85)
    return path


def renderers() -> tuple[float, float]:
    """Return the CPU seconds and the megabytes of all child processes, Chromium's; what they share counts once."""
    seconds, megabytes = 0.0, 0.0
    for child in psutil.Process(os.getpid()).children(recursive=True):
        try:
            times, memory = child.cpu_times(), child.memory_full_info()
        except psutil.Error:
            continue
        seconds += times.user + times.system
        megabytes += memory.pss / 1e6
    return seconds, megabytes


def measure(clip: Path, seconds: float, options: dict[str, Any]) -> dict[str, Any]:
    """Track the clip for a while; times in ms."""
    flags = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={clip}")
    with sync_playwright() as playwright, device_server(isolated=options.pop("isolated")) as url:
        browser = launch_chromium(playwright, *flags)
        page = browser.new_context(permissions=["camera"]).new_page()
        page.set_default_timeout(1000 * (seconds + 120))
        page.goto(url)
        device = DevicePage(page)
        start = time.monotonic()
        loaded = device.load(**options)
        if "error" in loaded:
            sys.exit(f"error: {loaded['error']['message']}")
        first = time.monotonic() - start
        start, worked = time.monotonic(), renderers()[0]
        device.load(**options)
        second, worked = time.monotonic() - start, renderers()[0] - worked
        megabytes = page.evaluate("window.progress.at(-1).loaded") / 1e6
        page.evaluate(LIVE, WARM_UP)
        before = renderers()
        live = page.evaluate(LIVE, seconds)
        after = renderers()
        browser.close()
    results, painted = live["results"], live["painted"]
    delays = [one["delay"] for one in results] or [float("nan")]
    return {
        "backend": loaded["backend"],
        "precision": loaded["precision"],
        "first_start": round(first, 2),
        "second_start": round(second, 2),
        "second_start_cpu": round(worked, 2),
        "megabytes": round(megabytes, 1),
        "per_second": round(len(results) / seconds, 1),
        "delay_median": round(statistics.median(delays), 1),
        "delay_p95": round(float(np.quantile(delays, 0.95)), 1),
        "page_fps": round(len(painted) / seconds, 1),
        "faces": round(statistics.mean(one["faces"] for one in results), 1) if results else 0,
        "browser_megabytes": [round(before[1]), round(after[1])],
        "cpu_ms_per_result": round(1000 * (after[0] - before[0]) / max(1, len(results)), 1),
    }


def speed(options: argparse.Namespace) -> None:
    measured_on = machine()
    print(describe(measured_on))
    content = {}
    with tempfile.TemporaryDirectory() as folder:
        for faces, write in ((1, write_clip), (6, write_group)):
            clip = write(Path(folder) / f"{faces}.mjpeg")
            choice = {"backend": options.backend, "precision": options.precision, "isolated": options.isolated}
            figures = measure(clip, options.seconds, choice)
            content[f"faces_{faces}"] = figures
            print(
                f"{faces} face(s), target {TARGETS[faces]} results/s:",
                ", ".join(f"{k} {v}" for k, v in figures.items()),
            )
    if options.record:
        record("on_device", {"seconds": options.seconds} | content, measured_on)
    from json import loads

    server = loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in ("webcam_1", "webcam_8"):
        if name in server:
            print(f"for comparison, {name} of the server's mode:", server[name].get("viewers", [""])[0])


def parity(options: argparse.Namespace) -> None:
    """Compare with Python on images of the validation split, each found by the detector and taken as a whole."""
    from training.data.load import load_fer

    images = load_fer(options.dataset)["validation"]
    chosen = np.random.default_rng(0).choice(len(images), min(options.images, len(images)), replace=False)
    engine = EmotionRecognizer.from_pretrained(ROOT / "model_card/fer2013", detector="yunet")
    with sync_playwright() as playwright, device_server() as url:
        page = launch_chromium(playwright).new_page()
        page.set_default_timeout(120_000)
        page.goto(url)
        device = DevicePage(page)
        for precision in ("float32", "int8"):
            print(precision, device.load(precision=precision, backend=options.backend))
            for whole in (False, True):
                found = [
                    compare(
                        engine(image := np.asarray(images[int(i)]["image"].convert("RGB")), whole_image=whole),
                        device.recognize(image, wholeImage=whole),
                    )
                    for i in chosen
                ]
                same = [one for one in found if one.expected == one.found]
                faces = sum(one.expected for one in same)
                print(
                    f"{'whole images' if whole else 'faces found'}: {len(same)} of {len(found)} images with the same "
                    f"number of faces, {faces} faces; boxes within {max(one.pixels for one in same):.3f} px, "
                    f"IoU at least {min(one.iou for one in same):.4f}, probabilities within "
                    f"{max(one.probability for one in same):.4f} "
                    f"(mean of the largest {statistics.mean(one.probability for one in same):.5f}), "
                    f"labels {sum(one.labels for one in same)} of {faces}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--backend", choices=["auto", "webgpu", "wasm"], default="auto")
    parser.add_argument("--precision", choices=["auto", "float32", "int8"], default="auto")
    parser.add_argument("--isolated", action="store_true", help="with the headers that allow WebAssembly's threads")
    parser.add_argument("--record", action="store_true", help="keep the results in results.json")
    parser.add_argument("--parity", action="store_true", help="compare with Python instead")
    parser.add_argument("--dataset", help="for --parity: CSV, folder or Hub id with a validation split")
    parser.add_argument("--images", type=int, default=200, help="for --parity")
    options = parser.parse_args()
    if options.parity and not options.dataset:
        parser.error("--parity: expected --dataset with it")
    (parity if options.parity else speed)(options)


if __name__ == "__main__":
    main()
