"""A Space of plain files: tabs Webcam and Image, recognized in the visitor's browser, and the model's main figures.

The files work from any web host. A model of the Hub is fetched from there by the browser, pinned to its commit; a
model folder is copied beside the page, and so are YuNet's file and, where its folder is named, onnxruntime-web.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from gradio_ui.recognition.checkpoint import labels_of, read_config, verify_files
from gradio_ui.recognition.detector import YUNET_SHA256, find_yunet
from gradio_ui.recognition.palette import COLORS, OTHER_COLOR, text_color
from training.errors import PublishError
from training.files import staged_folder
from training.hub.sync import Files, translate_hub_errors
from training.reporting.dataset_names import place_of
from training.reporting.report import REPORT_FILE, Report
from training.reporting.tables import format_cell

CONFIGS = ("config.json", "preprocessor_config.json")
ONNX = ("onnx/model.onnx", "onnx/model_quantized.onnx")
RUNTIME_BUILDS = ("ort.wasm.bundle.min.mjs", "ort.jspi.bundle.min.mjs", "ort.webgpu.bundle.min.mjs")
RUNTIME_BINARIES = ("", ".jspi", ".asyncify")
CDN = "https://cdn.jsdelivr.net"
HUB_HOSTS = "https://huggingface.co https://*.huggingface.co https://*.hf.co"
COLUMNS = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_f1": "macro F1", "ece": "calibration error"}
CARD = """---
title: Facial Expression Recognition
emoji: 🙂
colorFrom: blue
colorTo: yellow
sdk: static
app_file: index.html
{models}license: apache-2.0
short_description: Apparent expressions, recognized in your browser
custom_headers:
  cross-origin-embedder-policy: require-corp
  cross-origin-opener-policy: same-origin
  cross-origin-resource-policy: cross-origin
---

# Facial expression recognition

The apparent expression of every face, in images or live on a webcam. Everything runs in your browser; no picture is
sent. Made by `python -m training.publish_space --static`.
"""


@dataclass(frozen=True)
class StaticModel:
    """The model of a static Space.

    Attributes:
        name: for people: a Hub id or the name of a folder.
        revision: its commit on the Hub; None for a folder.
        address: where the page finds it: a URL, or a folder beside the page.
        folder: of config.json and perhaps report.json, on this machine.
        files: what to copy beside the page, by path below `address`.
    """

    name: str
    revision: str | None
    address: str
    folder: Path
    files: Files

    @classmethod
    def from_folder(cls, folder: Path) -> StaticModel:
        """Take a model folder, whose files are verified and copied.

        Raises:
            PublishError: it has no ONNX files.
            ModelError: a file is damaged.
        """
        names = [name for name in (*CONFIGS, REPORT_FILE, *ONNX) if (folder / name).is_file()]
        missing = [name for name in (*CONFIGS, ONNX[0]) if name not in names]
        if missing:
            raise PublishError(f"{folder}: expected {', '.join(missing)}, which browsers need; run training.export")
        verify_files(folder, *(name for name in names if name != REPORT_FILE))
        return cls(folder.resolve().name, None, "model/", folder, {name: folder / name for name in names})

    @classmethod
    def from_hub(cls, pinned: str) -> StaticModel:
        """Take a model of the Hub, whose weights stay there.

        Args:
            pinned: "user/name@commit".

        Raises:
            PublishError: it has no ONNX files, or the Hub refused.
            HubConnectionError: the connection broke.
        """
        from huggingface_hub import hf_hub_url, list_repo_files, snapshot_download

        model_id, _, commit = pinned.partition("@")
        with translate_hub_errors(model_id):
            if ONNX[0] not in list_repo_files(model_id, revision=commit):
                raise PublishError(
                    f"{pinned}: expected {ONNX[0]}, which browsers need; run training.export, then publish"
                )
            folder = Path(snapshot_download(model_id, revision=commit, allow_patterns=[*CONFIGS, REPORT_FILE]))
        address = hf_hub_url(model_id, CONFIGS[0], revision=commit).removesuffix(CONFIGS[0])
        return cls(model_id, commit, address, folder, {})


def static_files(root: Path, model: StaticModel, runtime: Path | None = None) -> Files:
    """Return the files of the Space by their path.

    Args:
        root: of this repository.
        model: what the page serves.
        runtime: folder of onnxruntime-web's files, to copy; None leaves them to the public CDN.

    Raises:
        PublishError: a file of the runtime is missing.
        ModelError: the model's config cannot be used.
        DetectorError: YuNet cannot be found.
        ReportError: the model's report cannot be used.
    """
    static = root / "gradio_ui" / "static"
    files: dict[str, Path | bytes] = {
        path.relative_to(static).as_posix(): path
        for path in sorted(static.rglob("*"))
        if path.suffix in (".js", ".css", ".json")
    }
    for name in (
        "picture.js",
        "webcam_on_load.js",
        "device_images_on_load.js",
        "static_space/service-worker.js",
    ):  # of the server's page; below
        del files[name]
    template = static / "static_space"
    for path in sorted(template.glob("icon*")):
        files[path.name] = path
    files["manifest.webmanifest"] = template / "manifest.webmanifest"
    place = {"model": model.address, "detector": "yunet.onnx", "checksums": {"detector": YUNET_SHA256}}
    if runtime is not None:
        place["runtime"] = "runtime/"
    files["device.json"] = json.dumps(place, indent=1).encode()
    files["index.html"] = _page(static, model, runtime).encode()
    copied: dict[str, Path | bytes] = {f"model/{name}": source for name, source in model.files.items()}
    small = {name: source for name, source in copied.items() if name.endswith(".json")}
    files["service-worker.js"] = _worker(template, files | small).encode()
    files |= copied | {"yunet.onnx": find_yunet(), "LICENSE": root / "LICENSE"}
    if runtime is not None:
        files |= {f"runtime/{name}": path for name, path in _runtime(runtime).items()}
    on_hub = f"models:\n  - {model.name}\n" if model.revision else ""
    return files | {"README.md": CARD.format(models=on_hub).encode()}


def write_folder(files: Files, folder: Path) -> None:
    """Write the files into a folder, whole or not at all; what it held before is replaced.

    Raises:
        PublishError: it holds something other than an earlier static Space.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "device.json").is_file():
        raise PublishError(f"{folder}: expected no folder, or that of an earlier static Space; name another one")
    with staged_folder(folder) as staging:
        for name, source in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_content(source))


def _content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _page(static: Path, model: StaticModel, runtime: Path | None) -> str:
    hosts = [HUB_HOSTS if "huggingface.co" in model.address else "/".join(model.address.split("/")[:3])]
    if not model.revision:
        hosts = []
    if runtime is None:
        hosts.append(CDN)
    palette = {
        "colors": {label: [color, text_color(color)] for label, color in COLORS.items()},
        "other": [OTHER_COLOR, text_color(OTHER_COLOR)],
    }
    parts = {
        "hosts": " ".join(hosts),
        "palette": json.dumps(palette),
        "webcam": (static / "webcam.html").read_text(encoding="utf-8"),
        "images": (static / "device_images.html").read_text(encoding="utf-8"),
        "about": _about(model),
        "limits": (static / "limits.html").read_text(encoding="utf-8"),
    }
    return _filled(static / "static_space" / "index.html", parts)


def _worker(template: Path, kept: Files) -> str:
    """Fill in the service worker: the files that it keeps, and a version that changes with any of them."""
    digest = hashlib.sha256()
    for name in sorted(kept):
        digest.update(name.encode() + b"\0" + hashlib.sha256(_content(kept[name])).digest())
    names = " ".join(["./", *sorted(kept)])
    return _filled(template / "service-worker.js", {"version": digest.hexdigest()[:16], "files": names})


def _filled(template: Path, parts: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template.read_text(encoding="utf-8"))


def _runtime(folder: Path) -> dict[str, Path]:
    wanted = [*RUNTIME_BUILDS, *(f"ort-wasm-simd-threaded{kind}.wasm" for kind in RUNTIME_BINARIES)]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise PublishError(f"{folder}: expected onnxruntime-web's dist folder; it lacks {', '.join(missing)}")
    return {name: folder / name for name in wanted}


def _about(model: StaticModel) -> str:
    """Describe the model in HTML: its name, its labels, and the main figures of its report."""
    labels = ", ".join(
        f'<span data-i18n="label.{label}">{label}</span>' if label in COLORS else escape(label)
        for label in labels_of(read_config(model.folder))
    )
    name = f"<code>{escape(model.name)}</code>"
    if model.revision:
        at = f"https://huggingface.co/{escape(model.name)}/tree/{model.revision}"
        name = f'<a href="{at}">{escape(model.name)}</a>, revision <code>{model.revision[:8]}</code>'
    facts = (
        f'<ul><li><span data-i18n="about.checkpoint"></span> {name}</li>'
        f'<li><span data-i18n="about.labels"></span> {labels}</li>'
        '<li><span data-i18n="about.detector"></span> YuNet</li></ul>'
    )
    report = model.folder / REPORT_FILE
    return facts + (_figures(Report.load(report)) if report.is_file() else "")


def _figures(report: Report) -> str:
    """Tabulate the results without test-time augmentation, which the page does not use, with 95 % intervals."""
    if report.training is None:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("images", *COLUMNS.values()))
    rows = []
    for result in report.results:
        if result.tta == "none":
            unseen = ", without images seen in training" if result.subset == "unseen_pixels" else ""
            place = f"{place_of(result, report.training)}{unseen} (n = {result.counts.images:,})"
            cells = "".join(f"<td>{format_cell(result, metric)}</td>" for metric in COLUMNS)
            rows.append(f'<tr><th scope="row">{escape(place)}</th>{cells}</tr>')
    return (
        '<div lang="en" dir="ltr"><h3>Main figures</h3>'
        '<div class="fer-scroll" tabindex="0" role="region" aria-label="Main figures"><table class="fer-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        "<p>95 % bootstrap intervals in parentheses, measured by the Python engine.</p></div>"
    )
