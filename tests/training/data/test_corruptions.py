"""Corruptions: what each one does to an image, by how much, and that none happens unasked."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from training.data import corruptions
from training.data.corruptions import (
    CHANCES,
    MAX_HIDDEN,
    add_noise,
    apply_matrices,
    blur,
    compress,
    corrupt,
    dim,
    gaussian_kernels,
    occlude,
    quantize_blocks,
    relight,
    resample,
    resampling_matrices,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def images() -> torch.Tensor:
    """(32, 1, 48, 48) noise in 0.2-0.8: every frequency alike."""
    torch.manual_seed(1)
    return 0.2 + 0.6 * torch.rand(32, 1, 48, 48)


def high_frequencies(images: torch.Tensor, above: float) -> torch.Tensor:
    """(n,) energy above so many cycles a pixel, in rows or columns."""
    energy = torch.fft.fft2(images).abs() ** 2
    frequency = torch.fft.fftfreq(images.shape[-1]).abs()
    return (energy * ((frequency[:, None] > above) | (frequency > above))).sum(dim=(1, 2, 3))


def test_off_is_untouched_and_draws_nothing(images: torch.Tensor) -> None:
    state = torch.get_rng_state()
    assert corrupt(images, 0.0) is images
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("channels, side", [(1, 48), (3, 36)])
def test_share_of_the_views_changes_within_range(channels: int, side: int) -> None:
    images = torch.rand(2000, channels, side, side)
    before = images.clone()
    result = corrupt(images, 0.25)
    assert torch.equal(images, before) and result.shape == images.shape
    assert 0 <= result.min() and result.max() <= 1 and result.isfinite().all()
    changed = (result != images).flatten(1).any(dim=1).float().mean().item()
    hit = 1 - math.prod(1 - chance for chance in CHANCES.values())
    assert changed == pytest.approx(0.25 * hit, abs=0.04)


def test_each_kind_comes_as_often_as_it_says(images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    met: dict[str, int] = dict.fromkeys((kind.__name__ for kind in CHANCES), 0)

    def counted(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        def count(rows: torch.Tensor) -> torch.Tensor:
            met[name] += len(rows)
            return rows

        return count

    kinds = {counted(kind.__name__): chance for kind, chance in CHANCES.items()}
    monkeypatch.setattr(corruptions, "CHANCES", kinds)
    corrupt(torch.zeros(4000, 1, 1, 1), 1.0)
    for kind, chance in CHANCES.items():
        assert met[kind.__name__] / 4000 == pytest.approx(chance, abs=0.03)


def test_light_is_a_power_and_a_factor() -> None:
    images = torch.full((2, 1, 4, 4), 0.25)
    factor, gamma = (torch.tensor(values).view(2, 1, 1, 1) for values in ((0.5, 1.0), (2.0, 0.5)))
    torch.testing.assert_close(relight(images, factor, gamma)[:, 0, 0, 0], torch.tensor([0.03125, 0.5]))
    white = dim(torch.ones(1000, 1, 1, 1)).flatten()  # any power of 1 is 1: the factor is left
    assert 0.15 <= white.min() < 0.16 and 0.97 < white.max() <= 1
    assert white.log().mean().item() == pytest.approx(math.log(0.15) / 2, abs=0.07)


def test_noise_has_its_strength_in_all_channels_alike() -> None:
    change = add_noise(torch.full((400, 3, 48, 48), 0.5)) - 0.5
    torch.testing.assert_close(change[:, 0], change[:, 2])
    sigma = change[:, 0].flatten(1).std(dim=1)
    assert sigma.max() <= 0.125 and sigma.mean().item() == pytest.approx(0.06, abs=0.006)
    assert abs(change.mean()) < 0.002


def test_blur_is_a_gaussian_of_its_width() -> None:
    impulse = torch.zeros(1, 1, 49, 49)
    impulse[..., 24, 24] = 1
    spread = apply_matrices(impulse, gaussian_kernels(torch.tensor([2.0]), 49))[0, 0]
    at = torch.arange(49) - 24.0
    assert spread.sum().item() == pytest.approx(1, abs=1e-5)
    assert (spread.sum(dim=0) * at**2).sum().item() == pytest.approx(4, abs=0.05)  # the variance
    flat = torch.full((8, 1, 48, 48), 0.3)
    torch.testing.assert_close(blur(flat), flat)  # at the edges, too


@pytest.mark.parametrize("kind", [blur, resample])
def test_blur_and_resampling_remove_detail(kind: Callable, images: torch.Tensor) -> None:
    left = high_frequencies(kind(images), 0.45) / high_frequencies(images, 0.45)
    assert left.max() < 1 and left.mean() < 0.2
    copies = high_frequencies(kind(images[:1].expand(32, -1, -1, -1)), 0.2)
    assert len(set(copies.tolist())) > 10  # every image in its own measure


def test_resampling_to_a_quarter_keeps_a_quarter() -> None:
    small = torch.rand(1, 1, 12, 12)
    flat = torch.full((64, 1, 48, 48), 0.4)
    torch.testing.assert_close(resample(flat), flat)
    matrices = resampling_matrices(48, 12, 40)
    assert matrices.shape == (29, 48, 48)
    assert [int(torch.linalg.matrix_rank(matrices[size - 12])) for size in (12, 24, 40)] == [12, 24, 40]
    expected = torch.nn.functional.interpolate(small, (48, 48), mode="bilinear")
    shrunk = torch.nn.functional.interpolate(expected, (12, 12), mode="bilinear", antialias=True)
    again = torch.nn.functional.interpolate(shrunk, (48, 48), mode="bilinear")
    torch.testing.assert_close(apply_matrices(expected, matrices[:1]), again, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quality", [10, 50, 75])
def test_quantization_is_that_of_a_jpeg_file(quality: int) -> None:
    ramp = np.linspace(0, 6, 48)
    pixels = 127 + 80 * np.sin(ramp[:, None]) * np.cos(2 * ramp) + np.random.default_rng(0).normal(0, 12, (48, 48))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    images = torch.from_numpy(pixels)[None, None] / 255
    ours = quantize_blocks(images, torch.tensor([float(quality)])).clamp(0, 1)
    theirs = torch.from_numpy(np.asarray(Image.open(file)).copy())[None, None] / 255
    lost = (theirs - images).abs().mean()
    assert lost > 2 / 255
    assert (ours - theirs).abs().mean() < 0.3 * lost  # the file holds whole numbers, and rounds some the other way


def test_compression_takes_any_side() -> None:
    flat = torch.full((4, 3, 36, 36), 0.5)
    assert compress(flat).shape == flat.shape
    assert (compress(flat) - flat).abs().max() < 0.03


def test_one_gray_box_hides_at_most_a_quarter() -> None:
    images = torch.rand(500, 1, 48, 48)
    result = occlude(images)
    hidden = (result != images)[:, 0]
    share = hidden.float().mean(dim=(1, 2))
    assert share.max() <= MAX_HIDDEN + 0.02 and share.mean().item() == pytest.approx(MAX_HIDDEN / 2, abs=0.01)
    for mask, image in zip(hidden[:50], result[:50, 0], strict=True):
        if mask.any():
            assert mask.sum() == mask.any(dim=0).sum() * mask.any(dim=1).sum()  # a full rectangle
            assert image[mask].min() == image[mask].max()  # of one gray
