"""Checks of the plain values that endpoints take; files have `uploads`."""

from __future__ import annotations

from reprlib import repr as short
from typing import Any

from gradio_ui.recognition.errors import RecognitionError


class ArgumentError(RecognitionError, ValueError):
    """An endpoint was called with a value that it does not take."""


def boolean(name: str, value: Any) -> bool:
    """Check a switch; None, for a value that was left out, is off.

    Raises:
        ArgumentError: It is neither true nor false.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ArgumentError(f"{name}: expected true or false, got {short(value)}")


def number(name: str, value: Any, low: float, high: float, default: float) -> float:
    """Check a number from `low` to `high`; None, for a value that was left out, is `default`.

    Raises:
        ArgumentError: It is no number, or out of range.
    """
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ArgumentError(f"{name}: expected a number from {low:g} to {high:g}, got {short(value)}")
    return float(value)
