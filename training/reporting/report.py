"""`report.json`: the one file that every published number comes from.

    report = Report.load("model_card/fer2013/report.json")
    report.results[0].metrics.accuracy

The classes here, in `training.reporting.records` and in `training.evaluation.results` are the schema: nothing else
describes it. Every class refuses unknown names, wrong types and values out of range. They are pydantic dataclasses,
since pydantic comes with gradio and names the field at fault.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from training.errors import ReportError
from training.evaluation.results import (
    CONFIG,
    Calibration,
    FigureRecord,
    Intervals,
    Metrics,
    Positive,
    Robustness,
    Subgroups,
)
from training.files import sha256_of, write_text
from training.reporting.records import (
    Counts,
    DataLimits,
    Environment,
    Example,
    ModelInfo,
    OnnxVariant,
    RunData,
    RunRecord,
    Score,
    SplitInfo,
    VoteAgreement,
)
from training.reporting.schema_1 import upgrade

# The records of the schema can be imported from here.
__all__ = [
    "Calibration",
    "Counts",
    "DataLimits",
    "Environment",
    "Example",
    "FigureRecord",
    "Intervals",
    "Metrics",
    "ModelInfo",
    "OnnxVariant",
    "Report",
    "Result",
    "Robustness",
    "RunData",
    "RunRecord",
    "Score",
    "SplitInfo",
    "Subgroups",
    "VoteAgreement",
]

SCHEMA_VERSION: Literal[2] = 2
REPORT_FILE = "report.json"
Tta = Literal["none", "flip"]
Subset = Literal["all", "unseen_pixels"]
KEYS = ("head", "split", "tta", "subset")
LIBRARIES = ("torch", "transformers", "datasets", "evaluate", "scikit-learn", "numpy", "pillow")


@dataclass(frozen=True, config=CONFIG)
class Result:
    """One measurement; a report has at most one of the same `KEYS`.

    Attributes:
        head: "fer2013", or "ferplus" measured against the majority of the votes.
        split: of the dataset; "all" for the whole of it.
        tta: test-time augmentation, "none", or "flip" for the mean of image and mirror image.
        subset: "all", the benchmark as it is defined, or "unseen_pixels", without images whose exact pixels occur in
            train.
        labels: names of the C classes in the order of the confusion matrix.
        dataset: what was measured on.
        counts: of images.
        metrics: as measured.
        intervals: 95 %, bootstrap over images.
        warnings: what is undefined or left out and why, a sentence each.
        seconds: reading and classifying took.
        date: ISO 8601, UTC.
        figures: plots of this result.
        subgroups: metrics by group; None where not asked for.
    """

    head: str
    split: str
    tta: Tta
    subset: Subset
    labels: list[str]
    dataset: SplitInfo
    counts: Counts
    metrics: Metrics
    intervals: Intervals
    warnings: list[str]
    seconds: Positive
    date: str
    figures: list[FigureRecord] = field(default_factory=list)
    subgroups: Subgroups | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What sets this result apart from the others of a report, see `KEYS`."""
        return tuple(getattr(self, name) for name in KEYS)


@dataclass(frozen=True, config=CONFIG)
class Report:
    """All that was measured of one model.

    Attributes:
        model: which weights.
        results: one entry for each head, split, test-time augmentation and subset.
        environment: of the latest evaluation.
        calibration, data, example, training: what packaging adds; None for a report of `training.evaluate` alone.
        robustness: metrics under corruptions; None where not asked for.
        onnx: ways to run the model; empty where it was not exported.
        files: SHA-256 hex digest of every file of the package but report.json, by POSIX path within the package;
            empty where there is no package, or one older than schema 2.
        schema_version: of this class.
    """

    model: ModelInfo
    results: list[Result]
    environment: Environment
    calibration: Calibration | None = None
    data: DataLimits | None = None
    example: Example | None = None
    training: RunRecord | None = None
    robustness: Robustness | None = None
    onnx: list[OnnxVariant] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    schema_version: Literal[2] = SCHEMA_VERSION

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report of this schema or of schema 1.

        Raises:
            ReportError: the file is missing, not JSON, of another schema, or a field is unknown, missing, of a wrong
                type or out of range; the message names every such field.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReportError(f"expected a report at {path}, got: {error}; run training.evaluate first") from error
        schema = found.get("schema_version") if isinstance(found, dict) else None
        if schema not in (1, SCHEMA_VERSION):
            raise ReportError(
                f"{path}: expected schema_version {SCHEMA_VERSION} or 1, got {schema}; evaluate the model again"
            )
        try:
            if schema == 1:
                found = upgrade(found)
            # As JSON, where a list may stand for a tuple and nothing else for anything else.
            return TypeAdapter(cls).validate_json(json.dumps(found), strict=True)
        except ValidationError as error:
            raise ReportError(f"{path}: {_problems(error)}") from None

    def save(self, path: str | Path) -> None:
        """Write the report whole or not at all, with absolute paths cut to their last part."""
        write_json(self, path)

    def find(self, *, head: str, split: str, tta: str = "none", subset: str = "all") -> Result | None:
        """Return the result of these keys, or None."""
        return next((result for result in self.results if result.key == (head, split, tta, subset)), None)

    def merged_with(self, new: Report) -> Report:
        """Return the new report plus what this one has beyond it, if both are about the same weights; else the new.

        So a report collects splits, heads and test-time augmentations that are measured one after the other.
        """
        if self.model.weights_sha256 != new.model.weights_sha256:
            return new
        replaced = {result.key for result in new.results}
        kept = [result for result in self.results if result.key not in replaced]
        given = {item.name: getattr(new, item.name) for item in dataclasses.fields(new)}
        changes = {name: value for name, value in given.items() if value}
        return dataclasses.replace(self, **changes | {"model": self.model, "results": kept + new.results})

    def with_files(self, folder: Path, changed: Iterable[Path] | None = None) -> Report:
        """Return a copy with the checksums of a package.

        Args:
            folder: the package.
            changed: files in it whose entries to renew; a report without checksums stays without. None: every file
                but report.json and what lies under hidden names.
        """
        if changed is None:
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            names = [path.relative_to(folder) for path in paths]
            visible = [name for name in names if not any(part.startswith(".") for part in name.parts)]
            return dataclasses.replace(
                self, files={name.as_posix(): sha256_of(folder / name) for name in visible if str(name) != REPORT_FILE}
            )
        if not self.files:
            return self
        sums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in changed}
        return dataclasses.replace(self, files=dict(sorted((self.files | sums).items())))


def record_changes(folder: Path, changed: Iterable[Path]) -> None:
    """Renew the checksums of changed files in the report of a package; a report without checksums stays as it is.

    Args:
        folder: the package, perhaps without a report.
        changed: files in it.

    Raises:
        ReportError: there is a report that cannot be used.
    """
    path = folder / REPORT_FILE
    if path.exists() and (report := Report.load(path)).files:
        report.with_files(folder, changed).save(path)


def write_json(value: Any, path: str | Path) -> None:
    """Write a dataclass or JSON value whole or not at all, without the folders of the machine it was made on."""
    plain = publishable(TypeAdapter(type(value)).dump_python(value, mode="json"))
    write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", path)


def check_same_images(output: Path, *, split: str, head: str, dataset: SplitInfo) -> None:
    """Refuse, before the work, to mix results on other images or against other labels into a report.

    Args:
        output: the report that results are about to be merged into; it need not exist.
        split: the split about to be measured.
        head: the head about to be measured.
        dataset: of the split.

    Raises:
        ReportError: the report's results of that split are about other images, or those of that head, too, were
            measured against something else.
    """
    for result in Report.load(output).results if output.exists() else []:
        there = result.dataset
        if result.split == split and there.fingerprint != dataset.fingerprint:
            raise ReportError(
                f"{output} holds results on {split} of {there.source} ({there.rows} images); these are other "
                f"images, from {dataset.source} ({dataset.rows}). Give --output another file."
            )
        if (result.split, result.head) == (split, head) and there.reference != dataset.reference:
            raise ReportError(
                f"{output} holds results of the head {head} on {split} against the {there.reference}; these would be "
                f"against the {dataset.reference}. Use --ferplus as before, or give --output another file."
            )


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide the numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def publishable(value: Any) -> Any:
    """Return the same JSON value with absolute paths cut to their last part."""
    if isinstance(value, dict):
        return {key: publishable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [publishable(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):
        return Path(value).name
    return value


def _problems(error: ValidationError) -> str:
    """Say in one line what is wrong with which field."""
    words = {"unexpected_keyword_argument": "unknown field", "missing": "missing field"}
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        kind = words.get(problem["type"])
        lines.append(f"{kind} {name}" if kind else f"{name}: {problem['msg']}, got {problem['input']!r}")
    return "; ".join(lines)
