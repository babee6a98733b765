"""Tiny checkpoints with random weights, as somebody would fine-tune them: three labels, 32 pixels, RGB."""

from pathlib import Path

KINDS = ("convnext", "convnextv2", "vit", "deit", "swin", "regnet")
SIDE = 32


def make_checkpoint(kind: str, folder: Path) -> Path:
    """Write config, weights and image processor of a network.

    Args:
        kind: one of `KINDS`.
        folder: made if need be.
    """
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForImageClassification,
        ConvNextImageProcessorPil,
        ViTImageProcessorPil,
    )

    stages = {"hidden_sizes": [8, 16], "depths": [1, 1]}
    blocks = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    sizes = {
        "convnext": stages | {"num_stages": 2, "layer_scale_init_value": 1.0},
        "convnextv2": stages | {"num_stages": 2},
        "vit": blocks | {"patch_size": 8},
        "deit": blocks | {"patch_size": 8},
        "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
        "regnet": stages | {"embedding_size": 8, "groups_width": 8},
    }[kind]
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, image_size=SIDE, num_labels=3, **sizes)
    config.architectures = ["DeiTForImageClassification"] if kind == "deit" else None  # there is a distilled one, too
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    statistics = {"image_mean": [0.4] * 3, "image_std": [0.2] * 3}
    if kind.startswith("convnext"):
        processor = ConvNextImageProcessorPil(size={"shortest_edge": SIDE}, crop_pct=1.0, **statistics)
    else:
        processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, **statistics)
    processor.save_pretrained(folder)
    return folder
