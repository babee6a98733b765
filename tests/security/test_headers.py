"""What every answer carries, what no answer tells, and what is closed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import httpx
import pytest


@pytest.mark.parametrize(
    "path", ["", "config", "gradio_api/info", "gradio_api/nothing", "theme.css", "assets/none.js"]
)
def test_every_answer_has_the_security_headers(url: str, path: str) -> None:
    headers = httpx.get(url + path).headers
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    assert "camera=(self)" in headers["permissions-policy"]
    ancestors = headers["content-security-policy"].removeprefix("frame-ancestors ").split()
    assert {"'self'", "https://huggingface.co", "https://*.hf.space"} <= set(ancestors) and "*" not in ancestors


@pytest.mark.parametrize(
    "path", ["", "config", "gradio_api/info", "gradio_api/info?all_endpoints=1", "gradio_api/openapi.json"]
)
def test_no_paths_and_no_environment_are_told(url: str, path: str, root: Path, gradio_files: Path) -> None:
    told = httpx.get(url + path).text
    for secret in (str(root), str(gradio_files), str(Path.home()) + "/", os.environ["PATH"], "site-packages"):
        assert secret not in told
    assert not re.search(r'"/(tmp|home|root|usr|var|etc)/', told)


@pytest.mark.parametrize(
    "path",
    [
        "deep_link?session_hash=abc",
        "process_recording",
        "runs",
        "run-history/records",
        "vibe-code",
        "proxy=https://a.hf.space/x",
        "file=https://huggingface.co/x.png",
        "file/https://huggingface.co/x.png",
        "file=HTTPS://huggingface.co/x.png",
    ],
)
def test_what_the_page_does_not_need_is_closed(url: str, path: str, gradio_files: Path) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(method, f"{url}gradio_api/{path}")
        assert answer.status_code == 404 and answer.json()["detail"] == "This app does not offer that."
    assert not (gradio_files / "deep_links").exists()


def test_files_of_the_server_are_not_served(url: str, root: Path, gradio_files: Path) -> None:
    for path in (root / "app.py", gradio_files, "/etc/passwd", gradio_files / "missing"):
        assert httpx.get(f"{url}gradio_api/file={path}").status_code == 403
