"""Splits as torch datasets that hand out whole batches: uint8 for training, processed for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from training.data.splits import stratified_sample
from training.errors import DataError

IN_MEMORY = 2 * 2**30  # bytes; a split that decodes to more stays on disk and is decoded batch by batch


def side(image_processor: Any) -> int:
    """Return the side in pixels of what a transformers image processor puts out.

    Raises:
        DataError: the processor's size is not a square.
    """
    size = image_processor.size
    if (height := size.get("height")) and height == size.get("width"):
        return int(height)
    if shortest := size.get("shortest_edge"):
        return int(shortest)
    raise DataError(f"image processor: expected a square size, got {dict(size)}")


def targets(split: datasets.Dataset) -> dict[str, torch.Tensor]:
    """Return the targets of a split: `labels` (n,) int64 and, where the split has votes, `votes` (n, 10) float32."""
    result = {"labels": torch.tensor(split["label"][:], dtype=torch.int64)}
    if "votes" in split.column_names:
        result["votes"] = torch.tensor(split["votes"][:], dtype=torch.float32)
    return result


def in_chunks(
    images: datasets.Dataset, convert: Callable[[list[Image.Image]], torch.Tensor], what: str, rows: int = 1000
) -> torch.Tensor:
    """Convert all images, a thousand at a time, under a progress bar called `what`."""
    starts = tqdm(range(0, len(images), rows), what, leave=False, disable=None)
    return torch.cat([convert(images[start : start + rows]["image"]) for start in starts])


class TrainDataset(torch.utils.data.Dataset):
    """Images as uint8 at one size; augmentation and normalization happen on the device.

    Args:
        split: with `image`, `label` and perhaps `votes`.
        channels: 1 decodes to grayscale, 3 to RGB.
        size: images of other sizes are resized to this side, in pixels.
    """

    def __init__(self, split: datasets.Dataset, channels: int, size: int) -> None:
        self.images = split.select_columns("image")
        self.mode = "L" if channels == 1 else "RGB"
        self.targets = targets(split)
        first = self.images[0]["image"].size
        # FER-2013 stays at its own 48 pixels, whatever the model's size: the affine map enlarges it on the device
        self.size = first if first[0] == first[1] and max(first) <= size else (size, size)
        self.memory: torch.Tensor | None = None
        if len(split) * channels * self.size[0] * self.size[1] <= IN_MEMORY:
            self.memory = in_chunks(self.images, self.decode, "Decoding images")

    def decode(self, images: list[Image.Image]) -> torch.Tensor:
        """Return (n, C, h, w) uint8."""
        arrays = []
        for image in images:
            converted = image.convert(self.mode)
            if converted.size != self.size:
                converted = converted.resize(self.size, Image.Resampling.BILINEAR)
            arrays.append(np.asarray(converted))
        batch = torch.from_numpy(np.stack(arrays))
        return batch[:, None] if self.mode == "L" else batch.permute(0, 3, 1, 2).contiguous()

    def statistics(self, seed: int, rows: int = 5000) -> tuple[float, float]:
        """Return mean and standard deviation, in 0-1, of the pixels of a stratified sample."""
        sample = stratified_sample(self.targets["labels"].numpy(), rows, seed)
        pixels = self.__getitems__(sample.tolist())["pixel_values"].double() / 255
        return round(pixels.mean().item(), 4), round(pixels.std().item(), 4)

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        rows = torch.tensor(indices)
        pixels = self.decode(self.images[indices]["image"]) if self.memory is None else self.memory[rows]
        return {"pixel_values": pixels} | {name: target[rows] for name, target in self.targets.items()}


class EvalDataset(torch.utils.data.Dataset):
    """Images exactly as the saved image processor gives them to the published model.

    Args:
        split: with `image`, `label` and perhaps `votes`.
        image_processor: the checkpoint's.
        channels: 1 keeps one of the three equal channels of the grayscale image.
    """

    def __init__(self, split: datasets.Dataset, image_processor: Any, channels: int) -> None:
        self.images = split.select_columns("image")
        self.image_processor = image_processor
        self.channels = channels
        self.targets = targets(split)
        self.memory: torch.Tensor | None = None
        if len(split) * channels * side(image_processor) ** 2 * 4 <= IN_MEMORY:  # every epoch uses the same pixels
            self.memory = in_chunks(self.images, self.process, "Processing images")

    def process(self, images: list[Image.Image]) -> torch.Tensor:
        """Return (n, C, H, W) float32."""
        if self.channels == 1:
            images = [image.convert("L") for image in images]
        pixels = self.image_processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]
        return pixels[:, : self.channels].contiguous()

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        rows = torch.tensor(indices)
        pixels = self.process(self.images[indices]["image"]) if self.memory is None else self.memory[rows]
        return {"pixel_values": pixels} | {name: target[rows] for name, target in self.targets.items()}


def identity_collate(batch: Any) -> Any:
    """Return the batch: the `__getitems__` of these datasets collates."""
    return batch
