"""Records of `report.json` about the model, its data and its run; `training.reporting.report` puts them together."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from training.evaluation.results import CONFIG, Count, FigureRecord, Positive, Share


@dataclass(frozen=True, config=CONFIG)
class ModelInfo:
    """Which weights the report is about.

    Attributes:
        name: Hub id or folder.
        revision: commit on the Hub; None for a folder.
        architecture: class of transformers.
        parameters: number of learnt values.
        weights_sha256: hex digest of model.safetensors.
        weights_bytes: its size.
        sees_luma_only: whether colors make no difference, since it was trained on one channel.
        license: identifier of the Hub, such as "apache-2.0"; None where nobody said.
    """

    name: str
    revision: str | None
    architecture: str
    parameters: Count
    weights_sha256: str
    weights_bytes: Count
    sees_luma_only: bool = False
    license: str | None = None


@dataclass(frozen=True, config=CONFIG)
class Environment:
    """What the numbers were computed with.

    Attributes:
        versions: of Python and the libraries that decide the numbers, by name.
        device: of torch, such as "cpu" or "cuda:0".
    """

    versions: dict[str, str]
    device: str


@dataclass(frozen=True, config=CONFIG)
class SplitInfo:
    """The exact data of one split.

    Attributes:
        source: Hub id, or name of the local file or folder.
        revision: commit, or "sha256:..." of a local file or folder.
        rows: number of images.
        fingerprint: hash of pixels and labels in order, the same on every machine.
        dropped: number of bad rows left out of the dataset, by reason.
        reference: "label" of the dataset, or "FER+ majority" of the votes.
    """

    source: str
    revision: str | None
    rows: Count
    fingerprint: str
    dropped: dict[str, Count] = field(default_factory=dict)
    reference: str = "label"


@dataclass(frozen=True, config=CONFIG)
class RunData:
    """The exact data of a training run, as `SplitInfo` with rows and fingerprint by split."""

    source: str
    revision: str | None
    rows: dict[str, Count]
    fingerprint: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, config=CONFIG)
class Counts:
    """Images of a split.

    Attributes:
        images: measured.
        left_out: not measured, for the reasons that the warnings give.
    """

    images: Count
    left_out: Count


@dataclass(frozen=True, config=CONFIG)
class VoteAgreement:
    """How far the ten annotators of FER+ agree, see `training.data.statistics`.

    Attributes:
        majority: number of images with a majority by the published rule.
        agreement: 0-1, mean share of the votes of an image that went to the most frequent answer.
        same_label: 0-1, share of images with a majority whose label is the same; None where no image has one.
    """

    majority: Count
    agreement: Share
    same_label: Share | None


@dataclass(frozen=True, config=CONFIG)
class DataLimits:
    """What is known about the quality of a dataset, see `training.data.statistics`.

    Attributes:
        split: that was examined.
        images: number of images in it.
        grayscale: number of images with three equal channels.
        sizes: the most frequent sizes, "48 x 48" pixels -> number of images.
        seen_in_train: number of images whose exact pixels occur in train; None without train.
        relabeled: number of those with another label there; None without train.
        votes: None where the dataset has no votes.
    """

    split: str
    images: Count
    grayscale: Count
    sizes: dict[str, Count]
    seen_in_train: Count | None = None
    relabeled: Count | None = None
    votes: VoteAgreement | None = None


@dataclass(frozen=True, config=CONFIG)
class Score:
    """What `pipeline` says: a label and its probability, 0-1."""

    label: str
    score: Share


@dataclass(frozen=True, config=CONFIG)
class Example:
    """An image in the package, and what the model says of it.

    Attributes:
        file: path within the package.
        title: what it shows, and its license.
        scores: of all classes, highest first.
    """

    file: str
    title: str
    scores: list[Score]


@dataclass(frozen=True, config=CONFIG)
class LocalBase:
    """A folder that a run started from and that is no run.

    Attributes:
        name: of the folder.
        dataset: what its weights were trained on, for a sentence; None where it has no report that says so.
    """

    name: str
    dataset: str | None = None


@dataclass(frozen=True, config=CONFIG)
class RunRecord:
    """A training run.

    Attributes:
        commit: of the code; ends in "-dirty" where files had changed; None where unknown.
        seed: of the run.
        epochs: that were trained.
        seconds: wall-clock time.
        device: of torch.
        versions: of the libraries, by name.
        dataset: what was trained on.
        recipe: arguments of `training.train`, under the names they had then.
        base_model: Hub id that the first stage started from; None for a start from scratch or from a local folder.
        local_base: the local folder that the first stage started from; None for any other start.
        classes: the flags `labels` and `label_map`, as far as they were given.
        cpu_seconds: processor time over all cores; None where it was not measured or tells little (GPUs, several
            processes).
        earlier: runs that this one started from or was taught by, by folder, the earliest first.
        figures: plots of the run.
    """

    commit: str | None
    seed: int
    epochs: Positive
    seconds: Positive
    device: str
    versions: dict[str, str]
    dataset: RunData
    recipe: dict[str, Any]
    base_model: str | None = None
    local_base: LocalBase | None = None
    classes: dict[str, str] = field(default_factory=dict)
    cpu_seconds: Positive | None = None
    earlier: dict[str, RunRecord] = field(default_factory=dict)
    figures: list[FigureRecord] = field(default_factory=list)


@dataclass(frozen=True, config=CONFIG)
class OnnxVariant:
    """One way to run the model, measured on the validation split at export.

    Attributes:
        name: of the file.
        megabytes: its size, in millions of bytes.
        accuracy: 0-1.
        agreement: 0-1, share of images with the same label as the variant that it was made from.
        latency_ms: median milliseconds for one image alone, from pixels to logits.
        batch_latency_ms: median milliseconds for each image of a batch.
    """

    name: str
    megabytes: Positive
    accuracy: Share
    agreement: Share
    latency_ms: Positive
    batch_latency_ms: Positive
