"""The losses, against values worked out by hand."""

import math

import pytest
import torch

from training.data.augment import Mixing
from training.errors import DataError
from training.learning.losses import class_weight, distillation_loss, label_loss, vote_distribution, vote_loss

PLAIN = Mixing(torch.arange(2), torch.ones(2))
SWAPPED = Mixing(torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
LOGITS = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]])
LOG = LOGITS.log_softmax(dim=1)
LABELS = torch.tensor([2, 1])


def votes(*rows: dict[int, int]) -> torch.Tensor:
    """(n, 10) counts from those that are not 0."""
    result = torch.zeros(len(rows), 10)
    for row, counts in enumerate(rows):
        for column, count in counts.items():
            result[row, column] = count
    return result


def test_plain_labels_are_cross_entropy() -> None:
    expected = -(LOG[0, 2] + LOG[1, 1]) / 2
    torch.testing.assert_close(label_loss(LOGITS, LABELS, PLAIN), expected)


def test_mixed_images_have_both_labels() -> None:
    first = -(0.75 * LOG[0, 2] + 0.25 * LOG[0, 1])
    second = -(0.5 * LOG[1, 1] + 0.5 * LOG[1, 2])
    torch.testing.assert_close(label_loss(LOGITS, LABELS, SWAPPED), (first + second) / 2)


def test_smoothing_spreads_its_share_evenly() -> None:
    target = torch.tensor([[0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    expected = -(target * LOG).sum(dim=1).mean()
    torch.testing.assert_close(label_loss(LOGITS, LABELS, PLAIN, label_smoothing=0.3), expected)


def test_class_weights_weigh_rows_by_what_they_show() -> None:
    weight = torch.tensor([9.0, 2.0, 1.0])
    rows = -torch.stack([0.75 * LOG[0, 2] + 0.25 * LOG[0, 1], 0.5 * LOG[1, 1] + 0.5 * LOG[1, 2]])
    shown = torch.tensor([0.75 * 1 + 0.25 * 2, 0.5 * 2 + 0.5 * 1])
    expected = (shown * rows).sum() / shown.sum()
    torch.testing.assert_close(label_loss(LOGITS, LABELS, SWAPPED, weight), expected)


def test_votes_become_shares_without_unknown() -> None:
    shares, voted = vote_distribution(votes({3: 6, 7: 2, 8: 1, 9: 1}, {8: 4, 9: 6}))
    assert shares[0].tolist() == [0, 0, 0, 0.75, 0, 0, 0, 0.25] and shares[1].sum() == 0
    assert voted.tolist() == [True, False]


def test_vote_loss_takes_the_partners_votes_too() -> None:
    logits = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    log = logits.log_softmax(dim=1)
    counts = votes({3: 10}, {4: 5, 0: 5})
    first = -(0.75 * log[0, 3] + 0.25 * (log[0, 4] + log[0, 0]) / 2)
    second = -(0.5 * (log[1, 4] + log[1, 0]) / 2 + 0.5 * log[1, 3])
    torch.testing.assert_close(vote_loss(logits, counts, SWAPPED), (first + second) / 2)


def test_images_without_votes_do_not_count() -> None:
    logits = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    counts = votes({3: 10}, {9: 10}, {2: 10})
    none = Mixing.none(3, torch.device("cpu"))
    expected = -(logits.log_softmax(dim=1)[[0, 2], [3, 2]]).mean()
    torch.testing.assert_close(vote_loss(logits, counts, none), expected)
    mixed = Mixing(torch.tensor([1, 0, 2]), torch.tensor([0.9, 0.9, 1.0]))  # the first with one that has none
    torch.testing.assert_close(vote_loss(logits, counts, mixed), -logits.log_softmax(dim=1)[2, 2])
    assert vote_loss(logits, votes({}, {}, {}), none) == 0


def test_distillation_has_the_temperatures_square() -> None:
    taught = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    expected = -9 * (taught * (LOGITS / 3).log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(distillation_loss(LOGITS, taught, 3.0), expected)


def test_gradients_keep_their_size_at_high_temperature() -> None:
    sizes = []
    for temperature in (20.0, 40.0):
        logits = LOGITS.clone().requires_grad_()
        taught = (LOGITS.flip(1) / temperature).softmax(dim=1)
        distillation_loss(logits, taught, temperature).backward()
        sizes.append(logits.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_class_weights_by_hand() -> None:
    labels = [0] * 6 + [1] * 3 + [2]
    balanced, root = class_weight(labels, 3, "balanced"), class_weight(labels, 3, "sqrt")
    assert balanced[labels].mean() == pytest.approx(1) and root[labels].mean() == pytest.approx(1)
    assert balanced.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert (root[2] / root[0]).item() == pytest.approx(math.sqrt(6))
    assert class_weight(labels, 3, "none") is None
    with pytest.raises(DataError, match="every class"):
        class_weight(labels, 4, "balanced")
