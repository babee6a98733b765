"""The bars of one face, by one model or by two side by side."""

from __future__ import annotations

from html import escape
from typing import Any

from gradio_ui.language import shown_name, t
from gradio_ui.views import html as charts

Result = dict[str, Any]  # of one picture, as the endpoint `/recognize` gives it


def has_face(result: Result, index: Any) -> bool:
    """Tell whether a result has a face of that index, counted from 0."""
    return isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(result["faces"])


def face_bars(result: Result, index: int) -> str:
    """Draw the bars of one face, counted from 0."""
    faces = result["faces"]
    face = faces[index]
    title = t("face.title") if len(faces) == 1 else t("face.title_of", number=face["face"])
    doubt = t("face.doubt", shown=shown_name(face), threshold=f"{result['threshold']:.0%}")
    return charts.bars(face["probabilities"], title, doubt if face["unclear"] else "", index)


def comparison(first: tuple[str, Result], second: tuple[str, Result], index: int) -> str:
    """Show what two models say of the same face of a picture.

    Args:
        first: The name of a model and its result.
        second: Those of the other; its faces are matched by their boxes.
        index: Of the face among those of the first, from 0.
    """
    (name, found), (other, seen) = first, second
    face = found["faces"][index]
    match = max(seen["faces"], key=lambda candidate: overlap(face["box"], candidate["box"]), default=None)
    if match is None or not overlap(face["box"], match["box"]):
        return charts.message("info", t("compare.none", model=other))
    texts = charts.verdict_text(face), charts.verdict_text(match)
    same = face["shown"] == match["shown"]
    told = escape(t("compare.same", shown=shown_name(face)) if same else t("compare.differ"))
    columns = "".join(
        f"<div>{charts.bars(one['probabilities'], title, text)}</div>"
        for title, one, text in ((name, face, texts[0]), (other, match, texts[1]))
    )
    why = f'<p class="fer-hint">{t("compare.why")}</p>'
    return f'<p><strong>{told}</strong></p><div class="fer-compare">{columns}</div>{why}'


def overlap(a: list[float], b: list[float]) -> float:
    """Measure the area that two boxes share, in square pixels."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
