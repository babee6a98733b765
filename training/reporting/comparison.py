"""Comparison of several models on the same images: records, tests against the first model, tables and a plot."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from training.evaluation.bootstrap import paired_intervals
from training.evaluation.results import CONFIG, Count, Interval, Intervals, Metrics, Positive, Share
from training.reporting.plot_style import BLUE, MUTED, ReportFigure, new_figure, styled
from training.reporting.records import Environment, SplitInfo

SHOWN = ("accuracy", "nll", "ece")


@dataclass(frozen=True, config=CONFIG)
class Difference:
    """A metric of this model minus that of the first, on the same images.

    Attributes:
        value: in the unit of the metric.
        interval: 95 %, paired bootstrap over images.
    """

    value: float
    interval: Interval


@dataclass(frozen=True, config=CONFIG)
class McNemar:
    """Exact two-sided McNemar test of two models on the same images (McNemar 1947).

    Attributes:
        only_first: number of images that the first model alone classifies correctly.
        only_this: number of images that this model alone classifies correctly.
        p_value: 0-1, of the binomial test of equal odds on those.
        p_value_holm: the same, adjusted for the number of models tested against the first (Holm 1979).
    """

    only_first: Count
    only_this: Count
    p_value: Share
    p_value_holm: Share


@dataclass(frozen=True, config=CONFIG)
class Compared:
    """A model among those compared.

    Attributes:
        name: as it was asked for.
        revision: the commit on the Hub; None for a folder or file.
        device: of torch.
        parameters: number of learnt values.
        weights_bytes: size of the files that hold them.
        images_per_second: from stored image to logits, after a warm-up.
        metrics: on the shared labels.
        intervals: 95 %, bootstrap.
        against_first: test of the accuracies against the first model; None for the first.
        differences: from the first model, by headline metric, without those undefined for either; empty for the first.
    """

    name: str
    revision: str | None
    device: str
    parameters: Count
    weights_bytes: Count
    images_per_second: Positive
    metrics: Metrics
    intervals: Intervals
    against_first: McNemar | None = None
    differences: dict[str, Difference] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=CONFIG)
class Comparison:
    """Several models on the same images; this is what comparison.json holds.

    Attributes:
        dataset: what was measured on.
        split: of the dataset.
        head: "fer2013" or "ferplus".
        labels: those that all models and the dataset share.
        images: number of images.
        warnings: what was left out, a sentence each.
        models: in the order asked for.
        environment: library versions and the device of the first model.
    """

    dataset: SplitInfo
    split: str
    head: str
    labels: list[str]
    images: Count
    warnings: list[str]
    models: list[Compared]
    environment: Environment


def tested_against_first(
    models: Sequence[Compared], probabilities: Sequence[np.ndarray], references: np.ndarray
) -> list[Compared]:
    """Test each model but the first against the first, with Holm's correction for their number.

    Args:
        models: in the order asked for.
        probabilities: (n, C) of each, on the same images.
        references: (n,) integers.
    """
    first, *others = models
    hits = [p.argmax(axis=1) == references for p in probabilities]
    tests = holm([mcnemar(hits[0], other) for other in hits[1:]])
    tested = [first]
    for model, test, intervals in zip(others, tests, paired_intervals(probabilities, references), strict=True):
        values = {name: (getattr(model.metrics, name), getattr(first.metrics, name)) for name in intervals}
        differences = {
            name: Difference(values[name][0] - values[name][1], interval)
            for name, interval in intervals.items()
            if interval is not None and None not in values[name]
        }
        tested.append(dataclasses.replace(model, against_first=test, differences=differences))
    return tested


def mcnemar(first: np.ndarray, other: np.ndarray) -> McNemar:
    """Test whether two models differ in accuracy; only images that one of them alone has right say anything.

    Args:
        first, other: (n,) bool, which images each classifies correctly.
    """
    from scipy.stats import binomtest

    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    discordant = only_first + only_other
    p_value = float(binomtest(only_other, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first=only_first, only_this=only_other, p_value=p_value, p_value_holm=p_value)


def holm(tests: Sequence[McNemar]) -> list[McNemar]:
    """Adjust the p-values of m tests: the i-th smallest times m - i + 1, at least the one before, at most 1."""
    adjusted, largest = list(tests), 0.0
    for place, index in enumerate(np.argsort([test.p_value for test in tests], kind="stable")):
        largest = max(largest, min((len(tests) - place) * tests[index].p_value, 1.0))
        adjusted[index] = dataclasses.replace(tests[index], p_value_holm=largest)
    return adjusted


def format_comparison(comparison: Comparison) -> str:
    """Format a comparison for a terminal: each model's metrics, then the differences from the first."""
    first, *others = comparison.models
    names = [model.name for model in comparison.models]

    def line(name: str, cells: Iterable[str], tail: str) -> str:
        return f"{name:<{max(map(len, names))}}{''.join(f'  {cell:<25}' for cell in cells)}{tail}"

    lines = [line("model", SHOWN, f"{'images/s':>10}{'MB':>8}{'parameters':>12}")]
    for model in comparison.models:
        shown = [(getattr(model.metrics, name), *getattr(model.intervals, name)) for name in SHOWN]
        tail = f"{model.images_per_second:>10,.0f}{model.weights_bytes / 1e6:>8.1f}{model.parameters:>12,}"
        lines.append(line(model.name, (f"{value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in shown), tail))
    lines += ["", line("", (f"{name}, difference" for name in SHOWN), f"{'p':>10}{'p, Holm':>10}")]
    for model in others:
        found = [(model.differences[name].value, *model.differences[name].interval) for name in SHOWN]
        test = model.against_first
        tail = f"{test.p_value:>10.2g}{test.p_value_holm:>10.2g}" if test else ""
        lines.append(line(model.name, (f"{value:+.4f} [{low:+.4f}, {high:+.4f}]" for value, low, high in found), tail))
    lines += [
        "",
        f"{comparison.images} images of {', '.join(comparison.labels)}; 95 % bootstrap intervals, paired for the "
        f"differences from {first.name}; p: exact McNemar test of the accuracies against it, and with Holm's "
        "correction for the number of models.",
    ]
    return "\n".join(lines + [f"warning: {message}" for message in comparison.warnings])


@styled
def comparison_figure(comparison: Comparison) -> ReportFigure:
    """Draw the difference of each model from the first with its interval, a panel for each metric."""
    first, *others = comparison.models
    where = f"{comparison.dataset.source}, {comparison.split}, {comparison.images:,} images; dotted: {first.name}"
    title = "Differences from the first model"
    figure, panels = new_figure(title, where, 0.5 * len(others) + 2, 1, len(SHOWN), sharey=True)
    rows = range(len(others))
    for axes, name in zip(panels, SHOWN, strict=True):
        found = [model.differences[name] for model in others]
        axes.axvline(0, color=MUTED, linestyle=":", linewidth=1.2)
        axes.hlines(rows, *zip(*(one.interval for one in found), strict=True), color=BLUE)
        axes.plot([one.value for one in found], rows, "o", color=BLUE)
        better = "more" if name == "accuracy" else "less"
        axes.set(title=name.upper() if len(name) == 3 else name.title(), ylim=(len(others) - 0.5, -0.5))
        axes.set_xlabel(f"difference ({better} is better)", fontsize=9)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(rows, [model.name for model in others])
    values = (
        f"{model.name} {model.differences['accuracy'].value:+.3f} "
        f"({model.differences['accuracy'].interval[0]:+.3f} to {model.differences['accuracy'].interval[1]:+.3f})"
        for model in others
    )
    return ReportFigure("comparison", title, f"{title}, {first.name}. Accuracy: {'; '.join(values)}.", figure)
