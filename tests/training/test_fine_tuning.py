"""The README's fine-tuning of a ViT, from the run to the app: killed, resumed, packaged, served."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gradio_ui.recognition import EmotionRecognizer
from tests.support.tiny_networks import make_checkpoint
from training.learning.arguments import parse_arguments
from training.learning.checkpoints import MANIFEST
from training.package import PackageArguments, package
from training.train import train

pytestmark = pytest.mark.slow
README = "--head_epochs 2 --layer_decay 0.75".split()  # its flags for google/vit-base-patch16-224-in21k
SHORT = "--num_train_epochs 6 --per_device_train_batch_size 14 --learning_rate 0.01 --bf16 false".split()


def killed_run(flags: list[str], run: Path) -> tuple[str, str]:
    """Train in another process until the first checkpoint is complete, kill it, and return what it wrote."""
    command = [sys.executable, "-m", "training.train", *flags, "--output_dir", str(run)]
    own = {"HF_DATASETS_CACHE": str(run.with_suffix(".cache")), "PYTHONUNBUFFERED": "1"}  # it reads the CSV itself
    with run.with_suffix(".out").open("w+") as out, run.with_suffix(".err").open("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=os.environ | own)
        try:
            deadline = time.monotonic() + 200
            while (
                not [*run.glob(f"checkpoint-*/{MANIFEST}")] and process.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.005)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return run.with_suffix(".out").read_text(), run.with_suffix(".err").read_text()


@pytest.fixture(scope="module")
def runs(tiny_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tuple[str, str]]:
    """An unbroken run, the same killed and resumed, and what the killed process wrote."""
    folder = tmp_path_factory.mktemp("fine_tuning")
    base = make_checkpoint("vit", folder / "vit")
    flags = ["--model_name_or_path", str(base), "--dataset", str(tiny_csv), *README, *SHORT, "--report_to", "none"]
    whole, broken = folder / "whole", folder / "broken"
    train(*parse_arguments([*flags, "--output_dir", str(whole)]))
    written = killed_run(flags, broken)
    assert [*broken.glob(f"checkpoint-*/{MANIFEST}")] and not (broken / "run.json").exists(), "not killed in mid-run"
    train(*parse_arguments([*flags, "--output_dir", str(broken), "--resume_from_checkpoint", "true"]))
    return whole, broken, written


def test_resumed_vit_ends_as_the_unbroken_one(runs: tuple[Path, Path, tuple[str, str]]) -> None:
    whole, broken, _ = runs
    assert json.loads((broken / "run.json").read_text())["resumed"]
    for name in ("checkpoint-24/model.safetensors", "model.safetensors"):
        unbroken, resumed = load_file(whole / name), load_file(broken / name)
        assert unbroken.keys() == resumed.keys()
        assert [key for key in unbroken if not torch.equal(unbroken[key], resumed[key])] == []


def test_head_phase_prints_the_rate_of_the_head(runs: tuple[Path, Path, tuple[str, str]]) -> None:
    log = json.loads((runs[0] / "trainer_state.json").read_text())["log_history"]
    rates = [entry["learning_rate"] for entry in log if "learning_rate" in entry]
    assert rates[:2] == [0.01, 0.01]  # the two epochs of the head
    assert rates[2] > rates[-1] > 0  # then all layers, on a cosine


def test_log_file_has_lines_and_no_bars(runs: tuple[Path, Path, tuple[str, str]]) -> None:
    out, err = runs[2]
    assert "'loss'" in out  # the lines of the epochs
    assert err.splitlines() == [line for line in err.splitlines() if line.startswith("precision: float32")]
    assert len(err.splitlines()) == 1 and "\r" not in err + out


def test_resumed_vit_is_packaged_and_served(
    runs: tuple[Path, Path, tuple[str, str]], tiny_csv: Path, tmp_path: Path, portrait: np.ndarray
) -> None:
    out = package(runs[1], tmp_path / "vit", PackageArguments(dataset=str(tiny_csv)))
    recognition = EmotionRecognizer.from_pretrained(str(out))(portrait)
    (face,) = recognition.to_dicts()
    assert len(face["probabilities"]) == 7
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-4)
