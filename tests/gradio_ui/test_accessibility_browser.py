"""axe-core finds nothing to mend in what is ours, on every tab in both themes; keyboard and screen reader keep up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gradio_ui.test_static_page_browser import site  # noqa: F401  a fixture
from tests.support.scheduling import some_slow

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[1] / "javascript" / "node_modules" / "axe-core" / "axe.min.js"
TABS = ("Image", "Batch", "Webcam", "Video", "About")
# Whatever is not of Gradio's own making: our HTML, and the names and colors of its components.
CHECK = """async (gradios) => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.flatMap(({ id, nodes }) =>
    nodes
      .filter(({ target }) => !gradios.some((place) => document.querySelector(target.at(-1))?.closest(place)))
      .map(({ target, any }) => `${id}: ${target.at(-1)} ${any[0]?.message ?? ""}`));
}"""
GRADIOS = [
    *("footer", ".image-container", ".file-preview", ".plotly", "#batch-gallery .grid-wrap"),
    *("[aria-label^='Click to upload']", "[aria-label='common.upload']"),
]

SMALL = """() => {
  const controls = "button, a, summary, select, label";
  const parts = document.querySelectorAll(`[class^=fer-] :is(${controls}), [class^=fer-]:is(${controls})`);
  return [...parts].filter((part) => part.offsetParent && Math.min(part.offsetWidth, part.offsetHeight) < 24)
    .map((part) => part.outerHTML);
}"""


def problems(page: Any) -> list[str]:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed; `make test` does that where there is npm")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    return list(page.evaluate(CHECK, GRADIOS))


@pytest.fixture(params=some_slow(("light", "dark"), quick=("light",)))
def themed(browser: Any, request: Any) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme=request.param, permissions=["camera"]
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def test_axe_finds_nothing_on_any_tab(themed: Any, url: str, portrait_file: Path) -> None:
    themed.goto(url)
    themed.locator("#picture input[type=file]").set_input_files(portrait_file)
    themed.locator("#bars li").first.wait_for()
    found: dict[str, list[str]] = {}
    for tab in TABS:
        themed.get_by_role("tab", name=tab, exact=True).click()
        themed.locator(f"#tab-{tab.lower()}").wait_for()
        if tab == "Batch":
            themed.locator("#batch-files input[type=file]").set_input_files([portrait_file, portrait_file])
            themed.locator("#batch-results table").wait_for()
        if tab == "Webcam":
            themed.get_by_role("button", name="Start camera").click()
            themed.locator("#webcam .fer-bars li").first.wait_for()
        if found_here := problems(themed):
            found[tab] = found_here
    assert not found, found


@pytest.mark.slow
def test_axe_finds_nothing_on_the_static_page(themed: Any, site: str, portrait_file: Path) -> None:  # noqa: F811
    themed.goto(f"{site}#image")
    themed.locator("[type=file]").set_input_files(portrait_file)
    themed.get_by_text("1 face found").wait_for()
    found = problems(themed)
    for tab in ("Webcam", "About"):
        themed.get_by_role("tab", name=tab).click()
        found += problems(themed)
    assert not found, found


def focus(page: Any) -> str:
    return str(page.evaluate("document.activeElement.dataset.do ?? document.activeElement.tagName"))


def test_focus_stays_and_the_expression_is_said(page: Any, url: str) -> None:
    page.goto(f"{url}#webcam")
    page.locator(".fer-cam [data-do=start]:enabled").focus()
    page.keyboard.press("Enter")
    page.locator(".fer-cam[data-state=live]").wait_for()
    assert focus(page) == "pause"  # so that Space does what the list of shortcuts says
    page.get_by_text("Apparent expression of face 1: ").wait_for(state="attached")
    assert page.locator("[data-read=spoken]").get_attribute("role") == "status"
    page.get_by_role("button", name="Stop").press("Enter")
    page.locator(".fer-cam[data-state=idle]").wait_for()
    assert focus(page) == "start"


def test_still_pages_do_not_move(browser: Any, url: str) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{url}#webcam")
    page.locator(".fer-cam").wait_for()
    moving = """() => [...document.querySelectorAll("[class^=fer-], .fer-cam *")]
      .filter((part) => parseFloat(getComputedStyle(part).transitionDuration) > 0).length"""
    assert page.evaluate(moving) == 0
    context.close()


def test_buttons_of_ours_are_large_enough(page: Any, url: str, portrait_file: Path) -> None:
    page.goto(url)
    page.locator("#picture input[type=file]").set_input_files(portrait_file)
    page.locator("#bars li").first.wait_for()
    assert page.evaluate(SMALL) == []
    page.get_by_role("tab", name="Webcam").click()
    page.locator(".fer-cam").wait_for()
    assert page.evaluate(SMALL) == []
