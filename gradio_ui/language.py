"""The languages of the page: static/locales/ has a file for each, English the reference.

The page is in the browser's language, by Gradio's own rule. Components get their texts from `text`, which Gradio's
`I18n` translates in the browser; handlers call `t`, which follows the visitor's request; static/i18n.js reads the same
files. Results in files and of endpoints are in English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradio.i18n import I18nData

LOCALES = Path(__file__).resolve().parent / "static" / "locales"
LANGUAGES = ("en", "de", "fr", "es", "pt", "ar", "hi", "ja", "zh")  # as in static/language.js
DRAWN = ("en", "de", "fr", "es", "pt", "ar")  # whose letters are in the fonts that pictures are drawn with
_FILLED = re.compile(r'(<[^<>]*\sdata-i18n="([\w.]+)"[^<>]*>)[^<]*')
_ATTRIBUTE = re.compile(r'data-i18n-([a-z]+(?:-[a-z]+)?)="([\w.]+)"')

_spoken: ContextVar[str | None] = ContextVar("language", default=None)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Use a language of `LANGUAGES` within the context, whatever the request."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def language() -> str:
    """Name the language to answer in: that of `speaking`, of the visitor's browser, or English."""
    if (spoken := _spoken.get()) is not None:
        return spoken
    from gradio.context import LocalContext

    request = LocalContext.request.get(None)
    return preferred(request.headers.get("accept-language", "")) if request is not None else "en"


def preferred(header: str) -> str:
    """Find the language for an Accept-Language header: its first one, as the page does, or English."""
    first = header.split(",")[0].split(";")[0].split("-")[0].strip().lower()
    return first if first in LANGUAGES else "en"


@cache
def catalog(language: str) -> Mapping[str, str]:
    """Read the texts of a language: key -> text with {placeholders}."""
    texts: dict[str, str] = json.loads((LOCALES / f"{language}.json").read_text(encoding="utf-8"))
    return texts


def t(key: str, **values: Any) -> str:
    """Give a text in the visitor's language, with its placeholders filled in."""
    text = catalog(language())[key]
    return text.format(**values) if values else text


def counted(key: str, count: int) -> str:
    """Give the text of a number of things, of "<key>.one" or "<key>.other"."""
    return t(f"{key}.{'one' if count == 1 else 'other'}", count=count)


def label_name(label: str) -> str:
    """Name an expression; one that is not known here keeps the name that its model gives it."""
    return catalog(language()).get(f"label.{label}", label)


def shown_name(face: Mapping[str, Any]) -> str:
    """Name what is shown for a face, one element of `Recognition.to_dicts`: its label, or the two that are likely."""
    first, _, second = face["shown"].partition(" or ")
    return t("face.or", first=label_name(first), second=label_name(second)) if second else label_name(first)


@contextmanager
def drawn() -> Iterator[None]:
    """Name expressions in a language whose signs the font of pictures has: the visitor's, or English."""
    with speaking(language() if language() in DRAWN else "en"):
        yield


def text(key: str) -> I18nData:
    """Name a text for a component of Gradio, which translates it in the browser."""
    from gradio.i18n import I18nData

    return I18nData(key)


def translated(sentence: str) -> str:
    """Translate a sentence written in English, such as that of an error; one not known here stays as it is."""
    spoken = language()
    if spoken == "en":
        return sentence
    for key, pattern in _patterns():
        if match := pattern.fullmatch(sentence):
            return catalog(spoken)[key].format(**match.groupdict())
    return sentence


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """List the English texts that `translated` knows, the longest first, as patterns of their placeholders."""
    known = {key: text for key, text in catalog("en").items() if key.startswith(("error.", "model."))}
    by_length = sorted(known.items(), key=lambda item: -len(item[1]))
    return [(key, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(text)))) for key, text in by_length]


def filled(html: str) -> str:
    """Fill in HTML: the texts of elements with data-i18n="key", and attributes of those with data-i18n-attribute."""
    html = _ATTRIBUTE.sub(lambda match: f'{match[0]} {match[1]}="{escape(t(match[2]))}"', html)
    return _FILLED.sub(lambda match: match[1] + escape(t(match[2]), quote=False), html)
