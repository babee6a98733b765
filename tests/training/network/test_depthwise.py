"""The fast depth-wise convolution is the stock one, gradients included."""

import copy

import pytest
import torch
from transformers import ConvNextConfig, ConvNextForImageClassification

from training.network.depthwise import DepthwiseConv2d, replaceable, speed_up_depthwise


@pytest.mark.parametrize("bfloat16", [False, True])
def test_same_output_and_gradients(bfloat16: bool) -> None:
    torch.manual_seed(0)
    config = ConvNextConfig(
        num_channels=1, patch_size=3, num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], layer_scale_init_value=1.0
    )
    stock = ConvNextForImageClassification(config)
    ours = copy.deepcopy(stock)
    speed_up_depthwise(ours)
    assert sum(isinstance(module, DepthwiseConv2d) for module in ours.modules()) == 2
    assert ours.state_dict().keys() == stock.state_dict().keys()

    images = torch.randn(6, 1, 48, 36)  # not square, so that rows and columns cannot be mixed up
    for model in (stock, ours):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(images).logits
        logits.float().square().mean().backward()
    for (name, a), b in zip(stock.named_parameters(), ours.parameters(), strict=True):
        scale = a.grad.abs().max()
        error = (a.grad - b.grad).abs().max() / scale
        assert error < (0.05 if bfloat16 else 1e-4), f"{name}: {error}"


@pytest.mark.parametrize(
    "change",
    [
        {"groups": 2},
        {"out_channels": 8},
        {"stride": 2},
        {"dilation": 2},
        {"bias": False},
        {"kernel_size": (3, 5), "padding": (1, 1)},
        {"kernel_size": 4, "padding": 2},
        {"padding": 0},
        {"padding_mode": "reflect"},
        {"in_channels": 1, "out_channels": 1, "groups": 1},
    ],
)
def test_other_convolutions_stay(change: dict) -> None:
    fits = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1, "groups": 4}
    assert replaceable(torch.nn.Conv2d(**fits))
    assert not replaceable(torch.nn.Conv2d(**fits | change))
    assert not replaceable(torch.nn.Conv1d(4, 4, 3, padding=1, groups=4))
