"""Ablation: variants of one recipe at equal budget, over several seeds to show the variation by chance.

    python -m training.ablate training/recipes/ablation.json --dataset fer2013.csv --ferplus fer2013new.csv

Each run is `training.train` in a process of its own, measured with its last weights, without choosing among epochs. A
finished run is not repeated: the same command continues where it was stopped, and runs what was added to the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from training.errors import AblationError, command

METRICS = ("eval_accuracy", "eval_balanced_accuracy", "eval_ferplus_accuracy")
LAST_WEIGHTS = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}


def read_trials(path: Path) -> dict[str, dict[str, Any]]:
    """Read the recipe of each trial by its name; the first is the baseline.

    Args:
        path: JSON, `{"recipe": {...}, "trials": {name: {argument: value}}}`.

    Raises:
        AblationError: the file cannot be read, or holds no trial.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        trials = {name: content["recipe"] | change for name, change in content["trials"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AblationError(
            f'{path}: expected {{"recipe": {{...}}, "trials": {{name: {{...}}}}}}: {error!r}'
        ) from error
    if not trials:
        raise AblationError(f"{path}: expected at least one trial, got none")
    return trials


def run_trial(recipe: dict[str, Any], folder: Path, flags: list[str]) -> dict[str, float]:
    """Train one variant, unless its folder holds it already.

    Args:
        recipe: for `training.train`.
        folder: the run folder.
        flags: more arguments of `training.train`: the data.

    Returns:
        The validation metrics.

    Raises:
        AblationError: the run broke off; its log says why.
    """
    done = folder / "run.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.json").write_text(json.dumps(recipe, indent=2), encoding="utf-8")
        command = [sys.executable, "-m", "training.train", str(folder / "recipe.json"), *flags]
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode  # noqa: S603
        if code or not done.exists():
            raise AblationError(f"{folder}: the run broke off; see {folder / 'log.txt'}")
    metrics: dict[str, float] = json.loads(done.read_text(encoding="utf-8"))["metrics"]
    return metrics


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Format a Markdown table: a row per trial with the mean over the seeds, each seed, and the gain on the first."""
    metrics = [name for name in METRICS if any(name in run for runs in results.values() for run in runs)]
    rows = [["change", *(name.removeprefix("eval_").replace("_", " ") for name in metrics), "gain in accuracy"]]
    base = next(iter(results.values()))
    for name, runs in results.items():
        cells = [name]
        for metric in metrics:
            values = [run[metric] for run in runs if metric in run]
            cells.append(f"{mean(values):.3f} ({', '.join(f'{v:.3f}' for v in values)})" if values else "")
        gains = [run[METRICS[0]] - start[METRICS[0]] for run, start in zip(runs, base, strict=False)]
        rows.append([*cells, "" if runs is base else ", ".join(f"{gain:+.3f}" for gain in gains)])
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@command
def main(argv: list[str] | None = None) -> None:
    """Run the trials and print the table; arguments unknown here go to `training.train`."""
    parser = argparse.ArgumentParser(
        prog="python -m training.ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trials", type=Path, help="JSON with the recipe and its variants")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/trials"), help="default: runs/trials")
    arguments, flags = parser.parse_known_args(argv)
    results: dict[str, list[dict[str, float]]] = {}
    trials = read_trials(arguments.trials)
    for seed in arguments.seeds:  # the whole table with one seed first
        for name, recipe in trials.items():
            folder = arguments.output_dir / f"{name.replace(' ', '_')}-{seed}"
            sys.stderr.write(f"{folder} ...\n")
            complete = recipe | LAST_WEIGHTS | {"seed": seed, "output_dir": str(folder)}
            results.setdefault(name, []).append(run_trial(complete, folder, flags))
    sys.stdout.write(table(results))


if __name__ == "__main__":
    main(sys.argv[1:])
