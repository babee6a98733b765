"""The choice of a face among several: its bars, and on request its heat map and what another model says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from gradio_ui.views.comparison import Result, face_bars, has_face

SKIP = gr.skip()  # leaves a component as it is


class FaceView(NamedTuple):
    """What shows one face: components in the layout, their new values in a handler.

    Attributes:
        chosen: The face, by its index from 0.
        chart: Its bars.
        where, expression, heat: The accordion of its heat map, the expression that the map is of, and the map.
        second, other, compared: The accordion of the comparison, the other model, and what both say.
    """

    chosen: Any = SKIP
    chart: Any = SKIP
    where: Any = SKIP
    expression: Any = SKIP
    heat: Any = SKIP
    second: Any = SKIP
    other: Any = SKIP
    compared: Any = SKIP


def show_face(result: Result, index: Any) -> FaceView:
    """Show the bars of one face, counted from 0, and fold its map and comparison away until they are asked for."""
    if not has_face(result, index):
        return FaceView()
    return FaceView(
        chart=face_bars(result, index),
        where=gr.Accordion(open=False),
        expression=gr.Dropdown(value=result["faces"][index]["label"]),
        heat="",
        second=gr.Accordion(open=False),
        compared="",
    )


def choose_face(result: Result, event: gr.EventData) -> FaceView:
    """Choose the face that was clicked on, in the picture or in the table; the event has its index as `face`."""
    shown = show_face(result, event.face)
    return shown._replace(chosen=gr.Dropdown(value=event.face)) if has_face(result, event.face) else shown


def connect_faces(
    view: FaceView,
    marks: Sequence[gr.HTML],
    result: gr.State,
    inputs: Sequence[Any],
    explain: Callable[..., str],
    compare: Callable[..., str],
) -> None:
    """Add the events of the choice.

    Args:
        view: The components.
        marks: Where a click chooses a face, too.
        result: Of the picture.
        inputs: Components whose values `explain` and `compare` take first; then come the result, the face and either
            the expression or the other model.
        explain: Shows the heat map.
        compare: Shows the comparison.
    """
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    view.chosen.input(show_face, [result, view.chosen], list(view), **quick)
    gr.on([mark.click for mark in marks], choose_face, [result], list(view), **quick)
    for accordion, choice, work, output in (
        (view.where, view.expression, explain, view.heat),
        (view.second, view.other, compare, view.compared),
    ):
        gr.on(
            [accordion.expand, choice.input],
            work,
            inputs=[*inputs, result, view.chosen, choice],
            outputs=output,
            preprocess=False,
            trigger_mode="always_last",
            show_progress="minimal",
            api_visibility="private",
        )
