"""The arguments of a training run: one JSON recipe, any of it overridden by flags, refused by name when unknown."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

import torch
from transformers import HfArgumentParser
from transformers import TrainingArguments as HFTrainingArguments

from training.data.augment import AugmentArguments
from training.errors import RecipeError
from training.network.build import ModelArguments


@dataclass
class DataArguments:
    """What to train on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id (user/name[@revision]); see training/data/load.py."})
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv: the FER+ votes for the same rows."})
    skip_bad_rows: bool = field(default=False, metadata={"help": "Drop and count bad rows instead of stopping."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on the first so many rows only."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on the first so many rows only."})


@dataclass
class TrainingArguments(HFTrainingArguments):
    """`transformers.TrainingArguments` with the objective, the averaging and the two phases of this project.

    Defaults that differ from the parent's: `output_dir` "runs/run"; `eval_strategy` and `save_strategy` "epoch";
    `save_total_limit` 2; `load_best_model_at_end` true; `metric_for_best_model` "accuracy"; `lr_scheduler_type`
    "cosine"; `remove_unused_columns` false; `logging_nan_inf_filter` false (a NaN must be seen);
    `per_device_train_batch_size` 128 and `per_device_eval_batch_size` 256; `adam_beta2` 0.99; `report_to`
    "tensorboard"; `restore_callback_states_from_checkpoint` true; `use_cpu` true where there is no accelerator.
    """

    output_dir: str = field(default="runs/run", metadata={"help": "The run folder."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=2, metadata={"help": "How many checkpoints to keep."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint's weights."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "Validation metric to choose by."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "cosine, reduce_lr_on_plateau, ..."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "The datasets hand out ready batches."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hiding NaN would hide a broken run."})
    per_device_train_batch_size: int = field(default=128, metadata={"help": "Pictures a step and device."})
    per_device_eval_batch_size: int = field(default=256, metadata={"help": "Pictures an evaluation step and device."})
    adam_beta2: float = field(default=0.99, metadata={"help": "AdamW's second momentum."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "A resumed run remembers its patience and its time."}
    )
    report_to: str = field(default="tensorboard", metadata={"help": "Where the logs go."})

    muon_learning_rate: float = field(default=0.0, metadata={"help": "Muon's rate for matrices; 0: AdamW for all."})
    muon_weight_decay: float = field(default=0.005, metadata={"help": "Muon's decoupled weight decay."})
    layer_decay: float = field(default=1.0, metadata={"help": "Rate multiplier a block towards the stem."})
    head_epochs: float = field(default=0.0, metadata={"help": "First phase: train the classifier only, so long."})
    early_size: int = field(default=0, metadata={"help": "Side of the training pictures at first; 0: always full."})
    early_share: float = field(default=0.0, metadata={"help": "Share of the run at early_size; convolutional nets."})
    calm_from: float = field(default=1.0, metadata={"help": "Share of the run after which augmentation weakens."})
    calm_strength: float = field(default=0.5, metadata={"help": "Its strength from then on, and that of drop path."})
    contrastive_share: float = field(
        default=0.0, metadata={"help": "Share of the run, at its start, that learns without labels; 0: none."}
    )
    ema_decay: float = field(default=0.0, metadata={"help": "Average the weights over steps by this; 0: do not."})
    early_stopping_patience: int = field(default=0, metadata={"help": "Evaluations without gain until stop; 0: off."})
    class_weights: str = field(
        default="none", metadata={"help": "none; sqrt or balanced: weight classes by their rarity in the loss."}
    )
    ferplus_weight: float = field(
        default=0.0, metadata={"help": "Weight of the soft cross-entropy to the FER+ votes; needs --ferplus."}
    )
    teachers: list[str] = field(
        default_factory=list, metadata={"help": "Run folders or Hub ids with the same outputs, to distil from."}
    )
    teacher_flip: bool = field(
        default=False, metadata={"help": "The teachers see the mirrored view, too, and teach by the average of both."}
    )
    distillation_weight: float = field(
        default=0.7, metadata={"help": "Share of the loss that is cross-entropy to the teachers' probabilities."}
    )
    distillation_temperature: float = field(
        default=1.0, metadata={"help": "Softens teachers and student alike in that part of the loss."}
    )

    def __post_init__(self) -> None:
        # The parent wants to be told that there is no accelerator before it grants bfloat16 to a CPU.
        self.use_cpu = self.use_cpu or not (torch.cuda.is_available() or torch.backends.mps.is_available())
        super().__post_init__()
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay: expected 0 to below 1, got {self.ema_decay}")
        for name in ("early_share", "calm_from", "contrastive_share", "calm_strength", "distillation_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        if self.distillation_temperature <= 0:
            raise ValueError(f"distillation_temperature: expected above 0, got {self.distillation_temperature}")
        if self.class_weights not in ("none", "sqrt", "balanced"):
            raise ValueError(f"class_weights: expected none, sqrt or balanced, got {self.class_weights!r}")
        if self.head_epochs and str(self.lr_scheduler_type) != "SchedulerType.COSINE":
            raise ValueError("head_epochs works with lr_scheduler_type cosine only")


ARGUMENTS = (DataArguments, ModelArguments, AugmentArguments, TrainingArguments)


def recipe_flags(path: Path) -> list[str]:
    """A recipe file as command-line flags, so that flags given after it override it.

    Raises:
        RecipeError: see there.
    """
    try:
        recipe = json.loads(path.read_text())
    except OSError as error:
        raise RecipeError(f"{path}: expected a recipe, but it cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path}: expected JSON, got an error in line {error.lineno}: {error.msg}") from error
    if not isinstance(recipe, dict):
        raise RecipeError(f"{path}: expected a JSON object of arguments, got {type(recipe).__name__}")
    known = {item.name for kind in ARGUMENTS for item in dataclasses.fields(kind) if item.init}
    if unknown := [key for key in recipe if key not in known]:
        raise RecipeError(f"{path}: unknown argument {', '.join(map(repr, unknown))}; see python -m training.train -h")
    flags: list[str] = []
    for key, value in recipe.items():
        if value is None:
            continue
        values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
        flags += [f"--{key}", *(str(v) for v in values)]
    return flags


Arguments: TypeAlias = tuple[DataArguments, ModelArguments, AugmentArguments, TrainingArguments]


def parse_arguments(argv: list[str]) -> Arguments:
    """Parse `[recipe.json] [--argument value ...]`.

    Raises:
        RecipeError: the recipe cannot be used, or a value does not fit.
        SystemExit: a flag is unknown or has a value of the wrong kind (argparse's own message names it).
    """
    if argv and not argv[0].startswith("-"):
        argv = recipe_flags(Path(argv[0])) + argv[1:]
    parser = HfArgumentParser(list(ARGUMENTS), prog="python -m training.train [recipe.json]")  # type: ignore[arg-type]
    try:
        return cast(Arguments, parser.parse_args_into_dataclasses(argv))
    except ValueError as error:
        raise RecipeError(str(error)) from error
