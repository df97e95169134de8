"""Numbers in what a service says. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["number", "positive", "required"]

MOST: Final = 1e15
"""What is larger is no count, time or code; JSON also has integers that no float can hold, NaN and Infinity."""


def number(value: object) -> float | None:
    """Return a JSON value as a number from 0 on; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MOST:
        return None
    return float(value)


def positive(value: object, otherwise: float) -> float:
    """Return a number above 0, or what holds otherwise."""
    return number(value) or otherwise


def required(value: object) -> float:
    """Return a number.

    Raises:
        ValueError: It is none.
    """
    if (found := number(value)) is None:
        raise ValueError
    return found
