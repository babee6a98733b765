"""What happens beside the steps of a run: averaging the weights, the head-only phase, the time it takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.models.convnext.modeling_convnext import ConvNextDropPath
from transformers.trainer_callback import ExportableState


class Averaging(TrainerCallback):
    """Keeps an exponential moving average of the weights, with a short warm-up of the decay."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        def lerp(averaged: Any, current: Any, seen: torch.Tensor | int) -> None:
            weight = 1 - min(decay, (1 + int(seen)) / (10 + int(seen)))
            if averaged[0].is_floating_point():
                torch._foreach_lerp_(averaged, current, weight)
            else:  # batch norm counts its batches
                torch._foreach_copy_(averaged, current)

        # with the buffers: averaged weights want averaged batch-norm statistics
        self.average = AveragedModel(model, multi_avg_fn=lerp, use_buffers=True)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.average.update_parameters(kwargs["model"])

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the averaged weights, for as long as the block lasts."""
        raw = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.average.module.state_dict())
        try:
            yield
        finally:
            model.load_state_dict(raw)


class HeadFirst(TrainerCallback):
    """Freezes everything but the classifier for the first `epochs`, then lets all of it train."""

    def __init__(self, epochs: float) -> None:
        self.epochs = epochs

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        frozen = (state.epoch or 0.0) < self.epochs - 1e-6
        for name, parameter in kwargs["model"].named_parameters():
            parameter.requires_grad_(not frozen or name.startswith("classifier"))


class Calm(TrainerCallback):
    """Weakens stochastic depth late in a run, as the trainer weakens the augmentation.

    Args:
        start: the share of the run after which it does.
        strength: by what the drop rates are multiplied from then on.
    """

    def __init__(self, start: float, strength: float) -> None:
        self.start, self.strength = start, strength
        self.rates: dict[nn.Module, float] = {}

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.rates = {m: m.drop_prob for m in kwargs["model"].modules() if isinstance(m, ConvNextDropPath)}

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        strength = self.strength if state.global_step >= self.start * state.max_steps else 1.0
        for module, rate in self.rates.items():
            module.drop_prob = rate * strength  # type: ignore[assignment]


class Stopwatch(TrainerCallback, ExportableState):
    """The time a run has taken, over all its sessions: checkpoints carry it on.

    Args:
        seconds: wall-clock seconds of the earlier sessions.
        cpu_seconds: processor seconds of the earlier sessions, all threads.
    """

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        self.earlier = {"seconds": seconds, "cpu_seconds": cpu_seconds}
        self.started = {"seconds": time.monotonic(), "cpu_seconds": time.process_time()}

    def read(self) -> dict[str, float]:
        """`seconds` and `cpu_seconds` until now."""
        now = {"seconds": time.monotonic(), "cpu_seconds": time.process_time()}
        return {name: self.earlier[name] + now[name] - self.started[name] for name in now}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": self.read(), "attributes": {}}
