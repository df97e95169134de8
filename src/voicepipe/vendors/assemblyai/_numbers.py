"""Numbers in what a service says. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["number"]

MOST: Final = 1e15
"""What is larger is no count, time or code; JSON also has integers that no float can hold, NaN and Infinity."""


def number(value: object) -> float | None:
    """Return a JSON value as a number from 0 on; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MOST:
        return None
    return float(value)
