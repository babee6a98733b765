"""Batched corruptions of training views, for robustness: light, blur, low resolution, noise, JPEG and occlusion.

A share `corrupt` of the views (see `AugmentArguments`) meets each kind with the chance that `CHANCES` gives, one after
the other, as a scene meets a lens, a sensor and a file. Lengths are relative to the side, so they mean the same at
every training resolution. Blur and resampling are linear: each image gets a (side, side) matrix K, and K X K^T does
rows and columns at once. Random numbers come from torch's global generator, as in `training.data.augment`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F

from training.data.augment import box_masks, uniform

Images = torch.Tensor  # (n, C, side, side) float32 in 0-1

MAX_HIDDEN = 0.25  # of the area
LIGHT = (0.15, 1.0)  # factor, log-uniform
GAMMA = (0.5, 2.0)  # log-uniform
BLUR = (0.3 / 48, 2 / 48)  # sigma, share of the side
RESOLUTION = (12 / 48, 40 / 48)  # share of the side that is left
NOISE = (0.0, 0.12)  # standard deviation
QUALITY = (10, 75)  # of the JPEG standard's scale
# Annex K.1 of ITU-T T.81: the quantization table of luminance at quality 50, in units of 1/255
QUANTIZATION = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def occlude(images: Images) -> Images:
    """Cover one box of each image, up to `MAX_HIDDEN` of its area, with an even gray."""
    n, side, device = len(images), images.shape[-1], images.device
    area = uniform(n, 0, MAX_HIDDEN, device)
    aspect = torch.exp(uniform(n, -math.log(2), math.log(2), device))  # at most twice as long as wide
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()])[..., None] * side
    centers = sides / 2 + torch.rand(2, n, 1, device=device) * (side - sides)
    gray = uniform(n, 0.2, 0.8, device).view(n, 1, 1, 1)
    return torch.where(box_masks(centers, sides, side), gray, images)


def dim(images: Images) -> Images:
    """Raise each image to a power of its own and take some of its light away."""
    factor, gamma = (log_uniform(len(images), *limits, images.device).view(-1, 1, 1, 1) for limits in (LIGHT, GAMMA))
    return relight(images, factor, gamma)


def relight(images: Images, factor: torch.Tensor, gamma: torch.Tensor) -> Images:
    """`factor * images ** gamma`; both (n, 1, 1, 1)."""
    return factor * images.clamp(min=1e-6) ** gamma


def blur(images: Images) -> Images:
    """Gaussian blur with a width of its own for each image."""
    side = images.shape[-1]
    return apply_matrices(images, gaussian_kernels(uniform(len(images), *BLUR, images.device) * side, side))


def gaussian_kernels(sigma: torch.Tensor, side: int) -> torch.Tensor:
    """(n, side, side) for (n,) sigma in pixels; each row sums to 1, at the edges too."""
    at = torch.arange(side, device=sigma.device)
    kernels = torch.exp(-((at[:, None] - at).float() ** 2) / (2 * sigma.view(-1, 1, 1) ** 2))
    return kernels / kernels.sum(dim=2, keepdim=True)


def resample(images: Images) -> Images:
    """Shrink each image to a size of its own and enlarge it again."""
    side = images.shape[-1]
    smallest, largest = (round(share * side) for share in RESOLUTION)
    sizes = torch.randint(smallest, largest + 1, (len(images),))
    return apply_matrices(images, resampling_matrices(side, smallest, largest)[sizes - smallest].to(images.device))


@cache
def resampling_matrices(side: int, smallest: int, largest: int) -> torch.Tensor:
    """(sizes, side, side): down to each size from `smallest` to `largest` with anti-aliasing, and bilinearly up."""
    unit = torch.eye(side)[None, None]

    def columns(size: int) -> torch.Tensor:
        shrunk = F.interpolate(unit, (size, side), mode="bilinear", antialias=True)
        return F.interpolate(shrunk, (side, side), mode="bilinear")[0, 0]

    return torch.stack([columns(size) for size in range(smallest, largest + 1)])


def apply_matrices(images: Images, matrices: torch.Tensor) -> Images:
    """K X K^T for each channel X of each image, with its (side, side) matrix K."""
    return matrices[:, None] @ images @ matrices[:, None].transpose(2, 3)


def add_noise(images: Images) -> Images:
    """Gaussian noise, the same in all channels, with a strength of its own for each image."""
    sigma = uniform(len(images), *NOISE, images.device).view(-1, 1, 1, 1)
    return images + sigma * torch.randn_like(images[:, :1])


def compress(images: Images) -> Images:
    """Quantize the cosine transform of 8 x 8 blocks, as a JPEG file does; each channel as luminance."""
    quality = uniform(len(images), *QUALITY, images.device)
    return quantize_blocks(images, quality)


def quantize_blocks(images: Images, quality: torch.Tensor) -> Images:
    """JPEG's loss without its file; `quality` (n,) in 1-100 scales the standard table as libjpeg does."""
    n, channels, height, width = images.shape
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).view(n, 1, 1, 1, 1, 1)
    table = torch.tensor(QUANTIZATION, device=images.device, dtype=torch.float32)[:, None, :]
    steps = (table * scale + 0.5).floor().clamp(1, 255)
    padded = F.pad(images * 255 - 128, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = padded.view(n, channels, padded.shape[2] // 8, 8, padded.shape[3] // 8, 8)
    cosine = cosine_matrix().to(images.device)
    coefficients = torch.einsum("ik,ncakbl,jl->ncaibj", cosine, blocks, cosine)
    quantized = (coefficients / steps).round() * steps
    decoded = torch.einsum("ik,ncaibj,jl->ncakbl", cosine, quantized, cosine).reshape(padded.shape)
    return (decoded[..., :height, :width] + 128) / 255


@cache
def cosine_matrix() -> torch.Tensor:
    """(8, 8): the orthonormal DCT-II, one row a frequency."""
    frequency, at = torch.arange(8)[:, None], torch.arange(8)
    matrix = torch.cos(math.pi / 8 * (at + 0.5) * frequency) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def log_uniform(n: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """(n,) numbers from [low, high), as likely to double as to halve."""
    return torch.exp(uniform(n, math.log(low), math.log(high), device))


# in the order in which they are applied
CHANCES: dict[Callable[[Images], Images], float] = {
    occlude: 0.25,
    dim: 0.4,
    blur: 0.25,
    resample: 0.25,
    add_noise: 0.4,
    compress: 0.2,
}


def corrupt(images: Images, share: float) -> Images:
    """Corrupt some of a batch.

    Args:
        images: (n, C, side, side) float32 in 0-1; left as they are.
        share: how many are chosen, on average, 0-1. About one in eight of those meets no corruption after all.

    Returns:
        The same shape and range; with a share of 0 the images themselves, and no random number is drawn.
    """
    if not share:
        return images
    device = images.device
    result = images.clone()
    chosen = torch.rand(len(images), device=device) < share
    for corruption, chance in CHANCES.items():
        rows = (chosen & (torch.rand(len(images), device=device) < chance)).nonzero()[:, 0]
        if len(rows):
            result[rows] = corruption(result[rows]).clamp(0, 1)
    return result
