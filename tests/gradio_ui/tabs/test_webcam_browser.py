"""The webcam tab in a real headless Chromium with a fake camera: start, stop, trouble, several viewers, recording."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import av
import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image, ImageColor

from gradio_ui.recognition.palette import COLORS
from tests.gradio_ui.webcam.test_viewers import page_data

pytestmark = pytest.mark.browser

# Remembers every track that the page opens, to see later whether it was released.
SPY = """
window.tracks = [];
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wish) => {
  const stream = await open(wish);
  window.tracks.push(...stream.getTracks());
  return stream;
};
"""
ALL_ENDED = "window.tracks.length > 0 && window.tracks.every((track) => track.readyState === 'ended')"
SUMMARY = "#webcam [data-read=session]"


def open_webcam(page: Any, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Webcam").click()


def start_webcam(page: Any, url: str) -> None:
    page.add_init_script(SPY)
    open_webcam(page, url)
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


def download(page: Any, what: str) -> Path:
    with page.expect_download() as saved:
        page.locator(f"#webcam [data-do={what}]").click()
    return Path(saved.value.path())


def saved_rows(page: Any, prefix: str = "") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of the CSV and JSON files, which must agree, and the summary."""
    rows = list(csv.DictReader(io.StringIO(download(page, f"{prefix}csv").read_text())))
    saved = json.loads(download(page, f"{prefix}json").read_text())
    texts = {"label": str, "shown": str, "unclear": "true".__eq__}
    assert [{k: texts.get(k, float)(v) for k, v in row.items()} for row in rows] == saved["timeline"]
    return saved["timeline"], saved["summary"]


def test_results_come_and_stop_releases_the_camera(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.wait_for_function("parseFloat(document.querySelector('[data-read=rate]').textContent) > 0")
    assert page.locator("#webcam .fer-bars li").nth(3).inner_text().split() == ["happy", "70%"]
    overlay = "document.querySelector('#webcam .fer-stage canvas').getContext('2d')"
    drawn = f"{overlay}.getImageData(0, 0, 640, 480).data.some(Boolean)"
    assert page.evaluate(drawn)
    assert not page.evaluate(ALL_ENDED)
    assert "fer-mirrored" in page.locator("#webcam video").get_attribute("class")
    page.get_by_label("Mirror").uncheck()
    assert "fer-mirrored" not in page.locator("#webcam video").get_attribute("class")
    overlay_class = page.locator("#webcam .fer-stage canvas").get_attribute("class")
    assert "fer-mirrored" not in (overlay_class or ""), "text is never mirrored"
    assert Image.open(download(page, "snapshot")).size == (640, 480)
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate(ALL_ENDED)
    assert not page.evaluate(drawn)
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


def detail(path: Path) -> float:
    """The mean step from a pixel to the next inside of the left face's box."""
    pixels = np.asarray(Image.open(path).convert("L"), np.float32)[150:330, 100:220]
    return float(np.abs(np.diff(pixels, axis=1)).mean())


@pytest.mark.slow
def test_faces_are_blurred_in_what_is_saved(page: Any, url: str) -> None:
    start_webcam(page, url)
    sharp = detail(download(page, "snapshot"))
    page.get_by_label("Blur faces in what is saved").check()
    assert detail(download(page, "snapshot")) < sharp / 3
    page.get_by_label("Blur faces in what is saved").uncheck()
    assert detail(download(page, "snapshot")) > sharp / 2


@pytest.mark.slow
def test_start_waits_for_the_script(page: Any, url: str) -> None:
    """On a slow network the button is there long before what it starts; no click may be lost."""
    held: list[Any] = []
    page.route("**/page/webcam.js", lambda route: held.append(route))
    open_webcam(page, url)
    page.wait_for_function("document.querySelector('#webcam .fer-cover-text')?.textContent === 'Loading'")
    start = page.get_by_role("button", name="Start camera")
    assert start.is_disabled()
    held.pop().continue_()
    start.click()  # waits until it can be clicked
    page.locator("#webcam .fer-bars li").first.wait_for()


def test_a_script_out_of_reach_is_told(page: Any, url: str) -> None:
    page.route("**/page/webcam.js", lambda route: route.abort())
    open_webcam(page, url)
    page.get_by_text("cannot be reached. Reload the page.").wait_for()
    assert page.get_by_role("button", name="Start camera").is_disabled()


@pytest.mark.slow
def test_the_browser_alone_draws_and_saves_a_session(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.locator(SUMMARY).filter(has_text=re.compile(r"mostly (happy|sad): .*(happy|sad) \d+%.* of ")).wait_for()
    lanes = page.locator("#webcam .fer-lanes li")
    lanes.filter(has_text="happy 100%").first.wait_for()
    lanes.filter(has_text="sad 100%").first.wait_for()
    # Waited for, since a lane has a hole where the server took too long, until the next second is drawn.
    page.wait_for_function(
        """(colors) => {
          const lane = [...document.querySelectorAll(".fer-lanes li")].at(-1);
          const canvas = lane.querySelector("canvas");
          const pixel = (x) => [...canvas.getContext("2d").getImageData(x, canvas.height / 2, 1, 1).data].join();
          const now = colors[lane.innerText.includes("happy") ? "happy" : "sad"];
          return pixel(canvas.width - 3) === now && pixel(3) === "0,0,0,0"; // now, and nothing a minute ago
        }""",
        arg={label: ",".join(map(str, ImageColor.getcolor(COLORS[label], "RGBA"))) for label in ("happy", "sad")},
    )
    page.get_by_role("button", name="Stop").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    rows, summary = saved_rows(page)
    assert not [address for address in asked if not address.startswith("blob:")]
    assert {row["label"] for row in rows} == {"happy", "sad"}
    assert rows[0]["seconds"] == 0 and 0 < rows[-1]["seconds"] < 120
    assert {(row["width"], row["height"]) for row in rows} == {(480, 360)}
    assert len({(row["seconds"], row["face"]) for row in rows}) == len(rows)
    for row in rows:
        assert row[row["label"]] == row["raw_" + row["label"]] == pytest.approx(0.7)
        assert sum(row[name] for name in summary["labels"]) == pytest.approx(1, abs=1e-3)
    assert summary["shares"] == pytest.approx({"happy": 0.5, "sad": 0.5})
    page.get_by_role("button", name="Start camera").click()
    page.get_by_text("will be drawn here").wait_for()


def test_a_click_chooses_the_face_of_the_bars(page: Any, url: str) -> None:
    """The right half of the camera's picture, which is mirrored, holds the second face, a sad one."""
    start_webcam(page, url)
    box = page.locator("#webcam .fer-stage canvas").bounding_box()
    chosen = page.locator("#webcam .fer-held")
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.get_by_role("heading", name="Apparent expression of face 2").wait_for()
    chosen.filter(has_text="sad").wait_for()
    page.locator("#webcam .fer-lanes li").first.click()
    page.get_by_role("heading", name="Apparent expression of face 1").wait_for()
    chosen.filter(has_text="happy").wait_for()
    slider = page.get_by_role("slider", name="Unclear below")
    slider.press("End")
    page.get_by_text("Unclear: happy or angry.").wait_for()
    assert chosen.count() == 2, "the two that it may be"
    page.get_by_role("button", name="Stop").click()
    rows, summary = saved_rows(page)
    assert (rows[-1]["unclear"], rows[-1]["shown"]) == (True, f"{rows[-1]['label']} or angry")
    assert (rows[0]["unclear"], rows[0]["shown"]) == (False, rows[0]["label"])
    assert 0 < summary["unclear"] < 1


@pytest.mark.slow
def test_an_old_result_fades_under_a_banner(page: Any, url: str) -> None:
    start_webcam(page, url)
    banner, faded = page.locator("#webcam .fer-banner"), page.locator("#webcam canvas.fer-old")
    banner.wait_for(state="hidden")
    page.route("**/component_server**", lambda route: None)  # the server is away: no answer ever comes
    banner.filter(has_text="No answer from the server").wait_for()
    faded.wait_for()
    page.get_by_role("button", name="Pause").click()
    banner.wait_for(state="hidden")
    assert faded.count() == 0, "what is frozen with the video does not age"


@pytest.mark.slow
def test_smoothing_goes_with_every_frame(page: Any, url: str) -> None:
    sent: list[float] = []
    page.on(
        "request",
        lambda request: "component_server" in request.url and sent.append(request.post_data_json["data"]["smoothing"]),
    )
    start_webcam(page, url)
    assert sent[-1] == 0.5
    slider = page.get_by_role("slider", name="Smoothing")
    slider.press("Home")
    assert slider.get_attribute("aria-valuetext") == "off"
    page.wait_for_function("document.querySelector('.fer-range output').textContent === 'off'")
    with page.expect_request(lambda request: "component_server" in request.url) as asked:
        pass
    assert asked.value.post_data_json["data"]["smoothing"] == 0


@pytest.mark.slow
def test_a_recording_is_given_to_the_browser_alone(page: Any, url: str, gradio_files: Path) -> None:
    files = sorted(gradio_files.rglob("*"))
    start_webcam(page, url)
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name=re.compile(r"Stop recording 0:0[2-9]|Stop recording 0:[1-5]")).click()
    page.get_by_text("Only your browser has it").wait_for()
    assert not [thread for thread in threading.enumerate() if thread.name == "recording"]
    with av.open(str(download(page, "video"))) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.width) == ("h264", 480)
        times = [round(float(frame.time), 3) for frame in video.decode(video=0)]
        length = video.duration / av.time_base
    rows, summary = saved_rows(page, "video-")
    assert length == pytest.approx(times[-1], abs=0.1) and length >= 1.5
    results = sorted({row["seconds"] for row in rows})
    assert results[-1] == pytest.approx(times[-1], abs=0.002)
    assert all(min(abs(t - r) for r in results) <= 0.002 for t in times), "each frame of the video is one of the table"
    assert {row["label"] for row in rows} == {"happy", "sad"} and summary["labels"][3] == "happy"
    assert sorted(gradio_files.rglob("*")) == files, "nothing was written on the server"


@pytest.mark.slow
def test_a_recording_ends_with_camera_and_page(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="Stop recording 0:0").wait_for()
    page.get_by_role("tab", name="About").click()
    page.wait_for_function(ALL_ENDED)
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_text("Only your browser has it").wait_for()
    page.get_by_role("button", name="Start camera").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop recording 0:0").wait_for()
    page.wait_for_timeout(300)
    page.close()
    deadline = time.monotonic() + 30
    while [thread for thread in threading.enumerate() if thread.name == "recording"]:
        assert time.monotonic() < deadline, "the server goes on recording a page that was closed"
        time.sleep(0.1)


# A camera of the page's own, so that each viewer shows something else: the halves of a picture that are not black.
HALVES = """
navigator.mediaDevices.getUserMedia = async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const context = canvas.getContext("2d");
  setInterval(() => {
    context.fillStyle = `hsl(${Date.now() % 360} 50% 50%)`;
    context.clearRect(0, 0, 640, 480);
    for (const left of HERE) context.fillRect(left + 40, 0, 240, 480);
  }, 30);
  return canvas.captureStream(30);
};
window.results = [];
document.addEventListener("fer-result", ({ detail }) => window.results.push(detail));
"""


@pytest.mark.slow
def test_several_viewers_see_only_their_own_faces(browser: Any, url: str) -> None:
    shown = {"[0]": {"happy"}, "[320]": {"sad"}, "[0, 320]": {"happy", "sad"}}
    contexts = [browser.new_context() for _ in shown]
    pages = [context.new_page() for context in contexts]
    for page, halves in zip(pages, shown, strict=True):
        page.add_init_script(HALVES.replace("HERE", halves))
        open_webcam(page, url)
    for page in pages:
        page.get_by_role("button", name="Start camera").click()
    for script in ("window.results.length", "(window.results.length = 0, true)", "window.results.length >= 5"):
        for page in pages:
            page.wait_for_function(script)
    results = [page.evaluate("window.results") for page in pages]
    for context in contexts:
        context.close()
    for seen, expected in zip(results, shown.values(), strict=True):
        assert {frozenset(face["label"] for face in one["faces"]) for one in seen} == {frozenset(expected)}
        assert max(one["delay"] for one in seen) < 3000  # milliseconds, on a machine that may be busy
    counts = [len(seen) for seen in results]
    assert max(counts) < 4 * min(counts), counts


@pytest.mark.slow
def test_eight_viewers_are_served_in_turn(url: str) -> None:
    """Eight programs that send their next frame with the answer to the last, as pages do."""
    config = httpx.get(f"{url}config").json()
    component = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "webcam")
    delays: list[list[float]] = [[] for _ in range(8)]
    together = threading.Barrier(8)

    def watch(number: int) -> None:
        with httpx.Client(timeout=60) as client:

            def ask(now: float) -> None:  # on a clock of its own, as a face is lost after two seconds
                body = {"component_id": component, "fn_name": "recognize_frame", "session_hash": f"viewer{number}"}
                answer = client.post(f"{url}gradio_api/component_server/", json=body | {"data": page_data(now)}).json()
                assert [face["face"] for face in answer["faces"]] == [1, 2], "the ids of another viewer"

            ask(0.0)  # the first waits for the server to import what tracks faces
            together.wait(timeout=60)
            while min(map(len, delays)) < 10:  # until the last has had ten, however fast the machine is
                start = time.monotonic()
                ask(0.1 * len(delays[number]) + 0.1)
                delays[number].append(time.monotonic() - start)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(watch, range(8)))
    assert max(map(len, delays)) <= 20, "somebody was served twice as often"
    longest = [max(mine) for mine in delays]  # also of the machine's own pauses, which all of them share
    assert max(longest) < 10 * median(map(median, delays)) + min(longest) + 0.5, "somebody was left waiting"


@pytest.mark.slow
def test_leaving_the_tab_releases_the_camera(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.get_by_role("tab", name="About").click()
    page.wait_for_function(ALL_ENDED)
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


@pytest.mark.slow
def test_at_most_two_frames_fly_and_none_is_on_disk(page: Any, url: str, gradio_files: Path) -> None:
    flying, most, done = 0, 0, 0

    def count(step: int) -> Any:
        def on(request: Any) -> None:
            nonlocal flying, most, done
            if "component_server" in request.url:
                flying, done = flying + step, done + (step < 0)
                most = max(most, flying)

        return on

    page.on("request", count(1))
    page.on("requestfinished", count(-1))
    files = sorted(gradio_files.rglob("*"))
    start_webcam(page, url)
    for _ in range(100):
        page.wait_for_timeout(200)
        if done > 3:
            break
    page.get_by_role("button", name="Pause").click()
    for _ in range(100):
        page.wait_for_timeout(500)  # the frames on their way, and perhaps the last one shown, are still answered
        if not flying:
            break
    assert done > 3 and most <= 2
    assert sorted(gradio_files.rglob("*")) == files
    before = done
    page.wait_for_timeout(500)
    assert done == before, "a paused camera still sends frames"
    page.get_by_role("button", name="Resume").click()
    page.wait_for_function("!document.querySelector('#webcam video').paused")


@pytest.mark.slow
def test_a_lost_server_is_told_and_found_again(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.route("**/component_server/**", lambda route: route.abort())
    page.get_by_text("The server does not answer").wait_for()
    page.unroute("**/component_server/**")
    page.get_by_text("The server does not answer").wait_for(state="hidden")


def test_an_unplugged_camera_is_told_with_a_way_back(page: Any, url: str) -> None:
    start_webcam(page, url)
    page.evaluate("window.tracks[0].dispatchEvent(new Event('ended'))")
    page.get_by_text("The camera was unplugged").wait_for()
    page.get_by_role("button", name="Start camera").click()
    page.locator("#webcam .fer-bars li").first.wait_for()


def test_a_camera_that_does_not_start_is_told(page: Any, url: str) -> None:
    open_webcam(page, url)
    for name, told in (
        ("NotAllowedError", "The camera was refused"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "The camera is busy"),
    ):
        refuse = f"async () => {{ throw new DOMException('', '{name}') }}"
        page.evaluate(f"navigator.mediaDevices.getUserMedia = {refuse}; 0")
        page.get_by_role("button", name="Start camera").click()
        page.get_by_text(told).wait_for()
    assert page.get_by_role("button", name="Start camera").is_enabled()


def test_a_late_look_at_the_device_hides_no_error(page: Any, url: str) -> None:
    held: list[Any] = []
    page.route("**/device.json", lambda route: held.append(route))
    with page.expect_request("**/device.json"):
        open_webcam(page, url)
    page.evaluate(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }; 0"
    )
    page.get_by_role("button", name="Start camera").click()
    page.get_by_text("No camera was found").wait_for()
    with page.expect_response("**/device.json"):
        held.pop().continue_()
    page.wait_for_timeout(200)
    assert page.get_by_text("No camera was found").is_visible()
