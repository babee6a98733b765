import numpy as np
import pytest
from PIL import Image

from tests.support.dataset_fixtures import USAGES, write_csv
from training.data.load import load_fer
from training.data.statistics import data_limits


def test_copies_in_train_and_their_labels_are_counted(csv_rows, tmp_path):
    train = [row for row in csv_rows if row[2] == USAGES["train"]][:2]
    copies = [[train[0][0], train[0][1], USAGES["validation"]], [(train[1][0] + 1) % 7, train[1][1], "PublicTest"]]
    found = data_limits(load_fer(write_csv(tmp_path / "fer2013.csv", csv_rows + copies)), "validation")
    assert (found["images"], found["seen_in_train"], found["relabeled"]) == (16, 2, 1)
    assert (found["grayscale"], found["sizes"]) == (16, {"48 x 48": 16})
    assert "votes" not in found


def test_votes_tell_how_noisy_labels_are(tiny_csv, tiny_votes, tmp_path):
    found = data_limits(load_fer(tiny_csv, ferplus=tiny_votes), "validation")["votes"]
    assert found == {"majority": 14, "agreement": pytest.approx(0.8), "same_label": 1.0}
    lines = tiny_votes.read_text().splitlines()
    rows = [i for i, line in enumerate(lines) if line.startswith(USAGES["validation"])]
    lines[rows[0]] = f"{USAGES['validation']},fer.png,3,3,3,0,0,0,0,0,1,0"  # no majority
    was_happy = lines[rows[1]].split(",")[3] == "8"
    lines[rows[1]] = f"{USAGES['validation']},fer.png," + ("10,0" if was_happy else "0,10") + ",0,0,0,0,0,0,0,0"
    (tmp_path / "votes.csv").write_text("\n".join(lines))
    found = data_limits(load_fer(tiny_csv, ferplus=tmp_path / "votes.csv"), "validation")["votes"]
    assert found["majority"] == 13 and found["same_label"] == pytest.approx(12 / 13)


def test_color_and_sizes_are_recorded(tmp_path):
    rng = np.random.default_rng(0)
    for index, (mode, side) in enumerate([("L", 20), ("RGB", 20), ("RGB", 30)]):
        for name in ("happy", "sad"):
            file = tmp_path / "test" / name / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(255, size=(side, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(file)
    found = data_limits(load_fer(tmp_path), "test")
    assert (found["images"], found["grayscale"]) == (6, 2)
    assert found["sizes"] == {"20 x 20": 4, "20 x 30": 2} and "seen_in_train" not in found
