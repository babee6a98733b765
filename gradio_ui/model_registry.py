"""The checkpoints that the app offers. Which one a browser session uses is that session's own affair."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

from gradio_ui.recognition.detector import load_detector
from gradio_ui.recognition.errors import HubUnreachableError, ModelError
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.settings import DEFAULT_MODEL, Settings, SettingsError

logger = logging.getLogger(__name__)


class Models:
    """Recognizers by name, each loaded when it is first asked for and then kept. Safe to use from several threads.

    Attributes:
        names: what may be asked for; the first is the default.

    Args:
        loaders: name -> what loads its recognizer; at least one.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], EmotionRecognizer]]) -> None:
        self.names = tuple(loaders)
        self._loaders = dict(loaders)
        self._loaded: dict[str, EmotionRecognizer] = {}
        self._locks = {name: Lock() for name in loaders}  # one each: who waits for one is not in the others' way

    @property
    def default(self) -> str:
        """The name that a new session starts with."""
        return self.names[0]

    def is_loaded(self, name: str) -> bool:
        """Whether asking for it costs no time."""
        return name in self._loaded

    def __getitem__(self, name: str) -> EmotionRecognizer:
        """The recognizer of that name, loaded if need be.

        Raises:
            ModelError: there is none of that name, or it cannot be loaded; the next call tries again.
        """
        if name not in self._loaders:
            raise ModelError(f"expected one of the models {', '.join(self.names)}, got {name!r}")
        with self._locks[name]:
            if name not in self._loaded:
                recognizer = self._loaders[name]()
                if recognizer.source.notice:
                    logger.warning(recognizer.source.notice)
                self._loaded[name] = recognizer
            return self._loaded[name]


def load_models(settings: Settings) -> Models:
    """The models of the settings, the first of them loaded.

    Where the Hub cannot be reached for that one, the checkpoint that came with the app takes its place and says so;
    the choice of the page then still offers the other, to be tried again.

    Raises:
        SettingsError: two models would have the same name on the page.
        ModelError: the first one cannot be loaded.
        DetectorError: the detector cannot be had.
    """
    load = partial(EmotionRecognizer.from_pretrained, detector=load_detector(settings.detector))
    loaders = {page_name(model): partial(load, model) for model in settings.models}
    if len(loaders) < len(settings.models):
        raise SettingsError(f"model: expected models of different names, got {', '.join(settings.models)}")
    models = Models(loaders)
    try:
        models[models.default]
    except HubUnreachableError as error:
        if not DEFAULT_MODEL.is_dir():  # a Space carries no weights
            raise
        notice = f"{error} Serving the checkpoint that came with the app."

        def stand_in() -> EmotionRecognizer:
            recognizer = load(DEFAULT_MODEL)
            recognizer.source = replace(recognizer.source, notice=notice)
            return recognizer

        models = Models({f"{DEFAULT_MODEL.name} (came with the app)": stand_in} | loaders)
        models[models.default]
    return models


def page_name(model: str) -> str:
    """What the page calls a model: a Hub id as it is, but with a short commit; a folder by its name alone."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else re.sub("(@[0-9a-f]{8})[0-9a-f]{32}$", r"\1", model)
