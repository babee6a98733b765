"""Dataset repositories, local or on the Hub, whatever they call their splits, columns and labels."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from training.data.labels import EMOTIONS, VOTES
from training.data.rows import SPLITS, Row, Source, cell, kaggle_row, read_image, split_name
from training.errors import DataError, RowError

IMAGE_COLUMNS = ("image", "img", "img_bytes", "image_bytes")
LABEL_COLUMNS = ("label", "labels", "emotion", "emotions", "expression")


def open_repository(path: str, name: str, pin: str | None, cache_dir: str | Path | None, content: str = "") -> Source:
    """Open a dataset repository, local or on the Hub, as `datasets` reads it.

    Args:
        path: A local folder or a Hub id.
        name: What messages and the provenance call it.
        pin: Branch, tag or commit on the Hub.
        cache_dir: Where `datasets` keeps it; its own default if None.
        content: Hash of a local folder's content; its commit is the revision of a Hub dataset.

    Raises:
        DataError: If it cannot be read, or has no image column or no named labels.
    """
    from datasets import ClassLabel, List, Value, load_dataset_builder
    from datasets.exceptions import DatasetsError

    try:
        builder = load_dataset_builder(path, revision=pin, cache_dir=None if cache_dir is None else str(cache_dir))
        builder.download_and_prepare()
    except (DatasetsError, OSError, ValueError) as error:
        expected = (
            "a folder with <label>/ or train/<label>/, images/<id>/ beside emotions.csv, or a dataset repository"
        )
        if not content:
            expected = "a CSV file, a folder, or the id of a Hub dataset you have access to"
        raise DataError(f"{path}: expected {expected}; reading it failed: {error.__cause__ or error}") from error
    if pin and re.fullmatch("[0-9a-f]{40}", pin) and builder.hash != pin:
        raise DataError(f"{path}: expected revision {pin}; only {builder.hash} is at hand offline")
    features = builder.info.features
    image, label = _columns(name, features)
    metadata = {
        column: feature
        for column, feature in features.items()
        if column not in (image, label)
        and column.strip().lower() != "usage"
        and (isinstance(feature, ClassLabel) or (isinstance(feature, Value) and feature.dtype != "binary"))
    }
    if isinstance(votes := features.get("votes"), List) and votes.length == len(VOTES):
        metadata["votes"] = List(Value("int32"), length=len(VOTES))
    rows = partial(_repository_rows, name, builder, image, label, tuple(metadata))
    declared = EMOTIONS if image.strip().lower() == "pixels" else ()
    return Source(name, content or str(builder.hash), rows, metadata, declared)


def _columns(name: str, features: Any) -> tuple[str, str]:
    """Find the image and the label column of a repository; the raw Kaggle CSV counts as `pixels` and `emotion`."""
    from datasets import ClassLabel, Image, Value

    plain = {column.strip().lower(): column for column in features}
    if {"pixels", "emotion"} <= plain.keys():
        return plain["pixels"], plain["emotion"]
    images = [column for column, feature in features.items() if isinstance(feature, Image)]
    images += [plain[column] for column in IMAGE_COLUMNS if column in plain]
    labels = [plain[column] for column in LABEL_COLUMNS if column in plain]
    if not images or not labels:
        raise DataError(
            f"{name}: expected an image column ({', '.join(IMAGE_COLUMNS)}) and a label column "
            f"({', '.join(LABEL_COLUMNS)}); found {', '.join(features)}"
        )
    feature = features[labels[0]]
    if not isinstance(feature, ClassLabel) and not (isinstance(feature, Value) and "string" in feature.dtype):
        raise DataError(
            f"{name}: expected label names in the column {labels[0]} (ClassLabel or string), found {feature}; copies "
            "of FER-2013 number their classes in different orders, so bare numbers are ambiguous: cast the "
            "column to ClassLabel first"
        )
    return images[0], labels[0]


def _repository_rows(
    name: str, builder: Any, image: str, label: str, metadata: tuple[str, ...]
) -> Iterator[tuple[str, Callable[[], Row]]]:
    from datasets import Image

    splits = builder.as_dataset()
    try:
        # The official order of the splits, so that FER+ votes join by row.
        ordered = sorted(splits, key=lambda split: list(SPLITS).index(split_name(split)))
    except RowError as error:
        raise DataError(f"{name}: {error}") from None
    for split in ordered:
        rows = splits[split]
        if not len(rows):
            raise DataError(f"{name}, split {split}: expected rows, found none")
        if isinstance(rows.features[image], Image):
            rows = rows.cast_column(image, Image(decode=False))
        names = getattr(rows.features[label], "names", None)
        for index, record in enumerate(rows):
            read = partial(_repository_row, record, image, label, names, split_name(split), metadata)
            yield f"{name}, {split} row {index}", read


def _repository_row(
    record: Mapping[str, Any], image: str, label: str, names: list[str] | None, split: str, metadata: tuple[str, ...]
) -> Row:
    extra = {column: record[column] for column in metadata}
    if image.strip().lower() == "pixels":
        kaggle = kaggle_row({"usage": split} | {column.strip().lower(): value for column, value in record.items()})
        return replace(kaggle, metadata=extra)
    value, image_cell = cell(record, label), cell(record, image)
    if names is not None:
        if not 0 <= value < len(names):
            raise RowError("label", f"expected a label from 0 to {len(names) - 1}, found {value}")
        value = names[value]
    encoded = image_cell["bytes"] if isinstance(image_cell, dict) else image_cell
    if encoded is None:
        encoded = read_image(Path(image_cell["path"]))
    return Row(split, value, encoded, extra)
