"""Batched augmentation on the training device: uint8 images in, float images in 0-1 out, one resampling pass.

The geometry (flip, rotation, zoom, shift) is one affine map per image, sampled once, straight to the model's size.
Random numbers come from torch's global generator, which checkpoints save and restore: a resumed run sees the same
views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F


@dataclass
class AugmentArguments:
    """Strengths of the augmentation; with all of them at 0, images stay as they are."""

    flip: float = field(default=0.5, metadata={"help": "Chance of a left-right flip, 0-1."})
    rotation: float = field(default=12.0, metadata={"help": "Rotation up to this many degrees either way."})
    zoom: float = field(default=0.18, metadata={"help": "Zoom by a factor in [1 / (1 + zoom), 1 + zoom]."})
    shift: float = field(default=0.15, metadata={"help": "Shift up to this share of the side."})
    contrast: float = field(default=0.3, metadata={"help": "Contrast by a factor in [1 - c, 1 + c]."})
    brightness: float = field(default=0.15, metadata={"help": "Brightness up to this much either way (white is 1)."})
    erase: float = field(default=0.3, metadata={"help": "Chance of one erased box, 0-1."})
    erase_min: float = field(default=0.125, metadata={"help": "Shortest side of the erased box, share of the side."})
    erase_max: float = field(default=0.375, metadata={"help": "Longest side of the erased box, share of the side."})
    mixup_alpha: float = field(default=0.0, metadata={"help": "Beta parameter of mixup; 0 switches it off."})
    cutmix_alpha: float = field(default=0.0, metadata={"help": "Beta parameter of CutMix; 0 switches it off."})
    corrupt: float = field(
        default=0.0, metadata={"help": "Share of the views that are corrupted, see training/data/corruptions.py."}
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 0:
                raise ValueError(f"{item.name}: expected 0 or more, got {getattr(self, item.name)}")
        for name in ("flip", "erase", "contrast", "corrupt"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name}: expected at most 1, got {getattr(self, name)}")
        if self.erase_min > self.erase_max:
            raise ValueError(f"erase_min ({self.erase_min}) is larger than erase_max ({self.erase_max})")

    def scaled(self, strength: float) -> AugmentArguments:
        """The same with every strength but the flip's chance multiplied; the sizes of erased boxes stay."""
        names = ("rotation", "zoom", "shift", "contrast", "brightness", "erase", "mixup_alpha", "cutmix_alpha")
        return replace(self, **{name: getattr(self, name) * strength for name in names})


def uniform(n: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """(n,) float32 numbers drawn evenly from [low, high)."""
    return torch.empty(n, device=device).uniform_(low, high)


def affine_maps(n: int, args: AugmentArguments, device: torch.device) -> torch.Tensor:
    """(n, 2, 3) random maps from output to input coordinates (both -1 to 1), as `affine_grid` wants them."""
    angle = uniform(n, -args.rotation, args.rotation, device) * (math.pi / 180)
    # log-uniform, so that zooming in and zooming out are equally likely
    scale = torch.exp(uniform(n, -1, 1, device) * math.log1p(args.zoom))
    shift = uniform(2 * n, -2 * args.shift, 2 * args.shift, device).view(n, 2)  # the side is 2 in these coordinates
    mirror = 1 - 2 * (torch.rand(n, device=device) < args.flip).float()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack(
        [torch.stack([mirror * cos, -sin, shift[:, 0]], 1), torch.stack([mirror * sin, cos, shift[:, 1]], 1)], 1
    )


def box_masks(centers: torch.Tensor, sides: torch.Tensor, size: int) -> torch.Tensor:
    """(n, 1, size, size) bool, true inside one box each.

    Args:
        centers, sides: (2, n, 1) in pixels: of rows, then of columns.
        size: of the images, in pixels.
    """
    inside = (torch.arange(size, device=centers.device) + 0.5 - centers).abs() < sides / 2  # (2, n, size)
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def random_boxes(n: int, size: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """(n, 1, size, size) bool, one random box each with sides between `low` and `high` of `size`."""
    sides = uniform(2 * n, low * size, high * size, device).view(2, n, 1)
    centers = uniform(2 * n, 0, size, device).view(2, n, 1)
    return box_masks(centers, sides, size)


def augment(pixels: torch.Tensor, args: AugmentArguments, size: int) -> torch.Tensor:
    """Augment a batch of images.

    Args:
        pixels: (n, C, h, w) uint8.
        args: the strengths.
        size: the side of the images that come out, in pixels.

    Returns:
        (n, C, size, size) float32 in 0-1.
    """
    n, device = len(pixels), pixels.device
    images = pixels.float() / 255
    grid = F.affine_grid(affine_maps(n, args, device), [n, 1, size, size], align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if args.contrast or args.brightness:
        contrast = uniform(n, 1 - args.contrast, 1 + args.contrast, device).view(n, 1, 1, 1)
        brightness = uniform(n, -args.brightness, args.brightness, device).view(n, 1, 1, 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = ((images - mean) * contrast + mean + brightness).clamp(0, 1)
    if args.erase:
        boxes = random_boxes(n, size, args.erase_min, args.erase_max, device)
        chosen = (torch.rand(n, device=device) < args.erase).view(n, 1, 1, 1)
        images = torch.where(boxes & chosen, images.mean(dim=(1, 2, 3), keepdim=True), images)
    return images


class Mixing(NamedTuple):
    """How the images of a batch were mixed with each other.

    Attributes:
        partner: (n,) int64, the row that each image was mixed with.
        share: (n,) float in 0-1, how much of the image itself is left.
    """

    partner: torch.Tensor
    share: torch.Tensor

    @classmethod
    def none(cls, n: int, device: torch.device) -> Mixing:
        """No mixing: each image is its own partner."""
        return cls(torch.arange(n, device=device), torch.ones(n, device=device))

    def blend(self, target: torch.Tensor) -> torch.Tensor:
        """(n, C) targets of the mixtures from those of the images."""
        return self.share[:, None] * target + (1 - self.share[:, None]) * target[self.partner]


def mix(images: torch.Tensor, args: AugmentArguments) -> tuple[torch.Tensor, Mixing]:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019); with both switched on, one of them at random a batch.

    Args:
        images: (n, C, s, s) float.
        args: `mixup_alpha` and `cutmix_alpha`.

    Returns:
        The mixed images, and how they were mixed. With both switched off, the images themselves.
    """
    n, device = len(images), images.device
    kinds = [kind for kind in ("mixup", "cutmix") if getattr(args, f"{kind}_alpha") > 0]
    if not kinds:
        return images, Mixing.none(n, device)
    partner = torch.randperm(n, device=device)
    kind = kinds[int(torch.randint(len(kinds), ()))]
    alpha = torch.tensor(float(getattr(args, f"{kind}_alpha")), device=device)
    share = torch.distributions.Beta(alpha, alpha).sample((n,))
    if kind == "mixup":
        weight = share.view(n, 1, 1, 1)
        return weight * images + (1 - weight) * images[partner], Mixing(partner, share)
    size = images.shape[-1]
    sides = (1 - share).sqrt().view(1, n, 1) * size
    box = box_masks(uniform(2 * n, 0, size, device).view(2, n, 1), sides, size)
    return torch.where(box, images[partner], images), Mixing(partner, 1 - box.float().mean(dim=(1, 2, 3)))
