"""What the tabs with long work share.

The work starts on upload or a button, waits for its turn, shows its progress, can be cancelled all the while, and its
results are marked once an option has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Event
from typing import Any, Protocol, TypeVar

import gradio as gr

from gradio_ui.language import t
from gradio_ui.views.html import message, progress_bar

LINE = 8  # visitors who wait in a `Workplace`, each of whom takes one of Gradio's 40 threads; others wait in its queue
TELL_EVERY = 1.0  # seconds between two reports to those who wait; Gradio notices only then that somebody has left


class WorkView(Protocol):
    """A named tuple of what a tab shows: its components in the layout, their new values in a handler.

    Attributes:
        notice: Tells what is going on.
        changed: Says that the results were made with other settings.
        start, cancel: The buttons.
    """

    @property
    def notice(self) -> Any: ...

    @property
    def changed(self) -> Any: ...

    @property
    def start(self) -> Any: ...

    @property
    def cancel(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    @property
    def _replace(self) -> Callable[..., Any]: ...


View = TypeVar("View", bound=WorkView)


def busy(cleared: View, told: str) -> View:
    """Show that the work is under way: no results, only `told` and Cancel."""
    changed: View = cleared._replace(
        notice=told, start=gr.Button(interactive=False), cancel=gr.Button(t("work.cancel"), interactive=True)
    )
    return changed


def idle(view: View, told: str) -> View:
    """Show how the work has ended."""
    changed: View = view._replace(
        notice=told, start=gr.Button(interactive=True), cancel=gr.Button(t("work.cancel"), interactive=False)
    )
    return changed


def changed() -> str:
    """Say that the results were made with other settings."""
    return message("warning", t("work.changed"), t("work.changed_info"))


def failed() -> str:
    """Say that the work failed."""
    return message("error", t("work.stopped"), t("work.again"))


class Workplace:
    """Where the long work of all visitors is done: one piece at a time, first come, first served."""

    def __init__(self) -> None:
        self._line: list[object] = []
        self._moved = Condition()
        self._ends: dict[str, Callable[[], None]] = {}  # of the work of each session

    @contextmanager
    def turn(self) -> Iterator[Callable[[float | None], int]]:
        """Stand in line, and keep the first place until the context ends.

        Yields:
            A function that waits for one's turn, for so many seconds at most, and tells how many are still before.
        """
        me = object()
        with self._moved:
            self._line.append(me)

        def wait(seconds: float | None) -> int:
            with self._moved:
                self._moved.wait_for(lambda: self._line[0] is me, seconds)
                return self._line.index(me)

        try:
            yield wait
        finally:
            with self._moved:
                self._line.remove(me)
                self._moved.notify_all()

    @contextmanager
    def cancellable(self, request: gr.Request, end: Callable[[], None]) -> Iterator[None]:
        """Let `stop` call `end` for this session within the context."""
        session = str(request.session_hash)
        self._ends[session] = end
        try:
            yield
        finally:
            if self._ends.get(session) is end:
                del self._ends[session]

    def in_turn(self, request: gr.Request, cleared: View, work: Iterator[View]) -> Iterator[View]:
        """Do some work when its turn has come; until then, show how many are before it.

        Args:
            request: Of the session, which may cancel while it waits.
            cleared: The view without results.
            work: Not begun yet.
        """
        given_up = Event()
        with self.turn() as wait:
            with self.cancellable(request, given_up.set):
                before = wait(0)
                while before and not given_up.is_set():
                    yield busy(cleared, progress_bar(t("work.waiting", count=before), None))
                    before = wait(TELL_EVERY)
            if given_up.is_set():
                yield idle(cleared, message("info", t("work.cancelled"), t("work.not_begun")))
            else:
                yield from work

    def stop(self, request: gr.Request) -> Any:
        """End the work of a session, if there is any; what is done so far is kept."""
        if (end := self._ends.get(str(request.session_hash))) is not None:
            end()
            return gr.Button(t("work.cancelling"), interactive=False)
        return gr.Button(interactive=False)


def connect(
    view: View,
    source: gr.File,
    work: Callable[..., Iterator[View]],
    stop: Callable[[gr.Request], Any],
    options: Sequence[Any],
    *,
    cleared: View,
    welcome: Callable[[], str],
) -> None:
    """Add the events of a tab with long work.

    Args:
        view: The components.
        source: The files; choosing them starts the work, clearing them ends it and forgets its results.
        work: Yields views, from `busy` to `idle`; its first argument is the files as Gradio describes them.
        stop: For the button, see `Workplace.stop`.
        options: Components whose values `work` takes after the files.
        cleared: Values of the components when there is no result.
        welcome: Gives the message for when there are no files.
    """
    outputs, inputs = list(view), [source, *options]
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
        concurrency_limit=LINE,
    )
    made_with = gr.State()
    gr.on(
        [view.start.click, source.upload],
        lambda *values: (list(values), ""),
        inputs=list(options),
        outputs=[made_with, view.changed],
        show_progress="hidden",
        api_visibility="private",
        queue=False,
    )
    gr.on(
        [option.change for option in options],
        lambda made, *values: changed() if made is not None and made != list(values) else "",
        inputs=[made_with, *options],
        outputs=view.changed,
        show_progress="hidden",
        api_visibility="private",
        queue=False,
    )
    running.failure(
        lambda files: idle(cleared, failed() if files else welcome()),  # clearing fails the work, too
        inputs=source,
        outputs=outputs,
        preprocess=False,
        api_visibility="private",
    )
    view.cancel.click(stop, outputs=view.cancel, api_visibility="private", queue=False)
    source.clear(
        lambda: [None, *idle(cleared, welcome())],
        outputs=[made_with, *outputs],
        cancels=[running],
        api_visibility="private",
        queue=False,
    )
