"""Calls that a model writes as JSON or Python in its text, without a mark. Pure.

    {"name": "look", "parameters": {"city": "Lyon"}}        [look(city="Lyon")]        ```json {"name": ...} ```

Rule 1: JSON that is not a call is text.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from voicepipe.vendors.loose_json import as_object, as_objects

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LONGEST_CALL", "begins", "begins_with", "begun_at", "is_fenced", "resolved"]

LONGEST_CALL: Final = 8192
"""How many characters a call may have. What is longer is text, because it cannot be held back for ever."""

NAMES: Final = ("name", "function", "tool_name", "tool", "action")
ARGUMENTS: Final = ("parameters", "arguments", "args", "action_input", "input")
KEYS: Final = (*NAMES, *ARGUMENTS, "type", "id", "tool_call_id", "tool_calls")
"""The first key of a call; another one ends the wait."""

SPACE: Final = r"\s{0,8}"
FENCE: Final = rf"```\w{{0,12}}{SPACE}"
NAME: Final = r"[A-Za-z_][\w.]{0,63}"

BEGINS: Final = re.compile(
    rf'(?:{FENCE})?(?:\[{SPACE})?\{{{SPACE}"(?:{"|".join(KEYS)})"' + rf"|(?:{FENCE})?\[{SPACE}{NAME}\("
)

MAY_BEGIN: Final = re.compile(rf'(?:`{{1,2}}|{FENCE}|(?:{FENCE})?(?:\[{SPACE})?(?:\{{{SPACE}(?:"(?P<key>\w*)"?)?)?)')

MAY_BEGIN_PYTHON: Final = re.compile(rf"(?:{FENCE})?\[{SPACE}(?:{NAME})?")

LONGEST_BEGINNING: Final = 128

PYTHON: Final = re.compile(r"\[\s*[A-Za-z_][\w.]*\(\s*(?:\)|[A-Za-z_]\w*\s*=).*\]", re.DOTALL)
"""Arguments have names, as models write them; `[f(x)]` is a formula."""

PIECES: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)' + r"|[\[\]{}()]", re.DOTALL)

TRIGGERS: Final = "`[{"


def begins(text: str, before: int) -> re.Match[str] | None:
    """Return where the first call in front of a place may begin, with its first key or name."""
    return BEGINS.search(text, 0, before)


def begins_with(text: str) -> bool:
    """Return whether a text may be a call from its first character on."""
    return BEGINS.match(text) is not None


def begun_at(text: str) -> int:
    """Return how many of a text's last characters may be the beginning of a call."""
    for at in range(max(0, len(text) - LONGEST_BEGINNING), len(text)):
        if text[at] in TRIGGERS and _may_begin(text[at:]):
            return len(text) - at
    return 0


def _may_begin(rest: str) -> bool:
    if MAY_BEGIN_PYTHON.fullmatch(rest):
        return True
    found = MAY_BEGIN.fullmatch(rest)
    return found is not None and any(key.startswith(found["key"] or "") for key in KEYS)


def is_fenced(text: str) -> bool:
    """Return whether what may be a call stands in a fence."""
    return text.startswith("```")


def resolved(text: str, *, is_end: bool) -> tuple[int, bool] | None:
    """Return how many characters a text begins with that are a call, or that are not one; None while that is not known.

    Args:
        text: One that `begins_with` a call.
        is_end: Whether nothing follows. A call that was cut off in its arguments is a call.

    Returns:
        The number of characters, and whether they are a call.
    """
    end = _value_end(text[:LONGEST_CALL])
    if end is not None:
        value = re.sub(rf"\A{FENCE}", "", text[:end])
        return end, bool(PYTHON.fullmatch(value)) or _is_call(value)
    if len(text) > LONGEST_CALL:
        return LONGEST_CALL, False
    return (len(text), any(f'"{key}"' in text for key in ARGUMENTS)) if is_end else None


def _value_end(text: str) -> int | None:
    depth = 0
    for found in PIECES.finditer(text):
        piece = found[0]
        if piece[0] == '"' and (len(piece) == 1 or piece[-1] != '"'):
            return None
        if piece in "[{(":
            depth += 1
        elif piece in ")}]":
            depth -= 1
            if depth == 0:
                return found.end()
    return None


def _is_call(text: str) -> bool:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return False
    calls = as_objects(value) or [as_object(value)]
    return all(map(_names_a_call, calls))


def _names_a_call(written: Mapping[str, object]) -> bool:
    if inner := as_objects(written.get("tool_calls")) or [
        one for key in ("function", "action") if (one := as_object(written.get(key)))
    ]:
        return all(map(_names_a_call, inner))
    has_name = any(isinstance(written.get(key), str) for key in NAMES)
    return has_name and any(isinstance(written.get(key), (dict, str)) for key in ARGUMENTS)
