"""Comparison of several models on the same images: its records, the McNemar test, and a table for a terminal."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from training.evaluation.results import CONFIG, Count, Intervals, Metrics, Positive, Share
from training.reporting.records import Environment, SplitInfo

SHOWN = ("accuracy", "nll", "ece")


@dataclass(frozen=True, config=CONFIG)
class McNemar:
    """Exact two-sided McNemar test of two models on the same images (McNemar 1947).

    Attributes:
        only_first: number of images that the first model alone classifies correctly.
        only_this: number of images that this model alone classifies correctly.
        p_value: 0-1, of the binomial test of equal odds on those; not adjusted for the number of models compared.
    """

    only_first: Count
    only_this: Count
    p_value: Share


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
        against_first: test against the first model; None for the first.
    """

    name: str
    revision: str | None
    device: str
    parameters: Count
    weights_bytes: Count
    images_per_second: Positive
    metrics: Metrics
    intervals: Intervals
    against_first: McNemar | None


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


def mcnemar(first: np.ndarray, other: np.ndarray) -> McNemar:
    """Test whether two models differ in accuracy; only images that one of them alone has right say anything.

    Args:
        first, other: (n,) bool, which images each classifies correctly.
    """
    from scipy.stats import binomtest

    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    discordant = only_first + only_other
    p_value = float(binomtest(only_other, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first=only_first, only_this=only_other, p_value=p_value)


def format_comparison(comparison: Comparison) -> str:
    """Format a comparison for a terminal."""
    width = max(len(model.name) for model in comparison.models)
    titles = "".join(f"  {name:<23}" for name in SHOWN)
    lines = [f"{'model':<{width}}{titles}{'p':>8}{'images/s':>12}{'MB':>8}{'parameters':>12}"]
    for model in comparison.models:
        shown = [(getattr(model.metrics, name), *getattr(model.intervals, name)) for name in SHOWN]
        cells = [f"  {value:.4f} [{low:.4f}, {high:.4f}]" for value, low, high in shown]
        p_value = f"{model.against_first.p_value:.2g}" if model.against_first else "-"
        lines.append(
            f"{model.name:<{width}}{''.join(f'{cell:<25}' for cell in cells)}{p_value:>8}"
            f"{model.images_per_second:>12,.0f}{model.weights_bytes / 1e6:>8.1f}{model.parameters:>12,}"
        )
    lines += [
        "",
        f"{comparison.images} images of {', '.join(comparison.labels)}; 95 % bootstrap intervals; "
        "p: exact McNemar test against the first.",
    ]
    return "\n".join(lines + [f"warning: {message}" for message in comparison.warnings])
