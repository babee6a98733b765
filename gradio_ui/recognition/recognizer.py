"""Composition of the engine: an image -> its faces -> a probability per label for each face.

recognizer = EmotionRecognizer.from_pretrained("model_card/fer2013")
recognizer("portrait.jpg").to_dicts()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .classifier import Classifier
from .crop import crop_face
from .detector import Detector, WholeImageDetector, load_detector
from .errors import ImageError, SaliencyError
from .hub import ModelSource, resolve_model
from .image_io import ImageSource, read_image, read_reduced
from .types import Faces, Recognition
from .yunet import YuNetDetector

SHARP = 2  # pixels of a crop to one of the model's input, for which a reduced image is as good as the whole


@dataclass(frozen=True)
class Located:
    """The faces of an image, cut out and not yet recognized.

    Attributes:
        faces: the n faces, largest first.
        size: (width, height) of the image in pixels.
        crops: n arrays (s, s, 3) uint8 RGB.
    """

    faces: Faces
    size: tuple[int, int]
    crops: list[np.ndarray]


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

    def __call__(self, image: ImageSource, *, whole_image: bool = False, flip: bool = True) -> Recognition:
        """Recognize all faces of an image.

        Args:
            image: anything `read_image` takes: a path, bytes, a PIL image, or an RGB uint8 array (h, w, 3).
            whole_image: take the picture as one face, as it is, instead of looking for faces.
            flip: average the probabilities of each face and of its mirror image, which is a little more accurate and
                takes another forward pass.

        Returns:
            All faces, largest first, scored in one batch. A picture without a face gives an empty result.

        Raises:
            ImageError: the picture cannot be read.
        """
        return self.classify([self.locate(image, whole_image=whole_image)], flip=flip)[0]

    def score(self, frame: np.ndarray, faces: Faces, detector: str) -> Recognition:
        """Recognize the expressions of faces that were found already, in one forward pass, as live video needs it.

        Args:
            frame: (h, w, 3) uint8 RGB.
            faces: of the frame.
            detector: name of the detector that found them.
        """
        probabilities = self.classifier(self._crops(frame, faces, detector))
        return Recognition(faces, probabilities, self.labels, (frame.shape[1], frame.shape[0]))

    def batch(
        self, images: Sequence[ImageSource], *, whole_image: bool = False, flip: bool = True
    ) -> list[Recognition | ImageError]:
        """Recognize several images with one pass of the classifier; of each only the faces are kept in memory.

        Args:
            images, whole_image, flip: as for the call.

        Returns:
            For each picture its result, or the error that reading it ended in.
        """
        found: list[Located | ImageError] = []
        for image in images:
            try:
                found.append(self.locate(image, whole_image=whole_image))
            except ImageError as error:
                found.append(error)
        results = iter(self.classify([one for one in found if isinstance(one, Located)], flip=flip))
        return [next(results) if isinstance(one, Located) else one for one in found]

    def locate(self, image: ImageSource, *, whole_image: bool = False) -> Located:
        """Find and cut out the faces of an image: the first half of the call.

        A large JPEG file is decoded at a part of its size, which is all that the detector looks at. Where a face is so
        small in it that its crop has less than `SHARP` times the pixels of the model's input along a side, the whole
        is decoded, too, and the crops are cut from that.

        Args:
            image, whole_image: as for the call.

        Raises:
            ImageError: the picture cannot be read.
        """
        if whole_image or not isinstance(self.detector, YuNetDetector):
            frame = read_image(image)
            detector = self._whole if whole_image else self.detector
            faces = detector(frame)
            return Located(faces, (frame.shape[1], frame.shape[0]), self._crops(frame, faces, detector.name))
        read = read_reduced(image, self.detector.LONG_SIDES[-1])
        found = self.detector(read.image)
        faces = found.scaled(read.divisor)
        if read.divisor > 1 and not self._sharp(found):
            return Located(faces, read.size, self._crops(read_image(image), faces, self.detector.name))
        return Located(faces, read.size, self._crops(read.image, found, self.detector.name))

    def classify(self, located: Sequence[Located], *, flip: bool = True) -> list[Recognition]:
        """Recognize the expressions of faces that `locate` found, in one batch: the second half of the call."""
        rows = self.classifier([crop for one in located for crop in one.crops], flip=flip)
        ends = np.cumsum([0, *(len(one.crops) for one in located)])
        return [
            Recognition(one.faces, rows[start:end], self.labels, one.size)
            for one, start, end in zip(located, ends, ends[1:], strict=False)
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
        crops = self.crops(image, whole_image=whole_image)
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
        return self.locate(image, whole_image=whole_image).crops

    def _sharp(self, faces: Faces) -> bool:
        """Tell whether the crops of all faces are large enough to be shrunk to the model's input."""
        sides = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).max(axis=1, initial=0)
        margin = self.classifier.crop_margin.get(self.detector.name, 0.0)
        return bool(((1 + margin) * sides >= SHARP * self.classifier.backend.side).all())

    def _crops(self, frame: np.ndarray, faces: Faces, detector: str) -> list[np.ndarray]:
        if detector == self._whole.name:
            return [frame]
        margin = self.classifier.crop_margin.get(detector, 0.0)
        landmarks = [None] * len(faces) if faces.landmarks is None else faces.landmarks
        return [crop_face(frame, xyxy, points, margin) for xyxy, points in zip(faces.xyxy, landmarks, strict=True)]
