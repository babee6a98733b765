"""A warm-up without labels: the two views of a picture are to find each other among all (SimCLR, Chen et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

TEMPERATURE = 0.2


def contrastive_loss(features: torch.Tensor) -> torch.Tensor:
    """Normalised-temperature cross-entropy of finding each view's twin among all views of the batch.

    Args:
        features: (2n, C); row i and row i + n are two views of one picture.

    Returns:
        A scalar.
    """
    rows = len(features)
    directions = F.normalize(features.float(), dim=1)
    similarity = (directions @ directions.T / TEMPERATURE).fill_diagonal_(float("-inf"))
    twin = torch.arange(rows, device=features.device).roll(rows // 2)
    return F.cross_entropy(similarity, twin)
