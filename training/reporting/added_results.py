"""Results that were measured elsewhere, such as on a test split that is kept from those who train.

    python -m training.evaluate model_card/fer2013 --dataset DATASET --split test --output test.json
    python -m training.card model_card/fer2013 --add test.json

The first command may run on any machine that has the same weights.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from training.errors import ReportError
from training.reporting.dataset_names import place_of
from training.reporting.report import REPORT_FILE, Report, Result


def add_results(folder: Path, added: Path) -> None:
    """Merge the results of another report of the same weights into the report of a package.

    Results of the same head on the same split are replaced. What else the other report holds is left out, figures as
    well, since they are not in the package.

    Args:
        folder: the package; its report.json is rewritten.
        added: a report of `training.evaluate`.

    Raises:
        ReportError: a report cannot be used, or the other one is about other weights or labels, or about images that
            the model was trained, selected or calibrated on; nothing was changed.
    """
    report, other = Report.load(folder / REPORT_FILE), Report.load(added)
    expected, found = report.model.weights_sha256, other.model.weights_sha256
    if found != expected:
        raise ReportError(
            f"{added}: expected results of the weights {expected[:16]} of {folder}, got those of {found[:16]} "
            f"({other.model.name}); evaluate this package"
        )
    if not (report.results and other.results):
        raise ReportError(f"{added if report.results else folder}: expected results, got none; run training.evaluate")
    for result in other.results:
        if not is_held_out(result, report):
            raise ReportError(
                f"{added}: expected results on a split that nothing was chosen on, got {result.split} of "
                f"{result.dataset.source}"
            )
        if set(result.labels) != set(report.results[0].labels):
            labels = ", ".join(report.results[0].labels)
            raise ReportError(f"{added}: expected results about {labels}, got {', '.join(result.labels)}")
    measured = {(result.split, result.head) for result in other.results}
    kept = [result for result in report.results if (result.split, result.head) not in measured]
    results = kept + [dataclasses.replace(result, figures=[]) for result in other.results]
    dataclasses.replace(report, results=results).save(folder / REPORT_FILE)


def is_held_out(result: Result, report: Report) -> bool:
    """Whether a result is on images that the model was not trained, selected or calibrated on."""
    seen = {"train", "validation"} | ({report.calibration.split} if report.calibration else set())
    runs = [report.training, *report.training.earlier.values()] if report.training else []
    fingerprints = {run.dataset.fingerprint.get(split) for run in runs for split in seen}
    return result.split not in seen and result.dataset.fingerprint not in fingerprints


def held_out_note(report: Report) -> str:
    """Say for a card or table where the results are that nothing was chosen on; "" where there are none."""
    if report.training is None:
        return ""
    found = [place_of(result, report.training) for result in report.results if is_held_out(result, report)]
    places = " and ".join(dict.fromkeys(found))
    return f"Nothing was chosen on {places}: not the recipe, the checkpoint or the calibration." if places else ""
