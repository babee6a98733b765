"""The engine's pixels and probabilities are those of `pipeline`, and a broken model says what is wrong with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gradio_ui.recognition import Classifier, ModelError, resolve_model
from gradio_ui.recognition import classifier as classifier_module
from tests.support.model_fixtures import LABELS


@pytest.fixture(scope="module")
def classifier(model_folder: Path) -> Classifier:
    return Classifier.from_pretrained(model_folder)


@pytest.fixture
def broken(model_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the model folder with values of a JSON file changed."""

    def change(file: str = "config.json", **values: object) -> Path:
        folder = shutil.copytree(model_folder, tmp_path / "model", dirs_exist_ok=True)
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | values))
        return folder

    return change


@pytest.fixture(scope="module")
def crops(portrait: np.ndarray) -> list[np.ndarray]:
    """Of several sizes, one so low that its shape could be read as channels first."""
    sizes = ((120, 120), (48, 48), (300, 200), (3, 9))
    return [np.ascontiguousarray(portrait[60 : 60 + h, 170 : 170 + w]) for h, w in sizes]


def test_labels_and_margins_come_from_the_config(classifier: Classifier) -> None:
    assert classifier.labels == LABELS
    assert classifier.crop_margin == {"yunet": 0.05, "haar": -0.1}


def test_agrees_with_the_pipeline(classifier: Classifier, model_folder: Path, crops: list[np.ndarray]) -> None:
    from PIL import Image
    from transformers import pipeline

    stock = pipeline("image-classification", model=str(model_folder), top_k=7)
    ours = classifier(crops)
    assert ours.dtype == np.float32
    assert np.allclose(ours.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(ours, axis=0).max() > 0.1  # different crops, different answers
    for row, crop in zip(ours, crops, strict=True):
        scores = {entry["label"]: entry["score"] for entry in stock(Image.fromarray(crop))}
        assert np.allclose(row, [scores[label] for label in LABELS], atol=1e-5)


def test_batches_change_nothing(
    classifier: Classifier, crops: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = classifier(crops)
    monkeypatch.setattr(classifier_module, "BATCH_SIZE", 3)
    assert np.allclose(classifier(crops), together, atol=1e-6)
    assert classifier([]).shape == (0, 7)


def test_labels_follow_their_numbers_not_their_place(broken: Callable[..., Path]) -> None:
    folder = broken(id2label={str(i): LABELS[i] for i in reversed(range(7))})
    assert Classifier.from_pretrained(folder).labels == LABELS


def test_a_checkpoint_without_margins_gets_defaults(broken: Callable[..., Path]) -> None:
    assert Classifier.from_pretrained(broken(crop_margin={})).crop_margin == {"yunet": 0.0}


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config.json", {"id2label": {str(i): f"LABEL_{i}" for i in range(7)}}, "no expression classifier.*LABEL_0"),
        ("config.json", {"crop_margin": 0.2}, "crop_margin in config.json is 0.2"),
        ("config.json", {"crop_margin": {"yunet": -1}}, "crop_margin"),
        ("config.json", {"model_type": "nonsense"}, "cannot be loaded"),
        ("config.json", {"depths": [1, 1, 2]}, "lacks"),
        ("config.json", {"hidden_sizes": [16, 32, 32]}, "has other shapes"),
        ("config.json", {"num_channels": 1}, "has other shapes"),
        ("preprocessor_config.json", {"image_mean": [0.5], "image_std": [0.2]}, "does not fit the model"),
    ],
)
def test_wrong_configs_are_refused(broken: Callable[..., Path], file: str, values: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Classifier.from_pretrained(broken(file, **values))


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_corrupt_and_missing_files_are_refused(broken: Callable[..., Path], file: str) -> None:
    path = broken() / file
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match=f"{file} is damaged"):
        Classifier.from_pretrained(resolve_model(path.parent).folder)
    path.unlink()
    with pytest.raises(ModelError, match=f"lacks {file}"):
        resolve_model(path.parent)
