"""A saved image processor without transformers: the same pixels to the last bit, from PIL and numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ModelError

_NEEDED = {"size", "resample", "rescale_factor", "image_mean", "image_std"}
_STEPS = {"do_resize", "do_rescale", "do_normalize"}
_HARMLESS = {"image_processor_type", "do_convert_rgb", "data_format"}  # crops are RGB, the output channels first
_CONVNEXT_WARPS = 384  # pixels; ConvNextImageProcessor crops below this side and warps from it on


class ImageProcessor:
    """A maker of a model's input from crops, as transformers' PIL `ViTImageProcessor` and `ConvNextImageProcessor` do.

    Args:
        config: the content of preprocessor_config.json. Nothing is filled in: a value it lacks is not guessed.

    Raises:
        ModelError: it is another image processor, or one with steps or values that are not known here.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        kind = config.get("image_processor_type")
        needed = _NEEDED | ({"crop_pct"} if kind == "ConvNextImageProcessor" else set())
        size = config.get("size")
        sides = {"ViTImageProcessor": {"height", "width"}, "ConvNextImageProcessor": {"shortest_edge"}}
        if (
            kind not in sides
            or not isinstance(size, dict)
            or {side for side, pixels in size.items() if pixels} != sides[kind]
            or not all(config.get(step) for step in _STEPS)
            or not config.keys() >= needed
            or any(value for key, value in config.items() if key not in needed | _STEPS | _HARMLESS)
            or [len(config[key]) for key in ("image_mean", "image_std")] != [3, 3]
            or not 0 < config.get("crop_pct", 1.0) <= 1
        ):
            raise ModelError(
                f"preprocessor_config.json describes a {kind} with settings that only PyTorch can serve. Expected a "
                "ViTImageProcessor or ConvNextImageProcessor that resizes, rescales and normalizes RGB images."
            )
        self._resample = config["resample"]
        self._crop_pct: float | None = None
        if kind == "ViTImageProcessor":
            self.size: tuple[int, int] = (size["height"], size["width"])
        else:
            self.size = (size["shortest_edge"],) * 2
            self._crop_pct = config["crop_pct"] if size["shortest_edge"] < _CONVNEXT_WARPS else None
        # Each channel's 256 possible values, in the order and the precisions of `transformers.image_transforms`.
        values = (np.arange(256, dtype=np.float64) * config["rescale_factor"]).astype(np.float32)
        mean, std = (np.array(config[key], np.float32)[:, None] for key in ("image_mean", "image_std"))
        self._table = (values - mean) / std  # (3, 256)

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Resize and normalize.

        Args:
            crops: n arrays (h, w, 3) uint8, RGB, of any sizes; n at least 1.

        Returns:
            (n, 3, H, W) float32.
        """
        pixels = np.stack([self._resize(crop) for crop in crops])
        return np.stack([table[pixels[..., i]] for i, table in enumerate(self._table)], axis=1)

    def _resize(self, crop: np.ndarray) -> np.ndarray:
        from PIL import Image

        height, width = self.size
        if self._crop_pct is None:
            return np.asarray(Image.fromarray(crop).resize((width, height), self._resample))
        # The short edge a little too large, then the middle: the evaluation of ImageNet.
        short, shortest = int(height / self._crop_pct), min(crop.shape[:2])
        rows, columns = (short if side == shortest else int(short * side / shortest) for side in crop.shape[:2])
        top, left = (rows - height) // 2, (columns - width) // 2
        resized = Image.fromarray(crop).resize((columns, rows), self._resample)
        return np.asarray(resized)[top : top + height, left : left + width]
