"""Face crops -> a probability per emotion, with a stock transformers checkpoint and its own image processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ModelError

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PretrainedConfig, PreTrainedModel

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
        config: the checkpoint's own config.
    """

    def __init__(self, model: PreTrainedModel, image_processor: BaseImageProcessor) -> None:
        self.config: PretrainedConfig = model.config
        self.labels: tuple[str, ...] = tuple(name for _, name in sorted((self.config.id2label or {}).items()))
        self.crop_margin: dict[str, float] = DEFAULT_MARGIN | getattr(self.config, "crop_margin", {})
        self._model = model
        self._image_processor = image_processor

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | None = None) -> Classifier:
        """Loads a checkpoint from a local folder in float32; no network, no pickles, no code of the checkpoint's.

        Args:
            folder: with config.json, preprocessor_config.json and model.safetensors (see `hub.resolve_model`).
            device: a torch device; without it the accelerator where there is one, otherwise the CPU.

        Raises:
            ModelError: a file is corrupt, the weights do not fit the config, or the labels are no emotions.
        """
        import torch
        from safetensors import SafetensorError
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        folder = Path(folder)
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            image_processor = AutoImageProcessor.from_pretrained(folder, **local)
            model, loading = AutoModelForImageClassification.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # to name them below
                **local,
            )
        except SafetensorError as error:
            raise ModelError(f"{folder.name}: model.safetensors is damaged ({error}). Download it again.") from None
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{folder.name} cannot be loaded as an image classifier: {error}") from error
        # transformers fills what is missing or of another shape with random numbers.
        for kind, keys in (("lacks", loading["missing_keys"]), ("has other shapes for", loading["mismatched_keys"])):
            if keys:
                raise ModelError(
                    f"{folder.name}: model.safetensors {kind} {len(keys)} of the weights that config.json calls for, "
                    f"such as {min(keys)}. The two files do not belong together; package or download them again."
                )
        labels = list(model.config.id2label.values())
        if not _EXPRESSIONS & {label.lower() for label in labels}:
            raise ModelError(
                f"{folder.name} is no expression classifier: the labels in config.json are {', '.join(labels[:5])}"
                f"{', ...' if len(labels) > 5 else ''}. Expected id2label with emotions such as happy and sad."
            )
        margins = getattr(model.config, "crop_margin", {})
        if not isinstance(margins, dict) or not all(-1 < margin <= 2 for margin in margins.values()):
            raise ModelError(
                f"{folder.name}: crop_margin in config.json is {margins!r}. Expected a number above -1 and up to 2 "
                'for each detector, such as {"yunet": 0.05}; measure it with training.crop_margin.'
            )
        if device is None:
            accelerator = torch.accelerator.current_accelerator(check_available=True)
            device = "cpu" if accelerator is None else accelerator.type
        classifier = cls(model.eval().to(device), image_processor)
        try:
            classifier([np.zeros((64, 64, 3), np.uint8)])
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{folder.name}: preprocessor_config.json does not fit the model, "
                f"which must take RGB pictures: {error}"
            ) from error
        return classifier

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Classifies all crops, up to `BATCH_SIZE` in one forward pass.

        Args:
            crops: n arrays (h, w, 3) uint8, RGB, of any sizes. The pixels the model sees are exactly those of
                `pipeline("image-classification")` on the same crop.

        Returns:
            (n, C) float32 probabilities; each row sums to 1. (0, C) for no crops.
        """
        import torch
        from PIL import Image

        logits = [torch.zeros(0, len(self.labels))]
        for start in range(0, len(crops), BATCH_SIZE):
            # PIL images, as in the pipeline: of a bare (3, w, 3) array transformers would have to guess the channels.
            images = [Image.fromarray(crop) for crop in crops[start : start + BATCH_SIZE]]
            inputs = self._image_processor(images=images, return_tensors="pt").to(self._model.device)
            with torch.inference_mode():
                logits.append(self._model(**inputs).logits.float().cpu())
        return torch.cat(logits).softmax(dim=-1).numpy()
