"""`transformers.Trainer` with our objective, weight averaging, and checkpoints that are complete or not used."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, Trainer
from transformers.trainer_callback import ExportableState

from training.data.augment import AugmentArguments, Mixing, augment, mix
from training.data.corruptions import corrupt
from training.data.torch_datasets import side
from training.errors import RunError
from training.learning.arguments import TrainingArguments
from training.learning.callbacks import DropPathDecay, EMACallback, FreezeBackbone, LogEpochs, Stopwatch
from training.learning.checkpoints import (
    MarkComplete,
    checkpoint_folder,
    latest_complete_checkpoint,
    naming_write_errors,
)
from training.learning.distillation import Teachers
from training.learning.losses import distillation_loss, label_loss, vote_loss
from training.learning.optimizer import MuonWithAdamW, parameter_groups, two_phase_schedule
from training.network.weights import restore_weights


class ExpressionTrainer(Trainer):
    """Trains one classifier on FER-2013 labels and, where asked, on FER+ vote distributions and teachers.

    Args:
        heads: output indices by head name, see `training.network.build.heads`.
        augment_args: how training images are varied.
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
        args, device = self.args, self.args.device
        self.heads = {name: torch.tensor(rows, device=device) for name, rows in heads.items()}
        self.augment_args = augment_args
        self.class_weight = None if class_weight is None else class_weight.to(device)
        self.size = side(self.processing_class)
        self.mean, self.std = (
            torch.tensor(list(values)[: self.model.config.num_channels], device=device).view(1, -1, 1, 1)
            for values in (self.processing_class.image_mean, self.processing_class.image_std)
        )
        self.teachers = None
        if args.teachers:
            self.teachers = Teachers(
                args.teachers, self.model, self.heads, args.distillation_temperature, args.teacher_flip, device
            )
        self.hits = torch.zeros(2, device=device)  # right answers and images since the last log
        self.add_callback(Stopwatch())
        self.add_callback(LogEpochs())
        if args.aug_decay_start < 1:
            self.add_callback(DropPathDecay(args.aug_decay_start, args.aug_decay_strength))
        if args.head_epochs:
            self.add_callback(FreezeBackbone(args.head_epochs))
        if args.ema_decay:
            self.add_callback(EMACallback(self.model, args.ema_decay))
        self.add_callback(MarkComplete())  # after all that write into a checkpoint

    # --- the objective ---

    def progress(self) -> float:
        """Return the share of the run that is done, 0-1."""
        return self.state.global_step / max(1, self.state.max_steps)

    def training_augmentation(self) -> AugmentArguments:
        """Return this step's strengths: weaker late in the run where asked, closer to what is served."""
        late = self.progress() >= self.args.aug_decay_start
        return self.augment_args.scaled(self.args.aug_decay_strength) if late else self.augment_args

    def training_size(self) -> int:
        """Return the side of this step's training images in pixels: smaller, so cheaper, early on where asked."""
        low = self.args.low_res_size and self.progress() < self.args.low_res_fraction
        return self.args.low_res_size if low else self.size

    @torch.no_grad()
    def training_views(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Mixing]:
        """Augment, mix and corrupt a batch.

        Args:
            pixels: (n, C, h, w) uint8.

        Returns:
            The clean views, which teachers see, and the corrupted ones, which the model learns from, both
            (n, C, side, side) float32 in 0-1; and how the images were mixed.
        """
        augment_args = self.training_augmentation()
        clean, mixing = mix(augment(pixels, augment_args, self.training_size()), augment_args)
        return clean, corrupt(clean, augment_args.corrupt), mixing

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch: of augmented views while training, of processed images in evaluation."""
        labels, votes = inputs["labels"], inputs.get("votes")
        if model.training:
            clean, corrupted, mixing = self.training_views(inputs["pixel_values"])
            logits = model(pixel_values=(corrupted - self.mean) / self.std).logits.float()
            loss = self.supervised_loss(logits, labels, votes, mixing, self.args.label_smoothing_factor)
            self.count_hits(logits, labels, mixing)
            if self.teachers:
                blend = self.args.distillation_weight
                loss = (1 - blend) * loss + blend * self.teaching_loss(self.teachers, logits, clean)
        else:
            logits = model(pixel_values=inputs["pixel_values"]).logits.float()
            loss = self.supervised_loss(logits, labels, votes, Mixing.none(len(labels), labels.device))
        return (loss, logits) if return_outputs else loss

    def supervised_loss(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        votes: torch.Tensor | None,
        mixing: Mixing,
        label_smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Add the losses to the labels (n,) and to the votes (n, 10); logits are (n, all outputs)."""
        rows = self.heads["fer2013"]
        loss = label_loss(logits[:, rows], labels, mixing, self.class_weight, label_smoothing)
        if votes is not None and self.args.ferplus_weight:
            loss = loss + self.args.ferplus_weight * vote_loss(logits[:, self.heads["ferplus"]], votes, mixing)
        return loss

    def teaching_loss(self, teachers: Teachers, logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Add the distillation losses of the heads; the teachers see `images`, (n, C, side, side) in 0-1."""
        with self.accelerator.autocast():  # the Trainer wraps the student alone
            taught = teachers(images)
        weights = {"fer2013": 1.0, "ferplus": self.args.ferplus_weight}
        temperature = self.args.distillation_temperature
        losses = [
            weights[head] * distillation_loss(logits[:, self.heads[head]], target, temperature)
            for head, target in taught.items()
        ]
        return torch.stack(losses).sum()

    @torch.no_grad()
    def count_hits(self, logits: torch.Tensor, labels: torch.Tensor, mixing: Mixing) -> None:
        """Count the views whose larger part was recognized."""
        larger = torch.where(mixing.share >= 0.5, labels, labels[mixing.partner])
        hits = (logits[:, self.heads["fer2013"]].argmax(dim=1) == larger).sum()
        self.hits += torch.stack([hits, hits.new_tensor(len(labels))])

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, Any]:
        """Return loss, logits (n, all outputs) and the targets of one batch."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, logits = self.compute_loss(model, inputs, return_outputs=True)
        targets = tuple(inputs[name] for name in ("labels", "votes") if name in inputs)
        return loss, logits, targets if len(targets) > 1 else targets[0]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the accuracy on this process's training views; refuse to go on when the loss is not a number."""
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            last = latest_complete_checkpoint(Path(self.args.output_dir))
            raise RunError(
                f"the loss became {loss} by step {self.state.global_step}. The last good checkpoint is "
                f"{last or 'none yet'}. Lower learning_rate (or muon_learning_rate), or set max_grad_norm, and resume."
            )
        if loss is not None and self.hits[1]:
            logs["accuracy"] = (self.hits[0] / self.hits[1]).item()
            self.hits.zero_()
        super().log(logs, start_time)

    # --- optimizer and schedule ---

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
            bfloat16 = self.args.bf16 or self.args.device.type != "cpu"
            self.optimizer = MuonWithAdamW(groups, betas=betas, eps=self.args.adam_epsilon, bfloat16=bfloat16)
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

    def _get_learning_rate(self) -> float:
        # the classifier's, which every phase trains; the library logs the first group's, here often the stem's
        return float(next(group["lr"] for group in self.create_optimizer().param_groups if group["head"]))

    # --- evaluation data and checkpoints ---

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Load all images: `dataloader_drop_last` is for training, where a small last batch makes a noisy step."""
        loader = DataLoader(
            cast(Dataset, self.eval_dataset if eval_dataset is None else eval_dataset),
            batch_size=self.args.eval_batch_size,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return cast(DataLoader, self.accelerator.prepare(loader))

    def planned_steps(self) -> int:
        """Return how many steps the whole run takes."""
        return int(self.set_initial_training_values(self.args, self.get_train_dataloader())[-1])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        # the library's own takes the saved key names as they are, and only warns of those it does not know
        restore_weights(self.model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        restore_weights(self.model, Path(str(self.state.best_model_checkpoint)))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        checkpoint = checkpoint_folder(self.args, self.state)
        stored = cast(dict[str, Any], self.state.stateful_callbacks)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, ExportableState):  # the library fails on one that the first session did not have
                stored.setdefault(type(callback).__name__, {})
        with naming_write_errors(checkpoint):
            if self.args.should_save and checkpoint.exists():
                shutil.rmtree(checkpoint)  # its manifest, of another run in this folder, must not vouch for this one
            super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # before the checkpoint is marked as complete
