"""Result classes of an evaluation, the measured half of `report.json`; `training.reporting.report` is the other half.

They are pydantic dataclasses (pydantic comes with gradio): values are checked when one is made, an unknown name or a
metric outside of its range is refused, and the reader and the writer of `report.json` follow from the annotations.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0)]  # or 0
CalibrationMethod = Literal["none", "temperature", "vector"]
Interval = tuple[float, float]  # lower and upper bound, in the unit of the metric


@dataclass(frozen=True, config=CONFIG)
class CoreMetrics:
    """The metrics that need only the predicted classes. Absent classes count in no mean.

    Attributes:
        accuracy: 0-1, share of images whose most probable class is the reference.
        balanced_accuracy: 0-1, mean over classes of recall = TP / (TP + FN).
        macro_f1: 0-1, mean over classes of F1 = 2 TP / (2 TP + FP + FN).
    """

    accuracy: Share
    balanced_accuracy: Share
    macro_f1: Share


@dataclass(frozen=True, config=CONFIG)
class ClassMetrics:
    """One class against the rest; None where undefined: no images of the class, or for precision no predictions.

    Attributes:
        precision: 0-1, TP / (TP + FP).
        recall: 0-1, TP / (TP + FN).
        f1: 0-1, 2 TP / (2 TP + FP + FN).
        support: number of images whose reference it is, TP + FN.
    """

    precision: Share | None
    recall: Share | None
    f1: Share | None
    support: Count


@dataclass(frozen=True, config=CONFIG)
class Metrics(CoreMetrics):
    """All metrics of one result, of p (n, C) probabilities and y (n,) references.

    Attributes:
        nll: nats, 0 or more; negative log-likelihood, mean of -ln p[i, y[i]].
        brier: 0-2, mean over images of the sum over classes of (p[i, c] - [y[i] = c])^2 (Brier 1950).
        ece: 0-1, expected calibration error over 15 equal-width bins B of the top probability, the sum of
            |B| / n * |accuracy(B) - confidence(B)| (Guo et al. 2017, eq. 3).
        ece_by_chance: 0-1, mean `ece` of a perfectly calibrated model of the same confidences on as many images.
        ece_bootstrap_bias: mean `ece` of bootstrap resamples minus `ece`.
        per_class: by label.
        roc_auc_ovr: 0-1 by label, area under the ROC curve of the class against the rest; None where undefined.
        roc_auc_ovr_macro: 0-1, mean of those defined; None where none is.
        confusion_matrix: (C, C) counts, a row for each reference, a column for each predicted class.
        vote_cross_entropy: nats, mean cross-entropy of the probabilities to the votes; None without votes.
        vote_entropy: nats, mean entropy of the votes, the lowest possible `vote_cross_entropy`; None without votes.
    """

    nll: Positive
    brier: Annotated[float, Field(ge=0, le=2)]
    ece: Share
    ece_by_chance: Share
    ece_bootstrap_bias: float
    per_class: dict[str, ClassMetrics]
    roc_auc_ovr: dict[str, Share | None]
    roc_auc_ovr_macro: Share | None
    confusion_matrix: list[list[Count]]
    vote_cross_entropy: Positive | None = None
    vote_entropy: Positive | None = None


@dataclass(frozen=True, config=CONFIG)
class CoreIntervals:
    """95 % intervals of `CoreMetrics`; None where undefined."""

    accuracy: Interval | None
    balanced_accuracy: Interval | None
    macro_f1: Interval | None


@dataclass(frozen=True, config=CONFIG)
class Intervals(CoreIntervals):
    """95 % bootstrap intervals of `Metrics`, see `training.evaluation.bootstrap`; None where undefined."""

    roc_auc_ovr_macro: Interval | None
    nll: Interval | None
    brier: Interval | None
    ece: Interval | None
    vote_cross_entropy: Interval | None = None


@dataclass(frozen=True, config=CONFIG)
class Subgroup:
    """One group of people.

    Attributes:
        images: how many.
        people: how many; None where the dataset does not name them.
        judged: whether it is large enough, see `Subgroups.rule`.
        metrics: of its images.
        intervals: 95 %; None where it is not judged.
        absent: labels that the dataset has and this group lacks.
    """

    images: Count
    people: Count | None
    judged: bool
    metrics: CoreMetrics
    intervals: CoreIntervals | None = None
    absent: list[str] = field(default_factory=list)


@dataclass(frozen=True, config=CONFIG)
class Gap:
    """The largest difference of a metric between two groups, biased upwards since it is picked as the largest.

    Attributes:
        highest, lowest: names of the groups.
        difference: 0-1, the metric of the highest minus that of the lowest.
        interval: 95 % bootstrap interval of the difference.
    """

    highest: str
    lowest: str
    difference: Share
    interval: Interval


@dataclass(frozen=True, config=CONFIG)
class GroupedBy:
    """Metrics by the groups of one column of metadata.

    Attributes:
        groups: by name, in the order to show them.
        gaps: by name of the metric; without those for which fewer than two groups can be compared.
        warnings: what was left out of the comparison, a sentence each.
    """

    groups: dict[str, Subgroup]
    gaps: dict[str, Gap]
    warnings: list[str]


@dataclass(frozen=True, config=CONFIG)
class Subgroups:
    """Metrics by group, see `training.evaluation.subgroups`.

    Attributes:
        rule: from what size a group is judged, in words.
        columns: by name of the column.
    """

    rule: str
    columns: dict[str, GroupedBy]


@dataclass(frozen=True, config=CONFIG)
class CalibrationMetrics:
    """What calibration is judged by, as in `Metrics`."""

    accuracy: Share
    balanced_accuracy: Share
    nll: Positive
    brier: Annotated[float, Field(ge=0, le=2)]
    ece: Share
    vote_cross_entropy: Positive | None = None


@dataclass(frozen=True, config=CONFIG)
class Calibration:
    """Calibration of logits, logit / temperature + bias, and the methods it was chosen from.

    "none" leaves logits as they are, "temperature" divides all by one number, and "vector" has a temperature and a
    bias for each class (Guo et al. 2017, section 4.2).

    Attributes:
        split: that it was fitted on.
        head: "fer2013" or "ferplus".
        temperature: above 0, by label; 1 without calibration.
        bias: by label, including `shift`; without that 0 but for "vector".
        images: how many it was fitted on.
        before: metrics without calibration.
        one_temperature: with one temperature, cross-fitted: images are scored with the scaling of the half that they
            are not in.
        after: with vector scaling, cross-fitted.
        method: the one of the lowest `nll` among these three, which the model has. Reports without it are from when
            there was only "vector".
        logit_adjustment: share of the log of each class's frequency that was subtracted from its calibrated logit
            (Menon et al. 2021); 0 for none.
        shift: by label, what that adds to the logit; empty for none. The calibrated logit is the model's less this.
        adjusted: metrics of what is published, calibrated by `method` and then adjusted, cross-fitted; None without
            adjustment.
    """

    split: str
    head: str
    temperature: dict[str, Annotated[float, Field(gt=0)]]
    bias: dict[str, float]
    images: Count
    before: CalibrationMetrics
    one_temperature: CalibrationMetrics
    after: CalibrationMetrics
    method: CalibrationMethod = "vector"
    logit_adjustment: Share = 0.0
    shift: dict[str, float] = field(default_factory=dict)
    adjusted: CalibrationMetrics | None = None

    @property
    def by_method(self) -> dict[CalibrationMethod, CalibrationMetrics]:
        """The metrics of each method."""
        return {"none": self.before, "temperature": self.one_temperature, "vector": self.after}

    @property
    def chosen(self) -> CalibrationMetrics:
        """The metrics of `method`, before the adjustment."""
        return self.by_method[self.method]

    @property
    def published(self) -> CalibrationMetrics:
        """The metrics of the model as it is published."""
        return self.adjusted or self.chosen


@dataclass(frozen=True, config=CONFIG)
class FigureRecord:
    """A plot in a file.

    Attributes:
        name: of the file, without suffix.
        file: the PNG, a path within the folder of the report.
        title: what it shows.
        alt: the same in words and numbers.
    """

    name: str
    file: str
    title: str
    alt: str


@dataclass(frozen=True, config=CONFIG)
class CorruptionMetrics(CoreMetrics):
    """Metrics under one corruption at one severity.

    Attributes:
        corruption: its name in `training.evaluation.robustness.CORRUPTIONS`.
        severity: in the corruption's own unit.
        unit: of the severity, in words.
    """

    corruption: str
    severity: float
    unit: str


@dataclass(frozen=True, config=CONFIG)
class Robustness:
    """Metrics under corruptions, see `training.evaluation.robustness`.

    Attributes:
        head: "fer2013" or "ferplus".
        split: that the images are from.
        images: how many.
        seed: of the choice of images and of the corruptions.
        clean: metrics of the same images as they are.
        rows: one for each corruption and severity, the mildest first.
        figures: plots of these.
    """

    head: str
    split: str
    images: Count
    seed: int
    clean: CoreMetrics
    rows: list[CorruptionMetrics]
    figures: list[FigureRecord] = field(default_factory=list)
