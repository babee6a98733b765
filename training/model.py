"""The network: a small ConvNeXt from a config, or any ViT/ConvNeXt checkpoint, with one classifier for all heads.

A run may learn two label sets at once: FER-2013's and, as a distribution over annotators' votes, FER+'s. Both live in
one linear classifier, told apart by their names: "angry" ... and "ferplus/angry" .... Packaging keeps one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    BaseImageProcessor,
    ConvNextConfig,
    ConvNextForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
    ViTImageProcessor,
)

from training.folding import fold_grey_stem, select_head

FERPLUS_PREFIX = "ferplus/"  # how the FER+ outputs are told apart in a classifier of both heads


def output_names(config: PreTrainedConfig) -> list[str]:
    """The classifier's outputs in order."""
    return [name for _, name in sorted((int(index), str(name)) for index, name in (config.id2label or {}).items())]


def heads(config: PreTrainedConfig) -> dict[str, list[int]]:
    """The classifier's output indices of each head, by head name: "fer2013" and, where there is one, "ferplus"."""
    result: dict[str, list[int]] = {}
    for index, name in enumerate(output_names(config)):
        result.setdefault("ferplus" if name.startswith(FERPLUS_PREFIX) else "fer2013", []).append(index)
    return result


@dataclass
class ModelArguments:
    """Which network: a checkpoint to go on from, or else a new ConvNeXt of these sizes."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Fine-tune this local or Hub ViT or ConvNeXt, at its own size and means."}
    )
    model_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the checkpoint."})
    image_size: int = field(default=48, metadata={"help": "Side of the pictures of a new ConvNeXt, in pixels."})
    grey: bool = field(default=True, metadata={"help": "New ConvNeXt: one input channel. Packaging widens it to RGB."})
    patch_size: int = field(default=3, metadata={"help": "Stride of the new ConvNeXt's stem, in pixels."})
    hidden_sizes: list[int] = field(default_factory=lambda: [64, 128, 256], metadata={"help": "Width of each stage."})
    depths: list[int] = field(default_factory=lambda: [2, 2, 6], metadata={"help": "Blocks of each stage."})
    layer_scale_init_value: float = field(
        default=1.0, metadata={"help": "The library's 1e-6 leaves the blocks idle in a short run from scratch."}
    )
    drop_path_rate: float = field(default=0.0, metadata={"help": "Stochastic depth, 0-1, growing with depth."})

    def __post_init__(self) -> None:
        if len(self.hidden_sizes) != len(self.depths):
            raise ValueError(
                f"hidden_sizes and depths: expected one entry a stage in both, got {self.hidden_sizes}, {self.depths}"
            )
        coarsest = self.image_size // (self.patch_size * 2 ** (len(self.depths) - 1))
        if self.model_name_or_path is None and coarsest < 1:
            raise ValueError(
                f"image_size {self.image_size} is too small for patch_size {self.patch_size} and {len(self.depths)} "
                "stages: nothing would be left of the picture in the last stage"
            )


def build_model(
    args: ModelArguments, names: list[str], pixel_mean: float, pixel_std: float
) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Make the network and the image processor that goes with it.

    Args:
        args: which network.
        names: the classifier's outputs, all heads together.
        pixel_mean, pixel_std: of the training pictures in 0-1; a new ConvNeXt is normalised by them.

    Returns:
        The model and its image processor, which puts out RGB whatever the model takes.

    Raises:
        OSError: the checkpoint is not found or cannot be read.
        ValueError: the checkpoint is neither a ViT nor a ConvNeXt.
    """
    id2label = dict(enumerate(names))
    label2id = {name: i for i, name in id2label.items()}
    if args.model_name_or_path is None:
        config = ConvNextConfig(
            num_channels=1 if args.grey else 3,
            patch_size=args.patch_size,
            num_stages=len(args.depths),
            hidden_sizes=args.hidden_sizes,
            depths=args.depths,
            layer_scale_init_value=args.layer_scale_init_value,
            drop_path_rate=args.drop_path_rate,
            image_size=args.image_size,
            id2label=id2label,
            label2id=label2id,
        )
        image_processor = ViTImageProcessor(
            size={"height": args.image_size, "width": args.image_size},
            image_mean=[pixel_mean] * 3,
            image_std=[pixel_std] * 3,
            do_convert_rgb=True,
        )
        return ConvNextForImageClassification(config), image_processor

    config = AutoConfig.from_pretrained(args.model_name_or_path, revision=args.model_revision)
    if config.model_type not in ("vit", "deit", "convnext", "convnextv2"):
        raise ValueError(
            f"{args.model_name_or_path}: expected a ViT or ConvNeXt checkpoint, got model_type {config.model_type!r}"
        )
    config.id2label, config.label2id = id2label, label2id
    if config.model_type.startswith("convnext"):
        config.drop_path_rate = args.drop_path_rate
    model = AutoModelForImageClassification.from_pretrained(
        args.model_name_or_path,
        revision=args.model_revision,
        config=config,
        ignore_mismatched_sizes=True,  # the old classifier, of other labels, is replaced
        use_safetensors=True,
    )
    image_processor = AutoImageProcessor.from_pretrained(args.model_name_or_path, revision=args.model_revision)
    return model, image_processor


def load_model(
    path: str | Path, head: str = "fer2013", revision: str | None = None
) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a run folder, a package or a Hub checkpoint with one head, ready for RGB pictures.

    Args:
        path: a folder or a Hub id.
        head: "fer2013" or "ferplus"; a checkpoint with plain labels has one head, which either name takes.
        revision: branch, tag or commit of a Hub id.

    Returns:
        The model in eval mode, whose `id2label` holds plain names, and its image processor.

    Raises:
        OSError: nothing loadable is there.
        ValueError: the checkpoint has no such head.
    """
    model = AutoModelForImageClassification.from_pretrained(path, revision=revision, use_safetensors=True)
    image_processor = AutoImageProcessor.from_pretrained(path, revision=revision)
    if len(heads(model.config)) > 1:
        select_head(model, head)
    if model.config.num_channels == 1:
        fold_grey_stem(model)
    return model.eval(), image_processor
