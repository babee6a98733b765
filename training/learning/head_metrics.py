"""The validation metrics of each head, for the Trainer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from transformers import EvalPrediction, PreTrainedConfig

from training.data.labels import majority_label
from training.evaluation.metrics import training_metrics
from training.network.build import heads


def metrics_of(config: PreTrainedConfig) -> Callable[[EvalPrediction], dict[str, float]]:
    """Make `compute_metrics` for the Trainer: each head on its own labels, FER+ on its majority rows."""
    rows = heads(config)

    def metrics(prediction: EvalPrediction) -> dict[str, float]:
        logits = np.asarray(prediction.predictions)
        references, *votes = (
            prediction.label_ids if isinstance(prediction.label_ids, tuple) else [prediction.label_ids]
        )
        result = training_metrics(logits[:, rows["fer2013"]], references)
        if votes and "ferplus" in rows:
            majority = majority_label(votes[0].astype(np.int64))
            if (kept := majority >= 0).any():
                ferplus = training_metrics(logits[kept][:, rows["ferplus"]], majority[kept])
                result |= {f"ferplus_{name}": value for name, value in ferplus.items()}
        return result

    return metrics
