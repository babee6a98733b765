"""Exact rewrites of a stock model's weights, so that anybody's `pipeline` serves what was trained without our code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from gradio_ui.recognition.backends import LUMA
from training.errors import SurgeryError

if TYPE_CHECKING:
    from training.evaluation.calibration import Scaling


def expand_stem_to_rgb(model: PreTrainedModel) -> PreTrainedModel:
    """Widen a one-channel stem to RGB in place, so that a color image gives what its grayscale version gives.

    The first convolution w becomes (0.299 w, 0.587 w, 0.114 w). With one mean and std for all channels this is exact
    by linearity, up to the 8-bit rounding of a grayscale file.

    Args:
        model: a transformers classifier whose first convolution reads one channel (ConvNeXt, ViT, ...).

    Returns:
        The same model, with `config.num_channels` 3.

    Raises:
        SurgeryError: if the stem is not a convolution over one channel.
    """
    stem = next((module for module in model.modules() if isinstance(module, torch.nn.Conv2d)), None)
    if stem is None or stem.in_channels != 1:
        raise SurgeryError(f"expected a model whose first convolution takes 1 channel, got {stem}")
    # (out, 1, h, w) -> (out, 3, h, w)
    stem.weight = torch.nn.Parameter(stem.weight.detach() * stem.weight.new_tensor(LUMA).view(1, 3, 1, 1))
    stem.in_channels = len(LUMA)
    for module in model.modules():
        if getattr(module, "num_channels", None) == 1:  # the embeddings check their input against it
            module.num_channels = len(LUMA)  # type: ignore[assignment]
    model.config.num_channels = len(LUMA)
    return model


def keep_blocks(model: PreTrainedModel, depths: Sequence[int]) -> PreTrainedModel:
    """Leave out all but the first blocks of each stage of a ConvNeXt, in place: a faster network to train on.

    Args:
        model: a transformers ConvNeXt, V1 or V2, with `config.depths`.
        depths: number of blocks that each stage keeps.

    Returns:
        The same model, with `config.depths` as given.

    Raises:
        SurgeryError: the model is none, or its stages are other in number or have fewer blocks.
    """
    stages = getattr(getattr(model.base_model, "encoder", None), "stages", ())
    blocks = [len(stage.layers) if isinstance(stage.layers, torch.nn.ModuleList) else 0 for stage in stages]
    if len(blocks) != len(depths) or not all(1 <= kept <= have for kept, have in zip(depths, blocks, strict=True)):
        raise SurgeryError(
            f"expected a ConvNeXt whose stages have at least {list(depths)} blocks, "
            f"got {blocks if any(blocks) else type(model).__name__}"
        )
    for stage, kept in zip(stages, depths, strict=True):
        stage.layers = stage.layers[:kept]
    model.config.depths = list(depths)
    return model


def select_head(model: PreTrainedModel, head: str) -> PreTrainedModel:
    """Keep one head of a model that was trained with several, in place, under plain label names.

    Args:
        model: a transformers classifier with a linear `classifier`, whose outputs are named "angry" ... for the head
            "fer2013" and "ferplus/angry" ... for the head "ferplus".
        head: which one.

    Returns:
        The same model; `id2label` and `label2id` name that head's outputs, and the stock class serves it.

    Raises:
        SurgeryError: if the model has no such head.
    """
    linear = _classifier(model)
    names = {int(i): name for i, name in (model.config.id2label or {}).items()}
    prefix = "" if head == "fer2013" else f"{head}/"
    rows = {
        name.removeprefix(prefix): i
        for i, name in sorted(names.items())
        if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
    }
    if not rows:
        raise SurgeryError(f"the model has no head {head!r}; its outputs are {', '.join(names.values())}")
    index = list(rows.values())
    linear.weight = torch.nn.Parameter(linear.weight.detach()[index].clone())
    linear.bias = torch.nn.Parameter(linear.bias.detach()[index].clone())
    linear.out_features = len(rows)
    model.num_labels = len(rows)  # type: ignore[assignment]
    model.config.id2label = dict(enumerate(rows))
    model.config.label2id = {name: i for i, name in enumerate(rows)}
    return model


def fold_scaling(model: PreTrainedModel, scaling: Scaling) -> PreTrainedModel:
    """Calibrate the logits in place, through the classifier's weight and bias.

    Args:
        model: a transformers classifier with a linear `classifier` of C outputs.
        scaling: of C classes, in the order of the outputs.

    Returns:
        The same model; `config.calibration` holds `temperature` and `bias` by label.

    Raises:
        SurgeryError: if the model is calibrated already, or a temperature is not a positive number.
    """
    linear = _classifier(model)
    if getattr(model.config, "calibration", None):
        raise SurgeryError("expected a model that is not calibrated yet; package the run, not a package")
    temperature, bias = (linear.bias.new_tensor(values) for values in (scaling.temperature, scaling.bias))
    if not (temperature.isfinite() & (temperature > 0) & bias.isfinite()).all():
        raise SurgeryError(f"expected temperatures above 0 and finite biases, got {scaling}")
    with torch.no_grad():
        linear.weight.div_(temperature[:, None])
        linear.bias.div_(temperature).add_(bias)
    names = [name for _, name in sorted((model.config.id2label or {}).items())]
    model.config.calibration = {
        "temperature": dict(zip(names, scaling.temperature.tolist(), strict=True)),
        "bias": dict(zip(names, scaling.bias.tolist(), strict=True)),
    }
    return model


def _classifier(model: PreTrainedModel) -> torch.nn.Linear:
    linear = getattr(model, "classifier", None)
    if isinstance(linear, torch.nn.Sequential):  # RegNet's: flatten, then a linear layer
        linear = linear[-1]
    if not isinstance(linear, torch.nn.Linear):
        raise SurgeryError(f"expected {type(model).__name__}.classifier to be one linear layer, got {linear}")
    return linear
