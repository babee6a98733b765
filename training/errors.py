"""Every exception of training, under one base class, and what a command makes of it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

from gradio_ui.recognition.errors import RecognitionError
from gradio_ui.recognition.quiet import hide_torchvision_advice
from gradio_ui.recognition.telemetry import disable_telemetry

NO_BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


class TrainingError(Exception):
    """Base of all errors of training; catch this one to catch them all."""


class DataError(TrainingError, ValueError):
    """A dataset cannot be used. The message names the file and row, what was expected and what came."""


class RowError(DataError):
    """One row or picture cannot be used; `--skip_bad_rows` drops it and counts it under `reason`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LabelError(TrainingError, ValueError):
    """A label name belongs to none of the known expressions."""


class RecipeError(TrainingError, ValueError):
    """A recipe file cannot be used: not JSON, not an object, or with a key that no argument has."""


class TeacherError(TrainingError, ValueError):
    """A teacher cannot teach this student; the message says which and why."""


class RunError(TrainingError, RuntimeError):
    """A run cannot go on: the loss is not a number, or a checkpoint cannot be written."""


class WeightsError(TrainingError, ValueError):
    """Weights that are not exactly those of the network; the message names the keys."""


class SurgeryError(TrainingError, ValueError):
    """A model that cannot be rewritten as asked; the message says what it has."""


class FolderInUseError(TrainingError, RuntimeError):
    """Another process is writing to the folder; the message names it."""


class MetricError(TrainingError, ValueError):
    """Probabilities or references no metric can be computed from: NaN, wrong shape, empty, not a distribution."""


class EvaluationError(TrainingError, ValueError):
    """A model and a dataset that do not fit: no such split, or not one picture with a label the model knows."""


class SubgroupError(TrainingError, ValueError):
    """A column to group by that the dataset does not have."""


class CompareError(TrainingError, ValueError):
    """Models that cannot be compared: fewer than two, one that cannot be read, or no label in common."""


class AblationError(TrainingError, RuntimeError):
    """The file of trials cannot be used, or a run broke off; finished runs are kept."""


class ReportError(TrainingError, ValueError):
    """A report that cannot be read or used: not JSON, of another schema, or without the result asked for."""


class CardError(ReportError):
    """A report that no card can be made from: not of a packaged model, or without results."""


class PackageError(TrainingError, RuntimeError):
    """A run folder that cannot be packaged, or a package that did not pass its checks; nothing was replaced."""


class ExportError(TrainingError, RuntimeError):
    """A model that does not come out of the export as it went in; nothing was replaced."""


class PublishError(TrainingError, RuntimeError):
    """Nothing, or not all, was published: the checks failed, the Hub refused, or the connection broke.

    What the Hub shows is as it was before, since all changes arrive in one commit.
    """


class HubConnectionError(PublishError):
    """The Hub gave no answer, or the connection broke."""


def command(main: Callable[[list[str] | None], None]) -> Callable[..., None]:
    """Run a program without telemetry, and turn what it may meet into one line, `error: ...`, and exit status 1.

    Args:
        main: takes the command line without the program's name, or None for `sys.argv`'s.
    """

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> None:
        disable_telemetry()
        _hide_noise()
        try:
            main(argv)
        except (TrainingError, RecognitionError, OSError) as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit("interrupted")

    return run


def _hide_noise() -> None:
    """Hide bars where no one watches, and everywhere those over loaded weights and advice to install torchvision."""
    hide_torchvision_advice()
    watched = sys.stderr.isatty()
    if not watched:
        os.environ.update(dict.fromkeys(NO_BARS, "1"))  # for what is imported later, and for child processes
        if "datasets" in sys.modules:
            from datasets import disable_progress_bars

            disable_progress_bars()
    if "transformers" in sys.modules:
        from huggingface_hub.utils import enable_progress_bars
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # the Hub's downloads as well
        if watched:
            enable_progress_bars()
