"""A third-party checkpoint: a ViT fine-tuned with other tools, in an older layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # alphabetical, unlike ours


def write_foreign(folder: Path, labels: Sequence[str] = LABELS, *, channels: int = 3, always: str = "") -> Path:
    """Write a tiny ViT of random weights.

    Args:
        folder: where to.
        labels: in the order of its outputs.
        channels: of the images that it takes: 3, or 1 for grayscale.
        always: the label that it predicts for every image.
    """
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=64,
            patch_size=16,
            num_channels=channels,
            id2label=dict(enumerate(labels)),
            label2id={name: i for i, name in enumerate(labels)},
        )
    )
    if always:
        model.classifier.bias.data[list(labels).index(always)] += 10
    model.save_pretrained(folder)
    processor = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",  # the name before image processors
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": 64,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody should fetch")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Somebody's ViT\n")
    return folder
