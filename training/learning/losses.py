"""The losses: cross-entropy to the labels, to the FER+ vote distributions, and to the teachers.

All are computed from float32 logits of one head, (n, C). Where images were mixed, so are their targets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from training.data.augment import Mixing
from training.data.labels import FERPLUS_EMOTIONS
from training.errors import DataError


def label_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    mixing: Mixing,
    class_weight: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean cross-entropy to the labels.

    Args:
        logits: (n, C).
        labels: (n,) int64.
        mixing: how the images were mixed.
        class_weight: (C,). A mixed image weighs as its classes do, in their shares, and the mean is a weighted one;
            `F.cross_entropy`'s own `weight` would weigh the smoothed classes as well and divide by n.
        label_smoothing: 0-1, the share of each target that is spread evenly over all classes.

    Returns:
        A scalar.
    """
    target = mixing.blend(F.one_hot(labels, logits.shape[1]).float())
    losses = F.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction="none")
    if class_weight is None:
        return losses.mean()
    weight = target @ class_weight
    return (weight * losses).sum() / weight.sum()


def vote_distribution(votes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """FER+ votes as a distribution over the eight emotions (Barsoum et al. 2016, without unknown and not-a-face).

    Args:
        votes: (n, 10) counts.

    Returns:
        (n, 8) shares, and (n,) bool: whether anyone voted for an emotion at all.
    """
    counts = votes[:, : len(FERPLUS_EMOTIONS)]
    total = counts.sum(dim=1, keepdim=True)
    return counts / total.clamp(min=1), total[:, 0] > 0


def vote_loss(logits: torch.Tensor, votes: torch.Tensor, mixing: Mixing) -> torch.Tensor:
    """Mean cross-entropy to the distribution of the votes, over the images that have votes for an emotion.

    Args:
        logits: (n, 8).
        votes: (n, 10) counts.
        mixing: how the images were mixed; both images of a mixture must have votes.

    Returns:
        A scalar, 0 where no image has votes.
    """
    distribution, voted = vote_distribution(votes)
    known = voted & voted[mixing.partner]
    losses = F.cross_entropy(logits, mixing.blend(distribution), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def distillation_loss(logits: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean cross-entropy to the teachers' probabilities (Hinton et al. 2015).

    Args:
        logits: (n, C) of the student.
        taught: (n, C) probabilities of the teachers, at the same temperature.
        temperature: divides the logits.

    Returns:
        A scalar, times the temperature's square, which keeps the size of the gradients.
    """
    return temperature**2 * F.cross_entropy(logits / temperature, taught)


def class_weight(labels: list[int], count: int, kind: str) -> torch.Tensor | None:
    """Return (C,) loss weights, mean 1 over the images: the inverse of each class's share, or its square root.

    Raises:
        DataError: a class has no image, so its weight would be infinite.
    """
    if kind == "none":
        return None
    sizes = torch.bincount(torch.tensor(labels), minlength=count).double()
    if (sizes == 0).any():
        raise DataError(f"class_weights {kind}: expected images of every class, got class sizes {sizes.tolist()}")
    weight = sizes.sum() / (count * sizes)
    weight = weight.sqrt() if kind == "sqrt" else weight
    return (weight * sizes.sum() / (weight * sizes).sum()).float()
