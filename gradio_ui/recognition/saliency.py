"""Where the model looked: which parts of its picture spoke for one output.

ConvNeXt: Grad-CAM on the last stage (Selvaraju et al. 2017), from captum. ViT: its attention maps, each weighted by
its gradient and followed from layer to layer (Chefer, Gur and Wolf 2021); bare attention is the same for every label.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from .errors import SaliencyError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def saliency(model: PreTrainedModel, pixel_values: torch.Tensor, target: int) -> torch.Tensor:
    """Maps how much each part of one picture spoke for an output. Safe while other threads run the model.

    Args:
        model: a ConvNeXt, ConvNeXt V2 or ViT image classifier of transformers, run by PyTorch.
        pixel_values: (1, 3, H, W) float32 on the model's device.
        target: index of the output.

    Returns:
        (rows, columns) float32, at least 0, one value for each cell of the model's last grid or each patch.

    Raises:
        SaliencyError: The model is none of these.
    """
    import torch

    kind = model.config.model_type
    methods = {"convnext": _grad_cam, "convnextv2": _grad_cam, "vit": _weighted_attention}
    if kind not in methods:
        raise SaliencyError(f"A map of where the model looked can be made for {', '.join(methods)}; this is {kind}.")
    # The model again over the same weights: hooks and settings of its own do not disturb what is scored meanwhile.
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    with torch.enable_grad():
        return methods[kind](twin, pixel_values, target).detach()


def _grad_cam(model: PreTrainedModel, pixel_values: torch.Tensor, target: int) -> torch.Tensor:
    from captum.attr import LayerGradCam

    last_stage = model.base_model.get_submodule(f"encoder.stages.{len(model.config.depths) - 1}")
    grad_cam = LayerGradCam(lambda pixels: model(pixels).logits, last_stage)
    return grad_cam.attribute(pixel_values, target, relu_attributions=True)[0, 0]


def _weighted_attention(model: PreTrainedModel, pixel_values: torch.Tensor, target: int) -> torch.Tensor:
    """What of each patch reached the class token (equations 5 and 6 of the paper)."""
    import torch

    model.set_attn_implementation("eager")  # the fused kernels do not give their attention away
    output = model(pixel_values, output_attentions=True)
    gradients = torch.autograd.grad(output.logits[0, target], output.attentions)
    relevance = torch.eye(output.attentions[0].shape[-1], device=pixel_values.device)
    for attention, gradient in zip(output.attentions, gradients, strict=True):
        relevance = relevance + (attention * gradient)[0].clamp(min=0).mean(dim=0) @ relevance
    patch = model.config.patch_size
    return relevance[0, 1:].reshape(pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch)
