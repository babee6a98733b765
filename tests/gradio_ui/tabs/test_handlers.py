"""The handlers of the tabs without a page: what they show for what they get."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from gradio_ui.demo import Chooser
from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import ModelError
from gradio_ui.server.uploads import REFUSAL
from gradio_ui.settings import Settings
from gradio_ui.tabs.batch import BatchHandlers
from gradio_ui.tabs.image import EMPTY, ImageHandlers, take_example
from gradio_ui.tabs.video import VideoHandlers
from gradio_ui.views.face_choice import FaceView, choose_face, show_face
from tests.support.app_fixtures import FakeRecognizer
from tests.support.clips import make_clip

REQUEST = SimpleNamespace(session_hash="mine")
FOREIGN = {"path": "/etc/hostname"}


def broken() -> Any:
    raise ModelError("me/broken is gated.")


@pytest.fixture
def models(fake: FakeRecognizer) -> Models:
    return Models({"me/fake": lambda: fake, "me/broken": broken})  # type: ignore[dict-item, return-value]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one upload, within an upload folder."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    folder = tmp_path / ("a" * 64)
    folder.mkdir()
    return folder


@pytest.fixture
def portrait(stored: Path, portrait_file: Path) -> dict[str, str]:
    (stored / "me.jpg").write_bytes(portrait_file.read_bytes())
    return {"path": str(stored / "me.jpg"), "orig_name": "me.jpg"}


def test_a_image_is_shown_and_explained(models: Models, portrait: dict[str, str]) -> None:
    handlers = ImageHandlers(models, Settings())
    shown, _ = handlers.show(portrait, False, 0.4, "me/fake")
    assert "2 faces found" in shown.notice and shown.annotated.startswith('<div class="fer-picture">')
    assert [face["label"] for face in shown.result["faces"]] == ["happy", "sad"]
    heat = handlers.explain(portrait, False, "me/fake", shown.result, 1, "sad")
    assert "fer-saliency" in heat
    assert "No face yet" in handlers.explain(portrait, False, "me/fake", EMPTY, 0, "happy")
    assert "No face yet" in handlers.explain(None, False, "me/fake", shown.result, 1, "sad")


@pytest.mark.parametrize(
    ("image", "whole", "name", "told"),
    [
        (FOREIGN, False, "me/fake", REFUSAL),
        (7, False, "me/fake", REFUSAL),
        (FOREIGN, "no", "me/fake", "whole_image: expected true or false"),
        (FOREIGN, False, "me/broken", "is gated"),
        (FOREIGN, False, [], "expected one of the models"),
        (None, False, "me/fake", "No picture yet"),
    ],
)
def test_what_cannot_be_shown_is_told(
    models: Models, stored: Path, image: Any, whole: Any, name: Any, told: str
) -> None:
    shown, _ = ImageHandlers(models, Settings()).show(image, whole, 0.4, name)
    assert told in shown.notice and shown.result == EMPTY and shown.annotated == ""


def test_a_face_is_chosen_by_number_and_by_a_click(models: Models, portrait: dict[str, str]) -> None:
    found = ImageHandlers(models, Settings()).show(portrait, False, 0.4, "me/fake")[0].result
    assert "face 2" in show_face(found, 1).chart
    assert choose_face(found, SimpleNamespace(face=1)).chosen.value == 1  # type: ignore[arg-type]
    for other in (2, -1, None, "1", True):
        assert show_face(found, other) == FaceView()  # type: ignore[arg-type]
        assert choose_face(found, SimpleNamespace(face=other)) == FaceView()  # type: ignore[arg-type]


def test_the_threshold_is_kept_in_the_result(models: Models, portrait: dict[str, str]) -> None:
    handlers = ImageHandlers(models, Settings())
    (clear, sure), (unclear, unsure) = (handlers.show(portrait, False, least, "me/fake") for least in (0.4, 0.75))
    assert (clear.result["threshold"], unclear.result["threshold"]) == (0.4, 0.75)
    assert [face["shown"] for face in clear.result["faces"]] == ["happy", "sad"]
    assert [face["shown"] for face in unclear.result["faces"]] == ["happy or angry", "sad or angry"]
    assert "Unclear" not in sure.chart and "Unclear: happy or angry. No expression reaches 75%." in unsure.chart
    assert "unclear: sad or angry" in unclear.table
    refused, _ = handlers.show(portrait, False, 2, "me/fake")
    assert "threshold: expected a number from 0 to 1" in refused.notice


def test_examples_are_taken_by_number() -> None:
    assert take_example(0).shape == (512, 512, 3)
    for other in (-1, 3, "0", None):
        with pytest.raises(gr.Error, match="Expected the number of an example, 0 to 2"):
            take_example(other)  # type: ignore[arg-type]


def test_a_batch_becomes_a_table(models: Models, portrait: dict[str, str], stored: Path) -> None:
    (stored / "broken.png").write_bytes(b"no picture")
    handlers = BatchHandlers(models, Settings())
    begun, progress, *_, last = handlers.recognize_all(
        [portrait, {"path": str(stored / "broken.png"), "orig_name": "<b>.png"}],
        False,
        0.4,
        False,
        "me/fake",
        REQUEST,  # type: ignore[arg-type]
    )
    assert "Reading the pictures" in begun.notice and "1 of 2 pictures" in progress.notice
    assert "2 faces in 1 picture" in last.notice
    assert "&lt;b&gt;.png" in last.results and "not read: " in last.results
    refused = list(handlers.recognize_all([FOREIGN], False, 0.4, False, "me/fake", REQUEST))[-1]  # type: ignore[arg-type]
    assert "uploaded to this app" in refused.notice


def test_cancel_ends_the_batch_of_its_session_only(models: Models, portrait: dict[str, str]) -> None:
    handlers = BatchHandlers(models, Settings())
    work = handlers.recognize_all([portrait] * 30, False, 0.4, False, "me/fake", REQUEST)  # type: ignore[arg-type]
    next(work), next(work)
    handlers.stop(SimpleNamespace(session_hash="other"))  # type: ignore[arg-type]
    assert "9 of 30 pictures" in next(work).notice
    assert handlers.stop(REQUEST).value == "Cancelling …"  # type: ignore[arg-type]
    assert "Stopped after 17 of 30 pictures" in next(work).notice


def test_a_video_becomes_a_copy_and_tables(models: Models, stored: Path) -> None:
    film = make_clip(stored / "film.mp4", [i / 25 for i in range(20)], size=(160, 120))
    handlers = VideoHandlers(models, Settings())
    file = {"path": str(film), "orig_name": "film.mp4"}
    *_, last = handlers.analyze(file, 5, 0.5, 0.4, False, "me/fake", REQUEST)  # type: ignore[arg-type]
    assert "2 faces found" in last.notice and "Key moments" in last.summary
    refused = list(handlers.analyze(FOREIGN, 5, 0.5, 0.4, False, "me/fake", REQUEST))[-1]  # type: ignore[arg-type]
    assert "uploaded to this app" in refused.notice
    refused = list(handlers.analyze(file, "fast", 0.5, 0.4, False, "me/fake", REQUEST))[-1]  # type: ignore[arg-type]
    assert "per_second: expected a number" in refused.notice


def test_a_model_that_fails_leaves_the_served_one(models: Models) -> None:
    waiting, refused = Chooser(models, {}, {}).choose("me/broken", "me/fake")
    assert "Loading me/broken" in waiting.notice
    assert "me/fake stays in use" in refused.notice and refused.model == gr.skip()


def test_a_switch_called_off_changes_nothing(models: Models) -> None:
    (kept,) = Chooser(models, {}, {}).choose(None, "me/fake")
    assert kept.choice.value == "me/fake" and kept.model == kept.webcam == kept.notice == gr.skip()


def test_tabs_do_not_import_each_other(root: Path) -> None:
    for module in (root / "gradio_ui" / "tabs").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            named = node.module if isinstance(node, ast.ImportFrom) else None
            assert not (named or "").startswith("gradio_ui.tabs"), module.name


def test_no_descriptor_is_left_open(models: Models, portrait: dict[str, str]) -> None:
    handlers = ImageHandlers(models, Settings())
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        handlers.show(portrait, False, 0.4, "me/fake")
    assert len(os.listdir("/dev/fd")) == before
