"""Whether anybody still waits for what a handler computes."""

from __future__ import annotations

import time
from collections.abc import Callable

from gradio.context import LocalContext

PATIENCE = 30.0  # seconds for which a client may leave its messages; one that listens takes them at once


def abandonment() -> Callable[[], bool]:
    """Make the function that tells whether the client of the present event has left.

    Call it in a handler that runs in Gradio's queue; the function it returns may be called from any thread. Gradio
    itself stops a handler only when it yields, and never one whose client has asked for the work but not for its
    result.

    Returns:
        () -> True where the client closed its connection or cancelled, or for `PATIENCE` has not taken the message
        that its work has begun; always False outside of Gradio's queue.
    """
    event_id, blocks = LocalContext.event_id.get(None), LocalContext.blocks.get(None)
    if blocks is None or event_id is None:
        return lambda: False
    queue = blocks._queue
    event = queue.event_ids_to_events.get(event_id)
    if event is None:
        return lambda: True  # it ended before the handler began
    listened = time.monotonic()

    def gone() -> bool:
        nonlocal listened
        if not event.alive:
            return True
        messages = queue.pending_messages_per_session.get(event.session_hash)
        if messages is None or messages.empty():
            listened = time.monotonic()
        return time.monotonic() - listened > PATIENCE

    return gone
