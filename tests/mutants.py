"""Mutation testing: which small faults in the source does no test notice?

    make mutants [AREA="gradio_ui/recognition/crop.py training/evaluation"] [SAMPLE=400]

Copies the repository into build/mutants, lets mutmut plant faults in the areas one at a time, all or a random sample,
runs the tests that mirror the areas and reach the fault, and prints the share that they noticed and every fault that
survived. tests/mutants_accepted.toml gives the reasons for survivors that are not worth a test. What was noticed
before is kept as long as the function has not changed, so that a run can be interrupted; survivors are tried again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import get_mutant_name
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[1]
AREAS = (
    "gradio_ui/recognition",
    "training/data",
    "training/evaluation",
    "training/learning/losses.py",
    "training/network",
)
ACCEPTED = ROOT / "tests" / "mutants_accepted.toml"
NOTICED = ("killed", "timeout", "segfault")
NOT_TRIED = ("not checked", "check was interrupted by user")


class Mutant(NamedTuple):
    """A fault to plant: mutmut's name for it and the file it is in."""

    name: str
    path: Path

    def state(self) -> str:
        """What came of it: one of mutmut's words, such as killed, survived or not checked."""
        data = SourceFileMutationData(path=self.path)
        data.load()
        return status_by_exit_code[data.exit_code_by_key.get(self.name)]

    def change(self) -> str:
        """The function and the lines taken out and put in: `module.x_function: - old + new`."""
        lines = get_diff_for_mutant(self.name, path=self.path).splitlines()[2:]
        changed = [f"{line[0]} {line[1:].strip()}" for line in lines if line[:1] in ("-", "+")]
        return " ".join([f"{self.name.rpartition('__mutmut_')[0]}:", *changed])


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
        "also_copy": sorted(rest),
        "pytest_add_cli_args_test_selection": sorted({tests_of(area) for area in areas}),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not slow and not browser"],
    }
    settings |= {"process_isolation": "forkserver", "timeout_constant": 4.0}
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    plain = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = "\n".join([plain, "[tool.mutmut]", *lines, ""])
    (scratch / "pyproject.toml").write_text(text, encoding="utf-8")


def mutmut(scratch: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=scratch, env=environ)


def all_mutants() -> list[Mutant]:
    """The faults that mutmut plants in the areas, sorted by module; those of unchanged files as it left them."""
    found = []
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        if data.meta_path.exists() and data.meta_path.stat().st_mtime > path.stat().st_mtime:
            data.load()
            names = list(data.exit_code_by_key)
        else:
            planted = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
            names = [get_mutant_name(path, name) for name in planted.mutant_names]
        found += [Mutant(name, path) for name in names]
    return found


def draw(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """A random sample of the mutants that gives each module its share, and changes little when the code does."""
    drawn, seen = [], 0
    for _, group in groupby(mutants, key=lambda one: one.path):
        shuffled = sorted(group, key=lambda one: hashlib.sha256(f"{seed} {one.name}".encode()).digest())
        before, seen = seen, seen + len(shuffled)
        drawn += shuffled[: round(count * seen / len(mutants)) - round(count * before / len(mutants))]
    return drawn


def report(mutants: list[Mutant], total: int) -> None:
    """Print the faults that survived, those with an accepted reason apart, and the share noticed of those tried."""
    accepted = tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))
    states = {one: one.state() for one in mutants}
    tried = {one: state for one, state in states.items() if state not in NOT_TRIED}
    reasons: Counter[str | None] = Counter()
    for one, state in tried.items():
        if state not in NOTICED:
            change = one.change()
            reason = next((why for pattern, why in accepted.items() if fnmatchcase(change, pattern)), None)
            reasons[reason] += 1
            print(f"{state}: {one.name}\n    {change}" + (f"\n    accepted: {reason}" if reason else ""))
    noticed = sum(state in NOTICED for state in tried.values())
    if not tried:
        sys.exit("error: no fault was tried")
    interval = binomtest(noticed, len(tried)).proportion_ci(method="wilson")
    print(
        f"{noticed} of {len(tried)} faults noticed, of {total} in all: {noticed / len(tried):.1%} "
        f"(95 % interval {interval.low:.1%} to {interval.high:.1%}); "
        f"{reasons.total() - reasons[None]} accepted with a reason, {reasons[None]} without; "
        f"{len(mutants) - len(tried)} not tried; {dict(Counter(tried.values()))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("areas", nargs="*", default=AREAS, help="folders or modules; default: %(default)s")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--sample", type=int, help="how many of the faults to draw; default: all of them")
    parser.add_argument("--seed", type=int, default=0, help="of the sample; default: %(default)s")
    options = parser.parse_args()
    areas = [area for area in options.areas if (ROOT / area).exists()]
    if not areas:
        sys.exit(f"error: expected folders or modules of this repository, got {' '.join(options.areas)}")
    # A folder for each choice of areas, as mutmut keeps which tests reach which function.
    scratch = ROOT / "build" / "mutants" / "+".join(areas).replace("/", "-")
    copy_sources(scratch)
    configure(scratch, areas)
    with contextlib.chdir(scratch):
        every = all_mutants()
        mutants = draw(every, min(options.sample or len(every), len(every)), options.seed)
        left = [one.name for one in mutants if one.state() not in NOTICED]
        if left and mutmut(scratch, "run", "--max-children", str(options.jobs), *left).returncode:
            sys.exit("error: mutmut did not finish; see its message above")
        report(mutants, len(every))


if __name__ == "__main__":
    main()
