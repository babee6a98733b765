"""A worker: a process of its own that holds the model, and survives what a picture does to it.

A picture that takes too long, exhausts the memory or ends the process becomes a row with an error; the process is
started again, and the other pictures of its batch are scored without it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from ..errors import AbandonedError, RecognitionError, StorageError, WorkerError
from ..types import Recognition
from .parts import Parts, Row, picture_rows
from .storage import one_line, read_bytes
from .works import Picture, Work

if TYPE_CHECKING:
    from ..recognizer import EmotionRecognizer

_START = 300  # seconds to load the model in


@dataclass(frozen=True)
class Job:
    """What all workers of a run are told.

    Attributes:
        model: a folder, or a Hub id with its revision.
        detector: what `load_detector` takes.
        labels: of the model.
        whole_image: every picture is one face, cropped already.
        flip: each face is scored with its mirror image.
        batch_size: pictures that are scored together.
        time_limit: seconds that a picture may take.
        memory: MiB that a worker may take beyond what it holds once the model is loaded; 0 for no limit.
        out: address of the parts.
    """

    model: str
    detector: str | None
    labels: tuple[str, ...]
    whole_image: bool
    flip: bool
    batch_size: int
    time_limit: float
    memory: int
    out: str


@dataclass(frozen=True)
class Part:
    """One part of a run: the name of its file, and what it is made from."""

    name: str
    work: Work


@dataclass(frozen=True)
class Done:
    """What became of a part: how many pictures, faces and errors it has, or why it is not there."""

    name: str
    pictures: int = 0
    faces: int = 0
    errors: int = 0
    problem: str = ""


def score_part(part: Part, worker: Worker, parts: Parts) -> Done:
    """Score a part and write it, unless it is there."""
    try:
        if parts.has(part.name):
            rows = parts.read(part.name)
        else:
            rows = [row for batch in _batches(part.work, worker) for row in worker.score(batch)]
            parts.write(part.name, rows)
    except StorageError as error:
        return Done(part.name, problem=str(error))
    return Done(
        part.name,
        pictures=len({row["path"] for row in rows}),
        faces=sum("face" in row for row in rows),
        errors=sum("error" in row for row in rows),
    )


def _batches(work: Work, worker: Worker) -> Iterator[list[Picture]]:
    pictures = work.pictures()
    while batch := list(islice(pictures, worker.job.batch_size)):
        yield batch


class Worker:
    """The side of a worker that gives out the work. For one thread at a time; use it in a `with` statement.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._closed = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._stop()

    def score(self, pictures: Sequence[Picture]) -> list[Row]:
        """Score a batch.

        Returns:
            The rows of the pictures, in their order.

        Raises:
            WorkerError: the process does not start.
            AbandonedError: the worker was closed meanwhile.
        """
        rows = {index: [_error_row(one, one.error)] for index, one in enumerate(pictures) if one.error}
        waiting = [index for index in range(len(pictures)) if index not in rows]
        if waiting:
            rows |= dict(zip(waiting, self._score([pictures[index] for index in waiting]), strict=True))
        return [row for index in range(len(pictures)) for row in rows[index]]

    def _score(self, pictures: list[Picture]) -> list[list[Row]]:
        answer = self._ask(pictures)
        if not isinstance(answer, str):
            return answer
        if len(pictures) == 1:
            return [[_error_row(pictures[0], answer)]]
        return [rows for picture in pictures for rows in self._score([picture])]  # which of them it was

    def _ask(self, pictures: list[Picture]) -> list[list[Row]] | str:
        """Return the rows of each picture, or what went wrong with all of them."""
        if self._closed:
            raise AbandonedError("the worker was closed")
        connection = self._connection or self.start()
        problem = ""
        with suppress(EOFError, OSError):  # the process has ended
            connection.send(pictures)
            if connection.poll(self.job.time_limit):
                answer: list[list[Row]] | str = connection.recv()
                return answer
            problem = f"it took longer than {self.job.time_limit:g} seconds (--time-limit)"
        code = self._stop()
        if self._closed:
            raise AbandonedError("the worker was closed")
        return problem or f"it ended the worker ({_ending(code)})"

    def start(self) -> Connection:
        """Start the process and wait until it has loaded the model; `score` does so where it has to.

        Raises:
            WorkerError: it does not start.
            AbandonedError: the worker was closed meanwhile.
        """
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._connection = ours
        self._process = context.Process(target=_serve, args=(theirs, self.job), daemon=True)
        self._process.start()
        theirs.close()  # so that its end shows here
        problem = "it ended while it loaded the model"
        with suppress(EOFError, OSError):
            problem = ours.recv() if ours.poll(_START) else f"the model was not loaded in {_START} seconds"
        if problem:
            self._stop()
            if self._closed:
                raise AbandonedError("the worker was closed")
            raise WorkerError(f"a worker does not start: {problem}")
        return ours

    def _stop(self) -> int | None:
        """End the process; return its exit code, negative for a signal."""
        code = None
        if self._process is not None:
            self._process.join(0.2)
            code = self._process.exitcode
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None
        return code


def _error_row(picture: Picture, error: str) -> Row:
    return {"path": picture.name, "error": error}


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"{signal.Signals(-code).name}, as of a system that is out of memory"
    return f"exit code {code}"


def _serve(connection: Connection, job: Job) -> None:
    """Load the model, then score what comes until the other side has ended."""
    from ..recognizer import EmotionRecognizer
    from ..telemetry import disable_telemetry, keep_fonts_in_temp

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other side decides
    disable_telemetry()
    keep_fonts_in_temp()
    _be_the_first_to_go()
    try:
        recognizer = EmotionRecognizer.from_pretrained(job.model, detector=job.detector)
    except RecognitionError as error:
        connection.send(str(error))
        return
    recognizer(np.zeros((64, 64, 3), np.uint8))  # loads what is loaded on first use
    _limit_memory(job.memory)
    connection.send("")
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pictures = connection.recv()
            try:
                answer: object = _rows(pictures, recognizer, job)
            except MemoryError:
                answer = f"it needs more memory than a worker may take ({job.memory} MiB, --memory)"
            except Exception as error:  # whatever a picture sets off in a library is the error of its row
                answer = f"{type(error).__name__}: {one_line(error)}"
            connection.send(answer)


def _rows(pictures: Sequence[Picture], recognizer: EmotionRecognizer, job: Job) -> list[list[Row]]:
    read = [_read(picture) for picture in pictures]
    readable = [one for one in read if not isinstance(one, str)]
    found = iter(recognizer.batch(readable, whole_image=job.whole_image, flip=job.flip))
    results = [one if isinstance(one, str) else next(found) for one in read]
    return [
        picture_rows(picture.name, result) if isinstance(result, Recognition) else [_error_row(picture, str(result))]
        for picture, result in zip(pictures, results, strict=True)
    ]


def _read(picture: Picture) -> Path | bytes | str:
    """Return a local path or the content of a file, or, as text, why there is none."""
    if not isinstance(picture.source, str):
        return picture.source
    try:
        return read_bytes(picture.source)
    except StorageError as error:
        return str(error)


def _be_the_first_to_go() -> None:
    """Let Linux, when it runs out of memory, end this process rather than another."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _limit_memory(megabytes: int) -> None:
    """Bound the address space of this process, where the system can and a limit is asked for."""
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()  # reserves more addresses than there is memory
    if megabytes and sys.platform == "linux" and not on_gpu:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
