"""Weigh accuracy against balanced accuracy: what each share of logit adjustment would give on the validation split.

    python -m training.logit_adjustment runs/fer2013 --dataset fer2013.csv

prints a Markdown table for `training.package --logit_adjustment`. Every figure is cross-fitted: each random half of
the images is scored with the calibration and the class frequencies of the other half. A package is measured as it was
before its own calibration and adjustment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from training.errors import command
from training.evaluation.calibration import adjusted_fit, calibrate, cross_fitted, mean_of
from training.evaluation.metrics import compute, confusion_matrix
from training.evaluation.predictions import Predictions, head_of
from training.network.build import load_model
from training.package import SPLIT, PackageArguments, classify_validation, load_dataset_of
from training.reporting.measurement import scaling_of

SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
METRICS = ("accuracy", "balanced_accuracy", "nll", "ece")
RAREST = 2  # classes whose recall is shown


def frontier(
    logits: np.ndarray, references: np.ndarray, labels: Sequence[str], shares: Sequence[float] = SHARES
) -> list[dict[str, float]]:
    """Measure each share, cross-fitted as `training.evaluation.calibration.calibrate`.

    Args:
        logits: (views, n, C), not calibrated; the second view is of the mirror images.
        references: (n,) integers.
        labels: the C names.
        shares: 0-1.

    Returns:
        For each share: itself, `METRICS` of the first view, accuracy and balanced accuracy of the mean of all views as
        "with flips", and the recall of the rarest classes.

    Raises:
        MetricError: as `training.evaluation.metrics.compute`.
    """
    _, calibration = calibrate(logits[0], references, labels, split=SPLIT, head="")
    support = np.bincount(references, minlength=len(labels))
    rarest = [index for index in np.argsort(support, kind="stable") if support[index]][:RAREST]

    def measured(scaled: np.ndarray) -> dict[str, float]:
        p = softmax(scaled, axis=-1)
        both = compute(p.mean(axis=0), references, labels, METRICS[:2])[0]
        confusion = confusion_matrix(p[0], references)
        return (
            compute(p[0], references, labels, METRICS)[0]
            | {f"{name} with flips": value for name, value in both.items()}
            | {f"recall of {labels[index]}": confusion[index, index] / support[index] for index in rarest}
        )

    fits = {share: adjusted_fit(calibration.method, share) for share in shares}
    return [
        {"share": share} | mean_of([measured(scaled) for scaled in cross_fitted(fit, logits, references)])
        for share, fit in fits.items()
    ]


def format_frontier(rows: Sequence[dict[str, float]]) -> str:
    """Lay out a Markdown table."""
    cells = [[name.replace("_", " ") for name in rows[0]], ["---"] * len(rows[0])]
    cells += [[f"{row['share']:g}", *(f"{value:.3f}" for value in list(row.values())[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def predict(folder: str, arguments: PackageArguments) -> Predictions:
    """Classify the validation images and their mirror images, without the calibration of a package.

    Raises:
        TrainingError: the model or the dataset cannot be used.
    """
    model, image_processor = load_model(folder, arguments.head)
    raw = classify_validation(model, image_processor, arguments, load_dataset_of(arguments, model), flip_tta=True)
    if scaling := scaling_of(model, raw.labels):
        raw.logits[:] = scaling.undo(raw.logits)
    return raw


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.logit_adjustment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="finished run folder, or a package")
    parser.add_argument("--dataset", required=True, help="CSV, folder or Hub id with a validation split")
    parser.add_argument("--ferplus", help="fer2013new.csv; for the head ferplus, unless the dataset has its votes")
    parser.add_argument("--head", help="fer2013 or ferplus; default: that of a package, fer2013 of a run")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help=f"default: {SHARES}")
    options = parser.parse_args(argv)
    for share in options.shares:
        PackageArguments(options.dataset, logit_adjustment=share)  # refuses what packaging would
    head = options.head or head_of(load_model(options.model)[0])
    found = predict(options.model, PackageArguments(options.dataset, head=head, ferplus=options.ferplus))
    rows = frontier(found.logits, found.references, found.labels, options.shares)
    sys.stdout.write(f"{len(found.references)} images of {SPLIT}, cross-fitted\n\n{format_frontier(rows)}\n")


if __name__ == "__main__":
    main()
