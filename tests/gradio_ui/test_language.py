"""The files of texts agree with each other and with the errors they translate, and a handler speaks the visitor's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gradio_ui.language import LANGUAGES, LOCALES, catalog, filled, label_name, preferred, speaking, t, translated
from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.image_io import read_image
from gradio_ui.recognition.palette import COLORS
from gradio_ui.recognition.types import Recognition
from gradio_ui.views.batch_files import write_tables
from gradio_ui.views.batch_results import results
from gradio_ui.views.comparison import face_bars
from tests.support.app_fixtures import FakeRecognizer

STATIC = LOCALES.parent
OTHERS = [language for language in LANGUAGES if language != "en"]


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w+\}", text))


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_the_keys_of_english(language: str) -> None:
    english, other = catalog("en"), catalog(language)
    assert list(other) == list(english)
    assert all(other[key].strip() for key in other)
    wrong = {key for key in english if placeholders(english[key]) != placeholders(other[key])}
    assert not wrong
    untranslated = [key for key in english if len(english[key]) > 30 and english[key] == other[key]]
    assert not untranslated


def test_every_language_has_a_file_and_a_page() -> None:
    assert {path.stem for path in LOCALES.glob("*.json")} == set(LANGUAGES)
    listed = re.search(r"const LANGUAGES = \[(.*?)\]", (STATIC / "language.js").read_text(encoding="utf-8"))
    assert listed and re.findall(r'"(\w+)"', listed[1]) == list(LANGUAGES)


def test_every_label_has_a_name() -> None:
    assert {f"label.{label}" for label in COLORS} <= set(catalog("en"))


def test_every_key_in_the_code_is_in_the_files() -> None:
    files = [path for path in STATIC.parent.rglob("*") if path.suffix in (".py", ".js", ".html")]
    calls = r"""(?:\bt\(|\btext\(|\btext_of\(|data-i18n(?:-[a-z-]+)?=)f?["']([a-z]+\.[\w.]+)["']"""
    used = {key for path in files for key in re.findall(calls, path.read_text(encoding="utf-8"))}
    made = {"page.html", "webcam.html", "model.notice", "about.facts"}
    made |= {f"{tab}.welcome" for tab in ("image", "batch", "video")}
    assert len(used) > 150
    assert used - made <= set(catalog("en"))


@pytest.mark.parametrize(
    ("header", "language"),
    [("de-AT,de;q=0.9,en;q=0.8", "de"), ("zh-CN", "zh"), ("sv,de;q=0.9", "en"), ("", "en"), ("*", "en")],
)
def test_the_first_language_of_a_browser_counts(header: str, language: str) -> None:
    assert preferred(header) == language


def test_errors_of_the_engine_are_translated(tmp_path: Path) -> None:
    (tmp_path / "urlaub.jpg").write_bytes(b"GIF87a but no")
    (tmp_path / "leer.png").write_bytes(b"")
    (tmp_path / "foto.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(RecognitionError) as raised:
            read_image(path)
        with speaking("ja"):
            told = translated(str(raised.value))
        assert path.name in told and re.search("[ぁ-ん]", told), told
    with speaking("de"):
        assert translated("Something that nobody has translated.") == "Something that nobody has translated."
        assert translated("7 expressions, FER-2013") == "7 Ausdrücke, FER-2013"


def test_views_are_translated_and_files_are_not(fake: FakeRecognizer, tmp_path: Path) -> None:
    recognition: Recognition = fake(np.full((200, 400, 3), 255, np.uint8))
    faces = recognition.to_dicts(threshold=0.8)
    entries = [{"file": "a.jpg", "size": [400, 200], "faces": faces}]
    with speaking("fr"):
        shown = face_bars({"faces": faces, "threshold": 0.8}, 0)
        table, _ = write_tables(entries, recognition.labels, tmp_path)
        batch = results(entries, recognition.labels)
    assert "Incertain : joie ou colère. Aucune expression n’atteint 80%." in shown and "happy" not in shown
    assert "incertain" in batch and 'data-kind="unclear"' in batch
    assert "happy or angry" in Path(table).read_text(encoding="utf-8")


def test_a_label_of_another_model_keeps_its_name() -> None:
    with speaking("ar"):
        assert (label_name("happy"), label_name("bewildered")) == ("سعادة", "bewildered")


def test_html_is_filled_in_and_escaped() -> None:
    with speaking("fr"):
        html = filled('<b data-i18n="tab.about"></b><i data-i18n-aria-label="image.where"></i>')
        assert html == (
            '<b data-i18n="tab.about">À propos</b>'
            f'<i data-i18n-aria-label="image.where" aria-label="{t("image.where")}"></i>'
        )
