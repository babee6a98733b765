"""The style sheet and the scripts of the page."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).resolve().parents[1] / "static"


def script(*names: str) -> str:
    """Read scripts, in this order, as the body of one function."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)
