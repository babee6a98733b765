"""Style of all figures, and how they are written: PNG for the card, SVG for everything else."""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from training.evaluation.results import FigureRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

INK, MUTED = "#333333", "#767676"
# From the palette of Okabe and Ito, as the classes of `gradio_ui.views.face_labels` are, for what is no class.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
WIDTH = 8.0  # inches: at this width the text below is as large as that of a card, which is about 800 pixels wide
STYLE = {
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text stays text: small, to be searched, and read aloud
    "svg.hashsalt": "fer",  # the same figure gives the same file
    "savefig.facecolor": "white",  # also where the page is dark
}


@dataclass(frozen=True)
class ReportFigure:
    """A finished figure.

    Attributes:
        name: of its files, without suffix.
        title: what it shows.
        alt: the same in words and numbers, for screen readers; without square brackets.
        figure: the figure itself.
        vector: whether to write an SVG, too; not for photographs.
    """

    name: str
    title: str
    alt: str
    figure: Figure
    vector: bool = True


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function that draws or saves in the style of the figures."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib

        with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
            return function(*args, **kwargs)

    return wrapper


def new_figure(title: str, where: str, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> Any:
    """Make a figure of card width with its axes; to be called by a `styled` function.

    Args:
        title: what is shown.
        where: dataset and split, shown below the title.
        height: inches.
        rows: of axes.
        columns: of axes.
        **kwargs: of `Figure.subplots`.

    Returns:
        The figure, and its axes as `Figure.subplots` gives them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(f"{title}\n" if where else title, x=0.01, ha="left", fontsize=12, weight="bold")
    figure.text(0.01, 1 - 0.33 / height, where, va="top", color=MUTED, fontsize=10)  # on the line that is left free
    return figure, figure.subplots(rows, columns, **kwargs)


@styled
def save(drawing: ReportFigure, path: Path) -> None:
    """Write one file of the kind that its suffix names: .png at twice the card's resolution, or .svg."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    described = {"Title": drawing.title, "Description": drawing.alt}
    if path.suffix == ".svg":
        drawing.figure.savefig(path, metadata={**described, "Date": None})
        return
    file, info = io.BytesIO(), PngInfo()
    drawing.figure.savefig(file, dpi=160)
    drawing.figure.set_layout_engine("none")  # laid out once; the SVG keeps the places and takes half the time
    for key, text in described.items():
        info.add_text(key, text)
    # A palette takes a third of the bytes of true color, without a visible difference.
    Image.open(file).convert("RGB").quantize(128).save(path, optimize=True, pnginfo=info)


def write_figures(figures: Sequence[ReportFigure], folder: Path, root: Path) -> list[FigureRecord]:
    """Write all figures into a folder, or, when one fails, none; others that are there stay.

    Args:
        figures: names differ.
        folder: made if need be.
        root: where the report lies.

    Returns:
        Their records for the report; none where `folder` lies outside of `root`, since then no card may refer to them.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        for figure in figures:
            for suffix in (".png", ".svg") if figure.vector else (".png",):
                save(figure, Path(scratch) / f"{figure.name}{suffix}")
        folder.mkdir(exist_ok=True)
        for file in Path(scratch).iterdir():
            file.replace(folder / file.name)
    if not folder.is_relative_to(root):
        return []
    place = folder.relative_to(root)
    return [
        FigureRecord(name=f.name, file=(place / f"{f.name}.png").as_posix(), title=f.title, alt=f.alt) for f in figures
    ]
