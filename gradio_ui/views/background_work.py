"""What the tabs with long work share: it starts on upload or a button, tells how far it is, and can be cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

Changes = dict[Any, Any]  # component -> its new value, what a handler returns


@dataclass(frozen=True)
class LongWork:
    """The components of such a tab.

    Attributes:
        source: the files; choosing them starts, clearing them ends the work and forgets what came of it.
        start, cancel: the buttons.
        notice: tells what is going on.
        cleared: the components that show results, each as it is without one.
    """

    source: gr.File
    start: gr.Button
    cancel: gr.Button
    notice: gr.HTML
    cleared: Changes

    def busy(self, text: str) -> Changes:
        """While the work is under way: no results, only `text` and Cancel."""
        buttons = {self.start: gr.Button(interactive=False), self.cancel: gr.Button(interactive=True)}
        return self.cleared | buttons | {self.notice: text}

    def idle(self, text: str) -> Changes:
        """Once it has ended, with `text` on how."""
        return {
            self.notice: text,
            self.start: gr.Button(interactive=True),
            self.cancel: gr.Button(interactive=False),
        }

    def connect(
        self,
        work: Callable[..., Iterator[Changes]],
        stop: Callable[[gr.Request], gr.Button],
        inputs: Sequence[Any],
        *,
        welcome: str,
        failed: str,
        queue: dict[str, Any],
    ) -> None:
        """Adds the events.

        Args:
            work: yields changes, from `busy` to `idle`; its first argument is the files as Gradio describes them.
            stop: asks the session's work to end soon; what is done so far is kept.
            inputs: the components whose values `work` takes, `source` first.
            welcome, failed: messages for when there is nothing yet, and for when `work` broke down.
            queue: concurrency arguments of the event.
        """
        outputs = [self.notice, self.start, self.cancel, *self.cleared]
        running = gr.on(
            [self.start.click, self.source.upload],
            work,
            inputs=inputs,
            outputs=outputs,
            preprocess=False,  # the engine reads the files: Gradio would refuse odd ones, and leave copies behind
            show_progress="minimal",
            show_progress_on=self.notice,
            trigger_mode="once",
            api_visibility="private",
            **queue,
        )
        running.failure(
            lambda files: self.cleared | self.idle(failed if files else welcome),  # clearing fails the work, too
            inputs=self.source,
            outputs=outputs,
            preprocess=False,
            api_visibility="private",
        )
        self.cancel.click(stop, outputs=self.cancel, api_visibility="private", queue=False)
        self.source.clear(
            lambda: self.cleared | self.idle(welcome),
            outputs=outputs,
            cancels=[running],
            api_visibility="private",
            queue=False,
        )
