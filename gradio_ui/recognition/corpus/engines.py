"""Workers on this machine: as many processes as asked for, each of which takes the next part when it is free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from queue import SimpleQueue

from .parts import Parts
from .worker import Done, Job, Part, Worker, score_part


def score_here(parts: Sequence[Part], job: Job, workers: int) -> Iterator[Done]:
    """Score the parts on this machine.

    Args:
        parts: those that are not there yet.
        job: what to do.
        workers: number of processes.

    Yields:
        What became of each part, in the order in which they are finished.

    Raises:
        WorkerError: a worker does not start.
    """
    store = Parts(job.out, job.labels)
    idle: SimpleQueue[Worker] = SimpleQueue()

    def score(part: Part) -> Done:
        worker = idle.get()
        try:
            return score_part(part, worker, store)
        finally:
            idle.put(worker)

    with ExitStack() as stack:  # on the way out: drop what waits, end the workers, then wait for the threads
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        for _ in range(workers):
            idle.put(stack.enter_context(Worker(job)))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for future in as_completed([pool.submit(score, part) for part in parts]):
            yield future.result()
