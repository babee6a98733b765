"""`transformers.Trainer` with our objective, weight averaging, and checkpoints that are whole or not used."""

from __future__ import annotations

import contextlib
import math
import shutil
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import rotate_checkpoints

from training.data.augment import AugmentArguments, augment, mix
from training.data.corruptions import corrupt
from training.data.labels import FERPLUS_EMOTIONS
from training.data.torch_datasets import side
from training.errors import RunError
from training.learning.arguments import TrainingArguments
from training.learning.callbacks import Averaging, Calm, HeadFirst, Stopwatch
from training.learning.checkpoints import last_whole_checkpoint, mark_whole
from training.learning.contrastive import contrastive_loss
from training.learning.distillation import Teachers
from training.learning.optimizer import MuonWithAdamW, parameter_groups, two_phase_schedule

RAW_WEIGHTS = "training_weights.safetensors"


def vote_distribution(votes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """FER+ votes as a distribution over the eight emotions (Barsoum et al. 2016, without unknown and not-a-face).

    Args:
        votes: (n, 10) counts.

    Returns:
        (n, 8) shares, and (n,) bool: whether anyone voted for an emotion at all.
    """
    counts = votes[:, : len(FERPLUS_EMOTIONS)]
    total = counts.sum(dim=1, keepdim=True)
    return counts / total.clamp(min=1), total[:, 0] > 0


def soft_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """(n,) cross-entropy of each row of (n, C) logits to its (n, C) target distribution."""
    return -(target * F.log_softmax(logits, dim=1)).sum(dim=1)


class ExpressionTrainer(Trainer):
    """Trains one classifier on FER-2013 labels and, where asked, on FER+ vote distributions and teachers.

    Args:
        heads: output indices by head name, see `training.network.build.heads`.
        augment_args: how training pictures are varied.
        class_weight: (C,) weights of the FER-2013 loss, or None.
        **kwargs: of `transformers.Trainer`; `processing_class` is the image processor.
    """

    args: TrainingArguments
    model: PreTrainedModel
    processing_class: Any  # an image processor

    def __init__(
        self,
        *,
        heads: dict[str, list[int]],
        augment_args: AugmentArguments,
        class_weight: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads = {name: torch.tensor(rows, device=self.args.device) for name, rows in heads.items()}
        self.augment_args = augment_args
        self.class_weight = None if class_weight is None else class_weight.to(self.args.device)
        self.size = side(self.processing_class)
        mean, std = (
            torch.tensor(list(values)[: self.model.config.num_channels], device=self.args.device).view(1, -1, 1, 1)
            for values in (self.processing_class.image_mean, self.processing_class.image_std)
        )
        self.mean, self.std = mean, std
        self.teachers = None
        if self.args.teachers:
            self.teachers = Teachers(
                self.args.teachers,
                self.model,
                self.heads,
                self.args.distillation_temperature,
                self.args.teacher_flip,
                self.args.device,
            )
        self.hits = torch.zeros(2, device=self.args.device)  # right answers and pictures since the last log
        self.add_callback(Stopwatch())
        self.averaging = Averaging(self.model, self.args.ema_decay) if self.args.ema_decay else None
        if self.averaging:
            self.add_callback(self.averaging)
        if self.args.calm_from < 1:
            self.add_callback(Calm(self.args.calm_from, self.args.calm_strength))
        if self.args.head_epochs:
            self.add_callback(HeadFirst(self.args.head_epochs))

    # --- the objective ---

    def done(self) -> float:
        """The share of the run that lies behind, 0-1."""
        return self.state.global_step / max(1, self.state.max_steps)

    def training_augmentation(self) -> AugmentArguments:
        """This step's strengths: weaker towards the end where asked, when the views should be what is served."""
        calm = self.done() >= self.args.calm_from
        return self.augment_args.scaled(self.args.calm_strength) if calm else self.augment_args

    def training_size(self) -> int:
        """The side of this step's training pictures, in pixels: smaller, and so cheaper, early on where asked."""
        small = self.args.early_size and self.done() < self.args.early_share
        return self.args.early_size if small else self.size

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Augment and mix while training; cross-entropy to the labels, to the FER+ votes, and to the teachers."""
        if model.training and self.done() < self.args.contrastive_share:
            return self.warm_up_loss(model, inputs["pixel_values"])
        labels, votes = inputs["labels"], inputs.get("votes")
        rows = labels.shape[0]
        partner, share = torch.arange(rows, device=labels.device), torch.ones(rows, device=labels.device)
        pixels = images = inputs["pixel_values"]
        if model.training:
            with torch.no_grad():
                augment_args = self.training_augmentation()
                images = augment(pixels, augment_args, self.training_size())
                images, partner, share = mix(images, augment_args)
                pixels = (corrupt(images, augment_args.corrupt) - self.mean) / self.std  # teachers get `images`
        logits = model(pixel_values=pixels).logits.float()

        target = F.one_hot(labels, len(self.heads["fer2013"])).float()
        target = share[:, None] * target + (1 - share[:, None]) * target[partner]
        if self.class_weight is not None:
            weight = target @ self.class_weight
        else:
            weight = torch.ones_like(share)
        smoothing = self.args.label_smoothing_factor if model.training else 0.0
        target = target * (1 - smoothing) + smoothing / target.shape[1]
        loss = (weight * soft_cross_entropy(logits[:, self.heads["fer2013"]], target)).sum() / weight.sum()

        if votes is not None and self.args.ferplus_weight:
            distribution, voted = vote_distribution(votes)
            distribution = share[:, None] * distribution + (1 - share[:, None]) * distribution[partner]
            known = voted & voted[partner]
            per_row = soft_cross_entropy(logits[:, self.heads["ferplus"]], distribution)
            loss = loss + self.args.ferplus_weight * (per_row * known).sum() / known.sum().clamp(min=1)
        if model.training:
            with torch.no_grad():
                shown = torch.where(share >= 0.5, labels, labels[partner])
                hits = (logits[:, self.heads["fer2013"]].argmax(dim=1) == shown).sum()
                self.hits += torch.stack([hits, hits.new_tensor(rows)])
            if self.teachers:
                with self.accelerator.autocast():  # it wraps the student alone
                    taught = self.teachers(images)
                blend = self.args.distillation_weight
                loss = (1 - blend) * loss + blend * self.distillation_loss(logits, taught)
        return (loss, logits) if return_outputs else loss

    def warm_up_loss(self, model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
        """`contrastive_loss` between two augmented views of each of the (n, C, h, w) uint8 pictures."""
        seen: list[torch.Tensor] = []
        hook = self.model.get_submodule("classifier").register_forward_pre_hook(
            lambda _, given: seen.append(given[0].flatten(1))
        )
        with torch.no_grad():
            images = augment(torch.cat([pixels, pixels]), self.training_augmentation(), self.training_size())
        try:
            logits = model(pixel_values=(images - self.mean) / self.std).logits
        finally:
            hook.remove()
        return contrastive_loss(seen[0]) + 0 * logits.sum()  # the classifier's gradient is zero, but there

    def distillation_loss(self, logits: torch.Tensor, taught: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean cross-entropy of (n, all outputs) logits to the teachers' (n, C) probabilities of each head."""
        temperature = self.args.distillation_temperature
        weights = {"fer2013": 1.0, "ferplus": self.args.ferplus_weight}
        losses = [
            weights[head] * soft_cross_entropy(logits[:, self.heads[head]] / temperature, target).mean()
            for head, target in taught.items()
        ]
        return temperature**2 * torch.stack(losses).sum()  # the square keeps the gradients' size (Hinton et al. 2015)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, Any]:
        """Loss, logits (n, all heads) and the targets of one batch."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, logits = self.compute_loss(model, inputs, return_outputs=True)
        targets = tuple(inputs[name] for name in ("labels", "votes") if name in inputs)
        return loss, logits, targets if len(targets) > 1 else targets[0]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the accuracy on this process's training views; refuses to go on when the loss is not a number."""
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            last = last_whole_checkpoint(Path(self.args.output_dir))
            raise RunError(
                f"the loss became {loss} by step {self.state.global_step}. The last good checkpoint is "
                f"{last or 'none yet'}. Lower learning_rate (or muon_learning_rate), or set max_grad_norm, and resume."
            )
        if loss is not None and self.hits[1]:
            logs["accuracy"] = (self.hits[0] / self.hits[1]).item()
            self.hits.zero_()
        super().log(logs, start_time)

    # --- optimiser and schedule ---

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, or Muon for the matrices and AdamW for the rest, with layer-wise rates."""
        if self.optimizer is None:
            groups = parameter_groups(
                model or self.model,
                learning_rate=self.args.learning_rate,
                weight_decay=self.args.weight_decay,
                muon_learning_rate=self.args.muon_learning_rate,
                muon_weight_decay=self.args.muon_weight_decay,
                layer_decay=self.args.layer_decay,
            )
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            self.optimizer = MuonWithAdamW(groups, betas=betas, eps=self.args.adam_epsilon)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The library's schedules, or the two-phase one when the head trains alone first."""
        if not self.args.head_epochs:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            head_steps = round(num_training_steps * self.args.head_epochs / self.args.num_train_epochs)
            warmup = self.args.get_warmup_steps(num_training_steps - head_steps)
            self.lr_scheduler = two_phase_schedule(
                optimizer or self.create_optimizer(), num_training_steps, warmup=warmup, head_steps=head_steps
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """All pictures: `dataloader_drop_last` is for training, where a small last batch would make a noisy step."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    # --- averaged weights are what is evaluated, saved and chosen; raw weights are what training goes on from ---

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate the averaged weights where there are any."""
        with self.averaging.applied(self.model) if self.averaging else contextlib.nullcontext():
            return super().evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        checkpoint = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save and checkpoint.exists():
            shutil.rmtree(checkpoint)
        stored = cast(dict[str, Any], self.state.stateful_callbacks)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, ExportableState):  # the library fails on one that the first session did not have
                stored.setdefault(type(callback).__name__, {})
        limit, self.args.save_total_limit = self.args.save_total_limit, None  # nothing old goes before this is whole
        try:
            with self.averaging.applied(self.model) if self.averaging else contextlib.nullcontext():
                super()._save_checkpoint(model, trial)
            if self.averaging and self.args.should_save:
                state = self.model.state_dict() | {"n_averaged": self.averaging.average.n_averaged}
                save_file({k: v.contiguous() for k, v in state.items()}, checkpoint / RAW_WEIGHTS)
        except OSError as error:
            raise RunError(
                f"{checkpoint}: the checkpoint could not be written ({error.strerror}). Free some disk space and "
                "resume with --resume_from_checkpoint true; older checkpoints are untouched."
            ) from error
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_whole(checkpoint)
            rotate_checkpoints(str(checkpoint.parent), limit, self.state.best_model_checkpoint, use_mtime=False)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.averaging:
            average = self.averaging.average
            average.module.load_state_dict(self.model.state_dict())
            raw = load_file(Path(resume_from_checkpoint) / RAW_WEIGHTS)
            average.n_averaged.copy_(raw.pop("n_averaged"))
            self.model.load_state_dict(raw)
