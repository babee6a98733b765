"""Workers on a Ray cluster: Ray Data maps an actor pool over the parts; each actor holds one worker.

Where an actor or its node is killed, Ray starts another and gives it the same part again. A part is a file that is
renamed into place under a name that its content decides, so nothing is lost and nothing is there twice.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import WorkerError
from ..telemetry import disable_telemetry
from .parts import Parts
from .storage import one_line
from .worker import Done, Job, Part, Worker, score_part

_BLOCKS = 10_000  # that Ray Data is given at most; each then holds several parts


class PartScorer:
    """An actor of the pool, which loads the model once.

    Args:
        job: what to do.

    Raises:
        WorkerError: this node cannot load the model.
    """

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)
        self._worker.start()
        self._parts = Parts(job.out, job.labels)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score a batch of one part, and tell what became of it."""
        done = [score_part(pickle.loads(part), self._worker, self._parts) for part in batch["part"]]  # noqa: S301  # ours
        return {"done": [pickle.dumps(one) for one in done]}


def score_with_ray(
    parts: Sequence[Part], job: Job, *, address: str | None, workers: int | None, gpus: float
) -> Iterator[Done]:
    """Score the parts on a Ray cluster.

    Args:
        parts: those that are not there yet.
        job: what to do; its model and its address have to mean the same on every node.
        address: of the cluster; without it RAY_ADDRESS, a cluster that runs on this machine, or a new one.
        workers: at most; None for one a core of the cluster, or as many as its GPUs allow.
        gpus: that a worker gets; part of one where several share it.

    Yields:
        What became of each part, in the order in which they are finished. A part that Ray gave up is not among them.

    Raises:
        WorkerError: Ray is not installed, the cluster cannot be reached, or a worker does not start.
    """
    disable_telemetry()
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what Ray's C++ warns of means nothing to who runs this
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext
        from ray.exceptions import RayError
    except ImportError:
        raise WorkerError("--engine ray needs Ray: pip install -r requirements-ray.txt") from None
    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise WorkerError(
            f"the Ray cluster at {address or 'this address'} cannot be reached: {one_line(error)}"
        ) from None
    try:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised, not also printed
        context = DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = -1  # a part that fails for good is told at the end, by its absence
        have = ray.cluster_resources()
        most = workers or max(1, int(have.get("GPU", 0) / gpus if gpus else have.get("CPU", 1)))
        most = min(most, len(parts))
        done = ray.data.from_items(
            [{"part": pickle.dumps(part)} for part in parts], override_num_blocks=min(len(parts), _BLOCKS)
        ).map_batches(
            PartScorer,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        for row in done.iter_rows():
            yield pickle.loads(row["done"])  # noqa: S301  # our own
    except RayError as error:
        raise WorkerError(f"the Ray cluster gave up: {_cause(error)}") from error
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise an `OSError` where nobody listens; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _cause(error: Exception) -> str:
    """Return what went wrong, of an error whose text is a traceback from another machine: its last line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^[\w.]*(Error|Exception): ", "", lines[-1].strip())
