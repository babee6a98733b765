"""`report.json`: the one file that every published number comes from.

    {
      "schema_version": 1,
      "model":       name, revision, architecture, parameters, weights_sha256, weights_bytes
      "results":     one entry per {head, split, tta, subset}: labels, dataset, counts, metrics, intervals, warnings,
                     and for the benchmark itself figures (name, file, title, alt) and, if asked for, subgroups
      "robustness":  head, split, pictures, metrics unspoilt, one row per corruption and strength    (if asked for)
      "calibration": temperature and bias by label, and metrics before and after them   (packaged models)
      "data":        how noisy the labels are, how many pictures occur twice, ...       (packaged models)
      "example":     a picture of the package, and what the model says of it            (packaged models)
      "training":    the run that made the weights, with its recipe                     (packaged models)
      "onnx":        one entry per way to run the model, see `training.export.Variant`  (exported packages)
      "environment": library versions and device of the evaluation
    }

`tta` is "none" or "flip"; `subset` is "all" (the benchmark as it is defined) or "unseen_pixels" (without pictures
whose exact pixels occur in train). Metrics are in 0-1, nll and vote_cross_entropy in nats; null means undefined, and
`warnings` says why.
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.errors import ReportError
from training.files import write_text

SCHEMA_VERSION = 1
KEYS = ("head", "split", "tta", "subset")
LIBRARIES = ("torch", "transformers", "datasets", "evaluate", "scikit-learn", "numpy", "pillow")


def load_report(path: str | Path) -> dict[str, Any]:
    """Read a report.

    Raises:
        ReportError: if the file is missing, not JSON, or of a schema version this code does not know.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"expected a report at {path}, got: {error}; run training.evaluate first") from error
    found = report.get("schema_version") if isinstance(report, dict) else None
    if found != SCHEMA_VERSION:
        raise ReportError(f"{path}: expected schema_version {SCHEMA_VERSION}, got {found}; evaluate the model again")
    return report


def write_report(report: dict[str, Any], path: str | Path) -> None:
    """Write a report whole or not at all, without the folders of the machine it was made on."""
    write_text(json.dumps(publishable(report), indent=1, allow_nan=False) + "\n", path)


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new report plus what the old one has beyond it, if both are about the same weights; else the new one.

    So a report collects splits, heads and test-time augmentations that were measured one after the other.
    """
    if old["model"]["weights_sha256"] != new["model"]["weights_sha256"]:
        return new
    replaced = {tuple(result[key] for key in KEYS) for result in new["results"]}
    kept = [result for result in old["results"] if tuple(result[key] for key in KEYS) not in replaced]
    return {**old, **new, "model": old["model"], "results": kept + new["results"]}


def check_same_pictures(output: Path, *, split: str, head: str, dataset: dict[str, Any]) -> None:
    """Refuse, before the work, to mix results on other pictures or against other labels into a report.

    Args:
        output: the report that results are about to be merged into; it need not exist.
        split: the split about to be measured.
        head: the head about to be measured.
        dataset: the split's provenance, with a `fingerprint` and a `reference`.

    Raises:
        ReportError: the report's results of that split are about other pictures, or those of that head, too, were
            measured against something else.
    """
    for result in load_report(output)["results"] if output.exists() else []:
        there = result["dataset"]
        if result["split"] == split and there["fingerprint"] != dataset["fingerprint"]:
            raise ReportError(
                f"{output} holds results on {split} of {there['source']} ({there['rows']} pictures); these are other "
                f"pictures, from {dataset['source']} ({dataset['rows']}). Give --output another file."
            )
        before = there.get("reference", "label")
        if (result["split"], result["head"]) == (split, head) and before != dataset["reference"]:
            raise ReportError(
                f"{output} holds results of the head {head} on {split} against the {before}; these would be against "
                f"the {dataset['reference']}. Use --ferplus as before, or give --output another file."
            )


def find_result(
    report: dict[str, Any], *, head: str, split: str, tta: str = "none", subset: str = "all"
) -> dict[str, Any] | None:
    """The one result of these keys, or None."""
    wanted = (head, split, tta, subset)
    return next((r for r in report["results"] if tuple(r[key] for key in KEYS) == wanted), None)


def library_versions() -> dict[str, str]:
    """Python and the libraries that decide the numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def publishable(value: Any) -> Any:
    """The same JSON value with absolute paths cut to their last part."""
    if isinstance(value, dict):
        return {key: publishable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [publishable(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):
        return Path(value).name
    return value


def format_cell(result: dict[str, Any], metric: str) -> str:
    """A metric of a result for a table, with its 95 % interval where there is one."""
    value, interval = result["metrics"][metric], result["intervals"][metric]
    text = "undefined" if value is None else f"{value:.3f}"
    return f"{text} ({interval[0]:.3f}-{interval[1]:.3f})" if interval else text


def format_table(results: list[dict[str, Any]]) -> str:
    """Results for a terminal: headline metrics with 95 % intervals, then the classes of the first result."""
    lines = []
    for result in results:
        where = f"{result['head']} · {result['split']} · tta {result['tta']} · {result['subset']}"
        lines.append(f"{where} · {result['counts']['pictures']} pictures")
        for name, interval in result["intervals"].items():
            value = result["metrics"][name]
            low_high = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            lines.append(f"  {name:<20}{'undefined' if value is None else f'{value:.4f}'}{low_high}")
        lines += [f"  warning: {message}" for message in result["warnings"]] + [""]
    columns = ("precision", "recall", "f1", "roc_auc", "support")
    lines.append(f"{'':<12}" + "".join(f"{name:>11}" for name in columns))
    metrics = results[0]["metrics"]
    for label, row in metrics["per_class"].items():
        values = [row["precision"], row["recall"], row["f1"], metrics["roc_auc_ovr"][label]]
        cells = [f"{'-' if value is None else f'{value:.3f}':>11}" for value in values]
        lines.append(f"{label:<12}" + "".join(cells) + f"{row['support']:>11}")
    return "\n".join(lines)
