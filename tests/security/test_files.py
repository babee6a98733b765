"""Visitors' files on the disk: what the gate opens, how long they stay, and that nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from gradio_ui.recognition.errors import ImageError
from gradio_ui.server.temp_files import TempFiles
from gradio_ui.server.uploads import UploadedImages, UploadError, admit, name_of, open_upload, read_upload, stem_of
from gradio_ui.settings import SettingsError

CONTENT = "a" * 64

OTHER = """
import sys, time
from pathlib import Path
from gradio_ui.server.temp_files import TempFiles
with TempFiles(Path(sys.argv[1])) as files:
    (files.uploads / "mine").write_text("left behind")
    print(files.uploads, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An upload folder with one upload of three bytes."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / CONTENT).mkdir()
    (tmp_path / CONTENT / "a.png").write_bytes(b"abc")
    return tmp_path


def test_an_upload_is_opened_and_read(uploads: Path) -> None:
    file = {"path": f"{uploads}/{CONTENT}/a.png", "orig_name": "ä.png"}
    with open_upload(file) as opened:
        assert opened.read() == b"abc"
    assert read_upload(file) == b"abc" and list(UploadedImages([file, file])) == [b"abc", b"abc"]
    assert admit([{"any": file | {"url": "http://else", "is_stream": True}}]) == [
        {"any": {"path": file["path"], "orig_name": "ä.png", "meta": {"_type": "gradio.FileData"}}}
    ]


def test_nothing_else_is_opened(uploads: Path) -> None:
    place = uploads / CONTENT
    (place / "link").symlink_to(place / "a.png")
    os.mkfifo(place / "pipe")
    (place / "folder").mkdir()
    (uploads / ("b" * 64)).symlink_to(place)
    (uploads / "tmphalf").write_bytes(b"half")
    for path in ("link", "pipe", "folder", "missing", "../tmphalf", "folder/../a.png", ".", "..", "", "a.png/", "\0"):
        with pytest.raises(UploadError):
            open_upload({"path": f"{place}/{path}"})
    for path in (f"{uploads}/{'b' * 64}/a.png", f"{uploads}/tmphalf", f"{CONTENT}/../a.png", "/dev/zero", 3, None):  # noqa: S108
        with pytest.raises(UploadError):
            open_upload({"path": path})
    for file in (None, "a.png", [], {}, 3):
        with pytest.raises(UploadError):
            open_upload(file)


def test_descriptors_are_closed(uploads: Path) -> None:
    os.mkfifo(uploads / CONTENT / "pipe")
    before = len(os.listdir("/dev/fd"))
    for name in ("a.png", "pipe", "missing") * 20:
        try:
            open_upload({"path": f"{uploads}/{CONTENT}/{name}"}).close()
        except UploadError:
            pass
    assert len(os.listdir("/dev/fd")) == before


def test_large_images_are_refused(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradio_ui.server.uploads.MAX_IMAGE_BYTES", 2)
    with pytest.raises(ImageError, match="Expected an image of up to"):
        read_upload({"path": f"{uploads}/{CONTENT}/a.png"})


@pytest.mark.parametrize(
    ("file", "name", "stem"),
    [
        ({"orig_name": "C:\\me\\holiday.mp4"}, "holiday.mp4", "holiday"),
        ({"path": "/tmp/x/a b.png"}, "a b.png", "a b"),  # noqa: S108
        ({"orig_name": "a\nb\ud800\x1b[0m.png"}, "ab[0m.png", "ab[0m"),
        ({"orig_name": ".."}, "file", "file"),
        ({"orig_name": 5, "path": "x"}, "5", "5"),
        ({"orig_name": "ä" * 400 + ".mp4"}, "ä" * 251 + ".mp4", "ä" * 50),
        (None, "file", "file"),
    ],
)
def test_names_are_one_short_line(file: object, name: str, stem: str) -> None:
    assert (name_of(file), stem_of(file)) == (name, stem)


def test_everything_old_is_swept(tmp_path: Path) -> None:
    with TempFiles(tmp_path) as files:
        made = [
            files.uploads / CONTENT / "a.png",
            files.uploads / "tmphalf",
            files.uploads / "deep_links/x/state.json",
        ]
        made += [files.work / "tmpvideo" / "part.mp4", files.work / "tmpfile"]
        for path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        (files.uploads / "link").symlink_to("/etc")
        files.sweep()
        assert all(path.exists() for path in made), "they are young"
        files._age = -1.0  # as if time had passed, which ctime cannot be told
        files.sweep()
        assert not list(files.uploads.iterdir()) and not list(files.work.iterdir())
        assert files.uploads.exists() and Path("/etc").exists()


def test_work_is_kept_while_a_part_is_written(tmp_path: Path) -> None:
    with TempFiles(tmp_path, kept_seconds=1.0, every=0.0001) as files:
        folder = files.work / "tmpvideo"
        folder.mkdir()
        (folder / "table.csv").write_text("begun")
        for _ in range(4):
            time.sleep(0.4)
            (folder / "copy.mp4").write_text("goes on")
        assert (folder / "table.csv").exists()


def test_the_sweep_cannot_die(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with TempFiles(tmp_path, kept_seconds=0, every=0.05) as files:
        files.work.rmdir()  # so that a sweep raises
        time.sleep(0.3)
        files.work.mkdir()
        (files.uploads / CONTENT / "folder").mkdir(parents=True)  # what stopped Gradio's own deletion for good
        (files.uploads / CONTENT / "folder" / "mine.png").write_text("x")
        deadline = time.monotonic() + 20
        while (files.uploads / CONTENT).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert "A sweep of old files failed (FileNotFoundError)" in caplog.text and str(tmp_path) not in caplog.text


def test_the_environment_is_lent_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    before = tempfile.tempdir
    with TempFiles(tmp_path) as files:
        assert os.environ["GRADIO_TEMP_DIR"] == str(files.uploads) and tempfile.gettempdir() == str(files.work)
        assert files.uploads.parent.stat().st_mode & 0o077 == 0
    assert "GRADIO_TEMP_DIR" not in os.environ and tempfile.tempdir == before
    assert not files.uploads.exists()


def start_other(root: Path, parent: Path) -> tuple[subprocess.Popen[str], Path]:
    other = subprocess.Popen([sys.executable, "-c", OTHER, str(parent)], cwd=root, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    return other, Path(other.stdout.readline().strip())


def test_leftovers_of_a_killed_process_go_at_start(root: Path, tmp_path: Path) -> None:
    killed, left = start_other(root, tmp_path)
    killed.kill()
    killed.wait()
    assert (left / "mine").exists()
    alive, kept = start_other(root, tmp_path)
    assert not left.parent.exists()
    with TempFiles(tmp_path):
        assert (kept / "mine").exists(), "its process lives"
    alive.kill()
    alive.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_remove_the_files(root: Path, tmp_path: Path, number: signal.Signals) -> None:
    code = OTHER.replace(
        "with TempFiles", "from app import interrupted_by_signals\nwith interrupted_by_signals(), TempFiles"
    )
    code = f"import signal; signal.signal({int(number)}, signal.SIG_DFL)  # else ignored under nohup\n{code}"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    folder = Path(other.stdout.readline().strip())
    assert (folder / "mine").exists()
    other.send_signal(number)
    other.wait(20)
    assert not folder.parent.exists()


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"temporary files: expected a folder .* set TMPDIR or GRADIO_TEMP_DIR"):
        TempFiles(tmp_path / "file").__enter__()


def test_a_folder_that_others_may_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"facial-expressions-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"facial-expressions-{os.getuid()}").chmod(0o777)
    with pytest.raises(SettingsError, match="others may change"):
        TempFiles(tmp_path).__enter__()
