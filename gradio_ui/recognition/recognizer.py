"""Composition of the engine: an image -> its faces -> a probability per label for each face.

recognizer = EmotionRecognizer.from_pretrained("model_card/fer2013")
recognizer("portrait.jpg").to_dicts()
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .classifier import Classifier
from .crop import crop_face
from .detector import Detector, WholeImageDetector, load_detector
from .errors import ImageError, SaliencyError
from .hub import ModelSource, resolve_model
from .image_io import ImageSource, read_image
from .types import Faces, Recognition


class EmotionRecognizer:
    """A recognizer of the apparent expression of every face in an image. Safe to call from several threads.

    Args:
        classifier: scores the crops.
        detector: finds the faces.
        source: where the classifier's checkpoint came from.
    """

    def __init__(self, classifier: Classifier, detector: Detector, source: ModelSource) -> None:
        self.classifier = classifier
        self.detector = detector
        self.source = source
        self._whole = WholeImageDetector()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        detector: str | Path | Detector | None = None,
        device: str | None = None,
    ) -> EmotionRecognizer:
        """Load a checkpoint and a face detector.

        Args:
            model: a model folder or a Hub id, also "user/name@revision".
            revision: a branch, tag or commit of the Hub repository.
            detector: what `load_detector` takes, or a detector of your own.
            device: a torch device; without it the accelerator where there is one, otherwise the CPU.

        Raises:
            ModelError: the model cannot be found or served.
            DetectorError: the detector that was asked for cannot be loaded.
        """
        source = resolve_model(model, revision)
        if detector is None or isinstance(detector, (str, Path)):
            detector = load_detector(detector)
        return cls(Classifier.from_pretrained(source.folder, device), detector, source)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the label names in the model's order."""
        return self.classifier.labels

    def __call__(self, image: ImageSource, *, whole_image: bool = False) -> Recognition:
        """Recognize all faces of an image.

        Args:
            image: anything `read_image` takes: a path, bytes, a PIL image, or an RGB uint8 array (h, w, 3).
            whole_image: take the picture as one face, as it is, instead of looking for faces.

        Returns:
            All faces, largest first, scored in one batch. A picture without a face gives an empty result.

        Raises:
            ImageError: the picture cannot be read.
        """
        frame, faces, crops = self._find(image, whole_image)
        return Recognition(
            faces=faces,
            probabilities=self.classifier(crops),
            labels=self.labels,
            size=(frame.shape[1], frame.shape[0]),
        )

    def batch(self, images: Sequence[ImageSource], *, whole_image: bool = False) -> list[Recognition | ImageError]:
        """Recognize several images with one pass of the classifier; of each only the faces are kept in memory.

        Args:
            images: as for the call.
            whole_image: as for the call.

        Returns:
            For each picture its result, or the error that reading it ended in.
        """
        found: list[tuple[Faces, tuple[int, int]] | ImageError] = []
        crops: list[np.ndarray] = []
        for image in images:
            try:
                frame, faces, cut = self._find(image, whole_image)
            except ImageError as error:
                found.append(error)
            else:
                found.append((faces, (frame.shape[1], frame.shape[0])))
                crops += cut
        rows = iter(self.classifier(crops))
        probabilities = (np.array([next(rows) for _ in one[0].confidence]) for one in found if isinstance(one, tuple))
        return [
            one
            if isinstance(one, ImageError)
            else Recognition(one[0], next(probabilities).reshape(-1, len(self.labels)), self.labels, one[1])
            for one in found
        ]

    def explain(
        self, image: ImageSource, face: int, label: str, *, whole_image: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Map where the classifier looked for one label on one face.

        Args:
            image: as for the call.
            face: its place in the result of the call on the same picture, from 0.
            label: one of `labels`; it need not be the most probable one.
            whole_image: as for the call.

        Returns:
            The face's crop, (h, w, 3) uint8 RGB, as the classifier takes it, and the map of it, (h, w) float32 in 0-1,
            where 1 is the part that contributes most to the label.

        Raises:
            ImageError: the picture cannot be read.
            SaliencyError: there is no such face or label, or the classifier is of a kind that gives no map.
        """
        _, _, crops = self._find(image, whole_image)
        if not 0 <= face < len(crops):
            raise SaliencyError(f"expected the number of one of {len(crops)} faces, counted from 0, got {face}")
        return crops[face], self.classifier.saliency(crops[face], label)

    def crops(self, image: ImageSource, *, whole_image: bool = False) -> list[np.ndarray]:
        """Cut out all faces of an image as the classifier takes them.

        Args:
            image, whole_image: as for the call.

        Returns:
            A (s, s, 3) uint8 RGB array for each face, largest face first.

        Raises:
            ImageError: the picture cannot be read.
        """
        return self._find(image, whole_image)[2]

    def _find(self, image: ImageSource, whole_image: bool) -> tuple[np.ndarray, Faces, list[np.ndarray]]:
        frame = read_image(image)
        detector = self._whole if whole_image else self.detector
        faces = detector(frame)
        return frame, faces, self._crops(frame, faces, detector.name)

    def _crops(self, frame: np.ndarray, faces: Faces, detector: str) -> list[np.ndarray]:
        if detector == self._whole.name:
            return [frame]
        margin = self.classifier.crop_margin.get(detector, 0.0)
        landmarks = [None] * len(faces) if faces.landmarks is None else faces.landmarks
        return [crop_face(frame, xyxy, points, margin) for xyxy, points in zip(faces.xyxy, landmarks, strict=True)]
