"""Images a second of `training.train` against a bare PyTorch loop on the same model, batch, optimizer and precision.

    python -m tests.benchmarks.training_speed [--recipe training/recipes/convnext.json] [--steps 20] [--record]

After each step of the trainer comes one of the bare loop, so that a busy moment meets both. The trainer's step is all
of it: fetching the batch, augmentation, objective, averaging, logs. The bare loop has one batch in memory and does
forward, backward and the optimizer's step. The images are noise, written to a scratch folder; it runs where the
training would, on a GPU where there is one.

On a CPU a second bare loop takes the other precision, every fourth turn, to see whether the trainer chose the faster
one; and all of it runs twice, each in a process of its own: with all instructions, and with those of AVX2 only.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import json
import os
import statistics
import subprocess
import sys
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
from training.learning.optimizer import MuonWithAdamW
from training.learning.precision import Processor

WARM_UP = 3  # steps
OTHER_EVERY = 4  # turns; emulated bfloat16 takes long
# The kinds of CPU by name, and the environment variables that let this one stand in for them.
KINDS = {"all": {}, "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}}


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
    """The same model and optimizer without a trainer, one batch that is already there.

    Args:
        trainer: to copy from.
        bfloat16: the precision, Muon's included; without it the trainer's.
    """

    def __init__(self, trainer: Any, bfloat16: bool | None = None) -> None:
        self.model = copy.deepcopy(trainer.model).train()
        self.bf16 = trainer.args.bf16 if bfloat16 is None else bfloat16
        with patch.object(trainer, "optimizer", None), patch.object(trainer.args, "bf16", self.bf16):
            self.optimizer: MuonWithAdamW = trainer.create_optimizer(self.model)
        batch, channels, side = trainer.args.train_batch_size, self.model.config.num_channels, trainer.size
        self.device = trainer.args.device
        self.images = torch.randn(batch, channels, side, side, device=self.device)
        self.labels = torch.randint(0, 7, (batch,), device=self.device)

    def step(self) -> None:
        autocast = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with autocast:
            logits = self.model(pixel_values=self.images).logits
        F.cross_entropy(logits.float(), self.labels).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class TakeTurns(TrainerCallback):
    """A callback that times the trainer's steps and runs a bare one after each, sometimes also in the other precision.

    Attributes:
        seconds: of the trainer's and of the bare step, by turn.
        others: seconds of a bare step in the other precision and of the bare step before it.
    """

    def __init__(self) -> None:
        self.bare: BareLoop
        self.other: BareLoop | None = None
        self.seconds: list[tuple[float, float]] = []
        self.others: list[tuple[float, float]] = []
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
        if self.other and len(self.seconds) % OTHER_EVERY == 1:
            self.other.step()
            self.others.append((self.now() - bare, bare - ended))
        self.since = self.now()


def measure(recipe: Path, steps: int, batch: int | None) -> dict[str, Any]:
    """Measure the images a second of both, and the median ratio of the pairs."""
    turns = TakeTurns()

    class Timed(module.ExpressionTrainer):  # what `train` makes, with the callback behind all others
        def train(self, *args: Any, **kwargs: Any) -> Any:
            self.add_callback(turns)
            turns.bare = BareLoop(self)
            if self.args.device.type == "cpu":
                turns.other = BareLoop(self, not self.args.bf16)
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
    result = {
        "recipe": recipe.name,
        "device": str(training.device),
        "processor": Processor.read().record(),
        "precision": "bfloat16" if training.bf16 else "float32",
        "threads": torch.get_num_threads(),
        "batch": size,
        "steps": len(pairs),
        "trainer_per_s": round(size / statistics.median(ours for ours, _ in pairs), 1),
        "bare_per_s": round(size / statistics.median(bare for _, bare in pairs), 1),
        "ratio": round(statistics.median(bare / ours for ours, bare in pairs), 3),
    }
    if others := turns.others[1:]:  # without the first step, which makes its kernels
        result["other_precision"] = round(statistics.median(bare / other for other, bare in others), 3)
    return result


def measure_kind(kind: str, recipe: Path, steps: int, batch: int | None) -> dict[str, Any]:
    """Measure in a process of its own that may use the instructions of that kind of CPU only."""
    command = [sys.executable, "-m", "tests.benchmarks.training_speed", "--kind", kind, "--steps", str(steps)]
    command += ["--recipe", str(recipe), *(["--batch", str(batch)] if batch else [])]
    environment = os.environ | KINDS[kind]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def describe_speed(kind: str, result: dict[str, Any]) -> str:
    """One line of what `measure` found."""
    other = result.get("other_precision")
    compared = f"; the other precision runs at {other:.2f} of the bare loop's speed" if other else ""
    return (
        f"{kind} instructions: {result['recipe']}, {result['device']}, {result['precision']}, {result['threads']} "
        f"threads, batch {result['batch']}, {result['steps']} alternating steps: trainer {result['trainer_per_s']} "
        f"images/s, bare loop {result['bare_per_s']} images/s, ratio {result['ratio']:.2f} (target: at least 0.9)"
        f"{compared}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "training" / "recipes" / "convnext.json")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, help="images; default: the recipe's")
    parser.add_argument("--kind", choices=KINDS, help="print one measurement of this process as JSON")
    parser.add_argument("--record", action="store_true", help="put the figures into results.json")
    options = parser.parse_args()
    if options.kind:
        print(json.dumps(measure(options.recipe, options.steps, options.batch)))
        return
    measured_on = machine()
    kinds = ["all"] if torch.accelerator.is_available() else list(KINDS)
    results = {kind: measure_kind(kind, options.recipe, options.steps, options.batch) for kind in kinds}
    print(describe(measured_on))
    for kind, result in results.items():
        print(describe_speed(kind, result))
    if options.record:
        others = {kind: result for kind, result in results.items() if kind != "all"}
        record("training_speed", results["all"] | others, measured_on)


if __name__ == "__main__":
    main()
