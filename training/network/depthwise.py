"""Depth-wise convolutions whose weight gradient is a matrix product: on CPUs PyTorch's own is the slowest step.

A k x k depth-wise kernel on an H x W grid has the gradient dW[c, i, j] = sum over images and positions of the output
gradient at p times the input at p + (i, j). For each channel all pairs of positions are correlated by one matrix
product over the batch, (HW x N)(N x HW), and the pairs that lie (i, j) apart are then summed. On the small grids of a
48-pixel image this takes a fifth of the time of PyTorch's bfloat16 kernel, which a ConvNeXt spends a third of its
training step in (python -m tests.benchmarks.depthwise measures both).
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn


@cache
def offset_pairs(height: int, width: int, kernel: int) -> torch.Tensor:
    """(HW * HW, k * k) float32: 1 where an input and an output position lie that kernel offset apart."""
    rows, columns = torch.arange(height * width) // width, torch.arange(height * width) % width
    reach = kernel // 2
    i = rows[:, None] - rows[None, :] + reach  # input position by output position
    j = columns[:, None] - columns[None, :] + reach
    inside = (i >= 0) & (i < kernel) & (j >= 0) & (j < kernel)
    pairs = torch.zeros(height * width, height * width, kernel * kernel)
    at = inside.nonzero(as_tuple=True)
    pairs[at[0], at[1], (i * kernel + j)[at]] = 1
    return pairs.flatten(0, 1)


class DepthwiseFunction(torch.autograd.Function):
    """`conv2d` with groups equal to channels, stride 1 and "same" zero padding."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        n, c, h, w = x.shape
        k = weight.shape[-1]
        # the input's gradient is the same convolution with the kernel rotated by 180 degrees
        dx = F.conv2d(gradient, weight.flip(-1, -2), padding=k // 2, groups=c) if ctx.needs_input_grad[0] else None
        inputs = x.permute(1, 2, 3, 0).reshape(c, h * w, n)
        outputs = gradient.permute(1, 0, 2, 3).reshape(c, n, h * w)
        pairs = offset_pairs(h, w, k).to(x.dtype)
        dw = (torch.bmm(inputs, outputs).view(c, -1) @ pairs).view(weight.shape)
        return dx, dw, gradient.sum(dim=(0, 2, 3))


class DepthwiseConv2d(nn.Conv2d):
    """A depth-wise `nn.Conv2d` whose backward pass is faster on a CPU.

    Args:
        stock: the convolution to stand in for; the weight and bias are shared with it.
    """

    def __init__(self, stock: nn.Conv2d) -> None:
        channels, reach = stock.in_channels, stock.kernel_size[0]
        super().__init__(channels, channels, reach, padding=reach // 2, groups=channels, device="meta")
        self.weight, self.bias = stock.weight, stock.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight, cast(torch.Tensor, self.bias)
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        return DepthwiseFunction.apply(x, weight, bias)


def replaceable(module: nn.Module) -> bool:
    """Say whether a module is a convolution that `DepthwiseFunction` computes."""
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels > 1
        and module.stride == module.dilation == (1, 1)
        and module.bias is not None
        and module.kernel_size[0] == module.kernel_size[1]
        and module.kernel_size[0] % 2 == 1
        and module.padding == (module.kernel_size[0] // 2,) * 2
        and module.padding_mode == "zeros"
    )


def speed_up_depthwise(model: nn.Module) -> None:
    """Replace every depth-wise convolution of the model by a `DepthwiseConv2d`, in place; parameters stay."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if replaceable(child):
                setattr(parent, name, DepthwiseConv2d(cast(nn.Conv2d, child)))
