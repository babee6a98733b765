"""The choice of a model on the page: lazily, per session, and never a loss of what was served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from gradio_ui.model_registry import Models
from gradio_ui.recognition.errors import ModelError
from gradio_ui.recognition.types import Recognition
from tests.support.app_fixtures import FakeRecognizer, serve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Shouting(FakeRecognizer):
    """Another model with labels of its own."""

    def __init__(self) -> None:
        source = SimpleNamespace(folder="nowhere", model_id="me/loud", revision=COMMIT, origin="hub", notice="")
        super().__init__(source=source)
        self.labels = tuple(label.upper() for label in self.labels)

    def __call__(self, *args: Any, **options: Any) -> Recognition:
        return replace(super().__call__(*args, **options), labels=self.labels)


@dataclass
class Offer:
    """A page with three models; the second waits for `go`, the third always fails."""

    url: str
    go: Event
    models: Models


@pytest.fixture
def offer(gradio_files: Path) -> Iterator[Offer]:
    go = Event()

    def slow() -> Any:
        assert go.wait(30)
        return Shouting()

    def broken() -> Any:
        raise ModelError("me/broken is gated. Ask for access on its page.")

    quiet = FakeRecognizer()
    quiet.source.notice = ""
    models = Models({"me/quiet": lambda: quiet, "me/loud@v1": slow, "me/broken": broken})  # type: ignore
    for url in serve(models):
        yield Offer(url, go, models)
        go.set()


def choose(page: Any, name: str) -> None:
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=name).click()


def chosen(page: Any) -> str:
    return str(page.get_by_label("Model", exact=True).input_value())


@pytest.mark.browser
@pytest.mark.slow
def test_choice_waits_visibly_for_its_session_only(offer: Offer, page: Any, portrait_file: Path) -> None:
    other = page.context.browser.new_page()
    for one in (page, other):
        one.goto(offer.url)
        one.locator("#picture input[type=file]").set_input_files(portrait_file)
        one.locator("#bars").get_by_text("happy", exact=True).wait_for()
    assert not offer.models.is_loaded("me/loud@v1")

    choose(page, "me/loud@v1")
    page.get_by_text("Loading me/loud@v1").wait_for()
    other.get_by_label("The picture is one face").check()  # is answered meanwhile
    other.get_by_text("1 face found").wait_for()
    offer.go.set()
    page.locator("#bars").get_by_text("HAPPY", exact=True).wait_for()  # the same picture is recognized again
    page.get_by_text("Loading me/loud@v1").wait_for(state="hidden")

    page.get_by_role("tab", name="About").click()
    page.locator("#served").get_by_text(COMMIT).wait_for()
    assert "me/loud" in page.locator("#served").inner_text() and "HAPPY" in page.locator("#served").inner_text()

    page.get_by_role("tab", name="Batch").click()
    page.locator("#batch-files input[type=file]").set_input_files([portrait_file])
    page.locator("#batch-gallery").get_by_text("HAPPY").first.wait_for()

    assert chosen(other) == "me/quiet"
    other.get_by_label("The picture is one face").uncheck()
    other.get_by_text("2 faces found").wait_for()
    assert "happy" in other.locator("#bars").inner_text()
    other.close()
    page.reload()
    page.get_by_label("Model", exact=True).wait_for()
    assert chosen(page) == "me/quiet"


@pytest.mark.browser
@pytest.mark.slow
def test_running_camera_goes_on_with_the_new_model(offer: Offer, page: Any) -> None:
    page.on("dialog", lambda dialog: dialog.accept())  # yes, the live session may start again
    offer.go.set()
    page.goto(offer.url)
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start camera").click()
    bars = page.locator("#webcam .fer-bars")
    bars.get_by_text("happy", exact=True).wait_for()
    choose(page, "me/loud@v1")
    bars.get_by_text("HAPPY", exact=True).wait_for()
    bars.get_by_text("happy", exact=True).wait_for(state="detached")
    assert page.locator("#webcam video").evaluate("video => !video.paused")


@pytest.mark.browser
@pytest.mark.slow
def test_camera_started_after_the_choice_uses_it(offer: Offer, page: Any) -> None:
    offer.go.set()
    page.goto(offer.url)
    choose(page, "me/loud@v1")
    page.wait_for_function("document.querySelector('#model input').value === 'me/loud@v1'")
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start camera").click()
    bars = page.locator("#webcam .fer-bars")
    bars.get_by_text("HAPPY", exact=True).wait_for()
    assert bars.locator("i").nth(3).evaluate("bar => bar.style.background")  # the colors came along


@pytest.mark.browser
@pytest.mark.slow
def test_failing_choice_keeps_the_served_model(offer: Offer, page: Any, portrait_file: Path) -> None:
    page.goto(offer.url)
    choose(page, "me/broken")
    alert = page.get_by_role("alert").filter(has_text="me/broken cannot be served")
    alert.wait_for()
    assert "is gated. Ask for access" in alert.inner_text() and "me/quiet stays in use" in alert.inner_text()
    page.wait_for_function("document.querySelector('#model input').value === 'me/quiet'")
    page.locator("#picture input[type=file]").set_input_files(portrait_file)
    page.locator("#bars").get_by_text("happy", exact=True).wait_for()
    offer.go.set()
    choose(page, "me/loud@v1")
    page.locator("#bars").get_by_text("HAPPY", exact=True).wait_for()
    assert not alert.is_visible()


def test_programs_choose_by_name(offer: Offer, portrait_file: Path) -> None:
    offer.go.set()
    client = Client(offer.url, verbose=False)
    ask = {"image": handle_file(portrait_file), "api_name": "/recognize"}
    assert client.predict(**ask)["labels"][0] == "angry"
    assert client.predict(**ask, model_name="me/loud@v1")["labels"][0] == "ANGRY"
    assert client.predict(**ask)["labels"][0] == "angry"
    with pytest.raises(AppError, match="expected one of the models me/quiet"):
        client.predict(**ask, model_name="user/any")
    client.close()
