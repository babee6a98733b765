"""What the batch tab counts, and how the results of two models are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradio_ui.recognition.tables import face_dict
from gradio_ui.recognition.tracker import TrackedFace
from gradio_ui.views.batch_results import caption, kinds, results
from gradio_ui.views.blur import KEPT, blur_before, blur_faces
from gradio_ui.views.comparison import comparison
from gradio_ui.views.plots import spread

LABELS = ("happy", "<sad>")


def face(happy: float, box: tuple[float, ...] = (0, 0, 10, 10)) -> dict[str, Any]:
    label = LABELS[happy < 0.5]
    return face_dict(1, box, 0.9, label, LABELS, (happy, 1 - happy), 0.6)


def test_captions_count_expressions() -> None:
    entry = {"file": "a.png", "faces": [face(0.9), face(0.1), face(0.8), face(0.55)]}
    assert caption(entry) == "2 happy, 1 <sad>, 1 unclear · a.png"
    assert caption(entry | {"faces": []}) == "no face · a.png"
    assert kinds({"file": "a", "error": "broken"}) == ["not read"]


def test_the_table_escapes_and_numbers_images() -> None:
    entries = [
        {"file": "<b>.png", "faces": [face(0.9), face(0.1)]},
        {"file": "x", "error": "<i>"},
        {"file": "c", "faces": []},
    ]
    html = results(entries, LABELS)
    assert "<b>" not in html and "<i>" not in html and "<sad>" not in html
    assert html.count("<tr") == 4 and html.count("data-open=") == 2 and 'data-open="1">c' in html
    assert html.count("data-kind=") == 4


def test_a_blurred_face_cannot_be_read() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    blurred = blur_faces(frame, [(40, 30, 80, 70), (-20, -20, -5, -5), (150, 110, 200, 200)])
    assert (blurred[:20, :30] == frame[:20, :30]).all() and blurred.shape == frame.shape
    assert blurred[35:65, 45:75].std() < frame[35:65, 45:75].std() / 3
    assert blurred[115:, 155:].std() < frame[115:, 155:].std() / 2


def test_a_lost_face_stays_blurred_for_a_while() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    row = np.full(2, 0.5, np.float32)
    seen = TrackedFace(0.0, 1, [10.0, 10.0, 50.0, 50.0], 0.9, "happy", row, row, False, "happy")
    draw = blur_before(lambda image, _: image)
    draw(frame, [seen])
    after = [bool((draw(frame, []) != frame).any()) for _ in range(KEPT + 1)]
    assert after == [True] * KEPT + [False]


def test_two_models_are_compared_by_place() -> None:
    first = {"threshold": 0.6, "faces": [face(0.9), face(0.1, (50, 0, 60, 10))]}
    second = {"threshold": 0.6, "faces": [face(0.2, (51, 0, 61, 10)), face(0.2, (1, 0, 11, 10))]}
    assert "do not say the same" in comparison(("one", first), ("other", second), 0)
    assert "Both say &lt;sad&gt;" in comparison(("one", first), ("other", second), 1)
    assert "no result for this face" in comparison(("one", first), ("other", second | {"faces": []}), 0)


def test_labels_of_lines_are_spread_in_order() -> None:
    placed = spread([0.02, 0.9, 0.0, 0.01], 0.1)
    assert placed == [0.2, 0.9, 0.0, 0.1]
    top = spread([1.0, 0.99], 0.1)
    assert top == [1.0, 0.9]
