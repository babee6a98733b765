"""Metrics by subgroup: gender, age band, country, or any other metadata column of a dataset, and the largest gaps.

    python -m training.evaluate model_card/fer2013 --dataset people/ --split all --group_by gender age country

fairlearn's `MetricFrame` splits the metrics of `evaluation.metrics` by group. Read every difference between two groups
together with its interval; where the dataset names people (`set_id`), people are resampled instead of images, see
`evaluation.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from training.errors import SubgroupError
from training.evaluation.bootstrap import core_draws, interval_of
from training.evaluation.metrics import CORE, checked, core_metrics
from training.evaluation.results import (
    CoreIntervals,
    CoreMetrics,
    Gap,
    GroupedBy,
    Interval,
    Subgroup,
    Subgroups,
)

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset

    from training.evaluation.predictions import Predictions

PERSON = "set_id"  # the column that says who is in an image
MIN_IMAGES = 30  # below, the 95 % interval of an accuracy near 0.7 is wider than 0.3
MIN_PEOPLE = 5
RULE = f"a group is judged from {MIN_IMAGES} images on, and {MIN_PEOPLE} people where the dataset names them"
BANDS = {"age": (18.0, 30.0, 45.0, 60.0)}  # years; other numeric columns are cut at their quartiles
MAX_VALUES = 8  # a numeric column of at most so many values is taken as it is
UNKNOWN = "unknown"
MISSING = {"", "-", "?", "n/a", "na", "nan", "none", "null", UNKNOWN}


def read_columns(images: Dataset, names: Sequence[str]) -> dict[str, list[Any]]:
    """Read the metadata of every image, by column.

    Args:
        images: from `training.data.load.load_fer`.
        names: the columns.

    Raises:
        SubgroupError: if there is no such column.
    """
    taken = {"image", "label", "votes", "pixel_hash"}
    known = [name for name in images.column_names if name not in taken]
    if missing := [name for name in names if name not in known]:
        raise SubgroupError(
            f"expected columns of metadata among {', '.join(known) or 'none, for the dataset has none'}; "
            f"got {', '.join(missing)}"
        )
    columns = {}
    for name in names:
        values, classes = images[name][:], getattr(images.features[name], "names", None)
        if classes:
            values = [classes[value] if value is not None and value >= 0 else None for value in values]
        columns[name] = values
    return columns


def subgroups_of(predictions: Predictions, names: Sequence[str]) -> Subgroups:
    """Measure the groups of a split, see `measure_groups`.

    Args:
        predictions: from `training.evaluation.predictions.classify`; the images are taken as they are, not mirrored.
        names: the columns to group by.

    Raises:
        SubgroupError: if there is no such column.
        MetricError: if the model gives NaN.
    """
    images = predictions.images
    people = images[PERSON][:] if PERSON in images.column_names else None
    columns = read_columns(images, names)
    return measure_groups(
        softmax(predictions.logits[0], axis=1), predictions.references, predictions.labels, columns, people
    )


def group_names(column: str, values: Sequence[Any]) -> pd.Categorical:
    """Return the group that each value belongs to.

    Args:
        column: its name; "age" is cut into the bands of `BANDS`, other numeric columns of more than `MAX_VALUES`
            values at their quartiles. Spellings that differ in case or surrounding blanks are one group.
        values: n values of any kind; what is missing, or no number in a numeric column, becomes "unknown".

    Returns:
        n names; the categories are all groups, bands in their order, others by size, "unknown" last.
    """
    import pandas as pd

    text = pd.Series([UNKNOWN if value is None else str(value).strip() for value in values], dtype=object)
    folded = text.str.casefold()
    known = ~folded.isin(MISSING)
    numbers = pd.to_numeric(text.where(known), errors="coerce").replace([np.inf, -np.inf], np.nan).astype(float)
    fixed = BANDS.get(column.casefold())
    if numbers.notna().sum() > known.sum() / 2 and (fixed or numbers.nunique() > MAX_VALUES):
        quartiles = [float(f"{edge:.3g}") for edge in numbers.quantile((0.25, 0.5, 0.75))]  # as they are shown
        edges = fixed or tuple(np.unique(quartiles))
        middle = [f"{low:g} to under {high:g}" for low, high in pairwise(edges)]
        bands = [f"under {edges[0]:g}", *middle, f"{edges[-1]:g} and over"]
        names = pd.cut(numbers, [-np.inf, *edges, np.inf], right=False, labels=bands)
        order = [band for band in bands if (names == band).any()]
        names = names.astype(object).where(numbers.notna(), UNKNOWN)
    else:
        names = text.groupby(folded).transform("first").where(known, UNKNOWN)
        order = [name for name in names.value_counts().index if name != UNKNOWN]
    return pd.Categorical(names, categories=[*order, UNKNOWN])


def measure_groups(
    probabilities: np.ndarray,
    references: np.ndarray,
    labels: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
    people: Sequence[Any] | None = None,
) -> Subgroups:
    """Measure every group of every column, and the largest gap of each column.

    The interval of an accuracy is the wider of Wilson's (1927) over images and the bootstrap over people; the others
    are bootstrapped. A gap lies between the best and the worst group that can be judged; picked as the largest of
    several it is biased upwards, so its interval says more than its size.

    Args:
        probabilities: (n, C) floats in 0-1, rows sum to 1, columns in the order of `labels`.
        references: (n,) integers, indices into `labels`.
        labels: the C class names.
        columns: name -> n values.
        people: n values, equal where the person is the same; None where the dataset does not name people.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """
    p, y = checked(probabilities, references, labels)
    units = np.unique([str(person) for person in people], return_inverse=True)[1] if people else None
    sample = _Sample(p, y, units, tuple(labels), np.random.default_rng(0))
    return Subgroups(
        rule=RULE,
        columns={column: _grouped_by(group_names(column, values), sample) for column, values in columns.items()},
    )


@dataclass(frozen=True)
class _Sample:
    """What all groups have in common.

    Attributes:
        p, y: (n, C) probabilities and (n,) references, checked.
        people: (n,) integers, equal where the person is the same; None where unknown.
        labels: the C class names.
        rng: shared by all groups, so that their draws are independent.
    """

    p: np.ndarray
    y: np.ndarray
    people: np.ndarray | None
    labels: tuple[str, ...]
    rng: np.random.Generator


def _grouped_by(names: pd.Categorical, sample: _Sample) -> GroupedBy:
    """Measure the groups that n names make."""
    from fairlearn.metrics import MetricFrame

    frame = MetricFrame(
        metrics={name: partial(_core, name, len(sample.labels)) for name in CORE},
        y_true=sample.y,
        y_pred=sample.p.argmax(axis=1),
        sensitive_features=np.asarray(names, str),
    )
    groups: dict[str, Subgroup] = {}
    draws: dict[str, dict[str, np.ndarray]] = {}
    for group in names.categories[np.bincount(names.codes, minlength=len(names.categories)) > 0]:
        mask = np.asarray(names == group)
        y, people = sample.y[mask], None if sample.people is None else sample.people[mask]
        count = None if people is None else len(np.unique(people))
        judged = bool(len(y) >= MIN_IMAGES and (count is None or count >= MIN_PEOPLE))
        if judged:
            units = np.arange(len(y)) if people is None else people
            draws[group] = core_draws(sample.p[mask], y, units, sample.rng)
        groups[group] = Subgroup(
            images=len(y),
            people=count,
            judged=judged,
            metrics=CoreMetrics(**frame.by_group.loc[group].to_dict()),
            intervals=_intervals(draws[group], sample.p[mask].argmax(axis=1) == y) if judged else None,
            absent=[sample.labels[c] for c in np.setdiff1d(sample.y, y)],
        )
    gaps, warnings = _gaps(groups, draws)
    return GroupedBy(groups=groups, gaps=gaps, warnings=warnings)


def _core(name: str, classes: int, y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Compute one of `CORE` in the form that fairlearn calls."""
    return float(core_metrics(confusion_matrix(y_true, y_pred, labels=range(classes)))[name])


def format_groups(subgroups: Subgroups) -> str:
    """Format the result of `measure_groups` for a terminal."""
    lines = []
    for column, found in subgroups.columns.items():
        width = max(len(name) for name in (*found.groups, column))
        lines.append(f"{column:<{width}}{'images':>10}{'people':>8}" + "".join(f"  {name:<24}" for name in CORE))
        for group, row in found.groups.items():
            cells = ["  too small to judge"]
            if row.intervals:
                cells = [f"  {_cell(getattr(row.metrics, name), getattr(row.intervals, name)):<24}" for name in CORE]
            people = "-" if row.people is None else row.people
            lines.append(f"{group:<{width}}{row.images:>10}{people:>8}{''.join(cells).rstrip()}")
        for metric, gap in found.gaps.items():
            cell = _cell(gap.difference, gap.interval)
            lines.append(f"largest gap in {metric}: {cell}; highest {gap.highest}, lowest {gap.lowest}")
        lines += [*(f"warning: {message}" for message in found.warnings), ""]
    return "\n".join([f"By group; {subgroups.rule}.", "", *lines])


def _cell(value: float, interval: Interval | None) -> str:
    return f"{value:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def _gaps(groups: dict[str, Subgroup], draws: dict[str, dict[str, np.ndarray]]) -> tuple[dict[str, Gap], list[str]]:
    """Return the largest gap of each metric among the groups that can be compared, and what was left out of that."""
    messages = []
    if UNKNOWN in groups:
        messages.append(f"{groups[UNKNOWN].images} images without a usable value counted as {UNKNOWN}")
    if small := [group for group, row in groups.items() if not row.judged]:
        messages.append(f"too small to judge: {', '.join(small)}")
    compared = [group for group in draws if group != UNKNOWN]
    for group in compared:
        if absent := groups[group].absent:
            messages.append(f"{group} has no images of {', '.join(absent)}: its means over classes are not compared")
    gaps = {}
    for metric in CORE:
        whole = [group for group in compared if metric == "accuracy" or not groups[group].absent]
        if len(whole) < 2:
            continue
        values = {group: getattr(groups[group].metrics, metric) for group in whole}
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        lower, upper = np.percentile(draws[high][metric] - draws[low][metric], (2.5, 97.5))
        gaps[metric] = Gap(
            highest=high, lowest=low, difference=values[high] - values[low], interval=(float(lower), float(upper))
        )
    if missing := [metric for metric in CORE if metric not in gaps]:
        messages.append(f"fewer than two groups to compare by {', '.join(missing)}: no gap")
    return gaps, messages


def _intervals(draws: dict[str, np.ndarray], hits: np.ndarray) -> CoreIntervals:
    """Return the intervals of a group; accuracy's is at least as wide as Wilson's.

    A bootstrap of nothing but hits gives (1, 1), which is no interval, so it becomes None for the other metrics.
    """
    from scipy.stats import binomtest

    wilson = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    low, high = interval_of(draws["accuracy"]) or (0.0, 1.0)
    found = {name: interval_of(values) for name, values in draws.items()}
    intervals = {name: pair if pair and pair[0] < pair[1] else None for name, pair in found.items()}
    return CoreIntervals(**intervals | {"accuracy": (min(low, float(wilson.low)), max(high, float(wilson.high)))})
