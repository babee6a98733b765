"""Whole folders or none, one writer at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from training.errors import FolderInUseError
from training.files import locked_folder, staged_folder


def fill(folder: Path, text: str) -> None:
    with staged_folder(folder) as work:
        (work / "file").write_text(text)


def test_folder_is_replaced_and_nothing_is_left(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(target, "one")
    fill(target, "two")
    assert (target / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_failed_work_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(target, "one")
    with pytest.raises(ZeroDivisionError), staged_folder(target) as work:
        (work / "file").write_text("two")
        _ = 1 / 0
    assert (target / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_a_killed_process_go(tmp_path: Path) -> None:
    target, staging = tmp_path / "out", tmp_path / ".out.staging"
    (staging / "half").mkdir(parents=True)
    (staging / "previous").mkdir()
    (staging / "previous" / "file").write_text("one")
    with pytest.raises(ZeroDivisionError), staged_folder(target):
        assert (target / "file").read_text() == "one"  # what it had moved away is back
        assert not (staging / "half").exists()
        _ = 1 / 0
    assert (target / "file").read_text() == "one"
    assert not staging.exists()


def test_second_process_is_named_and_refused(tmp_path: Path, root: Path) -> None:
    code = "import sys; from pathlib import Path; from training.files import locked_folder\n"
    code += "with locked_folder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin and other.stdout
    assert other.stdout.readline() == "held\n"
    with pytest.raises(FolderInUseError, match=f"process {other.pid} is writing"), locked_folder(tmp_path):
        pass
    other.stdin.close()
    other.wait(10)
    with locked_folder(tmp_path):
        pass
