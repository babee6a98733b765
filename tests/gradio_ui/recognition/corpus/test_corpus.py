"""A corpus on this machine: every kind of source, whole parts, and pictures that end their worker."""

from __future__ import annotations

import functools
import io
import os
import resource
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gradio_ui.recognition.__main__ import main
from gradio_ui.recognition.corpus.parts import Parts
from gradio_ui.recognition.corpus.sources import find_works

# The published model where none is named: it runs in onnxruntime, so a worker starts in half a second.


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray) -> Path:
    """Four portraits, a picture without a face, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "deep").mkdir()
    for number, name in enumerate(("a.jpg", "b.png", "deep/c.jpg", "z.webp")):
        Image.fromarray(portrait).resize((400 + number, 400)).save(folder / name)
    Image.new("RGB", (64, 48), "#808080").save(folder / "gray.png")
    (folder / "no.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def shards(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures in two tar shards, as webdataset writes them."""
    folder = tmp_path_factory.mktemp("shards")
    names = sorted(p for p in pictures.rglob("*") if p.is_file())
    for shard in range(2):
        with tarfile.open(folder / f"s-{shard:03}.tar{'.gz' * shard}", f"w:{'gz' * shard}") as tar:
            for path in names[shard::2]:
                tar.add(path, path.name)
                tar.addfile(tarfile.TarInfo(f"{path.stem}.json"))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A web server on loopback, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("site")
    quiet = type("Handler", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Score a source into `out`; return the exit code and the table."""

    def score(source: object, *options: object) -> tuple[int, pd.DataFrame]:
        out = tmp_path / "out"
        code = main(["corpus", str(source), "--out", str(out), "--workers", "1", *map(str, options)])
        return code, pd.read_parquet(out)

    return score


def table_of(pictures: Path, folder: Path) -> pd.DataFrame:
    """What the plain command says of the pictures."""
    assert main([str(pictures), "--out", str(folder / "plain.parquet")]) == 1
    return pd.read_parquet(folder / "plain.parquet")


def test_the_rows_are_those_of_the_plain_command(pictures: Path, run: Any, tmp_path: Path) -> None:
    code, rows = run(pictures, "--part-size", 4)
    assert code == 1  # a file is no picture
    plain = table_of(pictures, tmp_path)
    same = rows[plain.columns].astype(plain.dtypes)
    pd.testing.assert_frame_equal(same, plain, atol=2e-4)
    assert len(list((tmp_path / "out").glob("part-*.parquet"))) == 2
    face = rows[rows["path"].str.endswith("a.jpg")].iloc[0]
    assert (face["width"], face["height"]) == (400, 400)
    eye = face["landmarks"][:2]  # the right eye lies in the upper left of the box
    assert face["left"] < eye[0] < (face["left"] + face["right"]) / 2 and face["top"] < eye[1] < face["bottom"]


@pytest.mark.parametrize("kind", ["glob", "file", "csv", "parquet", "tar", "tars", "braces", "http", "http tar"])
def test_every_source_gives_the_same_rows(
    kind: str, pictures: Path, shards: Path, site: tuple[str, Path], run: Any, tmp_path: Path
) -> None:
    names = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*") if p.is_file())
    address, served = site
    (served / "photos").exists() or os.symlink(pictures, served / "photos")
    (served / "s-000.tar").exists() or os.symlink(shards / "s-000.tar", served / "s-000.tar")
    if kind in ("csv", "parquet"):
        source: object = tmp_path / f"list.{kind}"
        listed = pd.DataFrame({"n": 1, "path": [str(pictures / name) for name in names]})
        listed.to_csv(source) if kind == "csv" else listed.to_parquet(source)
    else:
        source = {
            "glob": pictures / "**" / "*.*",
            "file": pictures / "a.jpg",
            "tar": shards / "s-000.tar",
            "tars": shards,
            "braces": shards / "s-{000..000}.tar",
            "http": f"{address}/photos/",
            "http tar": f"{address}/s-000.tar",
        }[kind]
    _, rows = run(source)
    expected = {
        "file": ["a.jpg"],
        **dict.fromkeys(("tar", "braces", "http tar"), names[::2]),
        "tars": names[::2] + names[1::2],
    }.get(kind, names)
    assert [Path(path).name for path in rows["path"]] == [Path(name).name for name in expected]
    with_face = [name not in ("gray.png", "no.jpg") for name in expected]
    assert rows["label"].notna().tolist() == with_face
    assert rows["error"].notna().tolist() == [name == "no.jpg" for name in expected]


def test_a_dataset_folder(tiny_repo: Path, run: Any) -> None:
    code, rows = run(tiny_repo, "--whole-image")
    assert code == 0 and len(rows) == 84 and rows["label"].notna().all()
    assert rows["path"].str.contains("/test/0/").sum() == 14


@pytest.mark.slow
def test_a_dataset_on_the_hub(tiny_repo: Path, hub: Any, client: Any, tmp_path: Path) -> None:
    from huggingface_hub import HfApi

    api = HfApi(hub.endpoint, token=hub.token)
    api.create_repo("tester/faces", repo_type="dataset")
    api.upload_folder(repo_id="tester/faces", repo_type="dataset", folder_path=tiny_repo)
    out = tmp_path / "out"
    arguments = ["corpus", "tester/faces", "--out", str(out), "--whole-image", "--workers", "1"]
    done = client.run("-m", "gradio_ui.recognition", *arguments)
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(out)
    assert len(rows) == 84 and rows["label"].notna().all()


def test_memory_holds_shards_and_parts(shards: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(shards), "/shards", recursive=True)
    assert main(["corpus", "memory://shards", "--out", "memory://scores", "--workers", "1"]) == 1
    names = Parts("memory://scores", ["happy"]).names()
    with memory.open(f"/scores/{min(names)}") as part:
        assert len(names) == 2 and pd.read_parquet(part)["label"].notna().sum() == 2


def test_what_is_whole_is_not_scored_again(pictures: Path, run: Any, tmp_path: Path, capsys: Any) -> None:
    run(pictures, "--part-size", 2)
    parts = sorted((tmp_path / "out").glob("part-*"))
    parts[1].unlink()
    kept = {path: path.stat().st_mtime_ns for path in parts if path.exists()}
    _, rows = run(pictures, "--part-size", 2)
    assert "2 parts were there" in capsys.readouterr().err
    assert len(rows) == 6 and {path: path.stat().st_mtime_ns for path in kept} == kept and parts[1].exists()


def test_a_changed_picture_takes_the_place_of_the_old(pictures: Path, run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (folder / name).write_bytes((pictures / "a.jpg").read_bytes())
    run(folder, "--part-size", 1)
    (folder / "2.jpg").write_bytes((pictures / "gray.png").read_bytes())
    _, rows = run(folder, "--part-size", 1)
    assert rows["label"].notna().tolist() == [True, False, True]
    with pytest.raises(SystemExit, match=r"^error: .*holds the scores of another model, detector or other options"):
        run(folder, "--part-size", 1, "--whole-image")


@pytest.mark.slow
def test_a_picture_that_takes_for_ever(pictures: Path, run: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.jpg")  # whoever opens it waits for a writer
    listed = [pictures / "a.jpg", tmp_path / "never.jpg", pictures / "b.png"]
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(map(str, listed)) + "\n")
    code, rows = run(tmp_path / "list.csv", "--time-limit", 1.5)
    assert code == 1 and rows["label"].notna().tolist() == [True, False, True]
    assert rows["error"][1] == "it took longer than 1.5 seconds (--time-limit)"


def test_a_picture_that_needs_too_much_memory(pictures: Path, run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    Image.new("RGB", (7000, 7000)).save(folder / "b.png")
    (folder / "c.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    code, rows = run(folder, "--memory", 280)
    assert code == 1 and rows["label"].notna().tolist() == [True, False, True]
    assert "memory" in rows["error"][1]


def test_a_worker_that_is_killed_is_started_again(pictures: Path, tmp_path: Path) -> None:
    import psutil

    from gradio_ui.recognition.corpus.command import make_job, parse_options
    from gradio_ui.recognition.corpus.worker import Worker
    from gradio_ui.recognition.corpus.works import Picture

    job, _ = make_job(parse_options([str(pictures), "--out", str(tmp_path / "out")]))
    two = [Picture("a", pictures / "a.jpg"), Picture("b", pictures / "b.png")]
    before = set(psutil.Process().children())
    with Worker(job) as worker:
        rows = worker.score(two)
        for process in set(psutil.Process().children()) - before:
            process.send_signal(signal.SIGKILL)
        assert worker.score(two) == rows and [row["path"] for row in rows] == ["a", "b"]
        assert all("error" not in row for row in rows)
    assert not [p for p in set(psutil.Process().children()) - before if "resource_tracker" not in str(p.cmdline())]


@pytest.mark.slow
def test_an_interrupted_run_leaves_whole_parts(pictures: Path, tmp_path: Path, root: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(120):
        os.link(pictures / "a.jpg", folder / f"{number:03}.jpg")
    arguments = ["corpus", str(folder), "--out", str(out), "--part-size", "4", "--workers", "1"]
    command = [sys.executable, "-m", "gradio_ui.recognition", *arguments]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        while not list(out.glob("part-*")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Run the same command again to continue." in said and "Traceback" not in said
    rows = pd.read_parquet(out)
    assert 0 < len(rows) < 120 and len(rows) % 4 == 0 and rows["error"].isna().all()
    assert main(arguments) == 0 and len(pd.read_parquet(out)) == 120


@pytest.mark.parametrize("damage", ["cut in a picture", "cut between two", "header", "no tar"])
def test_a_damaged_shard_is_a_row(damage: str, pictures: Path, run: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a.jpg", "b.png"):
            tar.add(pictures / name, name)
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        second = tar.getmember("b.png").offset
    content = bytearray(buffer.getvalue())
    if damage == "header":
        content[second : second + 512] = b"\x7f" * 512
    cut = {"cut in a picture": second + 2000, "cut between two": second}.get(damage, len(content))
    (tmp_path / "s.tar").write_bytes(b"no tar" if damage == "no tar" else content[:cut])
    code, rows = run(tmp_path / "s.tar")
    assert code == 1
    assert rows["error"].iloc[-1].startswith(f"{tmp_path}/s.tar cannot be read (")
    assert rows["label"].notna().tolist() == ([False] if damage == "no tar" else [True, False])


FULL = """
import resource, sys
from gradio_ui.recognition.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # a part of three faces is larger
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_sink_keeps_what_fits(pictures: Path, tmp_path: Path, root: Path) -> None:
    arguments = ["corpus", str(pictures), "--out", str(tmp_path / "out"), "--part-size", "1", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *arguments], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot be written (File too large)" in done.stderr and "Run the same command again." in done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert not list((tmp_path / "out").glob(".part-*"))
    whole = set((tmp_path / "out").glob("part-*"))
    assert main(arguments) == 1 and len(whole) < 6
    assert len(pd.read_parquet(tmp_path / "out")) == 6 and whole <= set((tmp_path / "out").glob("part-*"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/such/folder", "cannot be read"),
        ("http://127.0.0.1:9/photos/", "cannot be read"),
        ("http://127.0.0.1:9/s.tar", "cannot be read"),
        ("what://ever", "cannot be read"),
        ("/no/such/list.csv", "cannot be read"),
        ("{folder}", "found none"),
        ("{folder}/list.csv", "expected a column path"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "list.csv").write_text("a,b\n1,2\n")
    source = source.format(folder=tmp_path / "empty")
    if source.endswith("empty"):
        (tmp_path / "empty" / "list.csv").unlink()
    with pytest.raises(SystemExit, match=rf"^error: [^\n]*{message}[^\n]*$"):
        main(["corpus", source, "--out", str(tmp_path / "out")])


def test_addresses_beside_a_table(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file\na.jpg\n/b.jpg\ns3://bucket/c.jpg\n")
    (listing,) = find_works(str(tmp_path / "list.csv"), 10)
    assert [one.name for one in listing.pictures()] == [f"{tmp_path}/a.jpg", "/b.jpg", "s3://bucket/c.jpg"]
