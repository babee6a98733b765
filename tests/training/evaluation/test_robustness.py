from dataclasses import replace

import numpy as np
import pytest
from skimage.data import astronaut

from tests.support.tiny_run import make_run
from training.data.load import load_fer
from training.errors import EvaluationError
from training.evaluation.predictions import classify
from training.evaluation.robustness import CORRUPTIONS, robustness
from training.network.build import load_model
from training.reporting.figures import robustness_figure


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
    with pytest.raises(EvaluationError, match="robustness_pictures: expected at least 1, got 0"):
        robustness(*model, predictions, split="validation", count=0)


def test_figure_names_the_highest_severity(measured):
    table = measured[2]
    rows = [replace(row, accuracy=0.123) if n == 3 else row for n, row in enumerate(table.rows)]  # the strongest blur
    drawing = robustness_figure(replace(table, rows=rows))
    assert len(drawing.figure.axes) == len(CORRUPTIONS) and "blur 0.123" in drawing.alt
