"""The README's section on one's own faces, command by command as it stands: photographs in, a served model out."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from gradio_ui.model_registry import load_models
from gradio_ui.settings import parse_settings
from tests.support.hub_fixtures import Client
from tests.support.hub_server import HubServer

CLASSES = ("happy", "neutral", "excited")


@pytest.fixture
def commands(root: Path) -> list[list[str]]:
    """The arguments of every command of the section, without the interpreter."""
    text = (root / "README.md").read_text("utf-8").partition("## Your own faces\n")[2].partition("\n## ")[0]
    code = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    code = code.replace("your-name/", "tester/")  # who is logged in
    return [shlex.split(line)[1:] for line in code.splitlines()]


@pytest.fixture
def photographs(tmp_path: Path, portrait: np.ndarray) -> None:
    """Twelve photographs of each class, all different; their light tells the classes apart."""
    for number in range(12 * len(CLASSES)):
        label = number % len(CLASSES)
        file = tmp_path / "photos" / CLASSES[label] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        view = portrait[: 300 + number, 60 + number : 400] * (1 - 0.35 * label)
        Image.fromarray(view.astype(np.uint8)).save(file)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_section_runs_as_it_stands(
    commands: list[list[str]],
    photographs: None,
    published_package: Path,
    root: Path,
    tmp_path: Path,
    portrait: np.ndarray,
    client: Client,
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "training").symlink_to(root / "training")
    (tmp_path / "model_card").mkdir()
    (tmp_path / "model_card/fer2013").symlink_to(published_package)  # a tiny network in its place
    monkeypatch.chdir(tmp_path)
    for first, *rest in commands:
        if first == "-m":
            module = f"{rest[0]}.__main__" if rest[0] in ("training.data", "gradio_ui.recognition") else rest[0]
            assert not importlib.import_module(module).main(rest[1:]), rest
        else:
            assert first == "app.py"
            models = load_models(parse_settings(rest))
            (face,) = models[models.default](portrait).to_dicts()
            assert tuple(face["probabilities"]) == CLASSES
    told = capsys.readouterr().out
    assert re.search(r"excited +10 +2\n", told) and "packaged in my-faces" in told

    card = hub.repos["model", "tester/my-faces"].files["README.md"].decode()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["license"] == "unknown" and not {"datasets", "base_model"} & metadata.keys()
    assert {entry["dataset"]["name"] for entry in metadata["model-index"][0]["results"]} == {"faces"}
    assert "3 classes" in card and "Fine-tuned from `model_card/fer2013` (trained on FER-2013) on `faces`." in card
    assert "scratch" not in card and "web searches" not in card
