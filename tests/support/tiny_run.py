"""A run folder as `training.train` leaves it, with random weights: a grayscale ConvNeXt with both heads."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data.labels import EMOTIONS, FERPLUS_EMOTIONS

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import BaseImageProcessor, PreTrainedModel

    from training.reporting.report import Result

NAMES = [*EMOTIONS, *(f"ferplus/{name}" for name in FERPLUS_EMOTIONS)]

LOG = [
    {"epoch": 0.5, "step": 1, "loss": 2.1},
    {"epoch": 1.0, "step": 2, "loss": 1.8},
    {"epoch": 1.0, "step": 2, "eval_loss": 1.9, "eval_accuracy": 0.2, "eval_balanced_accuracy": 0.19},
    {"epoch": 2.0, "step": 4, "loss": 1.5},
    {"epoch": 2.0, "step": 4, "eval_loss": 1.7, "eval_accuracy": 0.3, "eval_balanced_accuracy": 0.28},
]


def make_run(folder: Path) -> Path:
    """Write config, weights, image processor, run.json and the trainer's log."""
    import torch
    from transformers import ConvNextConfig, ConvNextForImageClassification, ViTImageProcessor

    from training.data.augment import AugmentArguments
    from training.learning.arguments import TrainingArguments
    from training.network.build import ModelArguments

    torch.manual_seed(0)
    model_args = ModelArguments(hidden_sizes=[8, 16], depths=[1, 1])
    config = ConvNextConfig(
        num_channels=1,
        patch_size=3,
        num_stages=2,
        hidden_sizes=model_args.hidden_sizes,
        depths=model_args.depths,
        layer_scale_init_value=1.0,
        image_size=48,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    model = ConvNextForImageClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=1.0)  # far from uniform, and far from calibrated
    model.save_pretrained(folder)
    ViTImageProcessor(
        size={"height": 48, "width": 48}, do_convert_rgb=True, image_mean=[0.5123] * 3, image_std=[0.2535] * 3
    ).save_pretrained(folder)
    training = TrainingArguments(output_dir=str(folder), num_train_epochs=2, warmup_steps=0.03, ferplus_weight=0.5)
    run = {
        "arguments": {
            "data": {"dataset": str(folder.parent / "fer2013.csv")},
            "model": dataclasses.asdict(model_args),
            "augment": dataclasses.asdict(AugmentArguments()),
            "training": training.to_sanitized_dict() | {"teachers": []},  # as `training.train` records it
        },
        "versions": {"torch": "2.13.0"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dataset": {"source": "fer2013.csv", "revision": "sha256:00", "rows": {"train": 28709, "validation": 3589}},
        "seed": 3,
        "epochs": 2.0,
        "seconds": 90.0,
        "cpu_seconds": 180.0,
        "device": "cpu",
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": LOG}))
    return folder


def evaluate_model(
    model: "PreTrainedModel", image_processor: "BaseImageProcessor", data: "DatasetDict", **where: Any
) -> "list[Result]":
    """Classify a split and measure, as `training.evaluate` does; `where` as for `classify`."""
    from training.evaluation.predictions import classify
    from training.reporting.measurement import measure

    predictions = classify(model, image_processor, data, **where)
    return measure(predictions, data, split=where["split"], head=where.get("head", "fer2013"))
