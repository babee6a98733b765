"""Weights come back whole from checkpoints of every network that can be fine-tuned, or not at all."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification

from tests.support.scheduling import some_slow
from tests.support.tiny_networks import KINDS, make_checkpoint
from training.errors import WeightsError
from training.learning.arguments import parse_arguments
from training.learning.callbacks import RAW_WEIGHTS
from training.learning.checkpoints import MANIFEST, mark_complete
from training.learning.trainer import ExpressionTrainer
from training.train import train

SHORT = "--num_train_epochs 2 --per_device_train_batch_size 14 --learning_rate 0.01 --report_to none".split()
# the first of the two epochs has the larger loss, so that the checkpoint to keep is not the last one
FIRST_IS_BEST = "--metric_for_best_model loss --greater_is_better true".split()


def run(base: Path, dataset: Path, folder: Path, *more: str) -> Path:
    """Fine-tune for two epochs of four steps."""
    paths = ["--model_name_or_path", str(base), "--dataset", str(dataset), "--output_dir", str(folder)]
    train(*parse_arguments([*paths, *SHORT, *FIRST_IS_BEST, *more]))
    return folder


def broken_copy(whole: Path, folder: Path) -> Path:
    """Copy a run as it was before its last checkpoint."""
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoint-8")
    (folder / "model.safetensors").unlink()
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    """The tensors that are not equal to the last bit."""
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


@pytest.mark.parametrize("kind", some_slow(KINDS, quick=("vit",)))
def test_best_checkpoint_and_resume_are_whole(kind: str, tiny_csv: Path, tmp_path: Path) -> None:
    base = make_checkpoint(kind, tmp_path / "base")
    whole = run(base, tiny_csv, tmp_path / "whole")
    best, last = weights(whole / "checkpoint-4"), weights(whole / "checkpoint-8")
    assert json.loads((whole / "trainer_state.json").read_text())["best_global_step"] == 4
    assert differing(best, last) == best.keys()
    assert not differing(weights(whole), best)

    resumed = broken_copy(whole, tmp_path / "resumed")
    run(base, tiny_csv, resumed, "--resume_from_checkpoint", "true")
    assert json.loads((resumed / "run.json").read_text())["resumed"]
    assert not differing(weights(resumed / "checkpoint-8"), last)
    assert not differing(weights(resumed), best)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("vit", tmp_path_factory.mktemp("base") / "vit")


def lose(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["vit.encoder.layer.1.attention.attention.key.weight"]


def gain(tensors: dict[str, torch.Tensor]) -> None:
    tensors["vit.encoder.layer.9.extra"] = torch.zeros(1)


def reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["vit.layernorm.bias"] = torch.zeros(3)


CHANGES = [
    (lose, "missing: vit.layers.1.attention.k_proj.weight"),
    (gain, "unexpected: vit.layers.9.extra"),
    (reshape, "of another shape: vit.layernorm.bias"),
]


def change_file(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change what a weights file holds."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize("change, message", CHANGES)
def test_incomplete_best_ends_the_run_by_key(
    change: Callable[[dict[str, torch.Tensor]], None], message: str, vit: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint-4"
    shutil.copytree(vit, checkpoint)
    model = AutoModelForImageClassification.from_pretrained(checkpoint)
    change_file(checkpoint / "model.safetensors", change)
    trainer = SimpleNamespace(model=model, state=SimpleNamespace(best_model_checkpoint=str(checkpoint)))
    with pytest.raises(WeightsError, match=f"checkpoint-4: expected exactly the weights .*{re.escape(message)}"):
        ExpressionTrainer._load_best_model(trainer)


@pytest.mark.slow
def test_incomplete_checkpoint_is_not_resumed(vit: Path, tiny_csv: Path, tmp_path: Path) -> None:
    whole = run(vit, tiny_csv, tmp_path / "whole", "--ema_decay", "0.9")
    for name, key in (("model.safetensors", "vit.layers.1.attention.k_proj.weight"), (RAW_WEIGHTS, "classifier.bias")):
        folder = broken_copy(whole, tmp_path / name)
        checkpoint = folder / "checkpoint-4"
        change_file(checkpoint / name, lose if name != RAW_WEIGHTS else lambda tensors: tensors.pop("classifier.bias"))
        (checkpoint / MANIFEST).unlink()
        mark_complete(checkpoint)
        with pytest.raises(WeightsError, match=f"checkpoint-4.*missing: {re.escape(key)}"):
            run(vit, tiny_csv, folder, "--ema_decay", "0.9", "--resume_from_checkpoint", "true")


def test_base_without_a_backbone_weight_is_refused(vit: Path, tiny_csv: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(vit, base)
    change_file(
        base / "model.safetensors", lambda tensors: [tensors.pop(f"classifier.{n}") for n in ("weight", "bias")]
    )
    run(base, tiny_csv, tmp_path / "run", "--max_steps", "1")  # the classifier is new anyway
    change_file(base / "model.safetensors", lose)
    with pytest.raises(WeightsError, match=re.escape("missing: vit.layers.1.attention.k_proj.weight")):
        run(base, tiny_csv, tmp_path / "other", "--max_steps", "1")
