"""The models that the app offers; each browser session chooses its own."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from reprlib import repr as short
from threading import Lock
from typing import Any

from gradio_ui.recognition.detector import load_detector
from gradio_ui.recognition.errors import HubUnreachableError, ModelError
from gradio_ui.recognition.recognizer import EmotionRecognizer
from gradio_ui.settings import DEFAULT_MODEL, Settings, SettingsError

logger = logging.getLogger(__name__)

DATASETS = {"fer2013": "FER-2013", "ferplus": "FER+"}  # by the head that a checkpoint's provenance names


class Models:
    """Recognizers by name, each loaded on first use and then kept. Safe to use from several threads.

    Attributes:
        names: What may be asked for; the first is the default.
        titles: Name -> what a page calls it.

    Args:
        loaders: Name -> what loads its recognizer; at least one.
        titles: Of those that a page calls otherwise than by name.
    """

    def __init__(
        self, loaders: Mapping[str, Callable[[], EmotionRecognizer]], titles: Mapping[str, str] | None = None
    ) -> None:
        self.names = tuple(loaders)
        self.titles = {name: (titles or {}).get(name, name) for name in loaders}
        self._loaders = dict(loaders)
        self._loaded: dict[str, EmotionRecognizer] = {}
        self._locks = {name: Lock() for name in loaders}  # one each: waiting for one model holds up no other

    @property
    def default(self) -> str:
        """The name of the model that a new session starts with."""
        return self.names[0]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The titles with their names, for a list to choose from."""
        return [(self.titles[name], name) for name in self.names]

    def is_loaded(self, name: str) -> bool:
        """Tell whether a model is in memory."""
        return name in self._loaded

    def __getitem__(self, name: Any) -> EmotionRecognizer:
        """Give the recognizer of that name, or the default one for None; load it if need be.

        Raises:
            ModelError: There is none of that name, or it cannot be loaded; the next call tries again.
        """
        name = self.default if name is None else name
        if not isinstance(name, str) or name not in self._loaders:
            raise ModelError(f"expected one of the models {', '.join(self.names)}, got {short(name)}")
        with self._locks[name]:
            if name not in self._loaded:
                recognizer = self._loaders[name]()
                if recognizer.source.notice:
                    logger.warning(recognizer.source.notice)
                self._loaded[name] = recognizer
            return self._loaded[name]


def load_models(settings: Settings) -> Models:
    """Prepare the models of the settings and load the first of them.

    Where the Hub cannot be reached for that one, the checkpoint that came with the app takes its place and says so;
    the page still offers the other, to be tried again.

    Raises:
        SettingsError: Two models would have the same name on the page.
        ModelError: The first one cannot be loaded.
        DetectorError: The detector cannot be loaded.
    """
    load = partial(EmotionRecognizer.from_pretrained, detector=load_detector(settings.detector))
    loaders = {page_name(model): partial(load, model) for model in settings.models}
    if len(loaders) < len(settings.models):
        raise SettingsError(f"model: expected models of different names, got {', '.join(settings.models)}")
    titles = {page_name(model): page_title(model) for model in settings.models}
    models = Models(loaders, titles)
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

        models = Models({f"{DEFAULT_MODEL.name} (came with the app)": stand_in} | loaders, titles)
        models[models.default]
    return models


def page_name(model: str) -> str:
    """Name a model on the page: a Hub id as it is, but with a short commit; a folder by its last part alone."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else re.sub("(@[0-9a-f]{8})[0-9a-f]{32}$", r"\1", model)


def page_title(model: str) -> str:
    """Say what a model of ours is, "7 expressions, FER-2013", from its folder's config; of others, only the name."""
    try:
        config = json.loads((Path(model).expanduser() / "config.json").read_text(encoding="utf-8"))
        data, labels = DATASETS[config["provenance"]["head"]], config["id2label"].values()
        return f"{len(labels)} {'with contempt' if 'contempt' in labels else 'expressions'}, {data}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return page_name(model)
