"""Deletion curves of saliency maps: how fast the score falls when what a map marks is hidden first.

    python -m tests.benchmarks.saliency --dataset fer2013.csv [--images 200] [--only "4 x 4, patch 0.18"] [--record]

A map is good where it finds what the score rests on. The image is cut into `CELLS` x `CELLS` cells, which are hidden
in the order of the map, the highest first (Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421). The area under the
curve of the label's probability is lower for a better map; cells in random order are what every map has to beat. Cells
are hidden by the image's mean color, as occlusion maps are made, and by a blurred copy, which no map was made with.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import softmax
from tqdm.auto import tqdm

from gradio_ui.recognition.backends import OnnxBackend, TorchBackend
from gradio_ui.recognition.classifier import labels_of
from gradio_ui.recognition.saliency import GRID, PATCH, occlusion_map
from tests.benchmarks.record import ROOT, describe, machine, record

SPLIT = "validation"
SETTINGS = ((4, 0.18), (7, 0.1), (10, 0.07), (14, 0.035), (14, 0.1))  # grid and patch, beside those that are served
CELLS = 12  # along each side: 4 x 4 pixels of a FER-2013 image each
SHARES = np.linspace(0, 1, 10)  # of the cells hidden
BLUR = 0.15  # standard deviation, as a fraction of the image's side
HIDINGS = ("mean", "blur")
SERVED, RANDOM = f"{GRID} x {GRID}, patch {PATCH:g}", "random cells"

Logits = Callable[[np.ndarray], np.ndarray]  # (n, 3, H, W) float32 -> (n, C)
Mapper = Callable[[np.ndarray, int], np.ndarray]  # (1, 3, H, W) float32, output -> (rows, columns)


def deletion_curve(
    logits: Logits, pixels: np.ndarray, hidden: np.ndarray, target: int, heat: np.ndarray
) -> np.ndarray:
    """Measure the probability of an output while cells are hidden in the order of a map.

    Args:
        logits: of the model.
        pixels: (1, 3, H, W) float32.
        hidden: of the same shape, what takes the place of hidden pixels.
        target: index of the output.
        heat: (rows, columns), the map.

    Returns:
        A probability for each of `SHARES`.
    """
    import cv2

    cells = cv2.resize(heat.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    rank = np.empty(CELLS**2, int)
    rank[np.argsort(-cells.ravel(), kind="stable")] = np.arange(CELLS**2)
    height, width = pixels.shape[-2:]
    at = rank.reshape(CELLS, CELLS)[np.arange(height)[:, None] * CELLS // height, np.arange(width) * CELLS // width]
    masks = (at < np.round(SHARES * CELLS**2)[:, None, None])[:, None]
    return softmax(logits(np.where(masks, hidden, pixels)), axis=1)[:, target]


def hidings(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Make what hides pixels (1, 3, H, W): their mean color, and a blurred copy."""
    sigma = BLUR * pixels.shape[-1]
    mean = np.broadcast_to(pixels.mean(axis=(2, 3), keepdims=True), pixels.shape)
    return {"mean": mean, "blur": gaussian_filter(pixels, (0, 0, sigma, sigma), mode="nearest")}


def occlusion(logits: Logits, grid: int, patch: float) -> Mapper:
    """Make the maps of `occlusion_map` with this setting."""
    return lambda pixels, target: occlusion_map(logits, pixels, target, grid=grid, patch=patch)


def grad_cam(model: Any) -> Mapper:
    """Make Grad-CAM maps (Selvaraju et al. 2017) of a ConvNeXt on its last stage, from captum."""
    import torch
    from captum.attr import LayerGradCam

    method = LayerGradCam(lambda pixels: model(pixels).logits, model.base_model.get_submodule("encoder.stages")[-1])

    def heat(pixels: np.ndarray, target: int) -> np.ndarray:
        return method.attribute(torch.from_numpy(pixels), target, relu_attributions=True)[0, 0].detach().numpy()

    return heat


def mappers(logits: Logits, model: Any) -> dict[str, Mapper]:
    """Make every kind of map that is measured, the served one first, of a model in ONNX and in PyTorch."""
    rng = np.random.default_rng(0)
    settings = ((GRID, PATCH), *SETTINGS)
    maps = {f"{grid} x {grid}, patch {patch:g}": occlusion(logits, grid, patch) for grid, patch in settings}
    return maps | {"Grad-CAM": grad_cam(model), RANDOM: lambda pixels, target: rng.random((CELLS, CELLS))}


def deletion_areas(
    logits: Logits, images: Sequence[np.ndarray], maps: dict[str, Mapper]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Measure the area under the deletion curve of each image's most probable label; an interrupt ends it early.

    Args:
        logits: of the model.
        images: (1, 3, H, W) float32 each.
        maps: by name.

    Returns:
        By name of the map, the areas (n,) by name of what hides pixels, and the milliseconds (n,) that the maps took.
    """
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in maps}
    with contextlib.suppress(KeyboardInterrupt):
        for pixels in tqdm(images, unit="image", disable=None):
            target, found = int(logits(pixels).argmax()), {}
            for name, mapper in maps.items():
                start = time.perf_counter()
                heat = mapper(pixels, target)
                found[name] = (1000 * (time.perf_counter() - start),)
                for hidden in hidings(pixels).values():
                    curve = deletion_curve(logits, pixels, hidden, target, heat)
                    found[name] += (float(np.trapezoid(curve, SHARES)),)
            for name, row in found.items():  # an image counts for all maps or for none
                rows[name].append(row)
    columns = {name: np.array(found).T for name, found in rows.items()}
    areas = {name: dict(zip(HIDINGS, column[1:], strict=True)) for name, column in columns.items()}
    return areas, {name: column[0] for name, column in columns.items()}


def interval(values: np.ndarray, resamples: int = 1000) -> list[float]:
    """95 % bootstrap interval of the mean of (n,) values."""
    rows = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    return [round(float(bound), 4) for bound in np.percentile(values[rows].mean(axis=1), (2.5, 97.5))]


def measure(
    name: str, areas: dict[str, np.ndarray], served: dict[str, np.ndarray], times: np.ndarray
) -> dict[str, Any]:
    """Summarize one kind of map: mean areas, their differences from the served map's, and the time."""
    row: dict[str, Any] = {"map": name, "median_ms": round(float(np.median(times)), 1)}
    for way, values in areas.items():
        row[way] = round(float(values.mean()), 4)
        row[f"{way}_difference"] = interval(values - served[way])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "model_card" / "fer2013")
    parser.add_argument("--dataset", required=True, help="CSV, folder or Hub id with a validation split")
    parser.add_argument("--images", type=int, default=200, help="of validation, drawn at random")
    parser.add_argument("--only", nargs="+", help="names of maps beside the served one and random cells; default: all")
    parser.add_argument("--record", action="store_true", help="put the figures into results.json")
    options = parser.parse_args()
    from training.data.load import load_fer
    from training.export import images_of

    measured_on = machine()
    folder = options.model.resolve()

    split = load_fer(options.dataset)[SPLIT]
    images = images_of(split.select(np.sort(np.random.default_rng(0).permutation(len(split))[: options.images])))
    model = TorchBackend.from_pretrained(folder, "cpu").model
    backend = OnnxBackend(folder, len(labels_of(model.config.to_dict())))
    logits = backend.logits
    asked = None if options.only is None else {SERVED, RANDOM, *options.only}
    maps = {name: mapper for name, mapper in mappers(logits, model).items() if asked is None or name in asked}
    areas, times = deletion_areas(logits, [backend.image_processor([image]) for image in images], maps)
    results = [measure(name, areas[name], areas[SERVED], times[name]) for name in maps]
    print(f"{len(times[SERVED])} images, {describe(measured_on)}")
    print(f"{'map':24} {'hidden by mean':>30} {'by blur':>30} {'ms':>7}   (area, 95 % interval of the difference)")
    for row in results:
        cells = [
            f"{row[way]:.3f} [{row[f'{way}_difference'][0]:+.3f}, {row[f'{way}_difference'][1]:+.3f}]"
            for way in HIDINGS
        ]
        print(f"{row['map']:24} {cells[0]:>30} {cells[1]:>30} {row['median_ms']:7.0f}")
    if options.record:
        record("saliency", {"images": len(times[SERVED]), "results": results}, measured_on)


if __name__ == "__main__":
    main()
