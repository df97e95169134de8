"""What can be relied on in a service's JSON. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["number", "parsed", "positive", "required"]

MOST: Final = 1e15
"""A larger number is no count, time or code. JSON also has integers that no float can hold, NaN and Infinity."""


def parsed(raw: str | bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def number(value: object) -> float | None:
    """Return a JSON value as a number from 0 on; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MOST:
        return None
    return float(value)


def positive(value: object, otherwise: float) -> float:
    """Return a number above 0, or `otherwise`."""
    return number(value) or otherwise


def required(value: object) -> float:
    """Return a number.

    Raises:
        ValueError: It is not one.
    """
    if (found := number(value)) is None:
        raise ValueError
    return found
