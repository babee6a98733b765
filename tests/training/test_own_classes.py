"""Training on classes of one's own, named by a CSV of files and labels."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import Image

from tests.support.dataset_fixtures import face
from training.train import main

SIZES = {"bored": 4, "excited": 12, "happy": 24}  # images of each class


def write_own_faces(folder: Path) -> Path:
    """Write the images and the CSV that names them."""
    lines = ["file,label"]
    for label, (name, count) in enumerate(SIZES.items()):
        for index in range(count):
            lines.append(f"{name}{index}.png,{name}")
            Image.fromarray(face(label, 50 * label + index)).save(folder / f"{name}{index}.png")
    table = folder / "faces.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def test_balanced_weights_for_own_classes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    argv = "--class_weights balanced --ferplus_weight 0 --num_train_epochs 2 --report_to none --hidden_sizes 8 16"
    argv += " --depths 1 1 --patch_size 4 --per_device_train_batch_size 8"
    table = write_own_faces(tmp_path)
    main(["--dataset", str(table), "--labels", ",".join(SIZES), "--output_dir", str(run), *argv.split()])
    config = json.loads((run / "config.json").read_text())
    assert list(config["id2label"].values()) == list(SIZES)
    metrics = json.loads((run / "run.json").read_text())["metrics"]
    assert math.isfinite(metrics["eval_nll"]) and 0 <= metrics["eval_balanced_accuracy"] <= 1
