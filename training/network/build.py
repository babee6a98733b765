"""The network: a small ConvNeXt or CNN from a config, or a ViT, ConvNeXt or other checkpoint, with one classifier.

A run may learn two label sets at once: FER-2013's and, as a distribution over annotators' votes, FER+'s. Both live in
one linear classifier, distinguished by their names: "angry" ... and "ferplus/angry" .... Packaging keeps one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    BaseImageProcessor,
    ConvNextConfig,
    ConvNextForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
    RegNetConfig,
    RegNetForImageClassification,
    ViTImageProcessorPil,
)

from training.errors import RecipeError
from training.network.surgery import expand_stem_to_rgb, keep_blocks, select_head
from training.network.weights import load_weights

FINE_TUNED = ("vit", "deit", "swin", "convnext", "convnextv2", "regnet", "resnet")  # by model_type
FERPLUS_PREFIX = "ferplus/"  # marks the FER+ outputs in a classifier of both heads


def output_names(config: PreTrainedConfig) -> list[str]:
    """Return the classifier's outputs in order."""
    return [name for _, name in sorted((int(index), str(name)) for index, name in (config.id2label or {}).items())]


def heads(config: PreTrainedConfig) -> dict[str, list[int]]:
    """Return the output indices of each head, by head name: "fer2013" and, where there is one, "ferplus"."""
    result: dict[str, list[int]] = {}
    for index, name in enumerate(output_names(config)):
        result.setdefault("ferplus" if name.startswith(FERPLUS_PREFIX) else "fer2013", []).append(index)
    return result


@dataclass
class ModelArguments:
    """The network: a checkpoint to fine-tune, or else a new one of these sizes.

    The RegNet is meant as a teacher: with batch norm and plain 3x3 kernels it learns FER-2013 in fewer epochs than the
    ConvNeXt.
    """

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Fine-tune this local or Hub checkpoint, at its own size and means: a ViT, DeiT, Swin, ConvNeXt, "
            "RegNet or ResNet."
        },
    )
    model_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the checkpoint."})
    architecture: str = field(default="convnext", metadata={"help": "A new network's: convnext, or regnet (a CNN)."})
    image_size: int = field(default=48, metadata={"help": "Image side of a new network, in pixels."})
    gray: bool = field(default=True, metadata={"help": "New network: one input channel. Packaging widens it to RGB."})
    patch_size: int = field(default=3, metadata={"help": "Stride of a new ConvNeXt's stem; a RegNet's is 2."})
    hidden_sizes: list[int] = field(default_factory=lambda: [64, 128, 256], metadata={"help": "Width of each stage."})
    depths: list[int] = field(default_factory=lambda: [2, 2, 6], metadata={"help": "Blocks of each stage."})
    keep_blocks: list[int] | None = field(
        default=None,
        metadata={"help": "Of a ConvNeXt checkpoint, leave out all but the first blocks of each stage: 1 2 4."},
    )
    layer_scale_init_value: float = field(
        default=1.0, metadata={"help": "The library's 1e-6 leaves the blocks idle in a short run from scratch."}
    )
    drop_path_rate: float = field(default=0.0, metadata={"help": "Stochastic depth, 0-1, growing with depth."})

    def __post_init__(self) -> None:
        if len(self.hidden_sizes) != len(self.depths):
            raise ValueError(
                f"hidden_sizes and depths: expected one entry per stage, got {self.hidden_sizes} and {self.depths}"
            )
        if self.architecture not in ("convnext", "regnet"):
            raise ValueError(f"architecture: expected convnext or regnet, got {self.architecture!r}")
        stem = self.patch_size if self.architecture == "convnext" else 2
        coarsest = self.image_size // (stem * 2 ** (len(self.depths) - 1))
        if self.model_name_or_path is None and coarsest < 1:
            raise ValueError(
                f"image_size {self.image_size} is too small for a stem of stride {stem} and {len(self.depths)} "
                "stages: nothing would be left of the image in the last stage"
            )


def build_model(
    args: ModelArguments, names: list[str], pixel_mean: float, pixel_std: float
) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Make the network and the image processor that goes with it.

    Args:
        args: which network.
        names: the classifier's outputs, all heads together.
        pixel_mean, pixel_std: of the training images in 0-1; a new network's input is normalized by them.

    Returns:
        The model and its image processor, which puts out RGB whatever the model takes.

    Raises:
        OSError: the checkpoint is not found or cannot be read.
        RecipeError: the checkpoint is of another kind of network, or has more than one classifier.
        SurgeryError: it has not the blocks of `keep_blocks`.
        WeightsError: it lacks weights other than the classifier's.
    """
    id2label = dict(enumerate(names))
    label2id = {name: i for i, name in id2label.items()}
    if args.model_name_or_path is None:
        image_processor = ViTImageProcessorPil(  # the other name prints a warning without torchvision
            size={"height": args.image_size, "width": args.image_size},
            image_mean=[pixel_mean] * 3,
            image_std=[pixel_std] * 3,
            do_convert_rgb=True,
        )
        return new_model(args, {"id2label": id2label, "label2id": label2id}), image_processor

    config = AutoConfig.from_pretrained(args.model_name_or_path, revision=args.model_revision)
    if config.model_type not in FINE_TUNED:
        raise RecipeError(
            f"{args.model_name_or_path}: expected a checkpoint of model_type {', '.join(FINE_TUNED)}; "
            f"got {config.model_type!r}"
        )
    for name in ("provenance", "calibration", "label_map"):  # of a package: they are not true of what comes of it
        if hasattr(config, name):
            delattr(config, name)
    config.id2label, config.label2id = id2label, label2id
    if hasattr(config, "drop_path_rate"):
        config.drop_path_rate = args.drop_path_rate
    model = load_weights(args.model_name_or_path, new_classifier=True, revision=args.model_revision, config=config)
    if not hasattr(model, "classifier"):  # a distilled DeiT's image and distillation tokens have one each
        raise RecipeError(f"{args.model_name_or_path}: expected one classifier, got a {type(model).__name__}")
    if args.keep_blocks:
        model = keep_blocks(model, args.keep_blocks)
    if config.model_type in ("regnet", "resnet"):
        # a fifth faster in training than contiguous channels
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    image_processor = AutoImageProcessor.from_pretrained(args.model_name_or_path, revision=args.model_revision)
    return model, image_processor


def new_model(args: ModelArguments, labels: dict[str, Any]) -> PreTrainedModel:
    """Make a network with random weights.

    Args:
        args: its sizes.
        labels: `id2label` and `label2id`.
    """
    shape: dict[str, Any] = labels | {
        "num_channels": 1 if args.gray else 3,
        "hidden_sizes": args.hidden_sizes,
        "depths": args.depths,
    }
    if args.architecture == "regnet":
        config = RegNetConfig(
            **shape,
            embedding_size=args.hidden_sizes[0],
            groups_width=max(args.hidden_sizes),  # one group: grouped kernels are slow on CPUs
            layer_type="x",
            downsample_in_first_stage=False,
        )
        # a fifth faster in training than contiguous channels
        return RegNetForImageClassification(config).to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    return ConvNextForImageClassification(
        ConvNextConfig(
            **shape,
            patch_size=args.patch_size,
            num_stages=len(args.depths),
            layer_scale_init_value=args.layer_scale_init_value,
            drop_path_rate=args.drop_path_rate,
            image_size=args.image_size,
        )
    )


def load_model(
    path: str | Path, head: str = "fer2013", revision: str | None = None
) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a run folder, a package or a Hub checkpoint with one head, ready for RGB images.

    Args:
        path: a folder or a Hub id.
        head: "fer2013" or "ferplus"; a checkpoint with plain labels has one head, which either name takes.
        revision: branch, tag or commit of a Hub id.

    Returns:
        The model in eval mode, whose `id2label` holds plain names, and its image processor.

    Raises:
        OSError: nothing loadable is there.
        SurgeryError: the checkpoint has no such head.
        WeightsError: it lacks weights, or has some that the network does not.
    """
    model = load_weights(path, revision=revision)
    image_processor = AutoImageProcessor.from_pretrained(path, revision=revision)
    if len(heads(model.config)) > 1:
        select_head(model, head)
    if model.config.num_channels == 1:
        expand_stem_to_rgb(model)
    return model.eval(), image_processor
