"""JSON that a language model wrote, read strictly.

Rule 1: the JSON is exactly what its schema describes, or it is refused: nothing is repaired, guessed or ignored. Only
        in a call of a tool, a null of a field that has a default and is never null counts as left out.
Rule 2: a refusal names fields and no values: a value may be something the caller said, and a refusal may be logged.
Rule 3: pydantic is imported with the first text, not with the library: see `tool`, Rule 4.
"""

from __future__ import annotations

import functools
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, get_args

from voicepipe.errors import ToolError
from voicepipe.tools.validation import guessed, without_idle_nulls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["read_json", "read_object", "unfenced"]

MAX_COMPLAINTS: Final = 8
MAX_PATH_CHARACTERS: Final = 80

FENCED: Final = re.compile(r"\s*```(?:json)?\s*(\{.*\})\s*```\s*", re.DOTALL | re.IGNORECASE)

T = TypeVar("T")


def read_json(
    text: str,
    what: str,
    *,
    limit: int,
    schema: Mapping[str, Any],
    validate: Callable[..., T],
    idle_nulls: bool = False,
) -> T:
    """Return what pydantic makes of a text with one JSON object.

    The text is parsed twice, because neither parser is enough. Pydantic's keeps the last of two equal keys and accepts
    NaN; and pydantic makes a date or an enum, while it is strict, from JSON text only and not from parsed JSON.

    Args:
        text: What the model wrote.
        what: What the text is called in a refusal, e.g. "the arguments".
        limit: Length of the longest text, in bytes of UTF-8.
        schema: JSON schema of the object.
        validate: `validate_json` of an adapter or `model_validate_json` of a model.
        idle_nulls: Whether a null of a field that has a default and is never null counts as left out.

    Raises:
        ToolError: The text does not fit. What a validator of the application says is left out, because it may quote a
            value; a ToolError that it raises is passed on unchanged.
        Exception: Any other exception that a validator of the application raises.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - Rule 3

    try:
        parsed = read_object(text, what, limit)
        given = without_idle_nulls(parsed, schema) if idle_nulls else parsed
        if given is not parsed:
            parsed, text = given, json.dumps(given)
        # As arguments and not as a configuration, so that they hold for inner models too, whatever those allow.
        found = validate(text, strict=True, extra="forbid")
        path = guessed(parsed, schema)
    except ValidationError as error:
        # Not as the cause: its text holds the values.
        raise ToolError(_complaints(error, what)) from None
    except RecursionError as error:
        raise ToolError(f"{what}: nested too deeply") from error
    if path is not None:
        field = path[:MAX_PATH_CHARACTERS]
        raise ToolError(f"{field}: not exactly of the type in the schema, e.g. true for 1, or digits for a date")
    return found


def unfenced(text: str) -> str:
    """Return what stands in a Markdown fence that is around the whole text; any other text as it is.

    Many models write such a fence around data, whatever they are asked for. What is in it is read as strictly.
    """
    found = FENCED.fullmatch(text)
    return found[1] if found else text


def read_object(text: str, what: str, limit: int) -> dict[str, Any]:
    """Return the object in a text, without equal keys, NaN and infinities.

    Raises:
        ToolError: It is no such object, or longer than `limit` bytes of UTF-8.
    """
    if len(text) > limit or len(text.encode("utf-8", errors="replace")) > limit:
        raise ToolError(f"{what}: longer than {limit} bytes; send less")
    try:
        found = STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise ToolError(f"{what}: not JSON: {error}") from None
    except ValueError:  # Python limits the digits of an integer
        raise ToolError(f"{what}: a number is too long") from None
    if not isinstance(found, dict):
        raise ToolError(f"{what}: must be one JSON object, e.g. {{}}")
    return cast("dict[str, Any]", found)


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


STRICT: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)


def _complaints(error: ValidationError, what: str) -> str:
    """Return which fields are wrong and why, on one line."""
    found = error.errors(include_url=False)
    complaints = [_complaint(one, what) for one in found[:MAX_COMPLAINTS]]
    if len(found) > MAX_COMPLAINTS:
        complaints.append(f"and {len(found) - MAX_COMPLAINTS} more")
    return "; ".join(complaints)


def _complaint(error: ErrorDetails, what: str) -> str:
    path = ".".join(str(part) for part in error["loc"])[:MAX_PATH_CHARACTERS] or what
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{path}: there is no such field"
        case "union_tag_invalid":
            return f"{path}: the tag must be one of {error.get('ctx', {}).get('expected_tags', 'those in the schema')}"
        case kind if kind in _worded_by_pydantic():
            return f"{path}: {error['msg']}"
        case _:
            return f"{path}: refused by its validator"


@functools.cache
def _worded_by_pydantic() -> frozenset[str]:
    """Return the kinds of complaint that pydantic words by itself; the messages of the others may hold a value."""
    from pydantic_core import core_schema  # noqa: PLC0415 - Rule 3

    kinds = frozenset(get_args(core_schema.ErrorType))
    return kinds - {"value_error", "assertion_error", "union_tag_invalid"}
