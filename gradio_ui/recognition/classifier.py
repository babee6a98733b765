"""Face crops -> a probability per emotion, with a stock transformers checkpoint and its own image processor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backends import Backend, BackendName, load_backend
from .errors import ModelError, SaliencyError
from .hub import model_name

BATCH_SIZE = 64  # faces per forward pass, so that a crowd does not exhaust the memory
DEFAULT_MARGIN = {"yunet": 0.0, "haar": 0.0}  # for checkpoints whose config has no crop_margin

# Names that expression checkpoints use. They tell an expression classifier from any other; nothing maps by them.
_EXPRESSIONS = {"anger", "angry", "contempt", "disgust", "disgusted", "fear", "fearful", "happiness", "happy"}
_EXPRESSIONS |= {"neutral", "sad", "sadness", "surprise", "surprised"}


class Classifier:
    """Classifies crops of faces. Safe to call from several threads. Made by `from_pretrained`.

    Attributes:
        labels: the C emotion names in the order of the model's outputs.
        crop_margin: detector name -> margin for `crop_face`, from the config, measured with `training.crop_margin`.
        config: the content of the checkpoint's config.json.
        backend: what runs the model; its `name` is "torch" or "onnxruntime".
    """

    def __init__(self, config: dict[str, Any], backend: Backend) -> None:
        self.labels = labels_of(config)
        self.crop_margin: dict[str, float] = DEFAULT_MARGIN | config.get("crop_margin", {})
        self.config = config
        self.backend = backend

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | None = None, *, backend: BackendName = "auto"
    ) -> Classifier:
        """Loads a checkpoint from a local folder in float32; no network, no pickles, no code of the checkpoint's.

        Args:
            folder: with config.json, preprocessor_config.json, model.safetensors and perhaps onnx/model.onnx (see
                `hub.resolve_model`).
            device: a torch device; without it onnxruntime takes the CPU, and torch the accelerator where there is one.
            backend: "torch", "onnxruntime", or "auto": onnxruntime where its file is there and works and `device`
                names no accelerator, otherwise torch. The probabilities agree within 1e-4.

        Raises:
            ModelError: a file is corrupt, the weights do not fit the config, the labels are no emotions, or the
                backend cannot serve the checkpoint.
        """
        folder = Path(folder)
        config = _read_config(folder)
        return cls(config, load_backend(folder, len(labels_of(config)), backend, device))

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Classifies all crops, up to `BATCH_SIZE` in one forward pass.

        Args:
            crops: n arrays (h, w, 3) uint8, RGB, of any sizes. The pixels the model sees are exactly those of
                `pipeline("image-classification")` on the same crop.

        Returns:
            (n, C) float32 probabilities; each row sums to 1. (0, C) for no crops.
        """
        logits = [np.zeros((0, len(self.labels)), np.float32)]
        logits += [self.backend(crops[start : start + BATCH_SIZE]) for start in range(0, len(crops), BATCH_SIZE)]
        scores = np.concatenate(logits)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def saliency(self, crop: np.ndarray, label: str) -> np.ndarray:
        """Map how much each part of a crop spoke for a label; see `recognition.saliency`.

        Args:
            crop: (h, w, 3) uint8, RGB.
            label: one of `labels`.

        Returns:
            (h, w) float32 in 0-1, where 1 is the part that spoke most for the label; all 0 where nothing did.

        Raises:
            SaliencyError: the label is unknown, or PyTorch serves a kind of model that gives no map.
        """
        if label not in self.labels:
            raise SaliencyError(f"expected one of {', '.join(self.labels)}, got {label!r}")

        import cv2

        coarse = self.backend.saliency(crop, self.labels.index(label))
        heat = cv2.resize(coarse, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return heat / np.maximum(heat.max(), np.finfo(np.float32).tiny)


def labels_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The label names of a config.json in the order of the model's outputs."""
    return tuple(name for _, name in sorted((int(i), name) for i, name in config["id2label"].items()))


def _read_config(folder: Path) -> dict[str, Any]:
    """config.json, checked for what serving needs of it."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        labels = labels_of({"id2label": {}} | config)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{model_name(folder)} cannot be loaded as an image classifier: config.json: {error}"
        ) from error
    if not _EXPRESSIONS & {label.lower() for label in labels}:
        shown = ", ".join([*labels[:5], *(["..."] if len(labels) > 5 else [])])
        raise ModelError(
            f"{model_name(folder)} is no expression classifier: the labels in config.json are {shown or 'missing'}. "
            "Expected id2label with emotions such as happy and sad."
        )
    margins = config.get("crop_margin", {})
    if not isinstance(margins, dict) or not all(-1 < margin <= 2 for margin in margins.values()):
        raise ModelError(
            f"{model_name(folder)}: crop_margin in config.json is {margins!r}. Expected a number above -1 and up to 2 "
            'for each detector, such as {"yunet": 0.05}; measure it with training.crop_margin.'
        )
    return config
