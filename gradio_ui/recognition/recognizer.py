"""Composes the engine: a picture -> its faces -> a probability per emotion for each.

recognizer = EmotionRecognizer.from_pretrained("model_card/fer2013")
recognizer("portrait.jpg").to_dicts()
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .classifier import Classifier
from .crop import crop_face
from .detector import Detector, WholePictureDetector, load_detector
from .hub import ModelSource, resolve_model
from .image_io import Picture, read_image
from .types import Faces, Recognition


class EmotionRecognizer:
    """Recognises the apparent expression of every face in a picture. Safe to call from several threads.

    Args:
        classifier: scores the crops.
        detector: finds the faces.
        source: where the classifier's checkpoint came from.
    """

    def __init__(self, classifier: Classifier, detector: Detector, source: ModelSource) -> None:
        self.classifier = classifier
        self.detector = detector
        self.source = source
        self._whole = WholePictureDetector()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        detector: str | Detector = "auto",
        device: str | None = None,
    ) -> EmotionRecognizer:
        """Loads a checkpoint and a face detector.

        Args:
            model: a model folder or a Hub id, also "user/name@revision".
            revision: a branch, tag or commit of the Hub repository.
            detector: "auto", "yunet", "haar" or "whole" (see `load_detector`), or a detector of your own.
            device: a torch device; without it the accelerator where there is one, otherwise the CPU.

        Raises:
            ModelError: the model cannot be found or served.
            DetectorError: the detector that was asked for cannot be had.
        """
        source = resolve_model(model, revision)
        if isinstance(detector, str):
            detector = load_detector(detector)
        return cls(Classifier.from_pretrained(source.folder, device), detector, source)

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotion names in the model's order."""
        return self.classifier.labels

    def __call__(self, picture: Picture, *, whole_picture: bool = False) -> Recognition:
        """Recognises all faces of a picture.

        Args:
            picture: anything `read_image` takes: a path, bytes, a PIL image, or an RGB uint8 array (h, w, 3).
            whole_picture: take the picture as one face, as it is, instead of looking for faces.

        Returns:
            All faces, largest first, scored in one batch. A picture without a face gives an empty result.

        Raises:
            ImageError: the picture cannot be read.
        """
        frame = read_image(picture)
        detector = self._whole if whole_picture else self.detector
        faces = detector(frame)
        return Recognition(
            faces=faces,
            probabilities=self.classifier(self._crops(frame, faces, detector.name)),
            labels=self.labels,
            size=(frame.shape[1], frame.shape[0]),
        )

    def _crops(self, frame: np.ndarray, faces: Faces, detector: str) -> list[np.ndarray]:
        if detector == self._whole.name:
            return [frame]
        margin = self.classifier.crop_margin.get(detector, 0.0)
        landmarks = [None] * len(faces) if faces.landmarks is None else faces.landmarks
        return [crop_face(frame, xyxy, points, margin) for xyxy, points in zip(faces.xyxy, landmarks, strict=True)]
