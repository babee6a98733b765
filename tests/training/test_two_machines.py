"""Two machines, each by its own `accelerate launch` with its own rank, meet on loopback: the metrics of one process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.test_train import flags, run_tiny, same, weights
from training.evaluate import main as evaluate
from training.learning.checkpoints import latest_complete_checkpoint
from training.reporting.report import Report

pytestmark = pytest.mark.slow

STILL = "--flip 0 --rotation 0 --zoom 0 --shift 0 --contrast 0 --brightness 0 --erase 0".split()
PLAN = [*STILL, "--num_train_epochs", "10", "--learning_rate", "0.01", "--dataloader_drop_last", "true"]


def start(program: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start a program on both machines; each is a process group of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "2"]
    command += ["--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    return [
        subprocess.Popen(
            [*command, "--machine_rank", str(rank), "-m", program, *arguments],
            env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for rank in range(2)
    ]


def finish(machines: list[subprocess.Popen[str]]) -> list[int]:
    """Wait for both; what one printed is shown where the test fails."""
    for machine in machines:
        print(machine.communicate(timeout=200)[0][-2000:])
    return [machine.returncode for machine in machines]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_two_machines_train_and_evaluate_like_one(tiny_csv: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    metrics = run_tiny(tiny_csv, one, *PLAN)
    argv = flags(tiny_csv, two, *PLAN, "--per_device_train_batch_size", 7, "--resume_from_checkpoint", "true")

    machines = start("training.train", *argv)
    until(lambda: latest_complete_checkpoint(two) if two.is_dir() else None)
    os.killpg(machines[1].pid, signal.SIGKILL)  # the second machine is gone
    assert all(finish(machines))
    assert not (two / "run.json").exists() and latest_complete_checkpoint(two)

    assert finish(start("training.train", *argv)) == [0, 0]
    record = json.loads((two / "run.json").read_text())
    assert record["processes"] == 2 and record["resumed"]
    for name in ("eval_accuracy", "eval_macro_f1", "eval_nll"):
        assert record["metrics"][name] == pytest.approx(metrics[name], abs=1e-3)
    assert same(weights(one), weights(two), tolerance=1e-3)

    more = ["--dataset", str(tiny_csv), "--split", "test", "--batch_size", "3", "--figures", str(tmp_path / "figures")]
    evaluate([str(two), *more, "--output", str(tmp_path / "one.json")])
    assert finish(start("training.evaluate", str(two), *more, "--output", str(tmp_path / "two.json"))) == [0, 0]
    alone, together = (
        Report.load(tmp_path / f"{name}.json").find(head="fer2013", split="test") for name in ("one", "two")
    )
    assert together.metrics == alone.metrics
