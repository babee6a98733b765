"""Labels of faces: none covers another face or another label, in Python and in JavaScript alike."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradio_ui.recognition.doubt import verdict
from gradio_ui.recognition.types import reading_order
from gradio_ui.views.label_layout import FONT_OF_IMAGE, Label, label_texts, line_width, place_labels

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("label_cases.json").read_text(encoding="utf-8"))
EM = 0.55  # width of a character in the cases, in units of the font's size
STATIC = Path(__file__).resolve().parents[3] / "gradio_ui" / "static"


def crowd(count: int, seed: int = 0) -> list[list[float]]:
    """Boxes of so many faces in uneven rows of an image of 1800x1200 pixels, some of them beyond its edges."""
    noise = np.random.default_rng(seed)
    columns = int(np.ceil((1.5 * count) ** 0.5))
    pitch = 1800 / columns
    height = pitch * noise.uniform(0.35, 0.7, count)
    x = pitch * (np.arange(count) % columns + noise.uniform(0, 0.6, count))
    y = 1200 / -(-count // columns) * (np.arange(count) // columns + noise.uniform(-0.1, 0.4, count))
    return np.stack([x, y, x + 0.8 * height, y + height], axis=1).round(1).tolist()


def solve(case: dict[str, Any]) -> dict[str, Any]:
    """What Python makes of a case; the program of `test_javascript_does_the_same` does it in the same way."""
    verdicts = [verdict(face["label"], face["probabilities"], case["threshold"]) for face in case["faces"]]
    boxes = [face["box"] for face in case["faces"]]
    order = reading_order(np.reshape(boxes, (-1, 4)))
    texts = [
        label_texts(
            order.index(i) + 1 if len(boxes) > 1 else None, face["label"], face["probabilities"][face["label"]], **told
        )
        for i, (face, told) in enumerate(zip(case["faces"], verdicts, strict=True))
    ]
    labels = place_labels(case["size"], boxes, [[EM * len(text) for text in each] for each in texts])
    return {
        "order": order,
        "shown": [told["shown"] for told in verdicts],
        "labels": [
            label and [each[label.text], label.font, *(round(v, 3) for v in label.box)]
            for each, label in zip(texts, labels, strict=True)
        ],
    }


def overlap(a: Any, b: Any) -> bool:
    return a[0] < b[2] and a[2] > b[0] and a[1] < b[3] and a[3] > b[1]


@pytest.mark.parametrize("count", [1, 6, 30, 200])
@pytest.mark.parametrize("seed", range(3))
def test_no_label_covers_a_face_or_another_label(count: int, seed: int) -> None:
    boxes = crowd(count, seed)
    widths = [[EM * len(text) for text in ("12 surprise 99%", "12 surprise", "12")]] * count
    labels = place_labels((1800, 1200), boxes, widths)
    placed = {i: label for i, label in enumerate(labels) if label is not None}
    for i, label in placed.items():
        assert 0 <= label.box[0] < label.box[2] <= 1800 and 0 <= label.box[1] < label.box[3] <= 1200
        assert not any(overlap(label.box, box) for j, box in enumerate(boxes) if j != i)
        assert not any(overlap(label.box, other.box) for j, other in placed.items() if j != i)
    assert len(placed) >= 0.97 * count, "nearly every face has at least its number"
    assert sum(label.text == 0 for label in placed.values()) >= {1: 1, 6: 5, 30: 15, 200: 0}[count]


def test_the_font_follows_the_height_of_the_face() -> None:
    boxes = [[100, 300, 140, 350], [400, 300, 600, 550], [900, 100, 1700, 1100]]
    fonts = [label.font for label in place_labels((1800, 1200), boxes, [[8.0, 1.0]] * 3) if label is not None]
    least, most = (share * 1800 for share in FONT_OF_IMAGE)
    assert 0.8 * least <= fonts[0] < fonts[1] < fonts[2] <= most


def test_a_crowded_face_has_its_number_only() -> None:
    """Between its neighbors there is room for a number, and none for a word."""
    boxes = [[100 + 120 * i, 10, 200 + 120 * i, 470] for i in range(5)]
    labels = place_labels((800, 480), boxes, [[10.0, 1.0]] * 5)
    assert all(isinstance(label, Label) for label in labels)
    assert {label.text for label in labels if label is not None} == {1}


def test_one_face_that_fills_the_image_has_its_label_inside() -> None:
    (label,) = place_labels((400, 400), [[-20, -20, 420, 420]], [[5.0, 3.0]])
    assert label is not None and label.text == 0
    assert label.box[:2] == (0, 0) and label.box[3] < 100


def test_no_face_is_no_label() -> None:
    assert place_labels((400, 400), [], []) == []


def test_lines_are_thin_on_small_faces() -> None:
    assert 1 <= line_width((2000, 1000), (0, 0, 30, 40)) < line_width((2000, 1000), (0, 0, 300, 400)) <= 2000 / 300


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_python_solves_the_shared_cases(case: dict[str, Any]) -> None:
    assert solve(case) == case["expected"]


def test_javascript_does_the_same(tmp_path: Path) -> None:
    if not (node := shutil.which("node")):
        pytest.skip("there is no node")
    program = tmp_path / "solve.mjs"
    program.write_text(
        (STATIC / "labels.js").read_text(encoding="utf-8")
        + """
import { readFileSync } from "node:fs";
const cases = JSON.parse(readFileSync(0, "utf8"));
const solve = ({ size, threshold, faces }) => {
  const verdicts = faces.map(({ label, probabilities }) => verdict(label, probabilities, threshold));
  const boxes = faces.map(({ box }) => box);
  const order = readingOrder(boxes);
  const number = (i) => (boxes.length > 1 ? order.indexOf(i) + 1 : null);
  const texts = faces.map((f, i) => labelTexts(number(i), f.label, f.probabilities[f.label], verdicts[i]));
  const labels = placeLabels(size, boxes, texts.map((each) => each.map((text) => EM * text.length)));
  const rounded = (v) => Math.round(1000 * v) / 1000;
  return {
    order,
    shown: verdicts.map(({ shown }) => shown),
    labels: labels.map((l, i) => l && [texts[i][l.text], l.font, ...l.box.map(rounded)]),
  };
};
console.log(JSON.stringify(cases.map(solve)));
""".replace("EM", str(EM)),
        encoding="utf-8",
    )
    run = subprocess.run(
        [node, program], input=json.dumps(CASES), capture_output=True, text=True, timeout=60, check=True
    )
    for case, got in zip(CASES, json.loads(run.stdout), strict=True):
        expected = case["expected"]
        assert (got["order"], got["shown"]) == (expected["order"], expected["shown"]), case["name"]
        for one, other in zip(got["labels"], expected["labels"], strict=True):
            assert (one and one[:2]) == (other and other[:2]), case["name"]
            assert (one or [])[2:] == pytest.approx((other or [])[2:], abs=0.01), case["name"]
