"""Saliency maps: which parts of an image spoke for one output of a classifier.

Without gradients, from the scores alone: occlusion by a soft patch (Zeiler and Fergus 2014). With PyTorch, for
ConvNeXt: Grad-CAM on the last stage (Selvaraju et al. 2017), from captum; for ViT: attention maps weighted by their
gradients and rolled out over the layers (Chefer, Gur and Wolf 2021), as plain attention is the same for every label.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .errors import SaliencyError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


GRID = 14  # patches along each side
PATCH = 0.05  # standard deviation of a patch's Gaussian edge, as a fraction of the image's side
_BATCH = 14  # occluded images in one forward pass


def occlusion_map(
    logits: Callable[[np.ndarray], np.ndarray],
    pixel_values: np.ndarray,
    target: int,
    *,
    grid: int = GRID,
    patch: float = PATCH,
) -> np.ndarray:
    """Map how much the score of an output falls when a part of the image is hidden.

    The score is the output's log odds, which do not saturate where its probability is near 1. A Gaussian patch of the
    image's mean color hides one of `grid` x `grid` places at a time; a pixel's value is the mean fall over the
    patches, weighted by how much each hides it.

    Args:
        logits: (n, 3, H, W) float32 -> (n, C) float32, for any n.
        pixel_values: (1, 3, H, W) float32.
        target: index of the output.
        grid: places along each side.
        patch: standard deviation of the patch, as a fraction of the image's side.

    Returns:
        (H, W) float32, at least 0; 0 where hiding the pixel does not lower the score.
    """
    down, across = (_gaussians(side, grid, patch) for side in pixel_values.shape[-2:])
    masks = (down[:, None, :, None] * across[None, :, None, :]).reshape(grid**2, 1, *pixel_values.shape[-2:])
    mean = pixel_values.mean(axis=(2, 3), keepdims=True)
    hidden = [
        _log_odds(logits(pixel_values + (mean - pixel_values) * masks[start : start + _BATCH]), target)
        for start in range(0, grid**2, _BATCH)
    ]
    fall = _log_odds(logits(pixel_values), target) - np.concatenate(hidden)
    heat = np.tensordot(fall, masks[:, 0], axes=1) / masks[:, 0].sum(axis=0)
    return heat.clip(min=0).astype(np.float32)


def _gaussians(side: int, grid: int, patch: float) -> np.ndarray:
    """(grid, side) float32, a bump of height 1 at each of the evenly spaced centers."""
    centers = (np.arange(grid)[:, None] + 0.5) / grid
    distance = (np.arange(side) + 0.5) / side - centers
    return np.exp(-0.5 * (distance / patch) ** 2).astype(np.float32)


def _log_odds(logits: np.ndarray, target: int) -> np.ndarray:
    return logits[:, target] - np.logaddexp.reduce(np.delete(logits, target, axis=1), axis=1)


def gradient_map(model: PreTrainedModel, pixel_values: torch.Tensor, target: int) -> torch.Tensor:
    """Map how much each part of one image spoke for an output. Safe while other threads run the model.

    Args:
        model: a ConvNeXt, ConvNeXt V2 or ViT image classifier of transformers, run by PyTorch.
        pixel_values: (1, 3, H, W) float32 on the model's device.
        target: index of the output.

    Returns:
        (rows, columns) float32, at least 0, one value for each cell of the model's last grid or each patch.

    Raises:
        SaliencyError: the model is none of these.
    """
    import torch

    kind = model.config.model_type
    methods = {"convnext": _grad_cam, "convnextv2": _grad_cam, "vit": _weighted_attention}
    if kind not in methods:
        raise SaliencyError(
            f"Expected a model of type {', '.join(methods)} for a saliency map, got {kind}. "
            "Export it to ONNX, or choose another model."
        )
    # A copy that shares the weights: its hooks and settings do not disturb what other threads score meanwhile.
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    with torch.enable_grad():
        return methods[kind](twin, pixel_values, target).detach()


def _grad_cam(model: PreTrainedModel, pixel_values: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import LayerGradCam

    last_stage = model.base_model.get_submodule(f"encoder.stages.{len(model.config.depths) - 1}")
    grad_cam = LayerGradCam(lambda pixels: model(pixels).logits, last_stage)
    return grad_cam.attribute(pixel_values, target, relu_attributions=True)[0, 0]


def _weighted_attention(model: PreTrainedModel, pixel_values: torch.Tensor, target: int) -> torch.Tensor:
    """Relevance of each patch for the class token (equations 5 and 6 of the paper)."""
    import torch

    model.set_attn_implementation("eager")  # the fused kernels do not return their attention
    output = model(pixel_values, output_attentions=True)
    gradients = torch.autograd.grad(output.logits[0, target], output.attentions)
    relevance = torch.eye(output.attentions[0].shape[-1], device=pixel_values.device)
    for attention, gradient in zip(output.attentions, gradients, strict=True):
        relevance = relevance + (attention * gradient)[0].clamp(min=0).mean(dim=0) @ relevance
    patch = model.config.patch_size
    return relevance[0, 1:].reshape(pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch)
