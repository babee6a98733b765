"""Mutation testing: which small faults in the source does no test notice?

    make mutants [AREA="gradio_ui/recognition/crop.py training/evaluation"]

Copies the repository into build/mutants, lets mutmut plant faults in the area one at a time, runs the tests mirroring
the area and reach the fault, and prints the share that they noticed and every fault that survived. What was found out
before is kept as long as the function has not changed, so that a run can be interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AREAS = (
    "gradio_ui/recognition",
    "training/data",
    "training/evaluation",
    "training/learning/losses.py",
    "training/network",
)
# Not worth a mutant: what people read, and a type checker's business.
NOT_MUTATED = ("raise ", "logger.", "warnings.")


def copy_sources(scratch: Path) -> None:
    """Bring the scratch folder to the state of the working tree; mutmut's own folder in it stays."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    wanted = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    for old in scratch.rglob("*"):
        inside = old.relative_to(scratch)
        if inside.parts[0] != "mutants" and old.is_file() and inside.as_posix() not in wanted:
            old.unlink()
    for name in wanted:
        source, target = ROOT / name, scratch / name
        if not target.exists() or source.stat().st_mtime > target.stat().st_mtime:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def tests_of(area: str) -> str:
    """The tests that mirror an area: of a module its own file where there is one, else the nearest folder."""
    path = ROOT / "tests" / area
    if path.suffix and (own := path.with_name(f"test_{path.name}")).is_file():
        return own.relative_to(ROOT).as_posix()
    while not path.is_dir():
        path = path.parent
    return path.relative_to(ROOT).as_posix()


def configure(scratch: Path, areas: list[str]) -> None:
    """Add mutmut's settings to the copy's pyproject.toml."""
    patterns = [area if area.endswith(".py") else f"{area.rstrip('/')}/*" for area in areas]
    rest = [path.name for path in scratch.iterdir() if path.name not in ("gradio_ui", "training", "mutants", ".git")]
    settings = {
        "source_paths": ["gradio_ui", "training"],
        "only_mutate": patterns,
        "do_not_mutate_patterns": [rf"^\s*{start}" for start in NOT_MUTATED],
        "also_copy": sorted(rest),
        "pytest_add_cli_args_test_selection": sorted({tests_of(area) for area in areas}),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not slow and not browser"],
    }
    settings |= {"process_isolation": "forkserver", "on_dependency_change": "rerun"}
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    plain = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = "\n".join([plain, "[tool.mutmut]", *lines, ""])
    (scratch / "pyproject.toml").write_text(text, encoding="utf-8")


def mutmut(scratch: Path, *arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=scratch, env=environ, text=True, capture_output=quiet
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("areas", nargs="*", default=AREAS, help="folders or modules; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    options = parser.parse_args()
    areas = [area for area in options.areas if (ROOT / area).exists()]
    if not areas:
        sys.exit(f"error: expected folders or modules of this repository, got {' '.join(options.areas)}")
    # A folder for each choice of areas, as mutmut keeps which tests reach which function.
    scratch = ROOT / "build" / "mutants" / "+".join(areas).replace("/", "-")
    copy_sources(scratch)
    configure(scratch, areas)
    if mutmut(scratch, "run", "--max-children", str(options.jobs)).returncode:
        sys.exit("error: mutmut did not finish; see its message above")
    results = [
        line.split(": ") for line in mutmut(scratch, "results", "--all", "true", quiet=True).stdout.split("\n") if line
    ]
    counts = Counter(state.strip() for _, state in results)
    for name, state in results:
        if state.strip() not in ("killed", "timeout", "skipped"):
            print(f"\n{state.strip()}: {name.strip()}")
            print(mutmut(scratch, "show", name.strip(), quiet=True).stdout)
    noticed = counts["killed"] + counts["timeout"]
    total = noticed + counts["survived"] + counts["no tests"]
    print(f"{noticed} of {total} faults noticed ({noticed / max(1, total):.0%}); {dict(counts)}")


if __name__ == "__main__":
    main()
