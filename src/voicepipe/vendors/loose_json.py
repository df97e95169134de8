"""JSON that services write in more shapes than their references say. Pure."""

from __future__ import annotations

import json
from typing import Any, TypeGuard

__all__ = ["as_object", "as_objects", "is_object", "is_object_value"]


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    found: dict[str, Any] = value if isinstance(value, dict) else {}
    return found


def as_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON array; none for anything else."""
    if not isinstance(value, list):
        return []
    found: list[Any] = value
    return [one for one in found if isinstance(one, dict)]


def is_object_value(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a parsed value is a JSON object."""
    return isinstance(value, dict)


def is_object(text: str) -> bool:
    """Return whether a text is a whole JSON object."""
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
