"""The warm-up without labels: its loss by hand, and that it leaves the classifier alone."""

from pathlib import Path

import pytest
import torch

from tests.training.test_train import run_tiny, same, weights
from training.learning.contrastive import TEMPERATURE, contrastive_loss


def test_loss_of_two_pictures_by_hand() -> None:
    features = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 5.0]])  # twins point the same way
    others = torch.exp(torch.tensor([1.0, 0.0, 0.0]) / TEMPERATURE)
    assert contrastive_loss(features).item() == pytest.approx(-torch.log(others[0] / others.sum()).item())
    swapped = features[[0, 1, 3, 2]]
    assert contrastive_loss(swapped) > contrastive_loss(features) + 1


@pytest.mark.parametrize("architecture", ["convnext", "regnet"])
def test_warm_up_moves_the_body_and_not_the_classifier(tiny_csv: Path, tmp_path: Path, architecture: str) -> None:
    steps = ["--architecture", architecture, "--max_steps", 4, "--weight_decay", 0, "--learning_rate", 0.01]
    kept = ["--load_best_model_at_end", "false", "--save_strategy", "no"]
    run_tiny(tiny_csv, tmp_path / "start", *steps, *kept, "--learning_rate", 0)
    run_tiny(tiny_csv, tmp_path / "warm", *steps, *kept, "--contrastive_share", 1)
    run_tiny(tiny_csv, tmp_path / "both", *steps, *kept, "--contrastive_share", 0.5)
    start, warm, both = (weights(tmp_path / name) for name in ("start", "warm", "both"))
    head = {name for name in start if name.startswith("classifier")}
    for name in head:
        assert torch.equal(warm[name], start[name]) and not torch.equal(both[name], start[name])
    body = [{name: tensor for name, tensor in each.items() if name not in head} for each in (start, warm)]
    assert not same(*body)
