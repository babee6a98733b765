"""Images a second of `training.train` against a bare PyTorch loop on the same model, batch, optimiser and precision.

    python -m tests.benchmarks.training_speed [--recipe training/recipes/convnext.json] [--steps 20] [--record]

After each step of the trainer comes one of the bare loop, so that a busy moment meets both. The trainer's step is all
of it: fetching the batch, augmentation, objective, averaging, logs. The bare loop has one batch in memory and does
forward, backward and the optimiser's step. The images are noise, written to a scratch folder; it runs where the
training would, on a GPU where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import TrainerCallback

from tests.benchmarks.record import ROOT, describe, machine, record
from training import train as module
from training.learning.arguments import parse_arguments

WARM_UP = 3  # steps


def write_noise(path: Path, images: int) -> None:
    """Write a FER-2013 CSV of noise, the labels in turn."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["emotion", "pixels", "Usage"])
        for usage, count in (("Training", images), ("PublicTest", 14)):
            for number in range(count):
                rows.writerow([number % 7, " ".join(map(str, rng.integers(0, 256, 48 * 48))), usage])


class BareLoop:
    """The same model and optimiser without a trainer, one batch that is already there."""

    def __init__(self, trainer: Any) -> None:
        self.model = copy.deepcopy(trainer.model).train()
        with patch.object(trainer, "optimizer", None):
            self.optimizer = trainer.create_optimizer(self.model)
        batch, channels, side = trainer.args.train_batch_size, self.model.config.num_channels, trainer.size
        self.device = trainer.args.device
        self.images = torch.randn(batch, channels, side, side, device=self.device)
        self.labels = torch.randint(0, 7, (batch,), device=self.device)
        self.bf16 = trainer.args.bf16

    def step(self) -> None:
        autocast = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with autocast:
            logits = self.model(pixel_values=self.images).logits
        F.cross_entropy(logits.float(), self.labels).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class TakeTurns(TrainerCallback):
    """A callback that times the trainer's steps and runs a bare one after each."""

    def __init__(self) -> None:
        self.bare: BareLoop
        self.seconds: list[tuple[float, float]] = []
        self.since = 0.0

    @staticmethod
    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        ended = self.now()
        self.bare.step()
        bare = self.now()
        self.seconds.append((ended - self.since, bare - ended))
        self.since = self.now()


def measure(recipe: Path, steps: int, batch: int | None) -> dict[str, Any]:
    """Measure the images a second of both, and the median ratio of the pairs."""
    turns = TakeTurns()

    class Timed(module.ExpressionTrainer):  # what `train` makes, with the callback behind all others
        def train(self, *args: Any, **kwargs: Any) -> Any:
            self.add_callback(turns)
            turns.bare = BareLoop(self)
            turns.since = turns.now()
            return super().train(*args, **kwargs)

    with tempfile.TemporaryDirectory() as folder, patch.object(module, "ExpressionTrainer", Timed):
        arguments = parse_arguments([str(recipe), "--dataset", f"{folder}/noise.csv", "--output_dir", f"{folder}/run"])
        training = arguments[-1]
        training.ferplus_weight, training.low_res_size, training.report_to = 0.0, 0, []
        training.eval_strategy = training.save_strategy = "no"
        training.load_best_model_at_end = False
        training.max_steps = steps + WARM_UP
        if batch:
            training.per_device_train_batch_size = batch
        size = training.train_batch_size
        write_noise(Path(folder) / "noise.csv", min(size * training.max_steps, 4000))
        module.train(*arguments)
    pairs = turns.seconds[WARM_UP:]
    return {
        "recipe": recipe.name,
        "device": str(training.device),
        "threads": torch.get_num_threads(),
        "batch": size,
        "steps": len(pairs),
        "trainer_per_s": round(size / statistics.median(ours for ours, _ in pairs), 1),
        "bare_per_s": round(size / statistics.median(bare for _, bare in pairs), 1),
        "ratio": round(statistics.median(bare / ours for ours, bare in pairs), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "training" / "recipes" / "convnext.json")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, help="images; default: the recipe's")
    parser.add_argument("--record", action="store_true", help="put the figures into results.json")
    options = parser.parse_args()
    measured_on = machine()
    result = measure(options.recipe, options.steps, options.batch)
    print(describe(measured_on))
    print(
        f"{result['recipe']}, {result['device']}, {result['threads']} threads, batch {result['batch']}, "
        f"{result['steps']} alternating steps: trainer {result['trainer_per_s']} images/s, bare loop "
        f"{result['bare_per_s']} images/s, ratio {result['ratio']:.2f} (target: at least 0.9)"
    )
    if options.record:
        record("training_speed", result, measured_on)


if __name__ == "__main__":
    main()
