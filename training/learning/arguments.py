"""The arguments of a training run: one JSON recipe, overridden by flags; unknown names are refused."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from transformers import HfArgumentParser
from transformers import TrainingArguments as HFTrainingArguments
from transformers.utils import is_in_notebook

from training.data.augment import AugmentArguments
from training.data.classes import Classes
from training.errors import RecipeError
from training.learning.precision import Processor
from training.network.build import ModelArguments


@dataclass
class DataArguments:
    """What to train on."""

    dataset: str = field(metadata={"help": "CSV, folder or Hub id (user/name[@revision]); see training/data/load.py."})
    ferplus: str | None = field(default=None, metadata={"help": "fer2013new.csv: the FER+ votes for the same rows."})
    labels: str | None = field(
        default=None, metadata={"help": "The classes in order, such as angry,happy,excited; default: the dataset's."}
    )
    label_map: str | None = field(
        default=None, metadata={"help": "New names, such as joy=happy,bored= (nothing: left out)."}
    )
    skip_bad_rows: bool = field(default=False, metadata={"help": "Drop and count bad rows instead of stopping."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on a sample, classes in proportion."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on such a sample."})

    def __post_init__(self) -> None:
        for name in ("max_train_samples", "max_eval_samples"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        self.classes()

    def classes(self) -> Classes:
        """Return what `labels` and `label_map` ask for; errors as `Classes.parse`."""
        return Classes.parse(self.labels, self.label_map)


@dataclass
class TrainingArguments(HFTrainingArguments):
    """`transformers.TrainingArguments` with the objective, the averaging and the two phases of this project.

    Defaults that differ from the parent's: `output_dir` "runs/run"; `eval_strategy` and `save_strategy` "epoch";
    `save_total_limit` 2; `load_best_model_at_end` true; `metric_for_best_model` "accuracy"; `lr_scheduler_type`
    "cosine"; `remove_unused_columns` false; `logging_nan_inf_filter` false (a NaN must be seen);
    `per_device_train_batch_size` 128 and `per_device_eval_batch_size` 256; `adam_beta2` 0.99; `report_to`
    "tensorboard"; `restore_callback_states_from_checkpoint` true; `use_cpu` true where there is no accelerator;
    `disable_tqdm` true where the errors go neither to a terminal nor to a notebook.
    """

    output_dir: str = field(default="runs/run", metadata={"help": "The run folder."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=2, metadata={"help": "How many checkpoints to keep, at least 2."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint's weights."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "Validation metric to choose by."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "cosine, reduce_lr_on_plateau, ..."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "The datasets hand out ready batches."})
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "Hiding NaN would hide a broken run."})
    per_device_train_batch_size: int = field(default=128, metadata={"help": "Images per step and device."})
    per_device_eval_batch_size: int = field(default=256, metadata={"help": "Images per evaluation step and device."})
    adam_beta2: float = field(default=0.99, metadata={"help": "AdamW's second momentum."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "A resumed run keeps its patience and its time."}
    )
    report_to: str = field(default="tensorboard", metadata={"help": "Where the logs go."})

    muon_learning_rate: float = field(default=0.0, metadata={"help": "Muon's rate for matrices; 0: AdamW for all."})
    muon_weight_decay: float = field(default=0.005, metadata={"help": "Muon's decoupled weight decay."})
    layer_decay: float = field(default=1.0, metadata={"help": "Rate multiplier per block towards the stem."})
    head_epochs: float = field(default=0.0, metadata={"help": "Epochs at the start that train only the classifier."})
    low_res_size: int = field(default=0, metadata={"help": "Side of the training images at first; 0: always full."})
    low_res_fraction: float = field(
        default=0.0, metadata={"help": "Share of the run at low_res_size; convolutional networks only."}
    )
    aug_decay_start: float = field(
        default=1.0, metadata={"help": "Share of the run after which augmentation weakens."}
    )
    aug_decay_strength: float = field(
        default=0.5, metadata={"help": "Its strength from then on, and that of drop path."}
    )
    ema_decay: float = field(default=0.0, metadata={"help": "Decay of the moving average of the weights; 0: off."})
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
        default=False, metadata={"help": "The teachers also see the mirrored view; their two answers are averaged."}
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
        if self.disable_tqdm is None and not sys.stderr.isatty() and not is_in_notebook():
            self.disable_tqdm = True  # a log file gets lines
        super().__post_init__()
        for name, (fits, expected) in RANGES.items():
            if not fits(getattr(self, name)):
                raise ValueError(f"{name}: expected {expected}, got {getattr(self, name)}")
        if self.max_steps <= 0 and not self.num_train_epochs > 0:
            raise ValueError(f"num_train_epochs: expected above 0, got {self.num_train_epochs}")
        if self.class_weights not in ("none", "sqrt", "balanced"):
            raise ValueError(f"class_weights: expected none, sqrt or balanced, got {self.class_weights!r}")
        if self.head_epochs and str(self.lr_scheduler_type) != "SchedulerType.COSINE":
            raise ValueError("head_epochs works with lr_scheduler_type cosine only")


def _share(value: float) -> bool:
    return 0 <= value <= 1


def _positive(value: float) -> bool:
    return value > 0


def _not_negative(value: float) -> bool:
    return value >= 0


RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "ema_decay": (lambda value: 0 <= value < 1, "0 to below 1"),
    "max_steps": (lambda value: value == -1 or value > 0, "above 0, or -1 to count in epochs"),
    # with one, the only complete checkpoint would be removed before the next one is complete
    "save_total_limit": (lambda value: value is None or value >= 2, "2 or more"),
    **dict.fromkeys(
        ("low_res_fraction", "aug_decay_start", "aug_decay_strength", "distillation_weight"), (_share, "0 to 1")
    ),
    **dict.fromkeys(
        (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "distillation_temperature",
            "layer_decay",
        ),
        (_positive, "above 0"),
    ),
    **dict.fromkeys(
        (
            "low_res_size",
            "head_epochs",
            "early_stopping_patience",
            "ferplus_weight",
            "learning_rate",
            "muon_learning_rate",
            "weight_decay",
            "muon_weight_decay",
        ),
        (_not_negative, "0 or more"),
    ),
}


ARGUMENTS = (DataArguments, ModelArguments, AugmentArguments, TrainingArguments)


# as they stand in published recipes and in the run.json of earlier runs
RENAMED = {
    "grey": "gray",
    "early_size": "low_res_size",
    "early_share": "low_res_fraction",
    "calm_from": "aug_decay_start",
    "calm_strength": "aug_decay_strength",
}
REMOVED = {"contrastive_share": 0.0}  # and the value at which it did nothing


def current_names(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of an older recipe their present names.

    Raises:
        RecipeError: it asks for something that is no longer there.
    """
    if gone := [name for name, idle in REMOVED.items() if recipe.get(name, idle) != idle]:
        raise RecipeError(f"{', '.join(gone)}: removed, see training/EXPERIMENTS.md; the commit of that run has it")
    return {RENAMED.get(name, name): value for name, value in recipe.items() if name not in REMOVED}


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe, by its present argument names.

    Raises:
        RecipeError: it is no JSON object, or has a key that no argument has.
    """
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: expected a recipe, but it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: expected JSON, got a binary file") from error
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path}: expected JSON, got an error in line {error.lineno}: {error.msg}") from error
    if not isinstance(recipe, dict):
        raise RecipeError(f"{path}: expected a JSON object of arguments, got {type(recipe).__name__}")
    recipe = current_names(recipe)
    known = {item.name for kind in ARGUMENTS for item in dataclasses.fields(kind) if item.init}
    if unknown := [key for key in recipe if key not in known]:
        raise RecipeError(f"{path}: unknown argument {', '.join(map(repr, unknown))}; see python -m training.train -h")
    return recipe


def recipe_flags(path: Path) -> list[str]:
    """Turn a recipe into command-line flags, so that flags given after it override it.

    Raises:
        RecipeError: the recipe cannot be used.
    """
    flags: list[str] = []
    for key, value in read_recipe(path).items():
        if value is None:
            continue
        values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
        flags += [f"--{key}", *(str(v) for v in values)]
    return flags


Arguments: TypeAlias = tuple[DataArguments, ModelArguments, AugmentArguments, TrainingArguments]


def parse_arguments(argv: list[str]) -> Arguments:
    """Parse `[recipe.json] [--argument value ...]`.

    A recipe's `bf16` holds where the device computes bfloat16 natively; a CPU that does not gets float32. The flag
    `--bf16` holds everywhere.

    Raises:
        RecipeError: the recipe cannot be used, or a value does not fit.
        SystemExit: a flag is unknown or has a value of the wrong kind (argparse's own message names it).
    """
    from_recipe: list[str] = []
    if argv and not argv[0].startswith("-"):
        from_recipe, argv = recipe_flags(Path(argv[0])), argv[1:]
    arguments = _parse([*from_recipe, *argv])
    args = arguments[-1]
    asked = any(flag.partition("=")[0] == "--bf16" for flag in argv)
    if args.bf16 and not asked and args.device.type == "cpu" and not Processor.read().native_bfloat16:
        return _parse([*from_recipe, *argv, "--bf16", "false"])
    return arguments


def _parse(flags: list[str]) -> Arguments:
    parser = HfArgumentParser(list(ARGUMENTS), prog="python -m training.train [recipe.json]")  # type: ignore[arg-type]
    try:
        return cast(Arguments, parser.parse_args_into_dataclasses(flags))
    except ValueError as error:
        raise RecipeError(str(error)) from error
