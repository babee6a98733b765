"""Drawing, bars, tables, downloads and the card: what the page is made of."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradio_ui.language import t
from gradio_ui.recognition.palette import COLORS, text_color
from gradio_ui.recognition.types import Recognition
from gradio_ui.tabs.about import model_card
from gradio_ui.tabs.image import as_result
from gradio_ui.views import html as charts
from gradio_ui.views.comparison import face_bars, has_face
from gradio_ui.views.examples import example_images
from gradio_ui.views.face_labels import annotate, heat_overlay
from tests.support.app_fixtures import FakeRecognizer


@pytest.fixture
def two(fake: FakeRecognizer) -> Recognition:
    return fake(np.full((200, 400, 3), 255, np.uint8))


def test_annotate_draws_on_a_copy(two: Recognition) -> None:
    frame = np.full((200, 400, 3), 128, np.uint8)
    drawn = annotate(frame, two)
    assert (frame == 128).all()
    assert drawn.shape == (240, 480, 3) and drawn.dtype == np.uint8
    for box, (label, _) in zip((two.faces.xyxy * 1.2).round().astype(int), two.top(), strict=True):
        color = [int(COLORS[label][i : i + 2], 16) for i in (1, 3, 5)]
        assert drawn[(box[1] + box[3]) // 2, box[0]].tolist() == color


def test_an_unclear_face_has_a_dashed_box(two: Recognition) -> None:
    """White and black by turns: its box speaks for no expression, whatever the color vision."""
    drawn = annotate(np.full((200, 400, 3), 128, np.uint8), two, threshold=0.9)
    left, top, _, bottom = (two.faces.xyxy[0] * 1.2).round().astype(int)
    edge = drawn[top + 4 : bottom - 4, left]
    assert {tuple(pixel) for pixel in edge.tolist()} == {(0, 0, 0), (255, 255, 255)}


def test_a_button_lies_over_every_face(two: Recognition) -> None:
    html = charts.image(np.zeros((100, 200, 3), np.uint8), "Faces", two.to_dicts(threshold=0.8), two.size)
    assert html.count("data-face=") == 2 and html.count('aria-pressed="true"') == 1
    assert "left:10.00%;top:25.00%;width:30.00%;height:50.00%" in html
    assert 'aria-label="Face 1 · unclear: happy or angry"' in html


@pytest.mark.parametrize("shape", [(48, 48, 3), (20, 300, 3), (2000, 1500, 3)])
def test_annotate_takes_boxes_beyond_the_edge(fake: FakeRecognizer, shape: tuple[int, ...]) -> None:
    frame = np.zeros(shape, np.uint8)
    recognition = fake(frame, whole_image=True)
    recognition.faces.xyxy[0, :2] -= 30
    assert annotate(frame, recognition).any()


def test_label_text_has_contrast() -> None:
    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for color in COLORS.values():
        low, high = sorted((luminance(color), luminance(text_color(color))))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2 AA


def test_bars_are_sorted_and_escaped() -> None:
    html = charts.bars({"sad": 0.25, "<b>": 0.75})
    assert "<b>" not in html
    assert html.index("75.0%") < html.index("25.0%")


def test_the_heat_map_brightens_over_the_face() -> None:
    crop = np.full((8, 11, 3), 128, np.uint8)
    crop[4:] = 40
    drawn = heat_overlay(crop, np.linspace(0, 1, 11, dtype=np.float32)[None].repeat(8, axis=0))
    luma = drawn @ np.array([0.299, 0.587, 0.114])
    assert drawn.shape == crop.shape and drawn.dtype == np.uint8
    assert (np.diff(luma, axis=1) > 0).all(), "more heat is always brighter"
    assert (luma[0] > luma[-1] + 20).all(), "the face still shows"


def test_saliency_names_the_label_and_escapes_it() -> None:
    crop, heat = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32)
    shown = charts.saliency(crop, heat, "<b>")
    assert "<b>" not in shown and shown.count("<img") == 2 and "not show why" in shown
    assert "No part of this face speaks for" in charts.saliency(crop, heat * 0, "fear")


def test_table_and_bars_follow_the_faces(two: Recognition) -> None:
    result = as_result(two)
    assert charts.table(result["faces"]).count('<th scope="row">') == 2
    assert "face 2" in face_bars(result, 1)
    assert [has_face(result, index) for index in (0, 1, 2, -1, None, "1", True)] == [True, True, *[False] * 5]


def test_csv_holds_every_probability(two: Recognition) -> None:
    rows = list(csv.DictReader(io.StringIO(charts.to_csv(two.to_dicts()))))
    assert [row["label"] for row in rows] == ["happy", "sad"]
    assert float(rows[1]["sad"]) == pytest.approx(0.7)
    assert sum(float(rows[0][label]) for label in two.labels) == pytest.approx(1)


def test_examples_are_images() -> None:
    images = example_images()
    assert len(images) >= 2
    for name, frame in images.items():
        assert frame.dtype == np.uint8 and min(frame.shape[:2]) > 100
        key = f"image.example.{name}"
        assert f'alt="{t(key)}"' in charts.thumbnail(frame, key)


def test_card_loses_front_matter_keeps_its_images(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "curve.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (folder / "README.md").write_text(
        "---\nlicense: mit\n---\n# Card\n![c](curve.png) ![s](../secret.png) ![w](https://a.b/c.png)"
    )
    card = model_card(folder)
    assert card.startswith("# Card")
    assert "![c](data:image/png;base64," in card
    assert "![s](../secret.png)" in card and "![w](https://a.b/c.png)" in card


def test_no_card_is_no_text(tmp_path: Path) -> None:
    assert model_card(tmp_path) == ""
