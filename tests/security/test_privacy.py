"""App, command line and library talk to no host but the Hub that was named, and write only to temp and its cache.

Each runs in a fresh process with an empty home. `strace` sees what native code does, too; where it is missing, a hook
sees what Python does, and the files in the home folder are compared all the same. There is no list of exceptions.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gradio_ui.recognition.telemetry import OPT_OUT, keep_fonts_in_temp
from tests.support.browser import free_port
from tests.support.clips import make_clip
from tests.support.foreign_models import write_foreign
from tests.support.hub_api import Repo
from tests.support.hub_server import HubServer

HOOK = """
import os, sys
def see(event, arguments, log=os.environ["FER_TEST_LOG"]):
    if event == "socket.getaddrinfo" or event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[0] if event == "socket.getaddrinfo" else arguments[1][0]
        with open(log, "a") as file:
            file.write(f"connect python {host}\\n")
sys.addaudithook(see)
"""
ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"')
WRITTEN = re.compile(r'(?:openat\([^,]+, |open\(|creat\()"([^"]*)", [^"]*?(?:O_CREAT|O_WRONLY|O_RDWR|0[0-7]{3}\))')


@dataclass
class Observed:
    """A child process whose network and files are watched.

    Attributes:
        home: its empty home; beside it lie its temp folder and the log.
        process: strace where it is installed, otherwise the program itself.
    """

    home: Path
    process: subprocess.Popen[str]

    @property
    def temp(self) -> Path:
        return self.home.parent / "temp"

    @property
    def log(self) -> str:
        path = self.home.parent / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def interrupt(self) -> None:
        """Send the program SIGTERM; SIGINT is ignored by children of a background shell."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        traced = "strace" in str(self.process.args[0])  # type: ignore[index]
        os.kill(int(children.read_text().split()[0]) if traced else self.process.pid, signal.SIGTERM)

    def hosts(self) -> set[str]:
        """Return every host but this machine that it asked for or connected to; a look-up counts as a host."""
        found = {f"{address}:{port}" for port, address in ADDRESS.findall(self.log) if port != "0"}
        found |= {f"{host}:0" for host in re.findall(r"^connect python (\S+)$", self.log, re.MULTILINE)}
        return {host for host in found if not is_here(host)}

    def files(self) -> set[str]:
        """Return every file it wrote, or tried to write, outside temp and the Hub's cache."""
        cache = self.home / ".cache" / "huggingface"
        written = {Path(path) for path in WRITTEN.findall(self.log)} if shutil.which("strace") else set()
        written |= {path for path in self.home.rglob("*") if path.is_file()}
        outside = [path for path in written if not any(path.is_relative_to(place) for place in (self.temp, cache))]
        return {str(path) for path in outside if not is_device(path)}


def is_here(host: str) -> bool:
    """Return whether an address is of this machine; port 53 is a look-up, on whatever machine."""
    address, _, port = host.rpartition(":")
    try:
        return ipaddress.ip_address(address).is_loopback and port != "53"
    except ValueError:
        return address in ("localhost", "None", "")


def is_device(path: Path) -> bool:
    """Return whether a path is a device rather than a file on a disk."""
    return path.is_absolute() and path.parts[1] in ("dev", "proc", "sys")


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Callable[..., Observed]:
    """Start Python with these arguments in a clean environment and an empty home, under observation."""

    def run(*arguments: str, **environ: str) -> Observed:
        for name in ("home", "temp", "hook"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
        clean = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        clean |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temp"), "FER_TEST_LOG": os.devnull}
        tracer = []
        if shutil.which("strace"):
            calls = "connect,sendto,sendmsg,sendmmsg,open,openat,creat"
            tracer = ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "300", "-e", f"trace={calls}", "-o"]
            tracer += [str(tmp_path / "log")]
        else:
            clean |= {"FER_TEST_LOG": str(tmp_path / "log")}
        clean |= {"PYTHONPATH": f"{root}{os.pathsep}{tmp_path / 'hook'}"}
        process = subprocess.Popen(
            [*tracer, sys.executable, "-B", *arguments],
            cwd=root,
            env=clean | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Observed(tmp_path / "home", process)

    return run


def finished(observed: Observed, code: int = 0, seconds: float = 120) -> None:
    """Wait for the end and assert that nothing was asked of the network or left on the disk."""
    output, _ = observed.process.communicate(timeout=seconds)
    assert observed.process.returncode == code, output
    assert observed.hosts() == set()
    assert observed.files() == set()


def post(url: str, content: bytes, kind: str = "application/json") -> Any:
    request = urllib.request.Request(url, content, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def use_the_page(url: str, portrait_file: Path) -> None:
    """Load the page, upload a picture, recognize it, and send one frame of a webcam."""
    with urllib.request.urlopen(f"{url}/", timeout=60) as page:
        assert b"gradio" in page.read()
    with urllib.request.urlopen(f"{url}/config", timeout=60) as answer:
        components = json.load(answer)["components"]
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="me.jpg"\r\n\r\n'
    body += portrait_file.read_bytes() + b"\r\n--x--\r\n"
    (path,) = post(f"{url}/gradio_api/upload", body, "multipart/form-data; boundary=x")
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = post(f"{url}/gradio_api/call/v2/recognize", json.dumps({"image": image}).encode())["event_id"]
    with urllib.request.urlopen(f"{url}/gradio_api/call/recognize/{event}", timeout=60) as answer:
        assert '"label"' in answer.read().decode()
    (webcam,) = [one["id"] for one in components if one["props"].get("elem_id") == "webcam"]
    frame = {"image": "data:image/jpeg;base64," + base64.b64encode(portrait_file.read_bytes()).decode()}
    frame |= {"start": 1, "seconds": 0.5, "smoothing": 0.5, "recording": 0}
    call = {"component_id": webcam, "fn_name": "recognize_frame", "session_hash": "abcdefghijk", "data": frame}
    assert len(post(f"{url}/gradio_api/component_server", json.dumps(call).encode())["faces"]) == 1


@pytest.mark.slow
def test_the_app(start: Callable[..., Observed], portrait_file: Path) -> None:
    port = free_port()
    observed = start("app.py", "--port", str(port))
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=5).close()
                break
            except OSError:
                assert observed.process.poll() is None and time.monotonic() < deadline, "it did not start"
                time.sleep(0.3)
        use_the_page(f"http://127.0.0.1:{port}", portrait_file)
        time.sleep(2)  # reports are sent by threads in the background
        observed.interrupt()
        finished(observed)
    finally:
        observed.process.kill()


@pytest.mark.slow
def test_the_command_line_with_a_model_of_the_hub(
    start: Callable[..., Observed], portrait_file: Path, tmp_path: Path
) -> None:
    """A model without an ONNX file, so that PyTorch and transformers are imported, too."""
    out = tmp_path / "temp" / "out.csv"
    out.parent.mkdir()
    clip = make_clip(tmp_path / "clip.mp4", [0.0, 0.04])
    with HubServer() as hub:
        repo = hub.repos["model", "tester/faces"] = Repo("model", "tester/faces")
        repo.commit("main", {path.name: path.read_bytes() for path in write_foreign(tmp_path / "faces").iterdir()})
        arguments = (str(portrait_file), str(clip), "--model", "tester/faces", "--out", str(out))
        finished(start("-m", "gradio_ui.recognition", *arguments, HF_ENDPOINT=hub.endpoint))
        assert hub.asked("resolve.*model.safetensors") and not hub.asked("telemetry")
    assert "portrait.jpg" in out.read_text() and "clip.mp4" in out.read_text()


def test_a_font_folder_of_others_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen() -> Path:
        monkeypatch.setenv("MPLCONFIGDIR", "")
        keep_fonts_in_temp()
        return Path(os.environ["MPLCONFIGDIR"])

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    usual = chosen()
    assert usual.parent == tmp_path and usual.stat().st_mode & 0o777 == 0o700
    assert chosen() == usual
    usual.chmod(0o777)  # others may write there
    assert chosen() != usual
    assert chosen().stat().st_mode & 0o777 == 0o700
    usual.rmdir()
    (tmp_path / "elsewhere").mkdir(0o700)
    usual.symlink_to(tmp_path / "elsewhere")
    assert chosen() != usual
    monkeypatch.setenv("MPLCONFIGDIR", "/where/the/user/said")
    keep_fonts_in_temp()
    assert os.environ["MPLCONFIGDIR"] == "/where/the/user/said"


LIBRARY = """
import sys
from gradio_ui.recognition import EmotionRecognizer
recognizer = EmotionRecognizer.from_pretrained("model_card/fer2013")
for _ in range(5):
    assert len(recognizer(sys.argv[1])) == 1
"""


def test_the_library(start: Callable[..., Observed], portrait_file: Path) -> None:
    finished(start("-c", LIBRARY, str(portrait_file)))


@pytest.mark.parametrize(
    ("library", "file", "variable"),
    [
        ("gradio", "analytics.py", "GRADIO_ANALYTICS_ENABLED"),
        ("huggingface_hub", "constants.py", "HF_HUB_DISABLE_TELEMETRY"),
        ("datasets", "config.py", "HF_UPDATE_DOWNLOAD_COUNTS"),
        ("evaluate", "config.py", "HF_UPDATE_DOWNLOAD_COUNTS"),
        ("ray", "_common/usage/usage_constants.py", "RAY_USAGE_STATS_ENABLED"),
    ],
)
def test_the_libraries_still_read_the_variables(library: str, file: str, variable: str) -> None:
    assert variable in OPT_OUT
    spec = find_spec(library)
    assert spec is not None and spec.origin is not None
    assert f'"{variable}"' in (Path(spec.origin).parent / file).read_text(encoding="utf-8")


def test_the_tests_send_nothing_either() -> None:
    assert {name: os.environ.get(name) for name in OPT_OUT} == OPT_OUT


def test_only_one_module_imports_onnxruntime(root: Path) -> None:
    """Any other has to ask that one first."""
    for folder in ("gradio_ui", "training", "tests/benchmarks"):
        for path in (root / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            bare = re.search(r"^\s+(import onnxruntime|from onnxruntime)\b", text, re.MULTILINE)
            if bare and path.name != "onnx_session.py" and "TYPE_CHECKING" not in text[: bare.start()][-40:]:
                assert "import_onnxruntime()" in text, path


TRAINING = """
import datasets.config, evaluate.config, huggingface_hub.constants, training.errors
@training.errors.command
def main(argv): ...
main([])
assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
assert not datasets.config.HF_UPDATE_DOWNLOAD_COUNTS and not evaluate.config.HF_UPDATE_DOWNLOAD_COUNTS
"""


@pytest.mark.parametrize("program", [TRAINING, "import tests.benchmarks.record"])
@pytest.mark.slow
def test_training_and_benchmarks_switch_it_off(program: str, root: Path) -> None:
    """A command's libraries are imported before it runs and have read the variables by then."""
    program += "\nimport os, sys; print(*(os.environ.get(name) for name in sys.argv[1:]))"
    clean = {name: value for name, value in os.environ.items() if name not in OPT_OUT}
    command = [sys.executable, "-c", program, *OPT_OUT]
    done = subprocess.run(command, cwd=root, env=clean, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == list(OPT_OUT.values()), done.stderr
