"""A model folder's JSON files and checksums, validated before anything in the folder is loaded."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from .errors import ModelError

REPORT = "report.json"
WEIGHTS = "model.safetensors"
MAX_SIDE = 4096  # pixels of a model's input; far more than any face classifier takes

# Names that expression checkpoints use. They tell an expression classifier from any other; nothing maps by them. A
# package of `training.package`, which has its provenance in the config, may have other classes.
_EXPRESSIONS = {"anger", "angry", "contempt", "disgust", "disgusted", "fear", "fearful", "happiness", "happy"}
_EXPRESSIONS |= {"neutral", "sad", "sadness", "surprise", "surprised"}


def model_name(folder: Path) -> str:
    """Return what to call a model folder: its Hub id within the Hub's cache, otherwise the folder's own name."""
    kind, *parts = folder.parents[1].name.split("--") if folder.parent.name == "snapshots" else [""]
    return "/".join(parts) if kind == "models" else folder.name


def verify_files(folder: Path, *files: str) -> None:
    """Compare files with the SHA-256 checksums in report.json.

    A report lists every file of its package under "files". Older ones hold the checksum of model.safetensors alone;
    a folder without a report of ours holds none, and nothing is compared.

    Args:
        folder: the model folder.
        files: paths of existing files, relative to it.

    Raises:
        ModelError: a file differs from its checksum or is not listed, or the report is damaged.
    """
    name = model_name(folder)
    listed, checksums = _checksums(folder)
    for file in files:
        if file not in checksums:
            if listed:
                raise ModelError(f"{name}: {file} is not listed in {REPORT}. Package or download the model again.")
            continue
        with (folder / file).open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != checksums[file]:
            raise ModelError(
                f"{name}: {file} is damaged: {REPORT} gives the checksum {checksums[file][:12]}, the file has "
                f"{found[:12]}. Package or download the model again."
            )


def _checksums(folder: Path) -> tuple[bool, dict[str, str]]:
    """Return whether the report lists every file, and the checksums it holds by path."""
    if not (folder / REPORT).is_file():
        return False, {}
    report = _read_json(folder, REPORT)
    if "schema_version" not in report:  # somebody else's file of that name
        return False, {}
    listed, checksums = "files" in report, report.get("files", {})
    if not listed and isinstance(model := report.get("model"), dict) and "weights_sha256" in model:
        checksums = {WEIGHTS: model["weights_sha256"]}
    if not isinstance(checksums, dict) or not all(
        isinstance(checksum, str) and re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums.values()
    ):
        raise ModelError(
            f"{model_name(folder)}: {REPORT} is damaged. Expected a SHA-256 checksum of 64 hexadecimal digits for "
            "each file. Package or download the model again."
        )
    return listed, checksums


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json and check what serving needs of it.

    Raises:
        ModelError: it is damaged, not of an expression classifier, or has labels or crop margins of the wrong kind.
    """
    config = _read_json(folder, "config.json")
    try:
        labels = labels_of(config)
    except ValueError as error:
        raise ModelError(f"{model_name(folder)}: config.json cannot be used: {error}") from None
    if not _EXPRESSIONS & {label.lower() for label in labels} and "provenance" not in config:
        shown = ", ".join([*labels[:5], *(["..."] if len(labels) > 5 else [])])
        raise ModelError(
            f"{model_name(folder)} is no expression classifier: the labels in config.json are {shown}. "
            "Expected id2label with emotions such as happy and sad."
        )
    margins = config.get("crop_margin", {})
    if not isinstance(margins, dict) or not all(_is_number(m) and -1 < m <= 2 for m in margins.values()):
        raise ModelError(
            f"{model_name(folder)}: crop_margin in config.json is {margins!r}. Expected a number above -1 and up to 2 "
            'for the detector, such as {"yunet": 0.05}; measure it with training.crop_margin.'
        )
    return config


def labels_of(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the label names of a config.json in the order of the model's outputs.

    Raises:
        ValueError: id2label is not a mapping from 0, 1, 2, ... to different names.
    """
    names = config.get("id2label")
    expected = 'expected id2label to map 0, 1, 2, ... to different names, such as {"0": "happy", "1": "sad"}'
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{expected}, got {names!r:.60}")
    by_number = {str(number): name for number, name in names.items()}
    ordered = [by_number.get(str(number)) for number in range(len(names))]
    if None in ordered:
        raise ValueError(f"{expected}, got the numbers {', '.join(by_number)}")
    for label in ordered:
        if not isinstance(label, str) or not label.strip() or not label.isprintable():
            raise ValueError(f"{expected}, got the label {label!r}")
        if ordered.count(label) > 1:
            raise ValueError(f"{expected}, got {label!r} twice")
    return tuple(str(label) for label in ordered)


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """Read preprocessor_config.json and check the values that every image processor must have right.

    Raises:
        ModelError: it is damaged, or a value has the wrong type or range.
    """
    config = _read_json(folder, "preprocessor_config.json")
    size = config.get("size")
    checks = {
        "image_mean": ("finite numbers", _all(config.get("image_mean"), math.isfinite)),
        "image_std": ("finite numbers above 0", _all(config.get("image_std"), lambda value: 0 < value < math.inf)),
        "rescale_factor": ("a finite number above 0", _all(config.get("rescale_factor"), lambda v: 0 < v < math.inf)),
        "crop_pct": ("a number above 0 and up to 1", _all(config.get("crop_pct"), lambda value: 0 < value <= 1)),
        "resample": ("a whole number from 0 to 5", _all(config.get("resample"), lambda value: value in range(6))),
        "size": (
            f"whole pixels from 1 to {MAX_SIDE}",
            all(
                _all(side, lambda value: value in range(1, MAX_SIDE + 1))
                for side in (size.values() if isinstance(size, dict) else [size])
            ),
        ),
    }
    for key, (expected, holds) in checks.items():
        if not holds:
            raise ModelError(
                f"{model_name(folder)}: {key} in preprocessor_config.json is {config[key]!r:.60}. Expected {expected}."
            )
    return config


def _all(value: Any, holds: Any) -> bool:
    """Return whether a value is missing, or a number or a list of numbers for which `holds` is true."""
    numbers = value if isinstance(value, list) else [] if value is None else [value]
    return all(_is_number(number) and holds(number) for number in numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read_json(folder: Path, file: str) -> dict[str, Any]:
    """Read an object from a JSON file; a checkpoint that wants code of its own to be run is refused."""
    name = model_name(folder)
    try:
        content = json.loads((folder / file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{name} has no {file}. Package or download the model again.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{name}: {file} is damaged ({error}). Package or download the model again.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {file} cannot be used. Expected a JSON object, got {content!r:.60}.")
    if "auto_map" in content:
        raise ModelError(
            f"{name}: {file} asks for code of its own to be run (auto_map), which is never done. "
            "Expected an image classifier that transformers knows."
        )
    return content
