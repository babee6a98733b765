"""Train an expression classifier and leave a run folder behind.

    python -m training.train training/recipes/fer2013.json --dataset fer2013.csv --output_dir runs/fer2013

A recipe is a JSON file of arguments; any flag after it overrides it. The run folder holds the best (averaged) weights
with config and image processor, `run.json` (every argument, versions, commit, dataset, seed, time),
`trainer_state.json`, `curves.png`, TensorBoard logs, and the last checkpoints, from which
`--resume_from_checkpoint true` goes on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import torch
from transformers import EarlyStoppingCallback, EvalPrediction, PreTrainedConfig, set_seed

from training.data.augment import AugmentArguments
from training.data.labels import FERPLUS_EMOTIONS, majority_label
from training.data.load import load_fer, provenance
from training.data.torch_datasets import ProcessedPixels, TrainingPixels, as_is, side
from training.errors import DataError, MetricError, PublishError, RecipeError, RunError, TeacherError
from training.evaluation.metrics import training_metrics
from training.files import write_text
from training.hub.push_run import check_push, push_run
from training.hub.sync import tell
from training.learning.arguments import DataArguments, TrainingArguments, parse_arguments
from training.learning.callbacks import Stopwatch
from training.learning.checkpoints import last_whole_checkpoint
from training.learning.trainer import ExpressionTrainer
from training.network.build import FERPLUS_PREFIX, ModelArguments, build_model, heads
from training.network.depthwise import speed_up_depthwise
from training.reporting.curves import plot_curves
from training.reporting.report import library_versions


def commit() -> str | None:
    """The commit of the training code, "-dirty" when the tree differs from it, or None outside a git checkout."""
    try:
        shown = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return shown.stdout.strip()


def class_weight(labels: list[int], count: int, kind: str) -> torch.Tensor | None:
    """(C,) loss weights, mean 1 over the pictures: the inverse of each class's share, or its square root.

    Raises:
        DataError: a class has no picture, so its weight would be infinite.
    """
    if kind == "none":
        return None
    sizes = torch.bincount(torch.tensor(labels), minlength=count).double()
    if (sizes == 0).any():
        raise DataError(f"class_weights {kind}: expected pictures of every class, got class sizes {sizes.tolist()}")
    weight = sizes.sum() / (count * sizes)
    weight = weight.sqrt() if kind == "sqrt" else weight
    return (weight * sizes.sum() / (weight * sizes).sum()).float()


def metrics_of(config: PreTrainedConfig) -> Callable[[EvalPrediction], dict[str, float]]:
    """`compute_metrics` for the Trainer: each head on its own labels, FER+ on its majority rows."""
    rows = heads(config)

    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        logits = np.asarray(prediction.predictions)
        references, *votes = (
            prediction.label_ids if isinstance(prediction.label_ids, tuple) else [prediction.label_ids]
        )
        result = training_metrics(logits[:, rows["fer2013"]], references)
        if votes and "ferplus" in rows:
            majority = majority_label(votes[0].astype(np.int64))
            if (kept := majority >= 0).any():
                ferplus = training_metrics(logits[kept][:, rows["ferplus"]], majority[kept])
                result |= {f"ferplus_{name}": value for name, value in ferplus.items()}
        return result

    return metrics


def limit(split: datasets.Dataset, rows: int | None) -> datasets.Dataset:
    """The first `rows` rows, or all."""
    return split if rows is None else split.select(range(min(rows, len(split))))


def train(
    data_args: DataArguments, model_args: ModelArguments, augment_args: AugmentArguments, args: TrainingArguments
) -> dict[str, float]:
    """Train, choose the best checkpoint on validation, and write the run folder.

    Returns:
        The validation metrics of the weights that were kept.

    Raises:
        DataError: the data cannot be used.
        RunError: the run broke off.
    """
    output_dir = Path(args.output_dir)
    with args.main_process_first(desc="loading the dataset"):
        data = load_fer(data_args.dataset, ferplus=data_args.ferplus, skip_bad_rows=data_args.skip_bad_rows)
    if missing := {"train", "validation"} - set(data):
        raise DataError(f"{data_args.dataset}: expected train and validation, got no {' and no '.join(missing)}")
    source = provenance(data)
    train_split, eval_split = (
        limit(data["train"], data_args.max_train_samples),
        limit(data["validation"], data_args.max_eval_samples),
    )
    if args.ferplus_weight and "votes" not in train_split.column_names:
        raise DataError(
            f"ferplus_weight {args.ferplus_weight}: expected FER+ votes; give --ferplus FILE or a dataset with `votes`"
        )

    names = list(train_split.features["label"].names)
    if args.ferplus_weight:
        names += [FERPLUS_PREFIX + name for name in FERPLUS_EMOTIONS]
    set_seed(args.seed)
    grey = model_args.grey and model_args.model_name_or_path is None
    train_pixels = TrainingPixels(train_split, channels=1 if grey else 3, size=model_args.image_size)
    mean, std = train_pixels.statistics()
    model, image_processor = build_model(model_args, names, mean, std)
    if model_args.model_name_or_path is not None:
        train_pixels = TrainingPixels(train_split, model.config.num_channels, side(image_processor))
    if args.bf16 and args.device.type == "cpu":
        speed_up_depthwise(model)
    rows = heads(model.config)

    trainer = ExpressionTrainer(
        model=model,
        args=args,
        heads=rows,
        augment_args=augment_args,
        class_weight=class_weight(train_split["label"][:], len(rows["fer2013"]), args.class_weights),
        train_dataset=train_pixels,
        eval_dataset=ProcessedPixels(eval_split, image_processor, model.config.num_channels),
        processing_class=image_processor,
        data_collator=as_is,
        compute_metrics=metrics_of(model.config),
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience)] if args.early_stopping_patience else None,
    )
    resume = None
    if args.resume_from_checkpoint:
        with args.main_process_first(desc="removing half-written checkpoints"):
            resume = last_whole_checkpoint(output_dir)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if trainer.averaging and not args.load_best_model_at_end:
        trainer.model.load_state_dict(trainer.averaging.average.module.state_dict())
    trainer.averaging = None  # what is evaluated and saved below is what was kept
    metrics = trainer.evaluate()
    trainer.save_model()
    trainer.save_state()
    if trainer.is_world_process_zero():
        stopwatch = next(c for c in trainer.callback_handler.callbacks if isinstance(c, Stopwatch))
        write_text(
            json.dumps(
                {
                    "arguments": {
                        kind: {k: v for k, v in dataclasses.asdict(values).items() if not k.endswith("token")}
                        for kind, values in (("data", data_args), ("model", model_args), ("augment", augment_args))
                    }
                    | {"training": args.to_sanitized_dict() | {"teachers": args.teachers}},  # else lists become text
                    "versions": library_versions(),
                    "commit": commit(),
                    "dataset": source,
                    "seed": args.seed,
                    "epochs": trainer.state.epoch,
                    "steps": trainer.state.global_step,
                    **stopwatch.read(),
                    "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                    "resumed": resume is not None,
                    "device": str(args.device),
                    "processes": args.world_size,
                    "parameters": sum(p.numel() for p in model.parameters()),
                    "metrics": metrics,
                },
                indent=2,
            )
            + "\n",
            output_dir / "run.json",
        )
        plot_curves(trainer.state.log_history, output_dir / "curves.png")
    return metrics


def check_launch() -> None:
    """Refuse to train alone when more processes were asked for.

    Without a GPU `accelerate launch --num_processes 2` sets an address for the processes to meet at, then starts one.

    Raises:
        RunError: see above.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if launched and not any(name in os.environ for name in ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")):
        raise RunError(
            "several processes were asked for, but without a GPU accelerate started one, as it does unless told "
            "otherwise. Use accelerate launch --multi_gpu --num_processes N -m training.train ... (on CPUs, too)."
        )


def main(argv: list[str] | None = None) -> None:
    """Parse the arguments, train, print the validation metrics, and push the result where asked."""
    try:
        check_launch()
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        data_args, *_, args = arguments
        pushed, args.push_to_hub = args.push_to_hub, False  # what the Trainer itself would push: see push_run
        if pushed:
            check_push(args)
        metrics = train(*arguments)
        if args.process_index == 0:
            sys.stdout.write("".join(f"{name:32s}{value:10.4f}\n" for name, value in sorted(metrics.items())))
            if pushed:
                tell(push_run(Path(args.output_dir), data_args, args), dry_run=False)
    except (RecipeError, DataError, MetricError, PublishError, TeacherError, RunError) as error:
        sys.exit(f"error: {error}")
    except torch.OutOfMemoryError as error:
        sys.exit(
            f"error: the device ran out of memory ({error}). Lower --per_device_train_batch_size and raise "
            "--gradient_accumulation_steps by the same factor."
        )


if __name__ == "__main__":
    main()
