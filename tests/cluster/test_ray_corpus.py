"""A corpus on a real Ray cluster of two nodes: the rows of one machine, also when a worker or a node is killed."""

from __future__ import annotations

import io
import os
import signal
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from gradio_ui.recognition.__main__ import main
from gradio_ui.recognition.corpus.command import make_job, parse_options
from gradio_ui.recognition.corpus.parts import part_name
from gradio_ui.recognition.corpus.ray_engine import score_with_ray
from gradio_ui.recognition.corpus.sources import find_works
from gradio_ui.recognition.corpus.worker import Part
from gradio_ui.recognition.errors import WorkerError

pytestmark = pytest.mark.slow
PARTS, PICTURES = 12, 6

# The published model, as everywhere where none is named: it runs in onnxruntime, and a worker starts in a second.


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """Tar shards of portraits; one of them is cut off, and one holds a file that is no picture."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(PARTS):
        with tarfile.open(folder / f"{shard:03}.tar", "w") as tar:
            for number in range(PICTURES):
                buffer = io.BytesIO()
                Image.fromarray(portrait).resize((480 + shard, 480 + number)).save(buffer, "JPEG")
                content = b"no picture" if (shard, number) == (1, 1) else buffer.getvalue()
                member = tarfile.TarInfo(f"{number}.jpg")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    last = folder / f"{PARTS - 1:03}.tar"
    last.write_bytes(last.read_bytes()[:150_000])
    return folder


@pytest.fixture(scope="module")
def expected(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table that this machine alone makes."""
    out = tmp_path_factory.mktemp("here")
    assert main(["corpus", str(shards), "--out", str(out), "--workers", "1"]) == 1
    return pd.read_parquet(out)


def actors() -> list[psutil.Process]:
    """The actors that score, on all nodes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "PartScorer" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def until(condition: Any, seconds: float = 90) -> Any:
    """Wait until a condition holds; return what it gives."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return value


def test_a_killed_worker_loses_and_doubles_nothing(
    cluster: Any, shards: Path, expected: pd.DataFrame, tmp_path: Path
) -> None:
    arguments = ["corpus", str(shards), "--out", str(tmp_path)]
    nodes, killed = set(), []

    def kill() -> None:
        until(lambda: list(tmp_path.glob("part-*")))
        for process in until(lambda: len(found := actors()) == 2 and found):
            nodes.add(process.ppid())
        killed.append(process)
        os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    code = main([*arguments, "--engine", "ray", "--address", cluster.address, "--batch-size", "2"])
    killer.join()
    assert code == 1  # the cut shard and the file that is no picture
    assert len(nodes) == 2 and killed
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path), expected, atol=2e-4)
    assert len(list(tmp_path.glob("part-*"))) == PARTS and not list(tmp_path.glob(".part-*"))


def test_a_node_goes_and_the_rest_is_scored(
    cluster: Any, shards: Path, expected: pd.DataFrame, tmp_path: Path, capfd: Any
) -> None:
    arguments = ["corpus", str(shards), "--out", str(tmp_path)]
    first = [str(shards / "00[0-9].tar") if argument == str(shards) else argument for argument in arguments]
    assert main([*first, "--workers", "2"]) == 1  # this machine begins
    there = {path: path.stat().st_mtime_ns for path in tmp_path.glob("part-*")}
    assert len(there) == 10
    node = cluster.add_node(num_cpus=1)

    def remove() -> None:
        until(lambda: len(actors()) >= 2)
        cluster.remove_node(node, allow_graceful=False)

    remover = threading.Thread(target=remove)
    remover.start()
    assert main([*arguments, "--engine", "ray", "--address", cluster.address]) == 1
    remover.join()
    assert f"{len(there)} parts were there" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in there} == there
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path), expected, atol=2e-4)


def test_a_node_without_the_model_is_one_line(cluster: Any, shards: Path, tmp_path: Path) -> None:
    job, _ = make_job(parse_options([str(shards), "--out", str(tmp_path)]))
    parts = [Part(part_name(index, work), work) for index, work in enumerate(find_works(str(shards), 1))]
    job = replace(job, model="/no/such/model")
    with pytest.raises(
        WorkerError, match=r"^the Ray cluster gave up: a worker does not start: [^\n]*/no/such/model[^\n]*$"
    ):
        list(score_with_ray(parts, job, address=cluster.address, workers=None, gpus=0))
    assert not list(tmp_path.iterdir())


def test_a_cluster_out_of_reach_is_one_line(shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
    arguments = ["corpus", str(shards), "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"^error: the Ray cluster at 127.0.0.1:9 cannot be reached[^\n]*$"):
        main([*arguments, "--engine", "ray", "--address", "127.0.0.1:9"])
    assert not list(tmp_path.glob("part-*"))
