"""What the video tab shows: progress, summary with key moments, and the plot over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradio_ui.language import label_name, t
from gradio_ui.recognition.palette import DASHES, colors_of
from gradio_ui.recognition.tables import escape_cell, label_columns
from gradio_ui.recognition.tracker import LOST_SECONDS
from gradio_ui.recognition.video_analysis import Moment, video_columns
from gradio_ui.views import html as charts

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PLOTTED_FACES = 4  # the longest seen
PLOTTED_POINTS = 600  # of each face; more than a screen can show
TEXT = "#808080"  # reads on light and dark
LINE_LABEL = 0.085  # of a panel's height, which a line of text takes


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds, m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def progress(reached: float, duration: float | None, elapsed: float) -> str:
    """Show how far the analysis is, and how long it will still take.

    Args:
        reached: Seconds of the video that are done.
        duration: Seconds of the whole video, None where the file does not say.
        elapsed: Seconds that the analysis has taken so far.
    """
    if not reached:
        return charts.progress_bar(t("video.reading"), None)
    if not duration:
        return charts.progress_bar(t("video.reached", done=clock(reached)), None)
    share = min(1.0, reached / duration)
    times = {"done": clock(reached), "total": clock(duration), "left": clock(elapsed * (1 / share - 1))}
    return charts.progress_bar(t("video.progress", **times), share)


def summary_html(found: Mapping[str, Any], moments: Mapping[str, Moment]) -> str:
    """Show the shares of time, and the key moments with their pictures.

    Args:
        found: Of `VideoAnalysis.summary`.
        moments: Of the same analysis.
    """
    if found["dominant"] is None:
        return ""
    cards = "".join(
        f'<figure><button type="button" data-seconds="{moment.seconds:.3f}" title="{t("video.show")}">'
        f'<img src="{_jpeg_url(moment.thumbnail)}" alt="{t("video.show_face", **_place(moment))}"></button>'
        f"<figcaption><strong>{escape(label_name(moment.label))}</strong> {moment.probability:.0%}<br>"
        f"{t('video.at', **_place(moment))}</figcaption></figure>"
        for moment in sorted(moments.values(), key=lambda moment: moment.seconds)
    )
    title = t("video.mostly", label=label_name(found["dominant"]))
    doubt = t("video.doubt", threshold=f"{found['threshold']:.0%}", share=f"{found['unclear']:.0%}")
    key_moments = (
        f'<h2 class="fer-title fer-next">{t("video.moments")}</h2>'
        f'<p class="fer-hint">{t("video.moments_info")}</p>'
        f'<div class="fer-moments">{cards}</div>'
    )
    return charts.bars(found["shares"], title, doubt if found["unclear"] else "") + (key_moments if cards else "")


def _place(moment: Moment) -> dict[str, Any]:
    return {"time": clock(moment.seconds), "number": moment.face}


def _jpeg_url(image: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85)
    return charts.data_url("image/jpeg", file.getvalue())


def timeline(table: Path, found: Mapping[str, Any]) -> Figure:
    """Plot the smoothed probabilities over time, a panel per face; the label that the video shows has a broad line.

    Args:
        table: CSV file of `VideoAnalysis.run`.
        found: Of `VideoAnalysis.summary`.
    """
    import pandas as pd
    from plotly.subplots import make_subplots

    labels = list(found["shares"])
    colors, shown = colors_of(labels), label_columns(labels)
    columns = list(shown.values())
    rows = pd.read_csv(
        table, header=0, names=video_columns(labels), usecols=["seconds", "face", "label", "unclear", *columns]
    )
    faces = [face["face"] for face in found["faces"][:PLOTTED_FACES]]
    figure = make_subplots(
        rows=max(1, len(faces)),
        shared_xaxes=True,
        vertical_spacing=0.08,
        subplot_titles=[t("face.title_of", number=i) for i in faces],
    )
    for panel, face in enumerate(faces, start=1):
        own = rows[rows["face"] == face].reset_index(drop=True)
        points = own.groupby(own.index // -(-len(own) // PLOTTED_POINTS))
        held = points["label"].first().where(~points["unclear"].first().eq(True))
        own = points[["seconds", *columns]].mean()
        steps = own["seconds"].diff()
        own.loc[steps > max(LOST_SECONDS, 3 * steps.median()), columns] = None  # no line while the face was away
        for label in labels:
            figure.add_scatter(
                x=own["seconds"],
                y=own[shown[label]].where(held == escape_cell(label)),
                name=label_name(label),
                mode="lines",
                line={"color": colors[label], "width": 7},
                opacity=0.4,
                hoverinfo="skip",
                row=panel,
                col=1,
            )
            figure.add_scatter(
                x=own["seconds"],
                y=own[shown[label]],
                name=label_name(label),
                mode="lines" if len(own) > 1 else "markers",
                line={"color": colors[label], "width": 2, "dash": DASHES.get(label, "solid")},
                hovertemplate="%{y:.0%}",
                row=panel,
                col=1,
            )
        _label_lines(figure, panel, own[columns].ffill().iloc[-1].tolist(), colors)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", gridcolor="rgba(128,128,128,0.25)", zeroline=False)
    figure.update_xaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, hoverformat=".2f", ticksuffix=" s")
    figure.update_layout(
        height=90 + 210 * max(1, len(faces)),
        margin={"l": 45, "r": 90, "t": 30, "b": 10},
        showlegend=False,
        hovermode="x unified",
        hoverlabel={"bgcolor": "#ffffff", "font": {"color": "#1f2937"}},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": TEXT},
    )
    return figure


def _label_lines(figure: Figure, panel: int, ends: Sequence[float], colors: Mapping[str, str]) -> None:
    """Name the lines of a panel at its right edge, each as near to the line's last value as the others allow.

    Args:
        figure: The plot.
        panel: From 1.
        ends: The last value of each line, 0-1, in the order of `colors`.
        colors: Label -> "#rrggbb".
    """
    places = spread([max(0.0, end) for end in ends], min(LINE_LABEL, 1 / max(1, len(ends) - 1)))
    for (label, color), place in zip(colors.items(), places, strict=True):
        figure.add_annotation(
            text=f'<span style="color:{color}">■</span> {escape(label_name(label))}',
            x=1,
            xref=f"x{'' if panel == 1 else panel} domain",
            xanchor="left",
            y=place,
            yref=f"y{'' if panel == 1 else panel}",
            showarrow=False,
            font={"size": 11},
        )


def spread(values: Sequence[float], apart: float) -> list[float]:
    """Move values within 0-1 as little as keeps them so far apart, in the same order."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    placed = [values[i] for i in order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + apart)
    limit = 1.0
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - apart
    return [value for _, value in sorted(zip(order, placed, strict=True))]
