"""Faces over time: stable ids, probabilities smoothed over elapsed seconds, labels without flicker.

session = ExpressionSession(recognizer.labels, time_constant=0.5)
for seconds, frame in ...:
    for face in session.update(recognizer(frame), seconds): ...
session.summary()
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .doubt import UNCLEAR_BELOW, require_threshold, verdict
from .types import Faces, Recognition, reading_order

if TYPE_CHECKING:
    from trackers.utils.iou import BaseIoU

LOST_SECONDS = 2.0  # a face that observed frames lack for longer comes back as a new one
LONGEST_STEP = 1.0  # seconds; a longer time between two frames is a gap, in which nothing was observed
LARGEST_CHANGE = 2.0  # ratio of the sides of one face's boxes in two frames; beyond it they are two faces
HYSTERESIS = 0.1  # probability by which another label must lead before it replaces the shown one
FIRST_SIGHT = 0.04  # seconds that a face's first frame counts for, so that a single frame has a share of time, too
MAX_FACES = 1000  # of a summary, about; of further ones only the time is kept
_INSTANT = 1e-6  # seconds


class FaceTracker:
    """Ids that stay with each face from frame to frame, by ByteTrack (https://arxiv.org/abs/2110.06864).

    Time counts as far as frames observe it: a step between two frames of more than `LONGEST_STEP` (a pause, a hidden
    tab, a server that does not answer) is a gap and counts as `LONGEST_STEP`. After a gap nothing is known of the
    motion, so a face is matched by the place and the size that it had before.

    One per video or viewer; not safe to share between threads.
    """

    def __init__(self) -> None:
        from trackers import ByteTrackTracker

        # Both detectors apply a threshold of their own, so every face may start a track.
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(30 * LOST_SECONDS),  # in frames of a nominal 30 per second
            track_activation_threshold=0.0,
            high_conf_det_threshold=0.0,
            minimum_consecutive_frames=1,
            # Heads sway, and at a few results per second the motion model is off by more than a face. DIoU matches a
            # face up to about its own width beside the predicted place. With heads 85 pixels wide, swaying by 40 to
            # 120 pixels, at 4 results per second, 2 ids are lost in 180 s; with IoU above 0.1 it was 93.
            iou=_place_and_size(),
            minimum_iou_threshold=-0.4,
        )
        self._seconds = -math.inf
        self._observed = 0.0  # seconds, of all steps

    def update(self, faces: Faces, seconds: float) -> Faces:
        """Track the faces of the next frame.

        Args:
            faces: of one frame.
            seconds: the frame's time, later than that of the frame before; gaps may be of any length.

        Returns:
            The same faces in the same order with `tracker_id` (n,) int64, counted from 1; new faces of one frame get
            theirs in `reading_order`.

        Raises:
            ValueError: the time is not later than that of the frame before.
        """
        import supervision as sv

        if not seconds > self._seconds:
            raise ValueError(f"expected a frame later than {self._seconds:.3f} s, got {seconds:.3f} s; reset() first")
        if seconds - self._seconds > LONGEST_STEP:
            for track in self._tracker.tracks:
                track.state_estimator.kf.state[4:] = 0  # the velocities of left, top, right and bottom
        self._observed += min(seconds - self._seconds, LONGEST_STEP)
        self._seconds = seconds
        ids = np.full(len(faces), -1)
        # ByteTrack gives a face its id only when it sees it again, so a new face is passed to it twice.
        order = np.array(reading_order(faces.xyxy), int)
        detections = sv.Detections(faces.xyxy[order], confidence=faces.confidence[order], data={"index": order})
        for moment in (self._observed, self._observed + _INSTANT):
            found = self._tracker.update(detections, timestamp=moment)
            if len(found):
                ids[found.data["index"]] = found.tracker_id
            if (ids >= 0).all():
                break
        return replace(faces, tracker_id=ids + 1)

    def reset(self) -> None:
        """Forget all faces; ids start at 1 again."""
        self._tracker.reset()
        self._seconds = -math.inf
        self._observed = 0.0


def _place_and_size() -> BaseIoU:
    """Make the similarity of two boxes: their DIoU (https://arxiv.org/abs/1911.08287), -1 where the sizes differ."""
    from trackers.utils.iou import DIoU

    class PlaceAndSize(DIoU):
        def _compute(self, boxes_1: np.ndarray, boxes_2: np.ndarray) -> np.ndarray:
            one, other = (
                np.sqrt(np.maximum(b[:, 2] - b[:, 0], 1) * np.maximum(b[:, 3] - b[:, 1], 1))
                for b in (boxes_1, boxes_2)
            )
            change = np.abs(np.log(one[:, None] / other))
            return np.where(change <= math.log(LARGEST_CHANGE), super()._compute(boxes_1, boxes_2), -1.0)

    return PlaceAndSize()


@dataclass(frozen=True)
class TrackedFace:
    """One face at one moment.

    Attributes:
        seconds: time of the frame.
        face: the stable id, counted from 1.
        box: left, top, right, bottom in pixels of the frame.
        confidence: the detector's, 0-1.
        label: the one to show; another must lead clearly before it changes.
        probabilities: (C,) float32, smoothed.
        raw: (C,) float32, of this frame alone.
        unclear: whether the label's probability is below the session's threshold.
        shown: the label, or the two most probable ones as "happy or fear" where it is unclear.
    """

    seconds: float
    face: int
    box: list[float]
    confidence: float
    label: str
    probabilities: np.ndarray
    raw: np.ndarray
    unclear: bool
    shown: str


@dataclass
class _State:
    seconds: float
    probabilities: np.ndarray
    label: int
    unclear: bool


class ExpressionSession:
    """The apparent expressions of all faces of one video or viewer over time, in bounded memory.

    Args:
        labels: the C emotion names in the model's order.
        time_constant: seconds after which a changed expression is shown to 63 %; 0 shows every frame as it is.
        threshold: probability below which a label is unclear.

    Raises:
        ValueError: the time constant is negative, or the threshold is not in 0-1.
    """

    def __init__(self, labels: tuple[str, ...], time_constant: float = 0.5, threshold: float = UNCLEAR_BELOW) -> None:
        if not time_constant >= 0:
            raise ValueError(f"time_constant: expected 0 or more seconds, got {time_constant}")
        self.labels = labels
        self.time_constant = time_constant
        self.threshold = require_threshold(threshold)
        self._tracker = FaceTracker()
        self._states: dict[int, _State] = {}
        # The seconds that each face showed each label, then those in which its label was unclear.
        self._seconds: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(len(labels) + 1))
        self._others = np.zeros(len(labels) + 1)  # of faces that the summary no longer lists

    def update(self, recognition: Recognition, seconds: float) -> list[TrackedFace]:
        """Add the result of the next frame. After more than `LOST_SECONDS` without it, a face starts afresh.

        Args:
            recognition: with the labels of this session.
            seconds: the frame's time, later than that of the frame before.

        Returns:
            Its faces in the same order.

        Raises:
            ValueError: the time is not later than that of the frame before.
        """
        faces = self._tracker.update(recognition.faces, seconds)
        assert faces.tracker_id is not None  # noqa: S101 - for the type checker
        self._states = {i: s for i, s in self._states.items() if seconds - s.seconds <= LOST_SECONDS}
        if len(self._seconds) > 2 * MAX_FACES:
            self._merge_shortest()
        return [
            self._follow(int(face), box, float(confidence), raw, seconds)
            for face, box, confidence, raw in zip(
                faces.tracker_id, faces.xyxy, faces.confidence, recognition.probabilities, strict=True
            )
        ]

    def _follow(self, face: int, box: np.ndarray, confidence: float, raw: np.ndarray, seconds: float) -> TrackedFace:
        last = self._states.get(face)
        if last is None:
            state = _State(seconds, raw, int(raw.argmax()), False)
        else:
            self._count(face, last, seconds - last.seconds)
            state = self._smooth(last, raw, seconds)
        by_label = dict(zip(self.labels, state.probabilities.tolist(), strict=True))
        label = self.labels[state.label]
        told = verdict(label, by_label, self.threshold)
        state.unclear = bool(told["unclear"])
        if last is None:
            self._count(face, state, FIRST_SIGHT)
        self._states[face] = state
        return TrackedFace(
            seconds=seconds,
            face=face,
            box=[float(v) for v in box],
            confidence=confidence,
            label=label,
            unclear=state.unclear,
            shown=str(told["shown"]),
            probabilities=state.probabilities,
            raw=raw,
        )

    def _smooth(self, last: _State, raw: np.ndarray, seconds: float) -> _State:
        best = int(raw.argmax())
        if self.time_constant == 0:
            return _State(seconds, raw, best, False)
        # Exponential in seconds: the same answer whatever the frame rate.
        weight = -math.expm1((last.seconds - seconds) / self.time_constant)
        smooth = last.probabilities + np.float32(weight) * (raw - last.probabilities)
        best = int(smooth.argmax())
        leads = smooth[best] - smooth[last.label] > HYSTERESIS
        return _State(seconds, smooth, best if leads else last.label, False)

    def _count(self, face: int, state: _State, seconds: float) -> None:
        self._seconds[face][state.label] += seconds
        self._seconds[face][-1] += seconds * state.unclear

    def _merge_shortest(self) -> None:
        """Keep only the time of the faces that are out of sight and were seen for the shortest time."""
        gone = sorted(self._seconds.keys() - self._states.keys(), key=lambda face: self._seconds[face][:-1].sum())
        for face in gone[: len(self._seconds) - MAX_FACES]:
            self._others += self._seconds.pop(face)

    def summary(self) -> dict[str, Any]:
        """Summarize what was seen so far, ready for JSON.

        Returns:
            "dominant": the label shown for the longest time over all faces, or None where there was no face;
            "seconds": the time all faces were seen, added up; "shares": label -> share of that time in 0-1;
            "unclear": share of that time in which the label was unclear;
            "faces": for each face its id as "face" and the same four, the longest seen first; where there were very
            many, about the first `MAX_FACES`.
        """
        everyone = np.sum([self._others, *self._seconds.values()], axis=0)
        longest = sorted(self._seconds, key=lambda face: -self._seconds[face][:-1].sum())
        return self._totals(everyone) | {
            "faces": [{"face": face} | self._totals(self._seconds[face]) for face in longest]
        }

    def _totals(self, seconds: np.ndarray) -> dict[str, Any]:
        unclear, seconds = float(seconds[-1]), seconds[:-1]
        total = float(seconds.sum())
        shares = seconds / total if total else seconds
        return {
            "dominant": self.labels[int(seconds.argmax())] if total else None,
            "seconds": total,
            "shares": {label: float(share) for label, share in zip(self.labels, shares, strict=True)},
            "unclear": unclear / total if total else 0.0,
        }

    def reset(self) -> None:
        """Forget all faces and times."""
        self._tracker.reset()
        self._states.clear()
        self._seconds.clear()
        self._others[:] = 0
