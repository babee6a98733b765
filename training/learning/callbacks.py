"""Callbacks of a run: the average of the weights, frozen and weakening parts, a log every epoch, the time taken."""

from __future__ import annotations

import time
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.models.convnext.modeling_convnext import ConvNextDropPath
from transformers.trainer_callback import ExportableState

from training.errors import RunError
from training.learning.checkpoints import checkpoint_folder, naming_write_errors
from training.network.weights import check_keys, is_classifier

RAW_WEIGHTS = "training_weights.safetensors"


class EMACallback(TrainerCallback):
    """Exponential moving average of the weights, with a short warm-up of the decay.

    The raw weights train. When an evaluation or a checkpoint is due, the average takes their place in the model until
    the next step begins, so the average is what is evaluated, saved and chosen; at the end of the run it stays there.
    Checkpoints hold the raw weights beside it, and a resumed run goes on from them.

    Args:
        model: the model to be trained, on its device.
        decay: 0-1, the share of the average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def lerp(averaged: Any, current: Any, seen: torch.Tensor | int) -> None:
            weight = 1 - min(decay, (1 + int(seen)) / (10 + int(seen)))
            if averaged[0].is_floating_point():
                torch._foreach_lerp_(averaged, current, weight)
            else:  # batch norm counts its batches
                torch._foreach_copy_(averaged, current)

        # with the buffers: averaged weights need averaged batch-norm statistics
        self.average = AveragedModel(model, multi_avg_fn=lerp, use_buffers=True)
        self.raw: dict[str, torch.Tensor] | None = None  # set aside while the average is in the model

    def show_average(self, model: nn.Module) -> None:
        """Put the average into the model and set the raw weights aside."""
        if self.raw is None:
            self.raw = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            model.load_state_dict(self.average.module.state_dict())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take up the average and the raw weights of the checkpoint that the run resumes from."""
        if not state.global_step:
            return
        model, checkpoint = kwargs["model"], checkpoint_folder(args, state)
        if not (checkpoint / RAW_WEIGHTS).exists():
            raise RunError(f"{checkpoint}: expected a checkpoint of a run with ema_decay; resume with --ema_decay 0")
        raw = load_file(checkpoint / RAW_WEIGHTS)
        self.average.n_averaged.copy_(raw.pop("n_averaged"))
        expected = model.state_dict().keys()
        check_keys(checkpoint / RAW_WEIGHTS, missing=expected - raw.keys(), unexpected=raw.keys() - expected)
        self.average.module.load_state_dict(model.state_dict())
        model.load_state_dict(raw)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the raw weights back."""
        if self.raw is not None:
            kwargs["model"].load_state_dict(self.raw)
            self.raw = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Update the average; show it where it is about to be evaluated or saved."""
        self.average.update_parameters(kwargs["model"])
        self.on_epoch_end(args, state, control, **kwargs)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the average where it is about to be evaluated or saved."""
        if control.should_evaluate or control.should_save:
            self.show_average(kwargs["model"])

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the raw weights to the checkpoint."""
        if args.should_save and self.raw is not None:
            tensors = self.raw | {"n_averaged": self.average.n_averaged}
            checkpoint = checkpoint_folder(args, state)
            with naming_write_errors(checkpoint):
                save_file({name: t.contiguous() for name, t in tensors.items()}, checkpoint / RAW_WEIGHTS)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the average in the model, unless the best checkpoint, an average itself, was loaded into it."""
        if not (args.load_best_model_at_end and state.best_model_checkpoint):
            self.show_average(kwargs["model"])
        self.raw = None


class FreezeBackbone(TrainerCallback):
    """Freezes everything but the classifier for the first epochs, then lets all of it train.

    Args:
        epochs: the length of the first phase.
    """

    def __init__(self, epochs: float) -> None:
        self.epochs = epochs

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Freeze or free the backbone."""
        frozen = (state.epoch or 0.0) < self.epochs - 1e-6
        for name, parameter in kwargs["model"].named_parameters():
            parameter.requires_grad_(not frozen or is_classifier(name))


class LogEpochs(TrainerCallback):
    """Logs the training loss at the end of every epoch as well, so that a run shorter than `logging_steps` has one."""

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a log."""
        control.should_log = True


class DropPathDecay(TrainerCallback):
    """Weakens stochastic depth late in a run, as the trainer weakens the augmentation.

    Args:
        start: the share of the run after which it does.
        strength: what the drop rates are multiplied by from then on.
    """

    def __init__(self, start: float, strength: float) -> None:
        self.start, self.strength = start, strength
        self.rates: dict[nn.Module, float] = {}

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Note the full rates."""
        self.rates = {m: m.drop_prob for m in kwargs["model"].modules() if isinstance(m, ConvNextDropPath)}

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Set the rates of this step."""
        strength = self.strength if state.global_step >= self.start * state.max_steps else 1.0
        for module, rate in self.rates.items():
            module.drop_prob = rate * strength  # type: ignore[assignment]


class Stopwatch(TrainerCallback, ExportableState):
    """The time that a run has taken over all its sessions; checkpoints carry it on.

    At the end of training, `trainer.state.stateful_callbacks["Stopwatch"]["args"]` holds it.

    Args:
        seconds: wall-clock seconds of the earlier sessions.
        cpu_seconds: processor seconds of the earlier sessions, all threads.
    """

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        self.earlier = {"seconds": seconds, "cpu_seconds": cpu_seconds}
        self.started = {"seconds": time.monotonic(), "cpu_seconds": time.process_time()}

    def read(self) -> dict[str, float]:
        """Return `seconds` and `cpu_seconds` until now."""
        now = {"seconds": time.monotonic(), "cpu_seconds": time.process_time()}
        return {name: self.earlier[name] + now[name] - self.started[name] for name in now}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"args": self.read(), "attributes": {}}

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Leave the time in the trainer's state."""
        state.stateful_callbacks[type(self).__name__] = self.state()  # type: ignore[index,call-overload]
