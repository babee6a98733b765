"""Train an expression classifier and leave a run folder behind.

    python -m training.train training/recipes/fer2013.json --dataset fer2013.csv --output_dir runs/fer2013

A recipe is a JSON file of arguments; any flag after it overrides it. The run folder holds the best (averaged) weights
with config and image processor, `run.json` (every argument, versions, commit, dataset, seed, time),
`trainer_state.json`, `curves.png`, TensorBoard logs, and the last checkpoints, from which
`--resume_from_checkpoint true` goes on. One process at a time trains into a folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import EarlyStoppingCallback, TrainerState, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from training.data.augment import AugmentArguments
from training.data.labels import FERPLUS_EMOTIONS
from training.data.load import load_fer, provenance
from training.data.splits import stratified_sample
from training.data.torch_datasets import EvalDataset, TrainDataset, identity_collate, side
from training.errors import DataError, RunError, command
from training.files import locked_folder, write_text
from training.hub.push_run import check_push, push_run
from training.hub.sync import tell
from training.learning.arguments import Arguments, DataArguments, TrainingArguments, parse_arguments
from training.learning.checkpoints import latest_complete_checkpoint, naming_write_errors
from training.learning.head_metrics import metrics_of
from training.learning.losses import class_weight
from training.learning.precision import Processor, explain_precision
from training.learning.trainer import ExpressionTrainer
from training.network.build import FERPLUS_PREFIX, ModelArguments, build_model, heads
from training.network.depthwise import speed_up_depthwise
from training.reporting.curves import plot_curves
from training.reporting.report import library_versions


def train(
    data_args: DataArguments, model_args: ModelArguments, augment_args: AugmentArguments, args: TrainingArguments
) -> dict[str, float]:
    """Train, choose the best checkpoint on validation, and write the run folder.

    Returns:
        The validation metrics of the weights that were kept.

    Raises:
        DataError: the data cannot be used.
        FolderInUseError: another process trains into the folder.
        RunError: the run broke off.
    """
    with run_folder(args) as output_dir:
        splits, source = load_splits(data_args, args)
        if args.process_index == 0:
            sys.stderr.write(f"{explain_precision(args.bf16, args.device, Processor.read())}\n")
        set_seed(args.seed)
        trainer = make_trainer(splits, model_args, augment_args, args)
        if label_map := data_args.classes().label_map:
            trainer.model.config.label_map = label_map  # how the dataset is read again for this model
        resume = checkpoint_to_resume(trainer) if args.resume_from_checkpoint else None
        check_free_space(trainer)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        metrics = trainer.evaluate()
        with naming_write_errors(output_dir):
            trainer.save_model()
            trainer.save_state()
            if trainer.is_world_process_zero():
                kinds = {"data": data_args, "model": model_args, "augment": augment_args}
                record = run_record(trainer, kinds) | {
                    "dataset": source,
                    "resumed": resume is not None,
                    "metrics": metrics,
                }
                write_text(json.dumps(record, indent=2) + "\n", output_dir / "run.json")
                plot_curves(trainer.state.log_history, output_dir / "curves.png")
    return metrics


@contextlib.contextmanager
def run_folder(args: TrainingArguments) -> Iterator[Path]:
    """Hold the run folder against other trainings; of several processes of one training, the first does.

    Raises:
        RunError: it is a file, or cannot be made.
        FolderInUseError: another process trains into it.
    """
    folder = Path(args.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"output_dir {folder}: expected a folder, new or not, got: {error.strerror}") from error
    with locked_folder(folder) if args.process_index == 0 else contextlib.nullcontext():
        yield folder


def load_splits(
    data_args: DataArguments, args: TrainingArguments
) -> tuple[dict[str, datasets.Dataset], dict[str, Any]]:
    """Load what to train and to validate on, and describe the whole dataset.

    Returns:
        The splits train and validation, cut to samples where asked; and `training.data.load.provenance`.

    Raises:
        DataError: a split is missing, or the votes.
    """
    with args.main_process_first(desc="loading the dataset"):
        data = load_fer(
            data_args.dataset,
            ferplus=data_args.ferplus,
            classes=data_args.classes(),
            skip_bad_rows=data_args.skip_bad_rows,
        )
    if missing := {"train", "validation"} - set(data):
        raise DataError(f"{data_args.dataset}: expected train and validation, got no {' and no '.join(missing)}")
    if args.ferplus_weight and "votes" not in data["train"].column_names:
        raise DataError(
            f"ferplus_weight {args.ferplus_weight}: expected FER+ votes; give --ferplus FILE or a dataset with "
            "`votes`, or train without them: --ferplus_weight 0"
        )
    limits = {"train": data_args.max_train_samples, "validation": data_args.max_eval_samples}
    return {name: sample(data[name], rows, args.seed) for name, rows in limits.items()}, provenance(data)


def sample(split: datasets.Dataset, rows: int | None, seed: int) -> datasets.Dataset:
    """Draw a stratified sample of so many rows; all of them for None."""
    return split if rows is None else split.select(stratified_sample(np.array(split["label"][:]), rows, seed))


def make_trainer(
    splits: dict[str, datasets.Dataset],
    model_args: ModelArguments,
    augment_args: AugmentArguments,
    args: TrainingArguments,
) -> ExpressionTrainer:
    """Build the model and all that trains it."""
    names = list(splits["train"].features["label"].names)
    if args.ferplus_weight:
        names += [FERPLUS_PREFIX + name for name in FERPLUS_EMOTIONS]
    from_scratch = model_args.model_name_or_path is None
    channels = 1 if model_args.gray and from_scratch else 3
    train_dataset = TrainDataset(splits["train"], channels, size=model_args.image_size)
    model, image_processor = build_model(model_args, names, *train_dataset.statistics(args.seed))
    if not from_scratch:
        train_dataset = TrainDataset(splits["train"], model.config.num_channels, side(image_processor))
    if args.bf16 and args.device.type == "cpu":
        speed_up_depthwise(model)
    rows = heads(model.config)
    return ExpressionTrainer(
        model=model,
        args=args,
        heads=rows,
        augment_args=augment_args,
        class_weight=class_weight(splits["train"]["label"][:], len(rows["fer2013"]), args.class_weights),
        train_dataset=train_dataset,
        eval_dataset=EvalDataset(splits["validation"], image_processor, model.config.num_channels),
        processing_class=image_processor,
        data_collator=identity_collate,
        compute_metrics=metrics_of(model.config),
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience)] if args.early_stopping_patience else None,
    )


def checkpoint_to_resume(trainer: ExpressionTrainer) -> Path | None:
    """Find the checkpoint that the run resumes from, if there is one.

    Raises:
        RunError: it belongs to a run of another length, whose schedule this one would not continue.
    """
    with trainer.args.main_process_first(desc="removing incomplete checkpoints"):
        checkpoint = latest_complete_checkpoint(Path(trainer.args.output_dir))
    if checkpoint is None:
        return None
    planned, asked = (
        TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).max_steps,
        trainer.planned_steps(),
    )
    if planned != asked:
        raise RunError(
            f"{checkpoint} belongs to a run of {planned} steps, but these arguments make {asked}. Resume with the "
            "num_train_epochs, max_steps, batch size and data of that run, or train into another folder."
        )
    return checkpoint


def check_free_space(trainer: ExpressionTrainer) -> None:
    """Refuse to start where not even one checkpoint fits on the disk.

    Raises:
        RunError: see above.
    """
    # raw and averaged weights and the optimizer's two moments; as much again while the run's own weights are written
    needed = 5 * 4 * sum(parameter.numel() for parameter in trainer.model.parameters())
    free = shutil.disk_usage(trainer.args.output_dir).free
    if free < needed:
        raise RunError(
            f"output_dir {trainer.args.output_dir}: expected {needed / 1e6:.0f} MB of free disk space for a "
            f"checkpoint, got {free / 1e6:.0f} MB"
        )


def commit() -> str | None:
    """Return the commit of the training code, "-dirty" where the tree differs, or None outside a git checkout."""
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


def run_record(trainer: ExpressionTrainer, kinds: dict[str, Any]) -> dict[str, Any]:
    """Describe a finished run for run.json.

    Args:
        trainer: after its training.
        kinds: the other arguments by kind.
    """
    args, state = trainer.args, trainer.state
    arguments = {
        kind: {k: v for k, v in dataclasses.asdict(values).items() if not k.endswith("token")}
        for kind, values in kinds.items()
    }
    arguments["training"] = args.to_sanitized_dict() | {"teachers": args.teachers}  # else lists become text
    return {
        "arguments": arguments,
        "base_is_folder": Path(arguments["model"]["model_name_or_path"] or "/dev/null").is_dir(),
        "versions": library_versions(),
        "commit": commit(),
        "seed": args.seed,
        "epochs": state.epoch,
        "steps": state.global_step,
        **state.stateful_callbacks["Stopwatch"]["args"],  # type: ignore[index,call-overload]
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device": str(args.device),
        "processor": Processor.read().record(),
        "processes": args.world_size,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
    }


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


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the arguments, train, print the validation metrics, and push the result where asked."""
    check_launch()
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    data_args, *_, args = arguments
    pushed, args.push_to_hub = args.push_to_hub, False  # what the Trainer itself would push: see push_run
    if pushed:
        check_push(args)
    metrics = train_or_explain(arguments)
    if args.process_index == 0:
        sys.stdout.write("".join(f"{name:32s}{value:10.4f}\n" for name, value in sorted(metrics.items())))
        if pushed:
            tell(push_run(Path(args.output_dir), data_args, args), dry_run=False)


def train_or_explain(arguments: Arguments) -> dict[str, float]:
    """Train; where the memory of the device does not suffice, say what to change.

    Raises:
        RunError: see above.
    """
    try:
        return train(*arguments)
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"the device ran out of memory ({error}). Lower --per_device_train_batch_size and raise "
            "--gradient_accumulation_steps by the same factor."
        ) from error


if __name__ == "__main__":
    main(sys.argv[1:])
