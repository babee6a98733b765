"""What is worth publishing of a finished run: where, when, from what, its recipe, and the runs it goes back to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from transformers import TrainingArguments as HFTrainingArguments

from training.errors import ReportError
from training.learning.arguments import TrainingArguments, current_names
from training.reporting.report import publishable

NOT_RECIPE = {"output_dir", "report_to", "debug", "do_eval", "use_cpu", "dataloader_pin_memory"}  # this machine's
WATTS_PER_CORE = 12.0  # assumed of a busy core with its share of memory and power supply; nothing was metered
RUN_KEYS = ("commit", "seed", "epochs", "seconds", "device", "versions", "dataset")


def read_run(folder: Path) -> dict[str, Any]:
    """What `training.train` recorded, cut to what is worth publishing.

    The recipe is one that `training.train` takes: the arguments of network and augmentation, and the trainer's own or
    where they differ from the defaults of transformers.

    Args:
        folder: a finished run.

    Returns:
        `RUN_KEYS`, `energy` (see `energy_of`), `recipe`, `base_model` (what the first stage started from, None for
        scratch or a local folder), and `earlier`: the same of every run that this one started from or was taught by,
        those first that come first, by their folders as the recipe names them.

    Raises:
        ReportError: if the folder, or one it goes back to, is no finished run.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        recipe = recipe_of(run["arguments"])
        found = {**{key: run[key] for key in RUN_KEYS}, "energy": energy_of(run), "recipe": recipe}
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(
            f"{folder}: expected a finished run of training.train, but run.json cannot be used: {error!r}"
        ) from error
    start = recipe.get("model_name_or_path")
    found["base_model"] = None if start is None or Path(start).is_dir() else start
    earlier: dict[str, Any] = {}
    for name in [*([start] if start else []), *recipe.get("teachers", [])]:
        if (Path(name) / "run.json").exists():
            before = read_run(Path(name))
            earlier |= before.pop("earlier")
            found["base_model"] = before["base_model"] if name == start else found["base_model"]
            earlier[name] = before
    return publishable({**found, "earlier": {Path(name).as_posix(): before for name, before in earlier.items()}})


def recipe_of(arguments: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The recipe among the recorded arguments of a run."""
    stock = {item.name: item.default for item in dataclasses.fields(HFTrainingArguments)}
    recorded = current_names(arguments["training"])
    trainer = {
        item.name: recorded[item.name]
        for item in dataclasses.fields(TrainingArguments)
        if item.name in recorded
        and item.name not in NOT_RECIPE
        and (isinstance(item.default, int | float | str) or (item.name not in stock and recorded[item.name]))
        and recorded[item.name] != stock.get(item.name)
    }
    return current_names(arguments["model"]) | arguments["augment"] | trainer


def energy_of(run: dict[str, Any]) -> dict[str, float] | None:
    """What a run took, estimated from its processor time; None where that does not tell: GPUs, several processes.

    Args:
        run: what run.json holds.

    Returns:
        `cpu_seconds` over all cores, `assumed_watts_per_core`, and `kwh`.
    """
    if run["device"] != "cpu" or run.get("processes", 1) != 1 or not run.get("cpu_seconds"):
        return None
    seconds = run["cpu_seconds"]
    return {
        "cpu_seconds": seconds,
        "assumed_watts_per_core": WATTS_PER_CORE,
        "kwh": seconds * WATTS_PER_CORE / 3.6e6,
    }
