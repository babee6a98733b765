"""Provenance of a run, of weights and of data: code, seed, recipe, checksums, and the runs that a run goes back to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from datasets import DatasetDict
from transformers import PreTrainedModel
from transformers import TrainingArguments as HFTrainingArguments

from training.data.load import provenance
from training.errors import ReportError
from training.files import sha256_of
from training.learning.arguments import TrainingArguments, current_names
from training.reporting.dataset_names import trained_on
from training.reporting.records import LocalBase, ModelInfo, RunRecord, SplitInfo
from training.reporting.report import REPORT_FILE, Report, publishable

NOT_RECIPE = {"output_dir", "report_to", "debug", "do_eval", "use_cpu", "dataloader_pin_memory"}  # this machine's
RUN_KEYS = ("commit", "seed", "epochs", "seconds", "device", "versions", "dataset")


def read_run(folder: Path) -> RunRecord:
    """Read what `training.train` recorded, cut to what should be published.

    The recipe is one that `training.train` takes: the arguments of network and augmentation, and the trainer's own or
    where they differ from the defaults of transformers.

    Args:
        folder: a finished run.

    Raises:
        ReportError: the folder, or one it goes back to, is no finished run.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        recipe = recipe_of(run["arguments"])
        data = run["arguments"].get("data", {})  # records of before there were such flags have none
        classes = {key: value for key in ("labels", "label_map") if (value := data.get(key))}
        found = {key: run[key] for key in RUN_KEYS}
        found |= {"cpu_seconds": cpu_seconds_of(run), "recipe": recipe, "classes": classes}
        record = RunRecord(**publishable(found))
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(
            f"{folder}: expected a finished run of training.train, but run.json cannot be used: {error!r}"
        ) from error
    start = recipe.get("model_name_or_path")
    local_base = None
    base_model = publishable(start) if start else None
    if start and run.get("base_is_folder", Path(start).is_dir()):
        base_model, local_base = None, describe_base(Path(start))
    earlier: dict[str, RunRecord] = {}
    for name in [*([start] if start else []), *recipe.get("teachers", [])]:
        if (Path(name) / "run.json").exists():
            before = read_run(Path(name))
            earlier |= before.earlier
            if name == start:
                base_model, local_base = before.base_model, before.local_base
            earlier[publishable(Path(name).as_posix())] = dataclasses.replace(before, earlier={})
    return dataclasses.replace(record, base_model=base_model, local_base=local_base, earlier=earlier)


def describe_base(folder: Path) -> LocalBase:
    """Describe a folder that a run started from, as far as a report in it says something."""
    name = publishable(folder.as_posix())
    try:
        training = Report.load(folder / REPORT_FILE).training
    except ReportError:
        training = None
    return LocalBase(name=name, dataset=trained_on(training) if training else None)


def recipe_of(arguments: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the recipe among the recorded arguments of a run."""
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


def cpu_seconds_of(run: dict[str, Any]) -> float | None:
    """Return the processor time of a run over all cores; None where it tells little: GPUs, several processes.

    Args:
        run: what run.json holds.
    """
    return (run.get("cpu_seconds") or None) if run["device"] == "cpu" and run.get("processes", 1) == 1 else None


def split_info(data: DatasetDict, split: str, head: str) -> SplitInfo:
    """Describe the exact data of one split, and what its images are measured against."""
    whole = provenance(data)
    reference = "FER+ majority" if head == "ferplus" and "votes" in data[split].column_names else "label"
    return SplitInfo(**whole | {"reference": reference} | {key: whole[key][split] for key in ("fingerprint", "rows")})


def describe_model(model: PreTrainedModel, weights: Path, name: str, revision: str | None = None) -> ModelInfo:
    """Describe which weights a report is about, down to the checksum of their file."""
    return ModelInfo(
        name=name,
        revision=revision,
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=sha256_of(weights),
        weights_bytes=weights.stat().st_size,
    )
