"""Figures about the running app in the format of Prometheus: how much, how fast, how full.

Nothing in them is about a visitor: there is no address, session, file name, model name or expression, and no label
comes from a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import gradio as gr
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import Response

from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.server.health import Health, State

FRAME = "frame"  # of the webcam
# The functions that recognize -> what they take; all others of the page only show what is there.
KINDS = {
    "show": "image",
    "recognize": "image",
    "explain": "explanation",
    "recognize_all": "batch",
    "recognize_batch": "batch",
    "analyze": "video",
    "recognize_video": "video",
}
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # upper bounds of the histogram
REASONS = ("refused", "failed")


@dataclass
class Attempt:
    """One call of a function that recognizes.

    Attributes:
        outcome: "result"; "refused" where the answer is a sentence instead; or "partial" where more is to come.
    """

    outcome: Literal["result", "refused", "partial"] = "result"


class Metrics:
    """The metrics of one page, in a registry of their own.

    Args:
        health: Says whether the process is ready and how many requests it is answering.
        waiting: () -> how many events wait in Gradio's queue.

    Attributes:
        viewers: The gauge of the webcam's viewers, set by the webcam tab.
    """

    def __init__(self, health: Health, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time and open files of the process; Linux only
        self._seconds = Histogram(
            "fer_result_seconds",
            "Seconds from a request to its result, the wait in the queue included; its count is that of the results.",
            ["kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "fer_errors",
            "Requests without a result: refused with a sentence, or failed by a fault of the app.",
            ["kind", "reason"],
            registry=registry,
        )
        self.viewers = Gauge("fer_viewers", "Viewers of the webcam tab.", registry=registry)
        for name, text, value in (
            ("fer_ready", "1 where /health answers 200.", lambda: float(health.state is State.READY)),
            ("fer_requests_running", "Requests being answered.", lambda: float(health.running)),
            ("fer_queue_waiting", "Events that wait in the queue.", lambda: float(waiting())),
        ):
            Gauge(name, text, registry=registry).set_function(value)
        for kind in (FRAME, *dict.fromkeys(KINDS.values())):  # 0 from the start, so that rates have a first value
            self._seconds.labels(kind)
            for reason in REASONS:
                self._errors.labels(kind, reason)

    @contextmanager
    def attempt(self, kind: str | None, since: float | None = None) -> Iterator[Attempt]:
        """Count what comes of one call, and the seconds it took; an exception counts as an error and goes on.

        Args:
            kind: One of the values of `KINDS`, or `FRAME`; None for what is not counted.
            since: When it was asked for, as of `time.monotonic`; by default now.
        """
        since = time.monotonic() if since is None else since
        attempt, reason = Attempt(), ""
        try:
            yield attempt
            reason = "refused" if attempt.outcome == "refused" else ""
        except (RecognitionError, gr.Error):
            reason = "refused"
            raise
        except Exception:
            reason = "failed"
            raise
        else:
            if kind and attempt.outcome == "result":
                self._seconds.labels(kind).observe(time.monotonic() - since)
        finally:
            if kind and reason:
                self._errors.labels(kind, reason).inc()

    def render(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


async def report_metrics(request: Request) -> Response:
    """Answer /metrics; in the server's thread, which alone changes Gradio's queue."""
    metrics: Metrics = request.app.get_blocks().metrics
    return Response(metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
