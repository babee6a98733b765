"""The command a user types: what it says about itself and how it ends when it cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = ("SPACE_ID", "PORT", "FER_MODEL", "FER_DETECTOR", "GRADIO_SERVER_PORT", "GRADIO_SERVER_NAME")


def run_app(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        [sys.executable, "app.py", *arguments],
        cwd=root,
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_names_every_setting(root: Path) -> None:
    result = run_app(root, "--help")
    assert result.returncode == 0
    limits = ("--max-file-size", "--max-video-minutes")
    for flag in ("--model", "--detector", "--host", "--port", *limits, "FER_MODEL", "FER_DETECTOR"):
        assert flag in result.stdout


def test_taken_port_is_one_line(root: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run_app(root, "--port", str(port))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"127.0.0.1:{port}" in result.stderr and "--port" in result.stderr


def test_missing_weights_are_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    result = run_app(root, "--port", "7999", "--model", str(tmp_path), "--detector", "yunet")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ") and "model.safetensors" in result.stderr


@pytest.mark.parametrize("environ", [{"PORT": "many"}, {"GRADIO_SERVER_PORT": "99999"}])
def test_wrong_environment_is_one_line(root: Path, environ: dict[str, str]) -> None:
    result = run_app(root, **environ)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "from 1 to 65535" in result.stderr


SERVE = """
import sys
import gradio

pages = []
gradio.Blocks.launch = lambda page, **_: pages.append(page)
sys.argv = ["app.py", "--port", sys.argv[1], "--detector", "yunet"]
import app

app.main()
from pathlib import Path
import numpy, skimage
from gradio_ui.recognition import EmotionRecognizer
from gradio_ui.recognition.live import follow
from gradio_ui.recognition.tracker import ExpressionSession

portrait = Path(skimage.__file__).parent / "data" / "astronaut.png"
recognizer = EmotionRecognizer.from_pretrained("model_card/fer2013")
(face,) = recognizer(portrait).to_dicts()
recognizer.explain(portrait, 0, face["label"])
frame = numpy.zeros((48, 64, 3), "uint8")
ExpressionSession(recognizer.labels).update(follow(recognizer)(frame, 0.0), 0.0)
print(len(pages), [name for name in ("torch", "transformers", "datasets") if name in sys.modules])
"""


@pytest.mark.slow
def test_serving_never_loads_torch(root: Path) -> None:
    """The page, a result, a saliency map and a live frame; PyTorch takes seconds and half a gigabyte."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    done = subprocess.run([sys.executable, "-c", SERVE, port], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[-2] == "1 []", done.stderr
