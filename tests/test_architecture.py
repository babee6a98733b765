"""The layout keeps its promises: imports run one way, nothing imports in a circle, and importing costs nothing.

The rules are data: `MAY_IMPORT` for the app, `FLOORS` for the training, `HEAVY` for what a mere import may load.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ("app", "gradio_ui", "training")

# What the modules of an area may import besides their own area; the longest name that fits a module is its area.
# `gradio_ui` alone stands for the modules at its top: settings, the models to choose from, limits.
ENGINE = "gradio_ui.recognition"
MAY_IMPORT = {
    "app": {"gradio_ui.demo", "gradio_ui.server", "gradio_ui", ENGINE},
    "gradio_ui.demo": {
        "gradio_ui.tabs",
        "gradio_ui.views",
        "gradio_ui.webcam",
        "gradio_ui.server",
        "gradio_ui",
        ENGINE,
    },
    "gradio_ui.tabs": {"gradio_ui.webcam", "gradio_ui.views", "gradio_ui.server", "gradio_ui", ENGINE},
    "gradio_ui.webcam": {"gradio_ui.views", "gradio_ui.server", "gradio_ui", ENGINE},
    "gradio_ui.server": {"gradio_ui", ENGINE},
    "gradio_ui.views": {"gradio_ui", ENGINE},
    "gradio_ui": {ENGINE},
    ENGINE: set(),
}

# Training, from the ground up: each floor imports itself and those below. `training` stands for the commands that
# make a run, a report or a package; those on the top floor bring one to the Hub.
FLOORS = (
    {"training.errors", "training.files"},
    {"training.data"},
    {"training.evaluation"},
    {"training.network"},
    {"training.learning"},
    {"training.reporting"},
    {"training"},
    {"training.hub"},
    {"training.train", "training.publish", "training.publish_space", "training.publish_dataset"},
    {"training.notebooks"},
)
for floor, below in zip(FLOORS, accumulate(FLOORS, set.union), strict=True):
    MAY_IMPORT |= {area: {*below, ENGINE} for area in floor}

# Neighbors that must not know each other although they share an area.
APART = ("gradio_ui.tabs",)

# Libraries that take long to load, and the areas whose mere import may load them; all others load them on first use.
TORCH = {"torch", "transformers", "datasets", "accelerate", "evaluate", "sklearn", "captum"}
SLOW = {
    *TORCH,
    "gradio",
    "cv2",
    "av",
    "onnx",
    "onnxruntime",
    "pandas",
    "plotly",
    "pyarrow",
    "ray",
    "matplotlib",
    "supervision",
    "trackers",
}
PAGE = (
    *("gradio_ui.demo", "gradio_ui.server", "gradio_ui.tabs"),
    *("gradio_ui.views.background_work", "gradio_ui.views.face_choice", "gradio_ui.views.image_inputs"),
)
MAY_LOAD = {library: ("training",) if library in TORCH else () for library in SLOW} | {"gradio": PAGE}


class Import(NamedTuple):
    """One import: the module imported, by its full name, and whether it runs when the importing module is imported."""

    name: str
    at_once: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of the program by its full name."""
    paths = (path for name in PROGRAM for path in (ROOT / f"{name}.py", *(ROOT / name).rglob("*.py")))
    return {module_name(path): path for path in sorted(paths) if path.is_file()}


def imports_of(source: str, package: str) -> Iterator[Import]:
    """The imports of a module's source, those inside functions and for type checkers included."""

    def visit(node: ast.AST, at_once: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            yield from (Import(".".join([*base, alias.name]), at_once) for alias in node.names)
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_once and not later)

    return visit(ast.parse(source), True)


@cache
def imports(module: str) -> tuple[Import, ...]:
    """The imports of a module, each our own module rather than a name in it."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for one in imports_of(path.read_text(encoding="utf-8"), package):
        own = one.name
        while own and own not in modules():
            own = own.rpartition(".")[0]
        found.append(one._replace(name=own or one.name))
    return tuple(found)


def area_of(module: str) -> str:
    """The longest name in `MAY_IMPORT` that the module is or lies in."""
    while module not in MAY_IMPORT:
        module = module.rpartition(".")[0]
    return module


def own_imports() -> Iterator[tuple[str, str]]:
    """(module, module of ours that it imports); a package and what lies in it are one."""
    for module in modules():
        for one in imports(module):
            if one.name in modules() and one.name != module and not module.startswith(f"{one.name}."):
                yield module, one.name


def test_imports_run_one_way() -> None:
    wrong = {
        f"{module} imports {other}"
        for module, other in own_imports()
        if area_of(other) != area_of(module) and area_of(other) not in MAY_IMPORT[area_of(module)]
    }
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("area", APART)
def test_neighbors_do_not_import_each_other(area: str) -> None:
    wrong = [pair for pair in own_imports() if all(name.startswith(f"{area}.") for name in pair)]
    assert not wrong, wrong


def test_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, other in own_imports():
        graph.setdefault(module, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


def test_the_engine_knows_no_page() -> None:
    wrong = [
        f"{module} imports {one.name}"
        for module in modules()
        if module.startswith(ENGINE)
        for one in imports(module)
        if one.name.partition(".")[0] in ("gradio", "training", "app", "tests")
    ]
    assert not wrong, wrong


def loaded_by(module: str) -> set[str]:
    """The slow libraries that importing a module loads, through any chain of our own modules."""
    seen, waiting, found = {module}, [module], set()
    while waiting:
        current = waiting.pop()
        parents = {name for name in accumulate(current.split("."), "{}.{}".format) if name in modules()}
        for name in {one.name for one in imports(current) if one.at_once} | parents:
            if name in modules() and name not in seen:
                seen.add(name)
                waiting.append(name)
            elif (library := name.partition(".")[0]) in SLOW:
                found.add(library)
    return found


def test_slow_libraries_wait_until_they_are_used() -> None:
    wrong = [
        f"importing {module} loads {library}"
        for module in modules()
        for library in sorted(loaded_by(module))
        if not module.startswith(MAY_LOAD[library])
    ]
    assert not wrong, "\n".join(wrong)


# Imports everything in one fresh process, and says after each module what it changed. Libraries may set variables of
# their own, so those that a program may load at once are loaded first.
PROBE = """
import contextlib, importlib, json, os, pathlib, socket, sys
def refuse(*_):
    raise AssertionError("an import connects to the network")
socket.socket.connect = refuse
with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
    for library in {libraries}:
        importlib.import_module(library)
told = []
for name in {modules}:
    before = dict(os.environ), os.getcwd(), {{*pathlib.Path().rglob("*")}}
    importlib.import_module(name)
    if (dict(os.environ), os.getcwd(), {{*pathlib.Path().rglob("*")}}) != before:
        told.append(name)
json.dump(told, sys.stdout)
"""


def run_probe(code: str, folder: Path) -> list[str]:
    """The JSON that the code prints in a fresh process, which starts in an empty home."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environ["TRANSFORMERS_VERBOSITY"] = "error"  # it reports there which optional libraries are missing
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    told: list[str] = json.loads(done.stdout)
    return told


@pytest.mark.slow
def test_importing_leaves_nothing_behind(tmp_path: Path) -> None:
    """No module connects, prints, makes a file or folder, or changes the environment."""
    names = [name for name in modules() if not name.endswith("__main__")]
    libraries = sorted(library for library in SLOW if MAY_LOAD[library])
    assert run_probe(PROBE.format(modules=names, libraries=libraries), tmp_path) == []


@pytest.mark.parametrize("module", ["app", ENGINE, "gradio_ui.settings", "training.data.labels"])
def test_importing_loads_nothing_slow(module: str, tmp_path: Path) -> None:
    code = f"import json, sys, {module}; json.dump(sorted(sys.modules), sys.stdout)"
    assert not SLOW & set(run_probe(code, tmp_path))
    assert not list(tmp_path.iterdir())
