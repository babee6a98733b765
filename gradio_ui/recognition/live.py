"""Faces of live video: searched near the known ones, and all over the frame now and then.

recognize = follow(recognizer)
for seconds, frame in ...:
    recognize(frame, seconds)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .recognizer import EmotionRecognizer
from .types import Faces, Recognition
from .yunet import Found, Search, YuNetDetector

FULL_SEARCH_SECONDS = 0.25  # between two searches of all of a frame at both scales; as in on_device/recognizer.js
# Pixels of a face in the shrunk frame, from which on it is followed there, at a fraction of the cost; the boxes of one
# scale do not jump to and fro. As in on_device/recognizer.js.
LARGE_ENOUGH = 32

Follow: TypeAlias = Callable[[np.ndarray, float], Recognition]  # (frame, seconds) -> its faces


def follow(recognizer: Any) -> Follow:
    """Make a recognizer of the frames of one video or viewer; the detector YuNet searches most of them only in part.

    Args:
        recognizer: frame -> Recognition.

    Returns:
        (frame, seconds) -> Recognition. Frames of several threads may overtake each other.
    """
    if not isinstance(recognizer, EmotionRecognizer):
        return lambda frame, seconds: recognizer(frame)
    if not isinstance(recognizer.detector, YuNetDetector):
        return lambda frame, seconds: recognizer(frame, flip=False)
    search = LiveSearch(recognizer.detector)
    return lambda frame, seconds: recognizer.score(frame, search.update(frame, seconds), recognizer.detector.name)


@dataclass(frozen=True)
class _Seen:
    found: Found
    searched: float  # seconds of the last full search
    shape: tuple[int, ...]


class LiveSearch:
    """The search for the faces of one video or viewer.

    The whole frame is searched every `FULL_SEARCH_SECONDS`, when a known face is not found again, and when the size of
    the frame changes. In between, the surroundings of each known face are searched at the scale at which it was found:
    of two the smaller one where the face has `LARGE_ENOUGH` pixels there.
    Where no face is known the small scale is searched, which is cheap.

    Args:
        detector: searches the frames.
    """

    def __init__(self, detector: YuNetDetector) -> None:
        self._detector = detector
        self._seen: _Seen | None = None

    def update(self, frame: np.ndarray, seconds: float) -> Faces:
        """Find the faces of the next frame, (h, w, 3) uint8 RGB, largest first.

        Args:
            frame: of the same video as those before.
            seconds: its time.
        """
        seen = self._seen
        if seen is not None and seen.shape == frame.shape and abs(seconds - seen.searched) < FULL_SEARCH_SECONDS:
            found = self._search(frame, self._near(frame, seen.found))
            if len(found.faces) >= len(seen.found.faces):  # otherwise one is lost: it moved far, or went
                self._seen = _Seen(found, seen.searched, seen.shape)
                return found.faces
        found = self._search(frame, [Search(scale) for scale in self._detector.scales(frame)])
        self._seen = _Seen(found, seconds, frame.shape)
        return found.faces

    def reset(self) -> None:
        """Forget the known faces."""
        self._seen = None

    def _search(self, frame: np.ndarray, searches: list[Search]) -> Found:
        return self._detector.search(frame, searches, LARGE_ENOUGH)

    def _near(self, frame: np.ndarray, known: Found) -> list[Search]:
        scales = self._detector.scales(frame)
        if not len(known.faces):
            return [Search(scales[0])]
        return [Search(scale, known.faces.xyxy[known.scales == scale]) for scale in scales if scale in known.scales]
