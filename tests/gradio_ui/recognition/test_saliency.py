"""Saliency maps depend on the label, the image and the weights, and leave the model as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradio_ui.recognition import Classifier, EmotionRecognizer, SaliencyError
from gradio_ui.recognition.saliency import occlusion_map
from tests.support.model_fixtures import LABELS


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT with random weights and 36 patches."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=48,
        patch_size=8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        initializer_range=0.2,
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
    )
    folder = tmp_path_factory.mktemp("vit")
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 48, "width": 48}, resample=2).save_pretrained(folder)
    return folder


@pytest.fixture(params=["convnext", "vit"])
def classifier(request: pytest.FixtureRequest, model_folder: Path, vit_folder: Path) -> Classifier:
    return load(vit_folder if request.param == "vit" else model_folder)


def load(folder: Path) -> Classifier:
    return Classifier.from_pretrained(folder, "cpu", backend="torch")


@pytest.fixture(scope="module")
def face(portrait: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(portrait[40:200, 150:300])


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation of two maps."""
    ranks = [np.argsort(np.argsort(m.ravel())) for m in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def test_a_map_for_every_label_and_each_its_own(classifier: Classifier, face: np.ndarray) -> None:
    maps = [classifier.saliency(face, label) for label in LABELS]
    for heat in maps:
        assert heat.shape == face.shape[:2] and heat.dtype == np.float32
        assert heat.min() >= 0 and heat.max() in (0, pytest.approx(1))
    assert sum(heat.max() > 0 for heat in maps) >= 5
    assert np.mean([alike(a, b) for i, a in enumerate(maps) for b in maps[:i]]) < 0.9


def shuffle_weights(classifier: Classifier) -> None:
    import torch

    torch.manual_seed(1)
    with torch.no_grad():
        for weight in classifier.backend.model.parameters():
            weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))


def test_it_changes_when_the_weights_are_shuffled(classifier: Classifier, face: np.ndarray) -> None:
    """Adebayo et al. 2018: a map that stays the same shows the image, not the model."""
    before = [classifier.saliency(face, label) for label in LABELS]
    shuffle_weights(classifier)
    after = [classifier.saliency(face, label) for label in LABELS]
    assert np.mean([alike(a, b) for a, b in zip(before, after, strict=True)]) < 0.5


def test_occlusion_changes_with_label_and_weights(classifier: Classifier, face: np.ndarray) -> None:
    import torch

    backend = classifier.backend
    pixels = backend.pixel_values([face]).numpy()

    def maps() -> list[np.ndarray]:
        def logits(batch: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return backend.model(torch.from_numpy(batch)).logits.numpy()

        return [occlusion_map(logits, pixels, target) for target in range(len(LABELS))]

    before = maps()
    assert all(heat.shape == (48, 48) and heat.dtype == np.float32 and heat.min() >= 0 for heat in before)
    assert np.mean([alike(a, b) for i, a in enumerate(before) for b in before[:i]]) < 0.9
    shuffle_weights(classifier)
    assert np.mean([alike(a, b) for a, b in zip(before, maps(), strict=True)]) < 0.5


def test_occlusion_marks_what_speaks_for_a_label() -> None:
    """Output 0 is raised by the brightness of one corner, and lowered by that of another."""
    pixels = np.zeros((1, 3, 48, 64), np.float32)
    pixels[..., 4:12, 8:16] = pixels[..., 36:44, 48:56] = 1

    def logits(batch: np.ndarray) -> np.ndarray:
        score = batch[..., 4:12, 8:16].mean(axis=(1, 2, 3)) - batch[..., 36:44, 48:56].mean(axis=(1, 2, 3))
        return np.stack([60 + score, -score], axis=1)  # a probability of 1 in float32

    for_it, against = (occlusion_map(logits, pixels, target) for target in (0, 1))
    row, column = np.unravel_index(for_it.argmax(), for_it.shape)
    assert 4 <= row < 12 and 8 <= column < 16
    assert for_it[36:44, 48:56].max() == 0 == against[4:12, 8:16].max()
    assert against[36:44, 48:56].max() > 0.1
    assert np.median(for_it) < 0.01 * for_it.max()


def test_the_served_map_shows_the_smile_without_torch(root: Path) -> None:
    """In a fresh process: PyTorch would add 400 MB to the server."""
    code = """
import sys
from skimage.data import astronaut
from gradio_ui.recognition import EmotionRecognizer
recognizer = EmotionRecognizer.from_pretrained("model_card/fer2013")
crop, heat = recognizer.explain(astronaut(), 0, "happy")
assert heat.shape == crop.shape[:2] and heat.dtype == "float32" and heat.min() == 0 and heat.max() == 1
row, column = (heat >= 0.5).nonzero()
assert row.mean() > 0.65 * len(heat), "the mouth is in the lower third"
assert not {"torch", "transformers", "captum"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=120)


def test_it_leaves_the_model_as_it_was(classifier: Classifier, face: np.ndarray) -> None:
    model = classifier.backend.model
    before, attention = classifier([face]), model.config._attn_implementation
    classifier.saliency(face, "happy")
    assert np.array_equal(classifier([face]), before)
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert model.config._attn_implementation == attention


def test_convnext_maps_move_with_the_image(model_folder: Path) -> None:
    """Noise on gray that moves by whole cells of the last grid (8 pixels) moves the map by as much, edges aside."""
    classifier = load(model_folder)
    classifier.backend.image_processor.size = {"height": 384, "width": 384}  # 48 cells, far more than a kernel's 7
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)

    def around(top: int, left: int, heat: np.ndarray) -> np.ndarray:
        return heat[top - 32 : top + 80, left - 32 : left + 80]

    def heat(top: int, left: int) -> np.ndarray:
        crop = np.full((384, 384, 3), 128, np.uint8)
        crop[top : top + 48, left : left + 48] = noise
        return classifier.saliency(crop, "happy")

    start, down, right = heat(160, 160), heat(192, 160), heat(160, 192)
    here = around(160, 160, start)
    assert alike(around(192, 160, down), here) > 0.95 > alike(around(160, 160, down), here)
    assert alike(around(160, 192, right), here) > 0.95 > alike(around(160, 160, right), here)


def test_vit_patches_keep_their_place(vit_folder: Path, face: np.ndarray) -> None:
    """Without position embeddings, two patches that change places do so in the map, and nothing else changes."""
    import torch

    classifier = load(vit_folder)
    with torch.no_grad():
        classifier.backend.model.vit.embeddings.position_embeddings.zero_()
    crop = np.ascontiguousarray(face[:48, :48])
    swapped = crop.copy()
    swapped[0:8, 8:16], swapped[40:48, 16:24] = crop[40:48, 16:24], crop[0:8, 8:16]
    # The middles of 8 x 8 patches would be between two pixels; each patch's mean serves as well.
    one, two = (classifier.saliency(c, "sad").reshape(6, 8, 6, 8).mean(axis=(1, 3)) for c in (crop, swapped))
    assert two[0, 1] - one[0, 1] == pytest.approx(one[5, 2] - two[5, 2], rel=0.35)
    assert abs(two - one)[1:4, 3:].max() < 0.01 < abs(two - one)[0, 1]


def test_other_labels_and_models_are_refused(model_folder: Path, face: np.ndarray) -> None:
    classifier = load(model_folder)
    with pytest.raises(SaliencyError, match=r"expected one of angry, .* got 'joy'"):
        classifier.saliency(face, "joy")
    classifier.backend.model.config.model_type = "resnet"
    with pytest.raises(SaliencyError, match=r"convnext, convnextv2, vit .* got resnet"):
        classifier.saliency(face, "happy")


def test_the_recognizer_explains_the_face_it_found(model_folder: Path, portrait: np.ndarray) -> None:
    recognizer = EmotionRecognizer.from_pretrained(model_folder, detector="yunet")
    crop, heat = recognizer.explain(portrait, 0, "happy")
    left, top, right, bottom = recognizer(portrait).faces.xyxy[0]
    assert crop.shape[0] == pytest.approx(max(right - left, bottom - top) * 1.05, abs=2)  # crop_margin of yunet: 0.05
    assert heat.shape == crop.shape[:2]
    whole, _ = recognizer.explain(portrait, 0, "happy", whole_image=True)
    assert np.array_equal(whole, portrait)
    with pytest.raises(SaliencyError, match="one of 1 faces, counted from 0, got 1"):
        recognizer.explain(portrait, 1, "happy")
