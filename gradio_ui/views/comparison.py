"""The bars of one face, by one model or by two side by side."""

from __future__ import annotations

from html import escape
from typing import Any

from gradio_ui.views import html as charts

Result = dict[str, Any]  # of one picture, as the endpoint `/recognize` gives it

WHY = (
    "FER-2013 gives each picture one label; for FER+ ten people voted on the same pictures, with contempt among the "
    "choices, and called far more of them neutral. So its model says neutral more often, and more surely."
)


def has_face(result: Result, index: Any) -> bool:
    """Tell whether a result has a face of that index, counted from 0."""
    return isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(result["faces"])


def face_bars(result: Result, index: int) -> str:
    """Draw the bars of one face, counted from 0."""
    faces = result["faces"]
    face = faces[index]
    title = "Apparent expression" if len(faces) == 1 else f"Apparent expression of face {face['face']}"
    note = f"Unclear: {face['shown']}. No expression reaches {result['threshold']:.0%}." if face["unclear"] else ""
    return charts.bars(face["probabilities"], title, note, index)


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
        return charts.message("info", f"{other} has no result for this face")
    texts = charts.verdict_text(face), charts.verdict_text(match)
    same = face["shown"] == match["shown"]
    told = f"Both say {escape(face['shown'])}." if same else "They do not say the same."
    columns = "".join(
        f"<div>{charts.bars(one['probabilities'], title, text)}</div>"
        for title, one, text in ((name, face, texts[0]), (other, match, texts[1]))
    )
    return f'<p><strong>{told}</strong></p><div class="fer-compare">{columns}</div><p class="fer-hint">{WHY}</p>'


def overlap(a: list[float], b: list[float]) -> float:
    """Measure the area that two boxes share, in square pixels."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
