"""The page in other languages on a phone: in the visitor's language, in its direction, and nothing is cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gradio_ui.language import catalog
from tests.support.scheduling import some_slow

pytestmark = pytest.mark.browser

# Elements with text of their own that is wider than they are, and whatever reaches beyond the page.
CUT = """() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = (part) => part.closest(".fer-scroll, .thumbnails, pre, code, .js-plotly-plot, #card, footer");
  return [...document.querySelectorAll(".gradio-container *")].filter((part) => {
    if (!part.offsetParent || scrolls(part)) return false;
    const own = [...part.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own) return false;
    const style = getComputedStyle(part), box = part.getBoundingClientRect();
    if (!box.width || part.closest(".fer-spoken, .sr-only")) return false;
    const holds = style.overflowX !== "visible" && style.display !== "inline";
    const clipped = holds && part.scrollWidth > part.clientWidth + 1;
    return clipped || box.right > wide + 1 || box.left < -1;
  }).map((part) => `${part.tagName} ${part.className} "${part.textContent.trim().slice(0, 60)}"`);
}"""
TABS = ("image", "batch", "webcam", "video", "about")


@pytest.fixture(params=some_slow(("de", "ar", "ja"), quick=("ar",)))
def foreign(browser: Any, request: Any) -> Iterator[tuple[str, Any]]:
    """(language, a page of a phone that is set to it)"""
    locale = {"de": "de-DE", "ar": "ar-EG", "ja": "ja-JP"}[request.param]
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale=locale, permissions=["camera"])
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield request.param, page
    context.close()


def test_nothing_is_cut_on_a_phone(foreign: tuple[str, Any], url: str, portrait_file: Path) -> None:
    language, page = foreign
    texts = catalog(language)
    page.goto(url)
    page.locator("#picture input[type=file]").set_input_files(portrait_file)
    page.locator("#bars li").first.wait_for()
    root = page.locator("html")
    assert (root.get_attribute("lang"), root.get_attribute("dir")) == (language, "rtl" if language == "ar" else "ltr")
    assert page.title() == texts["page.title"]
    assert page.locator("#bars .fer-name").first.inner_text() == texts["label.happy"]
    for tab in TABS:
        button = page.get_by_role("tab", name=texts[f"tab.{tab}"], exact=True)
        button.click()
        page.locator(f"#tab-{tab}").wait_for()
        if tab == "webcam":
            page.get_by_role("button", name=texts["cam.start"]).click()
            page.locator("#webcam .fer-bars li").first.wait_for()
        assert page.evaluate(CUT) == [], (language, tab)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (language, tab)


def test_notices_follow_the_browser(foreign: tuple[str, Any], url: str, portrait_file: Path) -> None:
    language, page = foreign
    texts = catalog(language)
    page.goto(f"{url}#batch")
    page.locator("#batch-notice").get_by_text(texts["batch.none"]).wait_for()
    page.locator("#batch-files input[type=file]").set_input_files([portrait_file])
    page.locator("#batch-results").get_by_text(texts["batch.totals"], exact=True).wait_for()
    page.locator("#batch-results [data-kind=happy]").click()
    assert texts["label.happy"] in page.locator("[data-read=listed]").inner_text()
