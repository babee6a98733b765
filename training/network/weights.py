"""Weights from a checkpoint: all of them, or an error that names what is missing.

transformers saves some networks (ViT, DeiT, Swin) under other key names than the module has, and `from_pretrained`
maps them back; a plain `load_state_dict` does not. `from_pretrained` in turn fills what it does not find with random
numbers and only warns.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageClassification, PreTrainedModel

from gradio_ui.recognition.quiet import quiet_loading
from training.errors import WeightsError

NAMED = 3  # keys in an error message; the others are counted


def load_weights(
    path: str | Path,
    kind: type[Any] = AutoModelForImageClassification,
    *,
    new_classifier: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """Load an image classifier in float32 with every tensor of its checkpoint.

    Args:
        path: a folder or a Hub id.
        kind: the class of the model, or the library's automatic choice.
        new_classifier: the classifier is to be trained: it may be absent or of other labels, and further tensors of
            the checkpoint, such as another task's head, are left out.
        **options: of `from_pretrained`: `config`, `revision`.

    Returns:
        The model in eval mode, on the CPU.

    Raises:
        OSError: nothing loadable is there.
        WeightsError: a tensor is missing, left over, or of another shape.
    """
    with quiet_loading():
        model, found = kind.from_pretrained(
            path,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            use_safetensors=True,
            dtype=torch.float32,
            **options,
        )
    missing, reshaped = found["missing_keys"], {key for key, *_ in found["mismatched_keys"]}
    unexpected = found["unexpected_keys"]
    if new_classifier:
        missing, reshaped = ({key for key in keys if not is_classifier(key)} for keys in (missing, reshaped))
        unexpected = set()
    check_keys(path, missing=missing, unexpected=unexpected, reshaped=reshaped)
    return model


def restore_weights(model: PreTrainedModel, checkpoint: Path) -> None:
    """Put the weights of a checkpoint into a model of the same network, in place.

    Args:
        model: any device; its memory formats stay.
        checkpoint: written by the model's `save_pretrained`.

    Raises:
        OSError: there are no weights.
        WeightsError: they are not all of the model's, or not only those.
    """
    saved = load_weights(checkpoint, type(model), config=copy.deepcopy(model.config))
    model.load_state_dict(saved.state_dict())


def is_classifier(key: str) -> bool:
    """Say whether a parameter belongs to the classifier, which is newly initialized for each set of labels."""
    return key.startswith("classifier")


def check_keys(
    path: str | Path, *, missing: Iterable[str], unexpected: Iterable[str], reshaped: Iterable[str] = ()
) -> None:
    """Refuse weights whose keys differ from the network's.

    Raises:
        WeightsError: a key is given; the message names the first of each kind.
    """
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    told = [f"{kind}: {_listed(sorted(keys))}" for kind, keys in kinds.items() if keys]
    if told:
        raise WeightsError(
            f"{path}: expected exactly the weights of this network; {'; '.join(told)}. Use the arguments and the "
            "transformers version that they were saved with, or other weights."
        )


def _listed(keys: list[str]) -> str:
    more = len(keys) - NAMED
    return ", ".join(keys[:NAMED]) + (f" and {more} more" if more > 0 else "")
