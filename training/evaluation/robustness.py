"""Accuracy on spoilt pictures: eight kinds of harm, four strengths each, done to the picture before it is processed.

Strengths are relative to the picture or absolute for the face, so they mean the same for any dataset of cut-out faces.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from training.errors import EvaluationError
from training.evaluation.metrics import Accuracy, BalancedAccuracy, MacroF1, compute, softmax
from training.reporting.plot_style import BLUE, MUTED, Drawing, new_figure, styled

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

    from training.evaluation.predictions import Predictions

SEED = 0
Spoil = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]  # (h, w, 3) uint8 RGB to the same


@dataclass(frozen=True)
class Corruption:
    """One kind of harm.

    Attributes:
        title: for people.
        unit: of the strengths.
        strengths: the mildest first.
        spoil: what it does to an (h, w, 3) uint8 RGB picture.
    """

    title: str
    unit: str
    strengths: tuple[float, ...]
    spoil: Spoil


def blur(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur; strength is sigma as a share of the shorter side."""
    from scipy.ndimage import gaussian_filter

    sigma = strength * min(picture.shape[:2])
    return gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")


def noise(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, the same in all channels; strength is its deviation as a share of white."""
    return _uint8(picture + rng.normal(0, 255 * strength, (*picture.shape[:2], 1)))


def low_light(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Less light and, what comes with it, photon noise; strength is the share of light left."""
    photons = 1000  # that make white in full light
    return _uint8(rng.poisson(picture / 255 * photons * strength) / photons * 255)


def low_resolution(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Shrunk, then enlarged again; strength is the shorter side in between, in pixels."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = min(1.0, strength / min(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
    return np.asarray(shrunk.resize((width, height), Image.Resampling.BICUBIC))


def jpeg(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG; strength is the quality, 1-95."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(strength))
    return np.asarray(Image.open(file))


def rotation(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Turned left or right; strength is the angle in degrees."""
    from scipy.ndimage import rotate

    return rotate(picture, strength * rng.choice((-1, 1)), reshape=False, order=1, mode="nearest")


def occlusion(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A grey rectangle of the picture's shape, anywhere; strength is its share of the area."""
    sides = np.round(np.sqrt(strength) * np.array(picture.shape[:2])).astype(int)
    top, left = rng.integers(0, picture.shape[:2] - sides, endpoint=True)
    result = picture.copy()
    result[top : top + sides[0], left : left + sides[1]] = 127
    return result


def crop_shift(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Moved in a random direction, edges repeated; strength is the way as a share of the shorter side."""
    from scipy.ndimage import shift

    angle = rng.uniform(0, 2 * np.pi)
    way = strength * min(picture.shape[:2]) * np.array([np.sin(angle), np.cos(angle)])
    return shift(picture, (*way, 0), order=1, mode="nearest")


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
) -> dict[str, Any]:
    """Measure a model on spoilt pictures.

    Args:
        model: the one that gave `predictions`.
        image_processor: the one saved with it.
        predictions: of the pictures as they are.
        split: to be told in the report.
        head: to be told in the report.
        count: take only so many pictures, drawn at random, to save time.

    Returns:
        The report's `robustness`: where it was measured, the metrics of the same pictures unspoilt, and a row for each
        corruption and strength.

    Raises:
        EvaluationError: if `count` is below 1.
    """
    from tqdm.auto import tqdm

    from training.evaluation.predictions import labels_of, predict

    if count is not None and count < 1:
        raise EvaluationError(f"robustness_pictures: expected at least 1, got {count}")
    total = len(predictions.pictures)
    chosen = np.sort(np.random.default_rng(SEED).permutation(total)[:count])
    pictures, y = predictions.pictures.select(chosen).select_columns("image"), predictions.references[chosen]

    def score(logits: np.ndarray) -> dict[str, float]:
        metrics = (Accuracy, BalancedAccuracy, MacroF1)
        return compute(softmax(logits), y, predictions.labels, metrics)[0]

    columns = [labels_of(model).index(label) for label in predictions.labels]
    trials = [(name, strength) for name, corruption in CORRUPTIONS.items() for strength in corruption.strengths]
    rows = []
    for name, strength in tqdm(trials, desc="spoiling", unit="trial"):
        spoilt = pictures.with_transform(_spoiler(CORRUPTIONS[name].spoil, strength))
        logits = predict(model, image_processor, spoilt)[0][:, columns]
        rows.append({"corruption": name, "strength": strength, "unit": CORRUPTIONS[name].unit, **score(logits)})
    unspoilt = score(predictions.logits[0, chosen])
    return {"head": head, "split": split, "pictures": len(y), "seed": SEED, "unspoilt": unspoilt, "rows": rows}


def _spoiler(spoil: Spoil, strength: float) -> Callable[[dict[str, list[Any]]], dict[str, list[Any]]]:
    """A transform of a dataset's batches, read once from front to end so that the seed fixes every picture."""
    from PIL import Image
    from transformers.image_utils import load_image

    rng = np.random.default_rng(SEED)

    def transform(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        pictures = (np.asarray(load_image(image)) for image in batch["image"])
        return {"image": [Image.fromarray(spoil(picture, strength, rng)) for picture in pictures]}

    return transform


@styled
def robustness_figure(table: dict[str, Any]) -> Drawing:
    """Accuracy against strength, a panel for each kind of harm.

    Args:
        table: as `robustness` gives it.
    """
    clean = table["unspoilt"]["accuracy"]
    where = f"{table['head']}, {table['split']}, {table['pictures']:,} pictures; dotted: the same pictures unspoilt"
    figure, panels = new_figure("Accuracy on spoilt pictures", where, 4.9, 2, 4, sharey=True)
    told = []
    for axes, (name, corruption) in zip(panels.flat, CORRUPTIONS.items(), strict=True):
        accuracy = [row["accuracy"] for row in table["rows"] if row["corruption"] == name]
        axes.axhline(clean, color=MUTED, linestyle=":", linewidth=1.2)
        axes.plot(accuracy, "o-", color=BLUE)
        axes.set_xticks(range(len(accuracy)), [f"{strength:g}" for strength in corruption.strengths])
        axes.set(title=corruption.title, ylim=(0, 1), xlim=(-0.4, len(accuracy) - 0.6))
        axes.set_xlabel(corruption.unit, fontsize=9)
        axes.annotate(
            f"{accuracy[-1]:.2f}",
            (len(accuracy) - 1, accuracy[-1]),
            (0, -17 if accuracy[-1] > 0.15 else 7),
            textcoords="offset points",
            ha="center",
        )
        told.append(f"{corruption.title.lower()} {accuracy[-1]:.3f}")
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy")
    alt = f"Accuracy on spoilt pictures. Unspoilt {clean:.3f}; at the strongest harm: " + ", ".join(told) + "."
    return Drawing("robustness", "Accuracy on spoilt pictures", alt, figure)


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
