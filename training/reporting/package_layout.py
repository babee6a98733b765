"""The files of a model package: which there may be, their checksums, and whether `pipeline` can use them."""

from __future__ import annotations

import fnmatch
import tempfile
from pathlib import Path

from training.errors import PackageError
from training.reporting.report import REPORT_FILE, Report

EXAMPLE = "figures/example.png"
REQUIRED = ("README.md", "config.json", "preprocessor_config.json", "model.safetensors", "report.json")
OPTIONAL = ("curves.png", "figures/*.png", "figures/*.svg", "onnx/model.onnx", "onnx/model_quantized.onnx")


def belongs(name: str) -> bool:
    """Whether a package may hold a file of this name, a POSIX path within it."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in (*REQUIRED, *OPTIONAL))


def check_replaceable(out: Path) -> None:
    """Refuse to replace what is no package.

    Raises:
        PackageError: `out` is a file, or a folder with something else in it than a package.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    foreign = [name for name in names if not belongs(name)]
    if not out.is_dir() or not (out / "report.json").is_file() or foreign:
        holds = f"{foreign[0]} in it does not belong to one" if foreign else "there is no report.json in it"
        raise PackageError(
            f"expected a new folder, or a package to replace, got {out}: "
            f"{holds if out.is_dir() else 'a file'}. Name another folder."
        )


def check_loads(folder: Path, labels: list[str]) -> None:
    """Use the package as a stranger would: `pipeline` on grayscale, RGB and RGBA files, from this folder alone.

    Raises:
        PackageError: a name, a type or a probability is not as promised.
    """
    from PIL import Image
    from safetensors import safe_open
    from transformers import pipeline

    with safe_open(folder / "model.safetensors", framework="numpy") as tensors:
        kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}
    if kinds != {"F32"}:
        raise PackageError(f"expected float32 weights, got {', '.join(sorted(kinds))}")
    classify = pipeline("image-classification", model=str(folder), device="cpu")
    image = Image.effect_noise((64, 80), 60)
    with tempfile.TemporaryDirectory() as scratch:
        for mode in ("L", "RGB", "RGBA"):
            file = Path(scratch) / f"{mode}.png"
            image.convert(mode).save(file)
            answer = {entry["label"]: entry["score"] for entry in classify(str(file), top_k=len(labels))}
            total = sum(answer.values())
            if set(answer) != set(labels) or not abs(total - 1) < 1e-3:
                raise PackageError(f"expected probabilities of {', '.join(labels)} for {mode}, got {answer}")


def write_checksums(folder: Path) -> None:
    """Write the checksum of every file of a package, as it is now, into its report.

    Raises:
        ReportError: there is no report, or none that can be used.
    """
    Report.load(folder / REPORT_FILE).with_files(folder).save(folder / REPORT_FILE)
