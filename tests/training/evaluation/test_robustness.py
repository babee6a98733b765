import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm
from skimage.data import astronaut

from tests.support.tiny_run import make_run
from training.data.load import load_fer
from training.errors import EvaluationError
from training.evaluation import robustness as module
from training.evaluation.predictions import classify
from training.evaluation.robustness import CORRUPTIONS, Corruption, robustness
from training.network.build import load_model
from training.reporting.robustness_figure import robustness_figure


@pytest.fixture(scope="module")
def measured(tiny_csv, tmp_path_factory):
    """A model, what it says of 14 pictures, and its table."""
    model = load_model(make_run(tmp_path_factory.mktemp("run")))
    predictions = classify(*model, load_fer(tiny_csv), split="validation")
    return model, predictions, robustness(*model, predictions, split="validation")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_damage_grows_with_severity(name):
    face = astronaut()[62:182, 166:276]
    damage = []
    for severity in CORRUPTIONS[name].severities:
        corrupted = CORRUPTIONS[name].apply(face, severity, np.random.default_rng(0))
        assert corrupted.shape == face.shape and corrupted.dtype == np.uint8
        damage.append(np.abs(corrupted.astype(float) - face).mean())
    assert damage[0] > 0.5 and damage == sorted(damage)


def test_table_has_every_severity_and_the_clean(measured):
    _, predictions, table = measured
    assert {(row.corruption, row.severity) for row in table.rows} == {
        (name, severity) for name, corruption in CORRUPTIONS.items() for severity in corruption.severities
    }
    hits = predictions.logits[0].argmax(axis=1) == predictions.references
    assert table.clean.accuracy == pytest.approx(hits.mean())
    assert (table.images, table.head, table.split) == (14, "fer2013", "validation")
    assert len({row.balanced_accuracy for row in table.rows}) > 1  # the pictures did change


def test_seed_gives_the_same_table_again(measured):
    model, predictions, table = measured
    assert robustness(*model, predictions, split="validation") == table


def test_subset_is_drawn_and_counted(measured):
    model, predictions, _ = measured
    assert robustness(*model, predictions, split="validation", count=5).images == 5
    with pytest.raises(EvaluationError, match="robustness_images: expected at least 1, got 0"):
        robustness(*model, predictions, split="validation", count=0)


def test_figure_names_the_highest_severity(measured):
    table = measured[2]
    rows = [replace(row, accuracy=0.123) if n == 3 else row for n, row in enumerate(table.rows)]  # the strongest blur
    drawing = robustness_figure(replace(table, rows=rows))
    assert len(drawing.figure.axes) == len(CORRUPTIONS) and "blur 0.123" in drawing.alt


def corrupt(name, image, severity, seed=0):
    return CORRUPTIONS[name].apply(image, severity, np.random.default_rng(seed)).astype(float)


def center_of(image):
    weights = image[..., 0] / image[..., 0].sum()
    rows, columns = np.indices(weights.shape)
    return np.array([(weights * rows).sum(), (weights * columns).sum()])


def test_blur_is_gaussian_over_the_shorter_side():
    edge = np.zeros((100, 200, 3), np.uint8)
    edge[:, 100:] = (200, 100, 50)  # channels of their own, which must not mix
    blurred = corrupt("blur", edge, 0.04)
    expected = norm.cdf((np.arange(200) - 99.5) / 4)  # sigma: 4 % of 100 pixels
    for channel, top in enumerate((200, 100, 50)):
        np.testing.assert_allclose(blurred[50, :, channel], top * expected, atol=2)


def test_noise_is_gray_with_the_deviation_asked_for():
    gray = np.full((200, 300, 3), 128, np.uint8)
    difference = corrupt("noise", gray, 0.06) - 128
    assert difference.std() == pytest.approx(0.06 * 255, rel=0.02) and abs(difference.mean()) < 0.2
    assert (difference == difference[..., :1]).all()
    assert corrupt("noise", gray * 0, 0.2).min() == 0  # clipped, not wrapped around


def test_low_light_has_the_noise_of_its_photons():
    gray = np.full((200, 300, 3), 200, np.uint8)
    dark = corrupt("low_light", gray, 0.25)
    photons = 200 / 255 * 1000 * 0.25
    assert dark.mean() == pytest.approx(50, rel=0.01)
    assert dark.std() == pytest.approx(np.sqrt(photons) / 1000 * 255, rel=0.03)


def test_low_resolution_averages_and_never_enlarges():
    checkers = np.uint8(np.indices((48, 72)).sum(axis=0) % 2 * 255)[..., None].repeat(3, axis=2)
    assert set(np.unique(corrupt("low_resolution", checkers, 24))) <= {127, 128}
    assert (corrupt("low_resolution", checkers, 64) == checkers).all()


def test_jpeg_has_the_quality_asked_for():
    face = astronaut()[62:182, 166:276]
    file = io.BytesIO()
    Image.fromarray(face).save(file, "JPEG", quality=15)
    assert (corrupt("jpeg", face, 15) == np.asarray(Image.open(file))).all()


def test_rotation_goes_both_ways_by_the_angle():
    image = np.zeros((81, 81, 3), np.uint8)
    image[38:43, 68:73] = 255  # 30 pixels right of the center
    angles = set()
    for seed in range(8):
        down, right = center_of(corrupt("rotation", image, 30, seed)) - 40
        assert np.hypot(down, right) == pytest.approx(30, abs=0.3)
        angles.add(round(np.degrees(np.arctan2(down, right))))
    assert angles == {30, -30}


def test_occlusion_hides_the_share_of_the_area():
    white = np.full((100, 60, 3), 255, np.uint8)
    corners = set()
    for seed in range(5):
        hidden = (corrupt("occlusion", white, 0.2, seed) == 127).all(axis=2)
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert hidden.sum() == len(rows) * len(columns)  # one rectangle
        assert hidden.mean() == pytest.approx(0.2, abs=0.01)
        assert len(rows) / len(columns) == pytest.approx(100 / 60, rel=0.03)
        corners.add((rows[0], columns[0]))
    assert len(corners) == 5 and (white == 255).all()  # the image itself is untouched


def test_shift_has_the_length_and_any_direction():
    image = np.zeros((80, 120, 3), np.uint8)
    image[38:42, 58:62] = 255
    moves = [center_of(corrupt("crop_shift", image, 0.1, seed)) - (39.5, 59.5) for seed in range(12)]
    assert [np.hypot(*move) for move in moves] == pytest.approx([8] * 12, abs=0.1)  # 10 % of 80 pixels
    assert {(down > 0, right > 0) for down, right in moves} == {(a, b) for a in (True, False) for b in (True, False)}


def test_no_corruption_gives_the_clean_metrics(measured, monkeypatch):
    model, predictions, _ = measured
    monkeypatch.setattr(module, "CORRUPTIONS", {"none": Corruption("None", "times", (1, 2), lambda image, *_: image)})
    table = robustness(*model, predictions, split="validation", head="fer2013", count=5)
    chosen = np.sort(np.random.default_rng(0).permutation(14)[:5])
    hits = (predictions.logits[0].argmax(axis=1) == predictions.references)[chosen]
    assert table.clean.accuracy == pytest.approx(hits.mean())
    for row, severity in zip(table.rows, (1, 2), strict=True):
        assert (row.corruption, row.severity, row.unit) == ("none", severity, "times")
        for name in ("accuracy", "balanced_accuracy", "macro_f1"):
            assert getattr(row, name) == getattr(table.clean, name)
