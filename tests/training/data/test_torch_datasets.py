"""Splits as torch datasets: the pixels and targets of the rows asked for, from memory or from disk."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as PILImage

from training.data import torch_datasets as module
from training.data.labels import EMOTIONS, VOTES
from training.data.torch_datasets import EvalDataset, TrainDataset, identity_collate, in_chunks, side, targets
from training.errors import DataError

LABELS = [4, 0, 3, 3, 6]


def color_images(*shapes: tuple[int, int]) -> list[np.ndarray]:
    return [np.random.default_rng(n).integers(0, 256, (*shape, 3), np.uint8) for n, shape in enumerate(shapes)]


def split_of(pixels: list[np.ndarray], votes: bool = False) -> Dataset:
    columns: dict[str, Any] = {
        "image": [PILImage.fromarray(one) for one in pixels],
        "label": LABELS[: len(pixels)],
    }
    features: dict[str, Any] = {"image": Image(), "label": ClassLabel(names=list(EMOTIONS))}
    if votes:
        columns["votes"] = [[n, *[1] * 9] for n in range(len(pixels))]
        features["votes"] = List(Value("int32"), length=len(VOTES))
    return Dataset.from_dict(columns, features=Features(features))


class Halves:
    """An image processor that halves the values, so that what it gives differs from the image."""

    size: dict[str, int] = {"height": 6, "width": 6}  # noqa: RUF012 - as transformers has it

    def __call__(self, images: list[PILImage.Image], return_tensors: str) -> dict[str, torch.Tensor]:
        assert return_tensors == "pt" and all(image.mode == "RGB" for image in images)
        pixels = np.stack([np.asarray(image) for image in images])
        return {"pixel_values": torch.from_numpy(pixels).permute(0, 3, 1, 2) / 2}


@pytest.mark.parametrize(
    ("size", "expected"),
    [({"height": 48, "width": 48}, 48), ({"shortest_edge": 224}, 224), ({"height": 0, "shortest_edge": 9}, 9)],
)
def test_side_is_that_of_the_square(size: dict[str, int], expected: int) -> None:
    assert side(SimpleNamespace(size=size)) == expected


@pytest.mark.parametrize("size", [{"height": 48, "width": 64}, {}])
def test_other_shapes_than_squares_are_refused(size: dict[str, int]) -> None:
    with pytest.raises(DataError, match=f"expected a square size, got {size}"):
        side(SimpleNamespace(size=size))


def test_targets_are_labels_and_votes() -> None:
    images = color_images((6, 6), (6, 6))
    found = targets(split_of(images))
    assert list(found) == ["labels"] and found["labels"].tolist() == [4, 0] and found["labels"].dtype == torch.int64
    found = targets(split_of(images, votes=True))
    assert found["votes"].tolist() == [[0, *[1] * 9], [1, *[1] * 9]] and found["votes"].dtype == torch.float32


def test_chunks_cover_every_image_in_order() -> None:
    split, sizes = split_of(color_images((1, 1), (2, 2), (3, 3), (4, 4), (5, 5))), []

    def widths(images: list[PILImage.Image]) -> torch.Tensor:
        sizes.append(len(images))
        return torch.tensor([image.width for image in images])

    assert in_chunks(split, widths, "widths", rows=2).tolist() == [1, 2, 3, 4, 5]
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("in_memory", [True, False])
def test_training_images_are_those_of_the_rows(in_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = color_images(*[(6, 6)] * 5)
    monkeypatch.setattr(module, "IN_MEMORY", 5 * 3 * 6 * 6 - (not in_memory))
    data = TrainDataset(split_of(pixels, votes=True), channels=3, size=8)
    assert (data.memory is not None) == in_memory and len(data) == 5
    batch = data.__getitems__([3, 0])
    assert batch["pixel_values"].dtype == torch.uint8 and batch["pixel_values"].is_contiguous()
    assert np.array_equal(batch["pixel_values"].permute(0, 2, 3, 1), np.stack([pixels[3], pixels[0]]))
    assert batch["labels"].tolist() == [3, 4] and batch["votes"][:, 0].tolist() == [3, 0]
    assert identity_collate(batch) is batch


def test_one_channel_is_the_grayscale_image() -> None:
    pixels = color_images((6, 6), (6, 6))
    batch = TrainDataset(split_of(pixels), channels=1, size=6).__getitems__([1])["pixel_values"]
    assert batch.shape == (1, 1, 6, 6)
    assert np.array_equal(batch[0, 0], np.asarray(PILImage.fromarray(pixels[1]).convert("L")))


@pytest.mark.parametrize(
    ("shape", "size", "expected"), [((6, 6), 8, (6, 6)), ((6, 6), 4, (4, 4)), ((4, 6), 8, (8, 8)), ((8, 8), 8, (8, 8))]
)
def test_square_images_up_to_the_size_stay(shape: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    pixels = color_images(shape, (5, 7))
    data = TrainDataset(split_of(pixels), channels=3, size=size)
    assert data.size == expected
    resized = PILImage.fromarray(pixels[1]).resize(expected, PILImage.Resampling.BILINEAR)
    assert np.array_equal(data.__getitems__([1])["pixel_values"][0].permute(1, 2, 0), np.asarray(resized))


def test_statistics_are_of_a_stratified_sample() -> None:
    pixels = [np.full((2, 2, 3), value, np.uint8) for value in (0, 51, 102, 153, 255)]
    data = TrainDataset(split_of(pixels), channels=1, size=2)
    values = np.repeat(np.array([0, 51, 102, 153, 255]) / 255, 4)
    assert data.statistics(seed=0) == (round(values.mean(), 4), round(values.std(ddof=1), 4))
    means = {data.statistics(seed=seed, rows=1)[0] for seed in range(20)}
    assert len(means) > 1 and means <= {0.0, 0.2, 0.4, 0.6, 1.0}


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_images_are_the_processors(channels: int, in_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = color_images(*[(6, 6)] * 3)
    monkeypatch.setattr(module, "IN_MEMORY", 3 * channels * 6 * 6 * 4 - (not in_memory))
    data = EvalDataset(split_of(pixels), Halves(), channels)
    assert (data.memory is not None) == in_memory and len(data) == 3
    batch = data.__getitems__([2, 1])
    assert batch["labels"].tolist() == [3, 0] and batch["pixel_values"].shape == (2, channels, 6, 6)
    for found, image in zip(batch["pixel_values"], (pixels[2], pixels[1]), strict=True):
        seen = np.asarray(PILImage.fromarray(image).convert("L"))[None] if channels == 1 else image.transpose(2, 0, 1)
        assert np.array_equal(found, seen / 2)
