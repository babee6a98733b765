"""What a link to the page shows: our own title, description, picture and icon, from no other host."""

from __future__ import annotations

import io
import re

import httpx
from PIL import Image


def test_a_link_shows_our_own_image_and_words(url: str) -> None:
    page = httpx.get(url, headers={"x-forwarded-proto": "https"}).text
    head = page[: page.index("</head>")]
    told = dict(re.findall(r'<meta property="(og:[a-z:]+)" content="([^"]*)"', head))
    assert told["og:title"] == "Facial expression recognition" and "apparent expression" in told["og:description"]
    assert told["og:image"] == url.replace("http:", "https:") + "preview.jpg"
    assert len(re.findall('og:image"', head)) == 1 and "@Gradio" not in head
    image = Image.open(io.BytesIO(httpx.get(f"{url}preview.jpg").content))
    assert image.size == (1200, 630)
    icon = Image.open(io.BytesIO(httpx.get(f"{url}favicon.ico").content))
    assert icon.size == (64, 64)


def test_other_answers_stay_as_they_are(url: str) -> None:
    assert "og:image" not in httpx.get(f"{url}config").text
    assert httpx.head(url).status_code in (200, 405)
