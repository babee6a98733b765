"""dlib's face-recognition network as a transformers ResNet: a start for teachers.

The network was trained to tell people apart (King 2017, http://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html;
the weights are in the public domain, CC0). It learns expressions in a fraction of the epochs that random weights take.

Two details differ from dlib's, which fine-tuning makes up for: strided convolutions are padded, and the shortcut of a
block that halves the grid takes every second pixel in place of an average of four.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification

from training.errors import SurgeryError

PIXEL_MEAN, PIXEL_STD = 0.45, 256 / 255  # of dlib's input, for pixels in 0-1: its three means in gray
FACE_SIDE = 96  # pixels; faces fill about that much of the network's own 150, and all of a FER-2013 image
STEM_CHANNELS, STEM_SIDE = 3, 7
_VERSION = 2  # of a serialized dlib tensor


def read_tensors(path: str | Path) -> list[np.ndarray]:
    """Read the parameters of a dlib network file, in order from the input.

    Args:
        path: such as `dlib_face_recognition_resnet_model_v1.dat`.

    Returns:
        For each layer that has parameters its (n,) float32.

    Raises:
        SurgeryError: there are none.
    """
    data = Path(path).read_bytes()
    found, place = [], 0
    while place < len(data):
        shape, begin = _tensor_header(data, place)
        if shape is None or shape[1:] != [1, 1, 1] or (end := begin + 4 * shape[0]) > len(data):
            place += 1
            continue
        found.append(np.frombuffer(data, "<f4", shape[0], begin))
        place = end
    if not found:
        raise SurgeryError(f"{path}: expected a network file of dlib, found no parameters in it")
    return found


def _tensor_header(data: bytes, place: int) -> tuple[list[int] | None, int]:
    """Read a tensor's version and four sizes, as dlib writes integers: a byte with their length, then they."""
    values = []
    for _ in range(5):
        length = data[place] if place < len(data) else 0
        if not 1 <= length <= 4 or place + length >= len(data):
            return None, place
        values.append(int.from_bytes(data[place + 1 : place + 1 + length], "little"))
        place += 1 + length
    return (values[1:], place) if values[0] == _VERSION and values[1] else (None, place)


def convert(tensors: list[np.ndarray], images: torch.Tensor) -> ResNetForImageClassification:
    """Build the network for gray images.

    dlib folded its batch norms into a scale and a shift. They become batch norms again, whose statistics are those of
    `images`, so that the network gives the same output in training mode, too.

    Args:
        tensors: as `read_tensors` gives them.
        images: (n, 1, h, w) float32 faces, normalized with `PIXEL_MEAN` and `PIXEL_STD`.

    Returns:
        The model in eval mode with a random classifier.

    Raises:
        SurgeryError: the parameters are not those of dlib's face-recognition network.
    """
    config = ResNetConfig(
        num_channels=1,
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 256, 256],
        depths=[3, 4, 3, 3, 1],
        layer_type="basic",
    )
    model = ResNetForImageClassification(config).eval()
    left = iter(tensors)
    hooks = [norm.register_forward_pre_hook(_measure) for norm in _fill(model, left)]
    if next(left, None) is not None:
        raise SurgeryError("expected dlib's face-recognition network, got one with more layers")
    with torch.inference_mode():
        model.resnet(pixel_values=images)
    for hook in hooks:
        hook.remove()
    return model


def _fill(model: ResNetForImageClassification, tensors: Iterator[np.ndarray]) -> list[nn.BatchNorm2d]:
    """Copy the parameters; the batch norms, all of them returned, hold dlib's scale and shift afterwards."""
    norms = []
    for name, layer in model.resnet.named_modules():
        if not hasattr(layer, "convolution"):
            continue
        weight, norm = layer.convolution.weight.data, layer.normalization
        norms.append(norm)
        if name.endswith("shortcut"):
            weight.copy_(torch.eye(*weight.shape[:2])[:, :, None, None])
            continue
        try:
            filters, affine = (torch.from_numpy(values.copy()) for values in (next(tensors), next(tensors)))
            out, channels, side, _ = weight.shape
            stem = side == STEM_SIDE
            kernel = filters[:-out].reshape(out, STEM_CHANNELS if stem else channels, side, side)
            scale, shift = affine.reshape(2, out)
        except (StopIteration, RuntimeError):
            raise SurgeryError(f"expected dlib's face-recognition network, got other parameters for {name}") from None
        weight.copy_(kernel.sum(dim=1, keepdim=True) if stem else kernel)
        norm.weight.data.copy_(scale)
        norm.bias.data.copy_(shift + scale * filters[-out:])
    return norms


def _measure(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
    """Turn a scale and a shift into a batch norm with the statistics of its input, which computes the same."""
    mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False)
    norm.bias.data += norm.weight.data * mean
    norm.weight.data *= (variance + norm.eps).sqrt()
    norm.running_mean = mean.clone()
    norm.running_var = variance.clone()
