"""Analysis of a video in one pass: a table of all faces over time, an annotated copy, and key moments.

analysis = VideoAnalysis("talk.mp4", recognizer, per_second=10)
for seconds in analysis.run("talk.csv"):
    ...  # show the progress
analysis.summary()
"""

from __future__ import annotations

import csv
import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .crop import crop_face
from .doubt import UNCLEAR_BELOW
from .errors import AbandonedError, VideoError
from .live import follow
from .tables import BOX, csv_rows, escape_cell, label_columns, raw_columns
from .tracker import ExpressionSession, TrackedFace
from .types import Recognition
from .video import Source, VideoFrame, VideoReader, name_of
from .video_writer import VideoWriter

Draw = Callable[[np.ndarray, Sequence[TrackedFace]], np.ndarray]

COLUMNS = ("seconds", "face", *BOX, "confidence", "label", "unclear", "shown")
THUMBNAIL = 128  # pixels
AHEAD = 6  # frames read ahead, so that recognition keeps one core busy while drawing and writing keep another


@dataclass(frozen=True)
class Moment:
    """When a label was shown with the highest smoothed probability.

    Attributes:
        label: the apparent expression.
        seconds: since the start of the video.
        face: the face's id.
        probability: smoothed, 0-1.
        thumbnail: (s, s, 3) uint8 RGB, the face, at most `THUMBNAIL` pixels wide.
    """

    label: str
    seconds: float
    face: int
    probability: float
    thumbnail: np.ndarray


class VideoAnalysis:
    """The analysis of one video file. Nothing is read before `run`.

    Args:
        source: an MP4, MOV, WebM, AVI or MKV file: a path, or an open seekable file, which stays open.
        recognizer: frame -> Recognition, with `labels`.
        per_second: frames to analyze in each second; None takes every frame.
        time_constant: smoothing in seconds, see `ExpressionSession`.
        threshold: probability below which a label is unclear.
        max_seconds: longest video that is accepted; None for any.
        abandoned: asked before each frame whether nobody waits for the result any more.

    Attributes:
        session: faces and times of what was analyzed so far.
        moments: label -> its key moment so far, among those in which it was not unclear.
        duration: seconds, or None where the file does not say; set by `run`.
        seconds: time of the last frame.
        size: (width, height) of the upright frames in pixels.
        analyzed: number of analyzed frames.
        problem: one sentence where the file could only be read in part, otherwise "".

    Raises:
        ValueError: `per_second`, `time_constant` or `threshold` is out of range.
    """

    def __init__(
        self,
        source: Source,
        recognizer: Any,
        *,
        per_second: float | None = None,
        time_constant: float = 0.5,
        threshold: float = UNCLEAR_BELOW,
        max_seconds: float | None = None,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        if per_second is not None and not 0 < per_second < math.inf:
            raise ValueError(f"per_second: expected a number above 0, or None for every frame, got {per_second}")
        self._source = source
        self._abandoned = abandoned
        self.session = ExpressionSession(recognizer.labels, time_constant, threshold)
        self.moments: dict[str, Moment] = {}
        self.duration: float | None = None
        self.seconds = 0.0
        self.size = (0, 0)
        self.analyzed = 0
        self.problem = ""
        self._recognize = follow(recognizer)
        self._per_second = per_second
        self._max_seconds = max_seconds
        self._stopped = False

    def run(self, table: str | Path, video: str | Path | None = None, draw: Draw | None = None) -> Iterator[float]:
        """Go through the video once. The files are whole when it ends, and absent when it is interrupted.

        Args:
            table: CSV file to write: a row per face and analyzed frame, with the columns of `video_columns`;
                `read_table` reads it.
            video: annotated MP4 file to write.
            draw: (frame, faces) -> the frame with them drawn, for `video`; the faces of an analyzed frame stay until
                the next one.

        Yields:
            After each analyzed frame its time in seconds.

        Raises:
            VideoError: the video cannot be read at all, or is longer than `max_seconds`.
            AbandonedError: nobody waits for the result any more.
        """
        faces: list[TrackedFace] = []
        with ExitStack() as stack:
            reader = stack.enter_context(VideoReader(self._source))
            self.duration = reader.duration
            self._require_length(reader.duration or 0.0)
            writer = stack.enter_context(VideoWriter(video, reader)) if video is not None else None
            columns = video_columns(self.session.labels)
            write_row = csv_rows(stack.enter_context(_whole(Path(table))), columns)
            thread = ThreadPoolExecutor(1)
            stack.callback(thread.shutdown, cancel_futures=True)
            for frame, found in self._recognized(reader, thread):
                if self._abandoned():
                    raise AbandonedError("the analysis was given up: nobody waits for its result")
                if self._stopped:
                    break
                self.seconds = frame.seconds
                if found is not None:
                    self.size = (frame.image.shape[1], frame.image.shape[0])
                    faces = self.session.update(found.result(), frame.seconds)
                    self.analyzed += 1
                    for face in faces:
                        write_row(dict(zip(columns, _cells(face), strict=True)))
                        self._remember(frame.image, face)
                if writer is not None:
                    writer.write(frame, draw(frame.image, faces) if draw else frame.image)
                if found is not None:
                    yield frame.seconds
            self.problem = self._stop_note() if self._stopped else reader.problem

    def stop(self) -> None:
        """End `run` after the present frame, with whole files of the part done so far; for another thread."""
        self._stopped = True

    def _recognized(
        self, reader: VideoReader, thread: ThreadPoolExecutor
    ) -> Iterator[tuple[VideoFrame, Future[Recognition] | None]]:
        """Yield the frames, those to analyze with the result that the thread is working on."""
        due = -math.inf
        waiting: deque[tuple[VideoFrame, Future[Recognition] | None]] = deque()
        for frame in reader:
            self._require_length(frame.seconds)
            found = None
            if frame.seconds >= due:
                if self._per_second is not None:
                    # The small share keeps 0.3 s a full third step at 10 per second in floating point.
                    due = (math.floor(frame.seconds * self._per_second + 1e-6) + 1) / self._per_second - 1e-6
                found = thread.submit(self._recognize, frame.image, frame.seconds)
            waiting.append((frame, found))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _stop_note(self) -> str:
        length = f" of {self.duration:.1f}" if self.duration else ""
        return f"Stopped after {self.seconds:.1f}{length} seconds. The result covers what was analyzed until then."

    def summary(self) -> dict[str, Any]:
        """Summarize, ready for JSON: length and size of the video, faces and expressions, threshold, key moments."""
        return {
            "duration": self.duration or self.seconds,
            "size": list(self.size),
            "analyzed_frames": self.analyzed,
            "problem": self.problem,
            "threshold": self.session.threshold,
            **self.session.summary(),
            "moments": [
                {"label": m.label, "seconds": m.seconds, "face": m.face, "probability": m.probability}
                for m in sorted(self.moments.values(), key=lambda m: m.seconds)
            ],
        }

    def _require_length(self, seconds: float) -> None:
        if self._max_seconds is not None and seconds > self._max_seconds:
            raise VideoError(
                f"{name_of(self._source)} is longer than the limit of {self._max_seconds / 60:g} minutes. "
                "Cut it into parts."
            )

    def _remember(self, image: np.ndarray, face: TrackedFace) -> None:
        if face.unclear:
            return
        probability = float(face.probabilities[self.session.labels.index(face.label)])
        best = self.moments.get(face.label)
        if best is None or probability > best.probability:
            thumbnail = _thumbnail(crop_face(image, np.array(face.box), None, margin=0.4))
            self.moments[face.label] = Moment(face.label, face.seconds, face.face, probability, thumbnail)


def video_columns(labels: Sequence[str]) -> list[str]:
    """List the columns of `VideoAnalysis.run`'s table.

    These are `COLUMNS`, then for each label its smoothed probability and, as `raw_<label>`, that of the frame alone.
    """
    return [*COLUMNS, *label_columns(labels).values(), *raw_columns(labels).values()]


def read_table(table: str | Path, labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Read a table of `VideoAnalysis.run`: each row's numbers and texts, by `video_columns`.

    Args:
        table: the CSV file.
        labels: the model's.
    """
    columns = video_columns(labels)
    written = {escape_cell(label): label for label in labels}
    with open(table, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        for cells in rows:
            row = dict(zip(columns, cells, strict=True))
            label, shown, unclear = row.pop("label"), row.pop("shown"), row.pop("unclear")
            yield {
                **{name: float(value) for name, value in row.items()},
                "face": int(row["face"]),
                "label": label if label in labels else written[label],
                "unclear": unclear == "true",
                "shown": shown[1:] if escape_cell(shown[1:]) == shown else shown,
            }


def write_json(table: str | Path, path: str | Path, summary: dict[str, Any]) -> None:
    """Write the summary and, row by row, the table as one JSON file, whole or not at all.

    Args:
        table: CSV file of `VideoAnalysis.run`.
        path: file to write: {"summary": {...}, "timeline": [a dict per row]}.
        summary: of `VideoAnalysis.summary`.
    """
    with _whole(Path(path)) as file:
        file.write(f'{{"summary": {json.dumps(summary)},\n"timeline": [')
        comma = "\n"
        for row in read_table(table, list(summary["shares"])):
            file.write(comma + json.dumps(row))
            comma = ",\n"
        file.write("\n]}\n")


def _cells(face: TrackedFace) -> list[Any]:
    return [
        f"{face.seconds:.4f}",
        face.face,
        *(f"{v:.1f}" for v in face.box),
        f"{face.confidence:.4f}",
        face.label,
        face.unclear,
        face.shown,
        *(f"{p:.4f}" for p in face.probabilities),
        *(f"{p:.4f}" for p in face.raw),
    ]


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """Write a text file that appears under its name when it is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _thumbnail(crop: np.ndarray) -> np.ndarray:
    import cv2

    side = min(THUMBNAIL, crop.shape[0])
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
