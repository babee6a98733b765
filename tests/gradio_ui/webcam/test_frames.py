"""What the webcam's endpoint takes, and the sentence for everything else."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_ui.recognition.errors import ImageError
from gradio_ui.server.sessions import RequestError, parse_session
from gradio_ui.webcam.frames import MAX_BYTES, LiveFrame, PartRequest
from tests.gradio_ui.webcam.test_viewers import page_data


def url_of(image: Image.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_frames_of_three_formats_are_decoded(kind: str) -> None:
    image = LiveFrame.parse(page_data(0.0, image=url_of(Image.new("RGB", (1000, 1000), "red"), kind))).decode()
    assert image.shape == (1000, 1000, 3) and image.dtype == np.uint8
    assert np.abs(image.reshape(-1, 3).mean(axis=0) - (255, 0, 0)).max() < 3


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_too_many_pixels_are_refused_undecoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = LiveFrame.parse(page_data(0.0, image=url_of(Image.new("RGB", (1001, 1000)), kind)))
    monkeypatch.setattr("gradio_ui.webcam.frames.read_image", None)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(ImageError, match="up to 500 kB and 1 megapixel, got 1001x1000"):
        frame.decode()


def test_a_header_that_claims_gigapixels_is_refused() -> None:
    png = bytearray(base64.b64decode(url_of(Image.new("L", (8, 8)), "PNG").partition(",")[2]))
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    image = "data:image/png;base64," + base64.b64encode(png).decode()
    with pytest.raises(ImageError, match="1 megapixel"):
        LiveFrame.parse(page_data(0.0, image=image)).decode()


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_refused_by_their_content(kind: str) -> None:
    image = url_of(Image.new("RGB", (32, 32)), kind).replace(kind.lower(), "jpeg", 1)
    with pytest.raises(ImageError, match="Expected a frame as a JPEG, WebP or PNG file"):
        LiveFrame.parse(page_data(0.0, image=image)).decode()


def test_too_many_bytes_are_refused_undecoded() -> None:
    with pytest.raises(ImageError, match="got a larger one"):
        LiveFrame.parse(page_data(0.0, image="data:image/png;base64," + "A" * (2 * MAX_BYTES)))


NUMBERS = [math.nan, math.inf, -math.inf, -1, 1e300, 10**400, "1", "x" * 1_000_000, None, True, [1], {}]


@pytest.mark.parametrize("name", ["start", "seconds", "smoothing", "recording"])
@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: repr(value)[:12])
def test_no_number_is_one_short_sentence(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=rf"^{name}: expected a (whole )?number from 0 to \S+; reload") as caught:
        LiveFrame.parse(page_data(0.0) | {name: value})
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("image", [None, 7, [], "no url", "data:image/jpeg;base64,%%", "data:text/html,x"])
def test_no_data_url_is_one_sentence(image: Any) -> None:
    with pytest.raises(RequestError, match=r"^image: expected .*reload the page"):
        LiveFrame.parse(page_data(0.0, image=image))


def test_an_empty_or_damaged_file_is_one_sentence() -> None:
    whole = page_data(0.0)["image"]
    for image in ("data:image/jpeg;base64,", whole[:23] + whole[23 : 23 + len(whole) // 8 * 4]):
        with pytest.raises(ImageError, match="damaged"):
            LiveFrame.parse(page_data(0.0, image=image)).decode()


@pytest.mark.parametrize("data", [None, "text", 3, [], [{}]])
def test_no_object_is_one_sentence(data: Any) -> None:
    for kind in (LiveFrame, PartRequest):
        with pytest.raises(RequestError, match="expected a JSON object"):
            kind.parse(data)


def test_smoothing_is_at_most_two_seconds() -> None:
    assert LiveFrame.parse(page_data(0.0, smoothing=2)).smoothing == 2
    with pytest.raises(RequestError, match="smoothing: expected a number from 0 to 2;"):
        LiveFrame.parse(page_data(0.0, smoothing=2.01))


def test_a_request_for_a_part_is_checked() -> None:
    right = {"number": 1, "have": 0, "finish": False}
    assert PartRequest.parse(right) == PartRequest(1, 0, False)
    for wrong in ({"number": math.inf}, {"have": -1}, {"have": 1.5}, {"finish": 1}, {"finish": None}):
        with pytest.raises(RequestError, match="expected"):
            PartRequest.parse(right | wrong)


@pytest.mark.parametrize("session", ["", "a" * 65, "a b", "a\n", "ä", "../x", None, 3, ["a"]])
def test_odd_session_ids_are_refused(session: Any) -> None:
    with pytest.raises(RequestError, match="session_hash: expected 1 to 64 letters"):
        parse_session(session)
    assert parse_session("0a1b-C_" * 9) == "0a1b-C_" * 9


def test_a_threshold_is_a_probability() -> None:
    assert LiveFrame.parse(page_data(0.0)).threshold == 0.4, "of a program that sends none"
    assert LiveFrame.parse(page_data(0.0, threshold=1)).threshold == 1
    with pytest.raises(RequestError, match="threshold: expected a number from 0 to 1;"):
        LiveFrame.parse(page_data(0.0, threshold=1.01))
