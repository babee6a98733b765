"""Distillation (Hinton et al. 2015): a student learns the probabilities of teachers.

Both see the same augmented view, but the teachers see it clean where the student's is corrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers import AutoImageProcessor, PreTrainedModel

from gradio_ui.recognition.backends import LUMA
from training.data.torch_datasets import side
from training.errors import TeacherError
from training.network.build import output_names
from training.network.weights import load_weights


class Teacher:
    """One checkpoint, with its own image size, channels, mean and std.

    Args:
        path: run folder, package or Hub id.
        student: the model to teach; the teacher's outputs must be its outputs, by name and in order.
        device: where to run.

    Raises:
        TeacherError: nothing loadable is there, or the outputs differ.
    """

    def __init__(self, path: str, student: PreTrainedModel, device: torch.device) -> None:
        try:
            model = load_weights(path)
            image_processor = AutoImageProcessor.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise TeacherError(f"teacher {path}: expected a run folder or a Hub id, got: {error}") from error
        names, expected = output_names(model.config), output_names(student.config)
        if names != expected:
            raise TeacherError(
                f"teacher {path}: expected the student's outputs {', '.join(expected)}; got {', '.join(names)}. "
                "Train it with the same ferplus_weight switched on or off as the student."
            )
        self.model = model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self.channels = int(model.config.num_channels)
        self.size = side(image_processor)
        self.mean, self.std = (
            torch.tensor(list(values)[: self.channels], device=device).view(1, -1, 1, 1)
            for values in (image_processor.image_mean, image_processor.image_std)
        )

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (n, outputs) float32 of images (n, 1 or 3, s, s) in 0-1."""
        if self.channels == 1 and images.shape[1] == 3:
            images = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        if images.shape[-1] != self.size:
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        pixel_values = ((images - self.mean) / self.std).expand(-1, self.channels, -1, -1)
        logits: torch.Tensor = self.model(pixel_values=pixel_values).logits.float()
        return logits


class Teachers:
    """Several checkpoints that teach by the average of their probabilities.

    Args:
        paths: see `Teacher`.
        student: the model to teach.
        heads: the student's output indices by head, see `training.network.build.heads`.
        temperature: divides the logits; above 1 shows more of what the teachers think of the other classes.
        flip: whether they see the mirrored view as well, and teach by the average of both.
        device: where to run.

    Raises:
        TeacherError: see `Teacher`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        student: PreTrainedModel,
        heads: dict[str, torch.Tensor],
        temperature: float,
        flip: bool,
        device: torch.device,
    ) -> None:
        self.members = [Teacher(path, student, device) for path in paths]
        self.heads = heads
        self.temperature = temperature
        self.flip = flip

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return probabilities (n, C) by head, of images (n, 1 or 3, s, s) in 0-1."""
        views = [images, images.flip(-1)] if self.flip else [images]
        logits = torch.stack([member(view) for member in self.members for view in views]) / self.temperature
        return {name: logits[..., rows].softmax(dim=-1).mean(dim=0) for name, rows in self.heads.items()}
