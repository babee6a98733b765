"""Settings of the app: flags over environment variables over defaults, all checked before anything is loaded."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradio_ui.recognition.doubt import UNCLEAR_BELOW

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_MODEL = ROOT / "model_card" / "fer2013"
NPM_RUNTIME = ROOT / "tests" / "javascript" / "node_modules" / "onnxruntime-web" / "dist"  # where `npm ci` was run


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it, says what was expected, and what to do."""


def shipped_models() -> tuple[str, ...]:
    """List the packages under model_card/, `DEFAULT_MODEL` first, even in a Space, which carries none."""
    found = {str(config.parent) for config in DEFAULT_MODEL.parent.glob("*/config.json")}
    return (str(DEFAULT_MODEL), *sorted(found - {str(DEFAULT_MODEL)}))


def installed_runtime() -> str | None:
    """Return npm's copy of onnxruntime-web's files, or None where there is none."""
    return str(NPM_RUNTIME) if NPM_RUNTIME.is_dir() else None


@dataclass(frozen=True)
class Settings:
    """What the app is started with, validated when made.

    Attributes:
        models: Checkpoints to choose from, the one to start with first: folders, or Hub ids "user/name" or
            "user/name@revision".
        detector: What `recognition.load_detector` takes, which checks it; None leaves it to FER_DETECTOR.
        host: Address to listen on; 0.0.0.0 is every address of the machine.
        port: TCP port, 1-65535.
        max_file_size: Largest upload, as a number and a unit: "500mb".
        max_video_minutes: Longest video that is analyzed, in minutes.
        on_device: Whether browsers may fetch the models and run them; otherwise the weights stay on the server.
        runtime: Folder of onnxruntime-web's files for those browsers; None leaves them to its public CDN.
        unclear_below: Probability below which the page reports an expression as unclear, 0-1, until a visitor says
            otherwise.
        drain_seconds: Longest time that SIGTERM leaves to the work under way, in seconds; 0 for none.
        metrics: Whether /metrics is served, to everybody who reaches the port.

    Raises:
        SettingsError: A value is out of range or names a file that is not there.
    """

    models: tuple[str, ...] = field(default_factory=shipped_models)
    detector: str | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    max_file_size: str = "500mb"
    max_video_minutes: float = 20
    on_device: bool = True
    runtime: str | None = field(default_factory=installed_runtime)
    unclear_below: float = UNCLEAR_BELOW
    drain_seconds: float = 8  # with what follows within the ten of `docker stop`
    metrics: bool = False

    def __post_init__(self) -> None:
        if not self.models or not all(self.models):
            raise SettingsError(
                "model: expected folders or Hub ids such as user/name, separated by commas, got an empty text"
            )
        if not self.host.strip():
            raise SettingsError("host: expected an address such as 127.0.0.1, got an empty text")
        if not 1 <= self.port <= 65535:
            raise SettingsError(f"port: expected a number from 1 to 65535, got {self.port}")
        if not re.fullmatch(r"[1-9]\d*(kb|mb|gb)", self.max_file_size):
            raise SettingsError(f"max_file_size: expected a size such as 500mb, got {self.max_file_size!r}")
        if not 0 < self.max_video_minutes < float("inf"):
            raise SettingsError(f"max_video_minutes: expected a number above 0, got {self.max_video_minutes}")
        if not 0 <= self.unclear_below <= 1:
            raise SettingsError(f"unclear: expected a probability from 0 to 1, got {self.unclear_below}")
        if self.runtime and not any(Path(self.runtime).expanduser().glob("ort*.wasm")):
            raise SettingsError(f"runtime: expected a folder with onnxruntime-web's ort*.wasm, got {self.runtime}")

        if not 0 <= self.drain_seconds < float("inf"):
            raise SettingsError(f"drain_seconds: expected a number from 0, got {self.drain_seconds}")

    def require_free_port(self) -> None:
        """Fail early, before the slow loading, where the port is taken.

        Raises:
            SettingsError: Another program listens there, or the address is not one of this machine.
        """
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself binds
                probe.bind(address)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(
                f"cannot listen on {self.host}:{self.port} ({reason}); stop what uses it or choose another --port"
            ) from error


def parse_settings(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; a flag wins over its environment variable, which wins over the default.

    Args:
        argv: Command line without the program's name; the process's own by default.
        environ: Environment variables.

    Raises:
        SettingsError: A value cannot be used.
        SystemExit: After --help, or on an unknown flag.
    """
    default = Settings()
    values = vars(_parser(environ, default).parse_args(argv))
    models = values.pop("model") or [environ.get("FER_MODEL") or ",".join(default.models)]
    values["models"] = tuple(name.strip() for name in ",".join(models).split(","))
    if values["on_device"] not in ("yes", "no"):  # argparse checks flags only
        raise SettingsError(f"on_device: expected yes or no, got {values['on_device']!r}")
    values["on_device"] = values["on_device"] == "yes"
    for name, kind, expected in (
        ("port", int, "a number from 1 to 65535"),
        ("max_video_minutes", float, "a number above 0"),
        ("unclear_below", float, "a probability from 0 to 1"),
        ("drain_seconds", float, "a number from 0"),
        ("metrics", _switch, "1 or 0"),
    ):
        try:
            values[name] = kind(values[name])
        except ValueError:
            raise SettingsError(f"{name}: expected {expected}, got {values[name]!r}") from None
    return Settings(**values)


def _parser(environ: Mapping[str, str], default: Settings) -> argparse.ArgumentParser:
    host = "0.0.0.0" if "SPACE_ID" in environ else default.host  # noqa: S104 - a Space is reached from outside
    port = environ.get("GRADIO_SERVER_PORT") or environ.get("PORT") or str(default.port)
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="Recognize apparent facial expressions in pictures, videos and live on a webcam, in the browser.",
    )
    add = parser.add_argument
    add(
        "--model",
        action="append",
        metavar="FOLDER|USER/NAME[@REV]",
        help="checkpoint to serve; several, by giving it again or with commas, can be chosen from on the page "
        "[FER_MODEL; default: those in model_card/]",
    )
    add(
        "--detector",
        metavar="auto|yunet|whole|FILE.onnx",
        help="face detector: YuNet (auto, yunet), a YuNet file, or none (whole) [FER_DETECTOR; default: auto]",
    )
    add(
        "--host",
        default=environ.get("GRADIO_SERVER_NAME") or host,
        help="address to listen on; 0.0.0.0 lets other machines in [GRADIO_SERVER_NAME; default: %(default)s]",
    )
    add("--port", default=port, help="port to listen on [GRADIO_SERVER_PORT or PORT; default: %(default)s]")
    _add_limits(parser, environ, default)
    return parser


def _add_limits(parser: argparse.ArgumentParser, environ: Mapping[str, str], default: Settings) -> None:
    add = parser.add_argument
    add(
        "--max-file-size",
        default=environ.get("FER_MAX_FILE_SIZE") or default.max_file_size,
        metavar="SIZE",
        help="largest picture or video that may be uploaded [FER_MAX_FILE_SIZE; default: %(default)s]",
    )
    add(
        "--max-video-minutes",
        default=environ.get("FER_MAX_VIDEO_MINUTES") or default.max_video_minutes,
        metavar="MINUTES",
        help="longest video that is analyzed [FER_MAX_VIDEO_MINUTES; default: %(default)s]",
    )
    add(
        "--unclear",
        dest="unclear_below",
        default=environ.get("FER_UNCLEAR") or default.unclear_below,
        metavar="PROBABILITY",
        help="below it the page reports an expression as unclear, unless told otherwise there [FER_UNCLEAR; default: "
        "%(default)s]",
    )
    add(
        "--on-device",
        choices=("yes", "no"),
        default=environ.get("FER_ON_DEVICE") or "yes",
        help="whether browsers may fetch the models and run them [FER_ON_DEVICE; default: %(default)s]",
    )
    add(
        "--runtime",
        default=environ.get("FER_RUNTIME") or default.runtime,
        metavar="FOLDER",
        help="onnxruntime-web's files, of the pinned version, for those browsers [FER_RUNTIME; default: what `npm ci` "
        "installed, otherwise its public CDN]",
    )
    add(
        "--drain-seconds",
        default=environ.get("FER_DRAIN_SECONDS") or default.drain_seconds,
        metavar="SECONDS",
        help="longest time that SIGTERM leaves to the work under way [FER_DRAIN_SECONDS; default: %(default)s]",
    )
    add(
        "--metrics",
        action="store_true",
        default=environ.get("FER_METRICS") or default.metrics,
        help="serve metrics for Prometheus at /metrics, to all who reach the port [FER_METRICS=1; default: off]",
    )


def _switch(value: str | bool) -> bool:
    return bool(("0", "1").index(value)) if isinstance(value, str) else value
