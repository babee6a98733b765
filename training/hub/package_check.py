"""Checks that a package is fit to be published: its files, checksums, answers, report and card.

    python -m training.hub.package_check model_card/fer2013 [--write_checksums]

checks without a network. `training.package`, `training.export` and `training.card` keep the checksums in report.json
themselves; `--write_checksums` records those of the files as they are now, for a package that has none yet or was
changed by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
from scipy.special import softmax

from gradio_ui.recognition.backends import ONNX_FILE, OnnxBackend, TorchBackend
from gradio_ui.recognition.classifier import Classifier
from gradio_ui.recognition.errors import ModelError
from training.card import TASK, render_card
from training.data.labels import label_key
from training.errors import PackageError, PublishError, ReportError, command
from training.export import QUANTIZED_FILE
from training.files import sha256_of
from training.hub.file_check import check_file
from training.hub.sync import Files
from training.reporting.package_layout import EXAMPLE, REQUIRED, belongs, check_loads, write_checksums
from training.reporting.report import REPORT_FILE, Report

GENERATED = 32  # images that the ONNX files and the weights are compared on, beside the card's example
FLOAT_TOLERANCE = 1e-3  # of a probability; the shipped packages differ by up to 1.3e-6
# Of a probability and of the labels. Over 8 seeds of 33 images the shipped packages differ by up to 0.069. They agree
# on at least 97 % of the labels on blends of a face and noise, on fewer on noise alone.
INT8_TOLERANCE = 0.15
INT8_AGREEMENT = 0.85


def package_files(folder: Path, repo_id: str) -> Files:
    """Return the files of a package by their path on the Hub; the card's quick start names the repository.

    Args:
        folder: the package.
        repo_id: "user/name".

    Raises:
        PublishError: listing all that is wrong with the package.
    """
    if problems := check_package(folder):
        raise PublishError("\n  - ".join([f"{folder} is not fit to be published:", *problems]))
    report = Report.load(folder / REPORT_FILE)
    card = render_card(dataclasses.replace(report, model=dataclasses.replace(report.model, name=repo_id))) + "\n"
    return {name: folder / name for name in names_in(folder)} | {"README.md": card.encode()}


def check_package(folder: Path) -> list[str]:
    """Check a package from its files to its card.

    Args:
        folder: as `training.package` writes it.

    Returns:
        Everything that is wrong, a sentence each; empty for a package that may be published.
    """
    if not folder.is_dir():
        return [f"expected a package folder, found nothing at {folder}"]
    if problems := check_files(folder):
        return problems  # nothing of it is opened as a model
    labels: list[str] = []
    problems = []
    try:
        labels = list(Classifier.from_pretrained(folder, device="cpu", backend="torch").labels)
        if len(set(map(label_key, labels))) < len(labels):
            problems.append(f"config.json: expected each class once, in one spelling, got {labels}")
        check_loads(folder, labels)
        problems += check_onnx_answers(folder)
    except (ModelError, PackageError, OSError, ValueError) as error:
        problems.append(f"pipeline: {error}")
    return problems + check_report(folder, labels)


def names_in(folder: Path) -> list[str]:
    """Return the POSIX paths within a folder of all that is not a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def check_files(folder: Path) -> list[str]:
    """Check the files by name, content and checksum, without opening them as a model.

    Returns:
        Everything that is wrong, a sentence each.
    """
    problems = []
    names = names_in(folder)
    for name in names:
        path = folder / name
        if path.is_symlink() or not path.is_file():
            problems.append(f"{name}: a link or no regular file; copy the file instead")
        elif not belongs(name):
            problems.append(f"{name}: does not belong to a package; delete it")
        else:
            try:
                check_file(path)
            except PublishError as error:
                problems.append(f"{name}: {error}")
    if missing := [name for name in REQUIRED if name not in names]:
        return [*problems, f"{', '.join(missing)} missing; package the run again"]
    return problems + check_sums(folder, names)


def check_sums(folder: Path, names: list[str]) -> list[str]:
    """Compare the files with the checksums in report.json.

    Args:
        folder: the package.
        names: of its files.

    Returns:
        Everything that differs, a sentence each.
    """
    try:
        sums = Report.load(folder / REPORT_FILE).files
    except ReportError as error:
        return [f"report.json: {error}"]
    again = f"python -m training.hub.package_check {folder} --write_checksums"
    if not sums:
        return [f"report.json: holds no checksums; look at the files, then run {again}"]
    gone = sorted(sums.keys() - set(names))
    problems = [f"{name}: is in the checksums of report.json, but not in the folder" for name in gone]
    for name in names:
        if name == REPORT_FILE:
            continue
        if name not in sums:
            problems.append(f"{name}: has no checksum in report.json; delete it, or run {again}")
        elif (found := sha256_of(folder / name)) != sums[name]:
            problems.append(
                f"{name}: was changed, expected the checksum {sums[name][:12]} of report.json, got {found[:12]}; "
                f"package the run again, or, where you changed it yourself, run {again}"
            )
    return problems


def generated_images(example: np.ndarray) -> list[np.ndarray]:
    """Draw the images on which the ONNX files and the weights are compared.

    Args:
        example: a face, (h, w, 3) uint8, RGB.

    Returns:
        The example and `GENERATED` others (96, 96, 3): color noise of five grain sizes, half of it blended with the
        face. They are the same on every machine.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    face = np.asarray(Image.fromarray(example).resize((96, 96)), np.float32)
    images = [example]
    for index in range(GENERATED):
        grain = 2 ** (1 + index % 5)
        noise = Image.fromarray(rng.integers(0, 256, (grain, grain, 3), np.uint8)).resize((96, 96))
        share = rng.uniform() if index % 2 else 0.0
        images.append((share * face + (1 - share) * np.asarray(noise)).astype(np.uint8))
    return images


def check_onnx_answers(folder: Path) -> list[str]:
    """Compare the answers of the ONNX files with those of the weights.

    Returns:
        What differs, a sentence each; empty where there are no ONNX files.

    Raises:
        ModelError: a file cannot be run.
    """
    files = {ONNX_FILE: (FLOAT_TOLERANCE, 1.0), QUANTIZED_FILE: (INT8_TOLERANCE, INT8_AGREEMENT)}
    files = {name: limits for name, limits in files.items() if (folder / name).is_file()}
    if not files:
        return []
    from PIL import Image

    with Image.open(folder / EXAMPLE) as example:
        images = generated_images(np.asarray(example.convert("RGB")))
    expected = softmax(TorchBackend.from_pretrained(folder, "cpu")(images), axis=1)
    problems = []
    for name, (tolerance, agreement) in files.items():
        answers = softmax(OnnxBackend(folder, expected.shape[1], name)(images), axis=1)
        difference = float(np.abs(answers - expected).max())
        agree = float((answers.argmax(axis=1) == expected.argmax(axis=1)).mean())
        if not (difference <= tolerance and agree >= agreement):
            problems.append(
                f"{name}: expected the answers of model.safetensors, probabilities within {tolerance:g} and "
                f"{agreement:.0%} of the labels, got a difference of {difference:.2g} and {agree:.0%} on "
                f"{len(images)} images; run python -m training.export again"
            )
    return problems


def check_report(folder: Path, labels: list[str]) -> list[str]:
    """Check that report and card are about this model, and that the card says what the report holds.

    Args:
        folder: the package.
        labels: of the model; empty where it cannot be loaded.

    Returns:
        Everything that is wrong, a sentence each.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    try:
        report = Report.load(folder / REPORT_FILE)
        card = render_card(report) + "\n"
    except ReportError as error:
        return [f"report.json: {error}"]
    problems = []
    if (found := report.model.weights_sha256) != (weights := sha256_of(folder / "model.safetensors")):
        problems.append(f"report.json: is about other weights ({found[:12]}) than model.safetensors ({weights[:12]})")
    if labels and any(set(result.labels) != set(labels) for result in report.results):
        problems.append("report.json: its results are about other labels than those of config.json")
    text = (folder / "README.md").read_text(encoding="utf-8")
    try:
        data = ModelCard(text).data
        targets = {"pipeline_tag": TASK, "library_name": "transformers"}
        problems += [
            f"README.md: expected {key}: {value}, got {data.get(key)}"
            for key, value in targets.items()
            if data.get(key) != value
        ]
        problems += [f"README.md: expected {key} in the metadata" for key in ("license", "tags") if not data.get(key)]
    except (ValueError, TypeError, YAMLError) as error:
        problems.append(f"README.md: its metadata cannot be used: {error}")
    if text != card:
        problems.append("README.md: is not what report.json says; run python -m training.card on the folder")
    return problems


@command
def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.hub.package_check", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="package folder")
    parser.add_argument(
        "--write_checksums", action="store_true", help="first record the checksums of the files as they are now"
    )
    args = parser.parse_args(argv)
    if args.write_checksums:
        write_checksums(args.folder)
    package_files(args.folder, "user/name")
    sys.stdout.write(f"{args.folder} is fit to be published\n")


if __name__ == "__main__":
    main()
