"""Models are loaded once each, when asked for, and a failure leaves the others."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gradio_ui.model_registry import Models, load_models
from gradio_ui.recognition.errors import ModelError
from gradio_ui.settings import Settings, SettingsError
from tests.support.app_fixtures import FakeRecognizer


def test_loaded_once_even_if_many_ask_at_once() -> None:
    calls: list[int] = []

    def slow() -> Any:
        calls.append(1)
        time.sleep(0.2)
        return FakeRecognizer()

    models = Models({"slow": slow, "other": FakeRecognizer})  # type: ignore[dict-item]
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(models["slow"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert not models.is_loaded("slow")
    begun = time.monotonic()
    models["other"]  # does not wait for the slow one
    assert time.monotonic() - begun < 0.15
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len({id(one) for one in found}) == 1 and models.is_loaded("slow")


def test_failure_is_tried_again_and_leaves_the_others() -> None:
    answers: list[Any] = [ModelError("broken"), FakeRecognizer()]

    def load() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    models = Models({"good": FakeRecognizer, "bad": load})  # type: ignore[dict-item]
    with pytest.raises(ModelError, match="broken"):
        models["bad"]
    assert models[models.default] and models["bad"]
    with pytest.raises(ModelError, match="expected one of the models good, bad, got 'user/any'"):
        models["user/any"]  # the page's visitors cannot have the server fetch what they like


def test_names_of_folders_hide_where_they_are(root: Path) -> None:
    offered = (str(root / "model_card/fer2013"), "user/other@v1", "user/other@" + 5 * "01234567")
    models = load_models(Settings(models=offered, detector="yunet"))
    assert models.names == ("fer2013", "user/other@v1", "user/other@01234567")
    assert [models.is_loaded(name) for name in models.names] == [True, False, False]


def test_two_folders_of_one_name_are_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "fer2013").mkdir()
    with pytest.raises(SettingsError, match="expected models of different names"):
        load_models(Settings(models=(str(root / "model_card/fer2013"), str(tmp_path / "fer2013")), detector="yunet"))
