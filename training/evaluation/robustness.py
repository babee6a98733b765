"""Accuracy under eight corruptions at four severities, applied to the image before it is processed.

Severities are relative to the image or absolute for the face, so they mean the same for any dataset of cropped faces.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from training.errors import EvaluationError
from training.evaluation.metrics import CORE, compute
from training.evaluation.results import CoreMetrics, CorruptionMetrics, Robustness

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

    from training.evaluation.predictions import Predictions

SEED = 0
Apply = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]  # (h, w, 3) uint8 RGB to the same


@dataclass(frozen=True)
class Corruption:
    """A corruption of images.

    Attributes:
        title: for people.
        unit: of the severities.
        severities: the mildest first.
        apply: (h, w, 3) uint8 RGB image, severity, random numbers -> the corrupted image.
    """

    title: str
    unit: str
    severities: tuple[float, ...]
    apply: Apply


def blur(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur; severity: sigma as a share of the shorter side."""
    from scipy.ndimage import gaussian_filter

    sigma = severity * min(image.shape[:2])
    return gaussian_filter(image, (sigma, sigma, 0), mode="nearest")


def noise(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, equal in all channels; severity: its standard deviation as a share of white."""
    return _uint8(image + rng.normal(0, 255 * severity, (*image.shape[:2], 1)))


def low_light(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Low light with its photon noise; severity: the share of light left, so smaller is stronger."""
    photons = 1000  # that make white in full light
    return _uint8(rng.poisson(image / 255 * photons * severity) / photons * 255)


def low_resolution(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Downsampling, then upsampling; severity: the shorter side in between, in pixels, so smaller is stronger."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = min(1.0, severity / min(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = Image.fromarray(image).resize(small, Image.Resampling.BOX)
    return np.asarray(shrunk.resize((width, height), Image.Resampling.BICUBIC))


def jpeg(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG compression; severity: the quality, 1-95, so smaller is stronger."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(severity))
    return np.asarray(Image.open(file))


def rotation(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Rotation to a random side; severity: the angle in degrees."""
    from scipy.ndimage import rotate

    return rotate(image, severity * rng.choice((-1, 1)), reshape=False, order=1, mode="nearest")


def occlusion(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A gray rectangle of the image's shape at a random place; severity: its share of the area."""
    sides = np.round(np.sqrt(severity) * np.array(image.shape[:2])).astype(int)
    top, left = rng.integers(0, image.shape[:2] - sides, endpoint=True)
    result = image.copy()
    result[top : top + sides[0], left : left + sides[1]] = 127
    return result


def crop_shift(image: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Shift in a random direction, edges repeated; severity: the distance as a share of the shorter side."""
    from scipy.ndimage import shift

    angle = rng.uniform(0, 2 * np.pi)
    offset = severity * min(image.shape[:2]) * np.array([np.sin(angle), np.cos(angle)])
    return shift(image, (*offset, 0), order=1, mode="nearest")


CORRUPTIONS = {
    "blur": Corruption("Blur", "sigma, share of the side", (0.01, 0.02, 0.04, 0.06), blur),
    "noise": Corruption("Noise", "deviation, share of white", (0.03, 0.06, 0.12, 0.2), noise),
    "low_light": Corruption("Low light", "share of the light left", (0.5, 0.25, 0.12, 0.06), low_light),
    "low_resolution": Corruption("Low resolution", "side in pixels", (32, 24, 16, 12), low_resolution),
    "jpeg": Corruption("JPEG", "quality", (50, 30, 15, 5), jpeg),
    "rotation": Corruption("Rotation", "degrees, left or right", (10, 20, 30, 45), rotation),
    "occlusion": Corruption("Occlusion", "share of the area hidden", (0.05, 0.1, 0.2, 0.3), occlusion),
    "crop_shift": Corruption("Crop shift", "share of the side", (0.05, 0.1, 0.15, 0.2), crop_shift),
}


def robustness(
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    predictions: Predictions,
    *,
    split: str,
    head: str = "fer2013",
    count: int | None = None,
) -> Robustness:
    """Measure a model under every corruption at every severity.

    Args:
        model: the one that gave `predictions`.
        image_processor: the one saved with it.
        predictions: of the clean images.
        split: recorded in the result.
        head: recorded in the result.
        count: number of images, drawn at random; None for all.

    Raises:
        EvaluationError: `count` is below 1.
    """
    from tqdm.auto import tqdm

    from training.evaluation.predictions import labels_of, predict

    if count is not None and count < 1:
        raise EvaluationError(f"robustness_images: expected at least 1, got {count}")
    total = len(predictions.images)
    chosen = np.sort(np.random.default_rng(SEED).permutation(total)[:count])
    images, y = predictions.images.select(chosen).select_columns("image"), predictions.references[chosen]

    def score(logits: np.ndarray) -> dict[str, float]:
        return compute(softmax(logits, axis=1), y, predictions.labels, CORE)[0]

    columns = [labels_of(model).index(label) for label in predictions.labels]
    trials = [(name, severity) for name, corruption in CORRUPTIONS.items() for severity in corruption.severities]
    rows = []
    for name, severity in tqdm(trials, desc="corrupting", unit="trial", disable=None):
        corrupted = images.with_transform(_transform(CORRUPTIONS[name].apply, severity))
        logits = predict(model, image_processor, corrupted)[0][:, columns]
        rows.append(
            CorruptionMetrics(**score(logits), corruption=name, severity=severity, unit=CORRUPTIONS[name].unit)
        )
    clean = CoreMetrics(**score(predictions.logits[0, chosen]))
    return Robustness(head=head, split=split, images=len(y), seed=SEED, clean=clean, rows=rows)


def _transform(apply: Apply, severity: float) -> Callable[[dict[str, list[Any]]], dict[str, list[Any]]]:
    """Return a transform of batches, read once from front to end so that the seed fixes every image."""
    from PIL import Image
    from transformers.image_utils import load_image

    rng = np.random.default_rng(SEED)

    def transform(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        images = (np.asarray(load_image(image)) for image in batch["image"])
        return {"image": [Image.fromarray(apply(image, severity, rng)) for image in images]}

    return transform


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
