"""What is wrong with data that a model wrote, in words that the model can act on.

Rule 1: fields are named, values are not: they may hold what the caller said, and the words may reach a log.
"""

from __future__ import annotations

import functools
import json
import math
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic_core import core_schema

from voicepipe.errors import ToolError
from voicepipe.tools.validation import guessed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["check_json", "complaints"]

MAX_COMPLAINTS: Final = 8
MAX_PATH_CHARACTERS: Final = 80


def complaints(error: ValidationError, whole: str) -> str:
    """Return which fields are wrong and how, on one line; `whole` names what has no field.

    What a validator of the application says is left out, because it may quote a value.
    """
    found = error.errors(include_url=False)
    said = [_complaint(one, whole) for one in found[:MAX_COMPLAINTS]]
    if len(found) > MAX_COMPLAINTS:
        said.append(f"and {len(found) - MAX_COMPLAINTS} more")
    return "; ".join(said)


def check_json(text: str, what: str, limit: int, schema: Mapping[str, Any]) -> None:
    """Refuse what pydantic would let pass: doubled keys, numbers that are none, endless text, types that it guesses.

    Args:
        text: What the model wrote.
        schema: What it should be.
        what: How to call it, e.g. "the arguments".
        limit: In bytes.

    Raises:
        ToolError: It is not one JSON object.
    """
    if len(text) > limit or len(text.encode("utf-8", errors="replace")) > limit:
        raise ToolError(f"{what}: longer than {limit} bytes; send less")
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ToolError(f"{what}: not JSON: {error}") from None
    except RecursionError:
        raise ToolError(f"{what}: nested too deeply") from None
    except ValueError:  # Python limits the digits of an integer
        raise ToolError(f"{what}: a number is too long") from None
    if not isinstance(found, dict):
        raise ToolError(f"{what}: must be one JSON object, e.g. {{}}")
    try:
        path = guessed(found, schema)
    except RecursionError:
        raise ToolError(f"{what}: nested too deeply") from None
    if path is not None:
        raise ToolError(f"{path[:MAX_PATH_CHARACTERS]}: not of the type that the schema says")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ToolError(f"{key[:MAX_PATH_CHARACTERS]}: given twice")
        found[key] = value
    return found


def _refuse_constant(constant: str) -> float:
    raise ToolError(f"{constant} is not JSON; leave the number out or give one")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ToolError("a number is out of range")
    return number


def _complaint(error: ErrorDetails, whole: str) -> str:
    path = ".".join(str(part) for part in error["loc"])[:MAX_PATH_CHARACTERS] or whole
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{path}: there is no such field"
        case "union_tag_invalid":
            return f"{path}: the tag must be one of {error.get('ctx', {}).get('expected_tags', 'those in the schema')}"
        case kind if kind in _pydantic_says():
            return f"{path}: {error['msg']}"
        case _:
            return f"{path}: refused by its validator"


@functools.cache
def _pydantic_says() -> frozenset[str]:
    """Return the complaints whose words are pydantic's own; those of the last three kinds may hold a caller's value."""
    kinds = frozenset(get_args(core_schema.ErrorType))
    return kinds - {"value_error", "assertion_error", "union_tag_invalid"}
