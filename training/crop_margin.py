"""Choose by measurement how much of a face's surroundings the engine crops.

    python -m training.crop_margin model_card/fer2013 --dataset D [--detector yunet.onnx] [--n 500] [--write]

The model was trained on FER-2013 images, which are cropped faces. In a larger image YuNet finds a box, and the box is
widened by a margin; the right margin makes such a crop look like a FER-2013 image again. So each image is classified
directly; then it is enlarged, placed in a larger frame, detected, cropped with each margin and classified again. The
margin with the least mean distance between the two answers wins.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from gradio_ui.recognition import Classifier, Detector, crop_face, load_detector, read_image, resolve_model
from training.errors import EvaluationError, command
from training.files import write_text
from training.reporting.report import record_changes

MARGINS = tuple(round(-0.3 + 0.05 * i, 2) + 0.0 for i in range(17))
SIDES = (96, 128, 160, 200)  # pixels: the side of a face in a webcam's or a group's image


@dataclass(frozen=True)
class Found:
    """A placed face that was detected.

    Attributes:
        index: of the image.
        frame: (2s, 2s, 3) uint8, RGB, with the image enlarged to s pixels about its middle.
        xyxy: (4,) the detector's box, pixels of the frame.
        landmarks: (5, 2) or None.
        offset: (2,) from the image's center to the box's center, as a share of the box's longer side.
        margin: the margin that would crop exactly the image's side.
    """

    index: int
    frame: np.ndarray
    xyxy: np.ndarray
    landmarks: np.ndarray | None
    offset: np.ndarray
    margin: float


@dataclass(frozen=True)
class Agreement:
    """Agreement of the model on crops with the model on the FER-2013 images themselves.

    Attributes:
        margin: of the crops.
        labels: share of crops with the same most probable label, 0-1.
        distance: mean total-variation distance of the probabilities, 0-1: half the sum of absolute differences.
    """

    margin: float
    labels: float
    distance: float


@dataclass(frozen=True)
class Measurement:
    """The measurement of one detector.

    Attributes:
        detector: its name, the key in the config.
        found: share of the placed faces that were detected, 0-1.
        geometric_margin: median of `Found.margin`, a check on the choice that needs no model.
        offset: median of `Found.offset`.
        agreements: one per margin, boxes as they are.
        best: the one with the least distance.
        recentered: the best margin again, with every box moved by the median offset.
    """

    detector: str
    found: float
    geometric_margin: float
    offset: tuple[float, float]
    agreements: tuple[Agreement, ...]
    best: Agreement
    recentered: Agreement

    def __str__(self) -> str:
        lines = [f"{self.detector}: found {self.found:.1%} of the faces", "margin  same label  distance"]
        for row in self.agreements:
            mark = "  <- best" if row is self.best else ""
            lines.append(f"{row.margin:+6.2f}  {row.labels:10.1%}  {row.distance:8.4f}{mark}")
        dx, dy = self.offset
        lines.append(f"margin by geometry alone, median: {self.geometric_margin:+.3f}")
        lines.append(
            f"box center off by {dx:+.3f}, {dy:+.3f} of its side, median; "
            f"undone: {self.recentered.labels:.1%}, {self.recentered.distance:.4f}"
        )
        return "\n".join(lines)


def place(images: Sequence[np.ndarray], seed: int = 42) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Enlarge each image to one of `SIDES` and place it in a frame twice as wide.

    Half the frames are filled with the image's mean color, half continue its edges, blurred, so that no one kind of
    surroundings decides how large the detected boxes are and what a wide margin sees.

    Args:
        images: n arrays (h, w, 3) uint8, RGB.
        seed: of the positions.

    Yields:
        The frame, (2s, 2s, 3) uint8, and the image's place in it, (4,) left, top, right, bottom in pixels.
    """
    import cv2

    random = np.random.default_rng(seed)
    for i, image in enumerate(images):
        side = SIDES[i // 2 % len(SIDES)]
        face = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        left, top = (int(v) for v in random.integers(side // 4, 3 * side // 4, 2))
        if i % 2:
            edges = cv2.copyMakeBorder(face, top, side - top, left, side - left, cv2.BORDER_REPLICATE)
            frame = cv2.GaussianBlur(edges, (0, 0), side / 12)
        else:
            frame = np.full((2 * side, 2 * side, 3), face.mean(axis=(0, 1)).round(), np.uint8)
        frame[top : top + side, left : left + side] = face
        yield frame, np.array([left, top, left + side, top + side], np.float32)


def find(detector: Detector, images: Sequence[np.ndarray]) -> list[Found]:
    """Place every image and keep those whose face is detected where it was put.

    A box counts when its center lies within a quarter of the image's side from the image's center and it is at
    least 0.4 of that side wide or high; of several the largest is taken.
    """
    found = []
    for i, (frame, truth) in enumerate(tqdm(place(images), detector.name, len(images), leave=False, disable=None)):
        faces = detector(frame)
        side = truth[2] - truth[0]
        offsets = (faces.xyxy[:, :2] + faces.xyxy[:, 2:] - truth[:2] - truth[2:]) / 2
        lengths = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).max(axis=1)
        hits = np.flatnonzero((np.abs(offsets) < side / 4).all(axis=1) & (lengths > 0.4 * side))
        if len(hits):
            j = hits[0]  # faces come largest first
            points = None if faces.landmarks is None else faces.landmarks[j]
            offset, margin = offsets[j] / lengths[j], float(side / lengths[j] - 1)
            found.append(Found(i, frame, faces.xyxy[j], points, offset, margin))
    return found


def measure(
    classifier: Classifier,
    detector: Detector,
    images: Sequence[np.ndarray],
    margins: Sequence[float] = MARGINS,
) -> Measurement:
    """Measure every margin for one detector.

    Args:
        classifier: of the model.
        detector: finds the placed faces.
        images: n FER-2013 images, (h, w, 3) uint8, RGB.
        margins: the margins to try.

    Raises:
        EvaluationError: the detector found none of the faces.
    """
    found = find(detector, images)
    if not found:
        raise EvaluationError(
            f"{detector.name} found none of {len(images)} faces. Expected images of faces; check them."
        )
    direct = classifier([images[face.index] for face in found])

    def agreement(margin: float, shift: np.ndarray) -> Agreement:
        crops = []
        for face in found:
            move = shift * (face.xyxy[2:] - face.xyxy[:2]).max()
            crops.append(crop_face(face.frame, face.xyxy - np.tile(move, 2), face.landmarks, margin))
        cut = classifier(crops)
        same = cut.argmax(axis=1) == direct.argmax(axis=1)
        return Agreement(margin, float(same.mean()), float(np.abs(cut - direct).sum(axis=1).mean() / 2))

    agreements = tuple(
        agreement(margin, np.zeros(2)) for margin in tqdm(margins, "margins", leave=False, disable=None)
    )
    best = min(agreements, key=lambda row: row.distance)
    offset = np.median([face.offset for face in found], axis=0)
    return Measurement(
        detector=detector.name,
        found=len(found) / len(images),
        geometric_margin=float(np.median([face.margin for face in found])),
        offset=(float(offset[0]), float(offset[1])),
        agreements=agreements,
        best=best,
        recentered=agreement(best.margin, offset),
    )


def write_margins(folder: Path, margins: dict[str, float]) -> None:
    """Store margins by detector in the folder's config.json, keeping those of others; whole or not at all.

    Raises:
        ReportError: the folder has a report.json that cannot be used.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["crop_margin"] = config.get("crop_margin", {}) | margins
    write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", path)  # as transformers writes it
    record_changes(folder, [path])


@command
def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.crop_margin", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="a model folder or a Hub id")
    parser.add_argument("--dataset", required=True, help="FER-2013 in any form that training.data.load reads")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--detector", metavar="PATH", help="YuNet's ONNX file, instead of the usual one")
    parser.add_argument("--n", type=int, default=500, help="number of images (default: 500)")
    parser.add_argument("--write", action="store_true", help="store the best margin in the folder's config.json")
    options = parser.parse_args(argv)

    from training.data.classes import Classes
    from training.data.load import load_fer

    source = resolve_model(options.model)
    if options.write and source.origin != "folder":
        parser.error(f"--write needs a model folder, {options.model} is on the Hub. Download it first.")
    if options.n < 1:
        raise EvaluationError(f"expected --n to be at least 1, got {options.n}")
    classifier = Classifier.from_pretrained(source.folder)
    data = load_fer(options.dataset, classes=Classes.of_model(classifier.config))
    if options.split not in data:
        raise EvaluationError(f"expected --split to be one of {', '.join(data)}, got {options.split!r}")
    rows = data[options.split].shuffle(seed=42)
    images = [read_image(image) for image in rows.select(range(min(options.n, len(rows))))["image"]]
    detector = load_detector(options.detector or "yunet")
    result = measure(classifier, detector, images)
    sys.stdout.write(f"{result}\n")
    if options.write:
        write_margins(source.folder, {result.detector: result.best.margin})


if __name__ == "__main__":
    main()
