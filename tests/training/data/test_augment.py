"""Augmentation: what each strength does, and that none of it happens unasked."""

import pytest
import torch

from training.data.augment import AugmentArguments, Mixing, affine_maps, augment, mix, random_boxes

NONE = {"flip": 0, "rotation": 0, "zoom": 0, "shift": 0, "contrast": 0, "brightness": 0, "erase": 0}


@pytest.fixture
def pixels() -> torch.Tensor:
    """(8, 1, 48, 48) uint8 with a bright left half, so that a flip shows."""
    torch.manual_seed(0)
    batch = torch.randint(0, 60, (8, 1, 48, 48), dtype=torch.uint8)
    batch[..., :24] += 150
    return batch


def test_no_strength_no_change(pixels: torch.Tensor) -> None:
    result = augment(pixels, AugmentArguments(**NONE), 48)
    torch.testing.assert_close(result, pixels.float() / 255, atol=1e-5, rtol=0)


def test_resizes_to_the_models_size(pixels: torch.Tensor) -> None:
    result = augment(pixels, AugmentArguments(**NONE), 96)
    assert result.shape == (8, 1, 96, 96)
    torch.testing.assert_close(result.mean(), pixels.float().mean() / 255, atol=0.01, rtol=0)


def test_flip_is_a_mirror(pixels: torch.Tensor) -> None:
    result = augment(pixels, AugmentArguments(**{**NONE, "flip": 1}), 48)
    torch.testing.assert_close(result, pixels.flip(-1).float() / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name, value", [("rotation", 30), ("zoom", 0.5), ("shift", 0.3)])
def test_geometry_moves_pixels_within_their_range(pixels: torch.Tensor, name: str, value: float) -> None:
    result = augment(pixels, AugmentArguments(**{**NONE, name: value}), 48)
    assert (result - pixels.float() / 255).abs().mean() > 0.01
    assert result.min() >= 0 and result.max() <= 1


def test_brightness_differs_between_images(pixels: torch.Tensor) -> None:
    change = (augment(pixels, AugmentArguments(**{**NONE, "brightness": 0.2}), 48) - pixels / 255).mean(dim=(1, 2, 3))
    assert change.abs().max() <= 0.2 and change.std() > 0.02


def test_erase_blanks_one_box_of_the_asked_size(pixels: torch.Tensor) -> None:
    args = AugmentArguments(**{**NONE, "erase": 1, "erase_min": 0.25, "erase_max": 0.25})
    erased = (augment(pixels, args, 48) - pixels / 255).abs().amax(dim=1) > 1e-4
    assert (erased.flatten(1).sum(1) <= 13 * 13).all()
    assert erased.any(dim=(1, 2)).all()


def test_mix_is_off_by_default(pixels: torch.Tensor) -> None:
    images = pixels.float()
    mixed, mixing = mix(images, AugmentArguments())
    assert mixed is images and (mixing.share == 1).all() and mixing.partner.tolist() == list(range(8))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_pixels_match_their_share(kind: str) -> None:
    torch.manual_seed(0)
    images = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 1, 48, 48)
    mixed, mixing = mix(images, AugmentArguments(**{f"{kind}_alpha": 1.0}))
    partner, share = mixing
    expected = share * torch.arange(16.0) + (1 - share) * partner
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-3, rtol=0)
    assert 0 <= share.min() < share.max() <= 1


@pytest.mark.parametrize("bad", [{"rotation": -1}, {"flip": 1.5}, {"erase_min": 0.5, "erase_max": 0.2}])
def test_impossible_strengths_are_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        AugmentArguments(**bad)


def test_scaled_weakens_everything_but_the_flip() -> None:
    args = AugmentArguments(mixup_alpha=0.4).scaled(0.5)
    assert (args.flip, args.rotation, args.erase, args.mixup_alpha) == (0.5, 6.0, 0.15, 0.2)
    assert (args.erase_min, args.erase_max) == (0.125, 0.375)


def test_affine_maps_reach_their_bounds_and_no_further() -> None:
    torch.manual_seed(0)
    args = AugmentArguments(flip=0, rotation=12, zoom=0.18, shift=0.15)
    maps = affine_maps(5000, args, torch.device("cpu"))
    linear, shift = maps[:, :, :2], maps[:, :, 2]
    scale = linear.det().sqrt()
    torch.testing.assert_close(
        linear @ linear.transpose(1, 2), scale[:, None, None] ** 2 * torch.eye(2).expand(5000, 2, 2)
    )
    assert 1.17 < scale.max() <= 1.1801 and 1 / 1.1801 <= scale.min() < 1 / 1.17
    degrees = torch.atan2(linear[:, 1, 0], linear[:, 0, 0]).rad2deg()
    assert 11.9 < degrees.max() <= 12.001 and -12.001 <= degrees.min() < -11.9
    assert 0.298 < shift.abs().max() <= 0.3  # the side is 2


def test_contrast_scales_the_distance_to_the_mean(pixels: torch.Tensor) -> None:
    many = pixels[:1].expand(400, -1, -1, -1) // 4 + 80  # far from black and white
    result = augment(many, AugmentArguments(**{**NONE, "contrast": 0.3}), 48)
    ratio = result.flatten(1).std(dim=1) / (many.float() / 255).flatten(1).std(dim=1)
    assert 0.699 < ratio.min() < 0.71 and 1.29 < ratio.max() < 1.301


def test_erased_box_has_its_sides() -> None:
    boxes = random_boxes(300, 48, 0.25, 0.25, torch.device("cpu"))
    assert 12 * 12 <= boxes.flatten(1).sum(dim=1).max() <= 13 * 13


def test_blend_takes_the_partners_share() -> None:
    mixing = Mixing(torch.tensor([1, 0]), torch.tensor([0.75, 1.0]))
    assert mixing.blend(torch.eye(2)).tolist() == [[0.75, 0.25], [0.0, 1.0]]
