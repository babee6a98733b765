"""What to say where no label is probable enough: "unclear", with the two that come nearest."""

from __future__ import annotations

from collections.abc import Mapping

UNCLEAR_BELOW = 0.4  # probability of the reported label; with seven labels chance is 0.14


def require_threshold(threshold: float) -> float:
    """Check a threshold of doubt.

    Raises:
        ValueError: it is not in 0-1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a probability from 0 to 1, got {threshold}")
    return threshold


def top_two(probabilities: Mapping[str, float]) -> list[str]:
    """List the two most probable labels, the first one first; of equals, the one that the model has first."""
    return sorted(probabilities, key=lambda label: -probabilities[label])[:2]


def verdict(label: str, probabilities: Mapping[str, float], threshold: float) -> dict[str, bool | str]:
    """Say whether a label is probable enough, and what to show for it; static/labels.js has the same rules.

    Args:
        label: the one to report: the most probable one, or the one that is held.
        probabilities: by label, 0-1.
        threshold: below it, the label is unclear.

    Returns:
        unclear: whether it is; shown: the label itself, or "happy or fear" where it is unclear.
    """
    unclear = probabilities[label] < threshold
    return {"unclear": unclear, "shown": " or ".join(top_two(probabilities)) if unclear else label}
