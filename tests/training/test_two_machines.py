"""Two machines, each with an `accelerate launch` of its own, meet on loopback and give the metrics of one process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.training.test_train import flags, run_tiny, same, weights
from training.evaluate import main as evaluate
from training.learning.checkpoints import MANIFEST
from training.reporting.report import Report

pytestmark = pytest.mark.slow

STILL = "--flip 0 --rotation 0 --zoom 0 --shift 0 --contrast 0 --brightness 0 --erase 0".split()
PLAN = [*STILL, "--num_train_epochs", "5", "--learning_rate", "0.01", "--dataloader_drop_last", "true"]


@contextlib.contextmanager
def running(program: str, *arguments: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a program on both machines, each with a launcher of its own; none is left at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "2"]
    command += ["--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    machines = [
        subprocess.Popen(
            [*command, "--machine_rank", str(rank), "-m", program, *arguments],
            env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        yield machines
    finally:
        for machine in machines:
            pull_the_plug(machine)


def pull_the_plug(machine: subprocess.Popen[str]) -> None:
    """End a launcher and the training that it started, all at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(machine.pid)
        for process in (launcher, *launcher.children(recursive=True)):
            process.kill()
    machine.wait()


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

    with running("training.train", *argv) as machines:
        until(lambda: list(two.glob(f"checkpoint-*/{MANIFEST}")))
        pull_the_plug(machines[1])
        assert all(finish(machines))
    assert not (two / "run.json").exists()

    with running("training.train", *argv) as machines:
        assert finish(machines) == [0, 0]
    record = json.loads((two / "run.json").read_text())
    assert record["processes"] == 2 and record["resumed"]
    for name in ("eval_accuracy", "eval_macro_f1", "eval_nll"):
        assert record["metrics"][name] == pytest.approx(metrics[name], abs=1e-3)
    assert same(weights(one), weights(two), tolerance=1e-3)

    more = ["--dataset", str(tiny_csv), "--split", "test", "--batch_size", "3", "--figures", str(tmp_path / "figures")]
    evaluate([str(two), *more, "--output", str(tmp_path / "one.json")])
    with running("training.evaluate", str(two), *more, "--output", str(tmp_path / "two.json")) as machines:
        assert finish(machines) == [0, 0]
    alone, together = (
        Report.load(tmp_path / f"{name}.json").find(head="fer2013", split="test") for name in ("one", "two")
    )
    assert together.metrics == alone.metrics
