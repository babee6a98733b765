"""What the tabs with long work share: it starts on upload or a button, shows its progress, and can be cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import gradio as gr

from gradio_ui.views.html import message


class WorkView(Protocol):
    """A named tuple of what a tab shows: its components in the layout, their new values in a handler.

    Attributes:
        notice: Tells what is going on.
        start, cancel: The buttons.
    """

    @property
    def notice(self) -> Any: ...

    @property
    def start(self) -> Any: ...

    @property
    def cancel(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    @property
    def _replace(self) -> Callable[..., Any]: ...


View = TypeVar("View", bound=WorkView)


def busy(cleared: View, text: str) -> View:
    """Show that the work is under way: no results, only `text` and Cancel."""
    changed: View = cleared._replace(
        notice=text, start=gr.Button(interactive=False), cancel=gr.Button(interactive=True)
    )
    return changed


def idle(view: View, text: str) -> View:
    """Show how the work has ended."""
    changed: View = view._replace(notice=text, start=gr.Button(interactive=True), cancel=gr.Button(interactive=False))
    return changed


class Cancellable:
    """The work under way, by session, so that Cancel finds it.

    Args:
        end: Asks a piece of work to end soon; what is done so far is kept.
    """

    def __init__(self, end: Callable[[Any], None]) -> None:
        self._end = end
        self._under_way: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def begin(self, request: gr.Request, work: Any) -> None:
        """Remember the work of a session for as long as somebody else holds it."""
        self._under_way[str(request.session_hash)] = work

    def stop(self, request: gr.Request) -> Any:
        """End the work of a session, if there is any."""
        if (work := self._under_way.get(str(request.session_hash))) is not None:
            self._end(work)
        return gr.Button(interactive=False)


def connect(
    view: View,
    source: gr.File,
    work: Callable[..., Iterator[View]],
    stop: Callable[[gr.Request], Any],
    inputs: Sequence[Any],
    *,
    cleared: View,
    welcome: str,
    queue: str,
) -> None:
    """Add the events of a tab with long work.

    Args:
        view: The components.
        source: The files; choosing them starts the work, clearing them ends it and forgets its results.
        work: Yields views, from `busy` to `idle`; its first argument is the files as Gradio describes them.
        stop: For the button, see `Cancellable.stop`.
        inputs: Components whose values `work` takes, `source` first.
        cleared: Values of the components when there is no result.
        welcome: Message for when there are no files.
        queue: Name of the queue in which the work of all visitors waits for its turn.
    """
    outputs = list(view)
    failed = message("error", "The work stopped", "Try again, or with other files.")
    running = gr.on(
        [view.start.click, source.upload],
        work,
        inputs=inputs,
        outputs=outputs,
        preprocess=False,  # the handler reads the files itself: Gradio would refuse odd ones, and leave copies behind
        show_progress="minimal",
        show_progress_on=view.notice,
        trigger_mode="once",
        api_visibility="private",
        concurrency_id=queue,
        concurrency_limit=1,
    )
    running.failure(
        lambda files: idle(cleared, failed if files else welcome),  # clearing fails the work, too
        inputs=source,
        outputs=outputs,
        preprocess=False,
        api_visibility="private",
    )
    view.cancel.click(stop, outputs=view.cancel, api_visibility="private", queue=False)
    source.clear(
        lambda: idle(cleared, welcome),
        outputs=outputs,
        cancels=[running],
        api_visibility="private",
        queue=False,
    )
