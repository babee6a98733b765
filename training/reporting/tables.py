"""Results as text: a cell of a Markdown table, and tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluation.metrics import HEADLINE
from training.evaluation.results import Interval, Robustness, Subgroup
from training.reporting.report import Result


def format_cell(result: Result | Subgroup, metric: str) -> str:
    """Format a metric for a card, with its 95 % interval where there is one."""
    value: float | None = getattr(result.metrics, metric)
    interval: Interval | None = getattr(result.intervals, metric)
    text = "undefined" if value is None else f"{value:.3f}"
    return f"{text} ({interval[0]:.3f}-{interval[1]:.3f})" if interval else text


def format_table(results: Sequence[Result]) -> str:
    """Format results for a terminal: headline metrics with 95 % intervals, then the classes of the first result."""
    lines = []
    for result in results:
        source = result.dataset.source + (" (FER+)" if result.head == "ferplus" else "")
        where = f"{source} · {result.split} · tta {result.tta} · {result.subset}"
        lines.append(f"{where} · {result.counts.images} images")
        votes = [] if result.metrics.vote_cross_entropy is None else ["vote_cross_entropy"]
        for name in (*HEADLINE, *votes):
            value, interval = getattr(result.metrics, name), getattr(result.intervals, name)
            low_high = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            lines.append(f"  {name:<20}{'undefined' if value is None else f'{value:.4f}'}{low_high}")
        lines += [f"  warning: {message}" for message in result.warnings] + [""]
    columns = ("precision", "recall", "f1", "roc_auc", "support")
    lines.append(f"{'':<12}" + "".join(f"{name:>11}" for name in columns))
    metrics = results[0].metrics
    for label, row in metrics.per_class.items():
        values = [row.precision, row.recall, row.f1, metrics.roc_auc_ovr[label]]
        cells = [f"{'-' if value is None else f'{value:.3f}':>11}" for value in values]
        lines.append(f"{label:<12}" + "".join(cells) + f"{row.support:>11}")
    return "\n".join(lines)


def format_robustness(measured: Robustness) -> str:
    """Format accuracy under corruptions for a terminal: a row for each corruption, the mildest severity first."""
    rows: dict[tuple[str, str], list[str]] = {}
    for row in measured.rows:
        cells = rows.setdefault((row.corruption.replace("_", " "), row.unit), [])
        cells.append(f"{row.severity:>6g}: {row.accuracy:.4f}")
    clean = f"{measured.images} images of {measured.split}, clean {measured.clean.accuracy:.4f}"
    lines = [f"accuracy under corruptions · {measured.head} · {clean}"]
    lines += [f"  {name:<16}{''.join(cells)}   ({unit})" for (name, unit), cells in rows.items()]
    return "\n".join(lines)
