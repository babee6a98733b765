"""The pieces of a corpus run, each alone: options, settings, sources, pictures, and the limits of a worker."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from gradio_ui.recognition.corpus import worker
from gradio_ui.recognition.corpus.command import DEFAULT_MODEL, make_job, parse_options
from gradio_ui.recognition.corpus.sources import find_works
from gradio_ui.recognition.corpus.storage import local_path, one_line, read_bytes, state_of
from gradio_ui.recognition.corpus.works import DatasetShard, Listing, Picture, _images
from gradio_ui.recognition.errors import StorageError, WorkerError


def test_options_and_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FER_MODEL", raising=False)
    assert vars(parse_options(["in", "--out", "out"])) == {
        **{"source": "in", "out": "out", "engine": "local", "address": None, "workers": None, "gpus": 0},
        **{
            "model": DEFAULT_MODEL,
            "detector": None,
            "whole_image": False,
            "flip": True,
            "part_size": 1000,
            "batch_size": 16,
        },
        **{"time_limit": 60, "memory": 4096},
    }
    monkeypatch.setenv("FER_MODEL", "owner/one,owner/two")
    assert parse_options(["in", "--out", "out"]).model == "owner/one"
    given = "in --out o --engine ray --address a:1 --workers 1 --gpus 0.5 --model m --detector whole --whole-image"
    assert vars(
        parse_options([*given.split(), *"--no-flip --part-size 1 --batch-size 1 --time-limit 0.1 --memory 0".split()])
    ) == {
        **{"source": "in", "out": "o", "engine": "ray", "address": "a:1", "workers": 1, "gpus": 0.5},
        **{"model": "m", "detector": "whole", "whole_image": True, "flip": False, "part_size": 1, "batch_size": 1},
        **{"time_limit": 0.1, "memory": 0},
    }


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--workers", "0", "1 or more, got 0"),
        ("--gpus", "-0.5", "0 or more, got -0.5"),
        ("--part-size", "0", "1 or more, got 0"),
        ("--batch-size", "0", "1 or more, got 0"),
        ("--time-limit", "0.09", "0.1 or more, got 0.09"),
        ("--time-limit", "inf", "0.1 or more, got inf"),
        ("--memory", "-1", "0 or more, got -1"),
    ],
)
def test_values_out_of_range_are_refused(option: str, value: str, expected: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        parse_options(["in", "--out", "out", option, value])
    assert f"{option}: expected {expected}" in capsys.readouterr().err


def test_settings_are_what_the_rows_depend_on(model_folder: Path, tmp_path: Path) -> None:
    arguments = ["in", "--out", str(tmp_path), "--model", str(model_folder), "--detector", "whole", "--part-size", "7"]
    job, settings = make_job(parse_options([*arguments, "--whole-image", "--time-limit", "3", "--memory", "99"]))
    assert settings == {
        "model": ["tiny", None],
        "labels": list(job.labels),
        "detector": "whole",
        "whole_image": True,
        "flip": True,
        "part_size": 7,
    }
    assert (job.model, job.detector, job.whole_image) == (str(model_folder.resolve()), "whole", True)
    assert (job.batch_size, job.time_limit, job.memory, job.out) == (16, 3, 99, f"file://{tmp_path}")


def test_a_glob_gives_the_paths_themselves(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.JPG", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    (works,) = find_works(str(tmp_path / "*.*"), 10)
    assert isinstance(works, Listing) and works.addresses == (f"{tmp_path}/a.JPG", f"{tmp_path}/b.jpg")
    first, second = find_works(str(tmp_path), 1)
    assert [first.addresses, second.addresses] == [(f"{tmp_path}/a.JPG",), (f"{tmp_path}/b.jpg",)]


def test_a_cell_of_a_dataset_becomes_a_picture() -> None:
    shard = DatasetShard("faces", None, "train", 0)
    for cell, expected in (
        ({"bytes": b"png", "path": "a.png"}, Picture("n", b"png")),
        ({"bytes": None, "path": "/a.png"}, Picture("n", Path("/a.png"))),
        ({"bytes": None, "path": "s3://bucket/a.png"}, Picture("n", "s3://bucket/a.png")),
        (b"png", Picture("n", b"png")),
        (None, Picture("n", error="the row has no image")),
        ({}, Picture("n", error="the row has no image")),
    ):
        found = shard._picture("n", cell)
        assert found == expected and type(found.source) is type(expected.source)
    assert shard.name == "faces/train/0"


def test_the_column_of_images_is_found(tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"n": [1, 2], "jpeg": [b"1", b"2"]}).to_iterable_dataset()
    column, images = _images(rows)
    assert column == "jpeg" and [row["jpeg"]["bytes"] for row in images] == [b"1", b"2"]
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    typed = datasets.Dataset.from_dict({"image": [b"x"], "face": [str(tmp_path / "a.png")]})
    column, images = _images(typed.cast_column("face", datasets.Image()).to_iterable_dataset())
    assert column == "face" and set(next(iter(images))) == {"face"}
    with pytest.raises(StorageError, match="expected a column of images such as image, found n"):
        _images(rows.select_columns(["n"]))


def test_what_a_file_system_says_of_a_file() -> None:
    assert state_of({"size": 0, "mtime": 1.5, "name": "a", "ETag": None}) == "0 1.5"
    assert state_of({"created": 3, "ETag": "x", "etag": "y", "LastModified": 1, "last_modified": 2}) == "x y 1 2 3"
    assert one_line(OSError(2, "No such file")) == "No such file"
    assert one_line(ValueError("first\nsecond")) == "first" and one_line(KeyError()) == "KeyError"
    assert local_path("file:///a") == local_path("/a") == Path("/a") and local_path("s3://a") is None
    assert local_path("~/a") == Path.home() / "a"


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradio_ui.recognition.corpus.storage.MAX_BYTES", 2**20)
    (tmp_path / "a").write_bytes(bytes(2**20))
    assert len(read_bytes(str(tmp_path / "a"))) == 2**20
    (tmp_path / "a").write_bytes(bytes(2**20 + 1))
    with pytest.raises(StorageError, match="a has more than 1 MiB; expected an image file"):
        read_bytes(str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("megabytes", "on_gpu", "limited"), [(100, False, True), (0, False, False), (100, True, False)]
)
def test_memory_is_limited_on_a_cpu(
    megabytes: int, on_gpu: bool, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Any] = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: on_gpu)))
    monkeypatch.setattr(resource, "setrlimit", lambda *arguments: limits.append(arguments))
    worker._limit_memory(megabytes)
    assert len(limits) == limited
    if limited:
        ((which, (soft, hard)),) = limits
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        assert which == resource.RLIMIT_AS and hard == resource.getrlimit(resource.RLIMIT_AS)[1]
        assert soft - used == pytest.approx(100 * 2**20, abs=2**24)


def test_a_worker_that_does_not_start_in_time(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["in", "--out", str(tmp_path), "--model", str(model_folder), "--detector", "whole"]
    job, _ = make_job(parse_options(arguments))
    monkeypatch.setattr(worker, "_START", 0)
    with worker.Worker(job) as slow, pytest.raises(WorkerError, match="the model was not loaded in 0 seconds"):
        slow.start()


def test_how_a_worker_ended() -> None:
    assert worker._ending(-9) == "SIGKILL, as of a system that is out of memory"
    assert worker._ending(3) == "exit code 3" and worker._ending(None) == "exit code None"
