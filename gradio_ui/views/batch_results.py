"""What the batch tab shows of its results: totals as bars that filter, a table that sorts, captions and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from gradio_ui.language import counted as number_of
from gradio_ui.language import label_name, t, translated
from gradio_ui.recognition.palette import colors_of
from gradio_ui.views.html import message, progress_bar
from gradio_ui.views.plots import clock

Entry = dict[str, Any]  # of one picture: "file" and either "size" and "faces", or "error"

UNCLEAR, NO_FACE, NOT_READ = "unclear", "no face", "not read"
GRAY = "#808080"  # of what is no expression; reads on light and dark
# Heading, and how the cells below it are compared.
COLUMNS = (("file", "text"), ("faces", "number"), ("expressions", "text"), ("least", "number"))


def kinds(entry: Entry) -> list[str]:
    """List what a picture counts as, most frequent first: the label or `UNCLEAR` of each face, or why it has none."""
    if "error" in entry:
        return [NOT_READ]
    found = [UNCLEAR if face["unclear"] else face["label"] for face in entry["faces"]]
    counts = Counter(found)
    return sorted(found, key=lambda kind: (-counts[kind], kind)) or [NO_FACE]


def counted(entry: Entry) -> str:
    """Count the expressions of a picture: "5 happy, 1 neutral", "happy" where there is one face, or "no face"."""
    found = kinds(entry)
    if len(found) == 1:
        return kind_name(found[0])
    return ", ".join(f"{number} {kind_name(kind)}" for kind, number in Counter(found).items())


def kind_name(kind: str) -> str:
    """Name one of `kinds` in the page's language."""
    names = {UNCLEAR: "face.unclear", NO_FACE: "batch.no_face", NOT_READ: "batch.not_read"}
    return t(names[kind]) if kind in names else label_name(kind)


def caption(entry: Entry) -> str:
    """Give what a picture shows, and its file's name."""
    return f"{counted(entry)} · {entry['file']}"


def progress(done: int, total: int, elapsed: float) -> str:
    """Show how many pictures are done, and how long the others will take, from the seconds that those took."""
    left = clock(elapsed * (total / done - 1))
    return progress_bar(t("batch.progress", done=done, total=total, left=left), done / total)


def outcome(entries: Sequence[Entry], total: int) -> str:
    """Report what came out of so many pictures, as a message."""
    failed = sum("error" in entry for entry in entries)
    faces = sum(len(entry.get("faces", ())) for entry in entries)
    read = number_of("batch.count", len(entries) - failed)
    found = t("batch.found", faces=number_of("face.count", faces), pictures=read)
    unread = t("batch.unread", count=failed) if failed else ""
    if len(entries) < total:
        stopped = t("batch.after", done=len(entries), total=total, found=found)
        return message("warning", t("work.partial"), f"{stopped} {unread}".strip())
    return message("warning" if failed or not faces else "info", found, unread)


def results(entries: Sequence[Entry], labels: Sequence[str]) -> str:
    """Show totals and table of all pictures; batch.js sorts, filters and opens pictures.

    Args:
        entries: In the order of the table.
        labels: The expressions that the model knows.
    """
    return totals(entries, labels) + table(entries) if entries else ""


def totals(entries: Sequence[Entry], labels: Sequence[str]) -> str:
    """Draw a bar for each expression with the number of its faces, and for the pictures without one."""
    numbers = Counter(kind for entry in entries for kind in kinds(entry))
    most = max(numbers.values())
    colors = {kind: GRAY for kind in (UNCLEAR, NO_FACE, NOT_READ)} | colors_of(labels)
    bars = "".join(
        f'<li><button type="button" class="fer-row" data-kind="{escape(kind)}" aria-pressed="false">'
        f'<span class="fer-name">{escape(kind_name(kind))}</span><span class="fer-track" aria-hidden="true">'
        f'<i style="width:{number / most:.1%};background:{colors[kind]}"></i></span>'
        f'<span class="fer-value">{number}</span></button></li>'
        for kind, number in numbers.most_common()
    )
    return (
        f'<h2 class="fer-title">{t("batch.totals")}</h2><p class="fer-hint">{t("batch.totals_info")}</p>'
        f'<ul class="fer-bars fer-totals">{bars}</ul>'
    )


def table(entries: Sequence[Entry]) -> str:
    """Tabulate the pictures, a row each: file, faces, expressions, and the lowest probability of a reported label."""
    head = "".join(
        f'<th scope="col" data-compare="{how}"><button type="button" data-do="sort">{t(f"batch.{name}")}</button></th>'
        for name, how in COLUMNS
    )
    shown, rows = 0, []
    for entry in entries:
        rows.append(_row(entry, None if "error" in entry else shown))
        shown += "error" not in entry
    return (
        f'<h2 class="fer-title fer-next">{t("batch.all")}</h2>'
        f'<p class="fer-hint" role="status" data-read="listed" data-text="{escape(t("batch.listed"))}"></p>'
        f'<div class="fer-scroll fer-tall" tabindex="0" role="region" aria-label="{t("batch.all")}">'
        f'<table class="fer-table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _row(entry: Entry, place: int | None) -> str:
    """Write one row; its picture has that place in the gallery, from 0, or none."""
    name, faces = escape(entry["file"]), entry.get("faces", ())
    link = name if place is None else f'<button type="button" data-open="{place}">{name}</button>'
    told = escape(counted(entry)) + (f": {escape(translated(entry['error']))}" if "error" in entry else "")
    least = min((face["probability"] for face in faces), default=None)
    cells = "".join(
        f'<td data-value="{value}">{text}</td>'
        for value, text in (
            (len(faces), len(faces)),
            (told, told),
            ("" if least is None else least, "" if least is None else f"{least:.1%}"),
        )
    )
    of = escape("|".join(dict.fromkeys(kinds(entry))))
    opens = "" if place is None else f' data-place="{place}"'
    return f'<tr data-kinds="{of}"{opens}><th scope="row" data-value="{name}" title="{name}">{link}</th>{cells}</tr>'
