"""Face crops -> a probability per label, with a stock transformers checkpoint and its own image processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backends import Backend, BackendName, load_backend
from .checkpoint import labels_of, read_config, verify_files
from .errors import SaliencyError

BATCH_SIZE = 64  # images per forward pass, so that a crowd does not exhaust the memory
DEFAULT_MARGIN = {"yunet": 0.0}  # for checkpoints whose config has no crop_margin


class Classifier:
    """A classifier of face crops, made by `from_pretrained`. Safe to call from several threads.

    Attributes:
        labels: the C label names in the order of the model's outputs.
        crop_margin: detector name -> margin for `crop_face`, from the config, measured with `training.crop_margin`.
            Older checkpoints also name a detector "haar", which no longer exists.
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
        """Load a checkpoint from a local folder in float32; no network, no pickles, no code of the checkpoint's.

        Args:
            folder: with config.json, preprocessor_config.json, model.safetensors and perhaps onnx/model.onnx (see
                `hub.resolve_model`).
            device: a torch device; without it onnxruntime takes the CPU, and torch the accelerator where there is one.
            backend: "torch", "onnxruntime", or "auto": onnxruntime where its file is there and works and `device`
                names no accelerator, otherwise torch. The probabilities agree within 1e-4.

        Raises:
            ModelError: a file is corrupt or differs from its checksum in report.json, the weights do not fit the
                config, the labels are no expressions, or the backend cannot serve the checkpoint.
        """
        folder = Path(folder)
        config = read_config(folder)
        verify_files(folder, "config.json", "preprocessor_config.json")
        return cls(config, load_backend(folder, len(labels_of(config)), backend, device))

    def __call__(self, crops: Sequence[np.ndarray], *, flip: bool = False) -> np.ndarray:
        """Classify all crops, up to `BATCH_SIZE` in one forward pass.

        Args:
            crops: n arrays (h, w, 3) uint8, RGB, of any sizes. The pixels the model sees are exactly those of
                `pipeline("image-classification")` on the same crop.
            flip: average the probabilities of each crop and of its mirror image, for about twice the time.

        Returns:
            (n, C) float32 probabilities; each row sums to 1. (0, C) for no crops.
        """
        rows = [np.zeros((0, len(self.labels)), np.float32)]
        step = BATCH_SIZE // 2 if flip else BATCH_SIZE
        for start in range(0, len(crops), step):
            batch = crops[start : start + step]
            logits = self.backend(batch, flip=flip).reshape(-1, len(batch), len(self.labels))  # (views, n, C)
            scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
            rows.append((scores / scores.sum(axis=-1, keepdims=True)).mean(axis=0))
        return np.concatenate(rows)

    def saliency(self, crop: np.ndarray, label: str) -> np.ndarray:
        """Map how much each part of a crop contributes to a label; see `recognition.saliency`.

        Args:
            crop: (h, w, 3) uint8, RGB.
            label: one of `labels`.

        Returns:
            (h, w) float32 in 0-1, where 1 is the part that contributes most; all 0 where nothing contributes.

        Raises:
            SaliencyError: the label is unknown, or PyTorch serves a kind of model that gives no map.
        """
        if label not in self.labels:
            raise SaliencyError(f"expected one of {', '.join(self.labels)}, got {label!r}")

        import cv2

        coarse = self.backend.saliency(crop, self.labels.index(label))
        heat = cv2.resize(coarse, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return heat / np.maximum(heat.max(), np.finfo(np.float32).tiny)
