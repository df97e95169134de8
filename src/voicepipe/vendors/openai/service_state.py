"""Collects what a service wants back with a reply that calls tools: fields that this library does not know. Pure.

Rule 1: a field is kept as it came. Pieces of one text are joined, and nothing else is changed.

Source, read 2026-11-29: Google's "Thought signatures" (`extra_content.google.thought_signature` of a call), DeepSeek's
"Thinking mode" (`reasoning_content` of a calling message), OpenRouter's "Reasoning tokens" (`reasoning_details`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from voicepipe.history import ServiceState
from voicepipe.http.refusals import failure
from voicepipe.vendors.loose_json import as_object, is_object_value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CALL_FIELDS", "MESSAGE_FIELDS", "StateReader"]

MESSAGE_FIELDS: Final = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "name", "audio", "annotations", "index", "id"}
)
"""Fields of a message that the format knows. They are written from the history."""

CALL_FIELDS: Final = frozenset({"id", "index", "type", "function"})
FUNCTION_FIELDS: Final = frozenset({"id", "index", "name", "arguments"})

TEXTS: Final = ("reasoning_content", "reasoning", "thinking", "text", "summary")
"""Fields whose text comes in pieces; the last piece of any other field counts."""

ENDS: Final = ("signature", "data")
"""What ends an element of a list: the next piece begins another one."""

MAX_STATE_CHARACTERS: Final = 1 << 20
"""The longest state of one message or call."""


class StateReader:
    """Puts the unknown fields of one message or call together.

    Args:
        vendor: Named in errors.
        service: The service, as `ServiceState` names it.
        known: The fields that are left out.
    """

    def __init__(self, vendor: str, service: str, known: frozenset[str]) -> None:
        self._vendor = vendor
        self._service = service
        self._known = known
        self._fields: dict[str, Any] = {}
        self._characters = 0

    def feed(self, written: Mapping[str, Any]) -> bool:
        """Take a piece of the message or the call, and return whether it holds anything of this kind.

        Raises:
            VendorError: There is more than anybody can send back.
        """
        fields = _others(written, self._known)
        if self._known is CALL_FIELDS and (function := _others(as_object(written.get("function")), FUNCTION_FIELDS)):
            fields["function"] = function
        if not fields:
            return False
        self._characters += len(json.dumps(fields))
        if self._characters > MAX_STATE_CHARACTERS:
            raise failure(self._vendor, f"sent more than {MAX_STATE_CHARACTERS} characters of state with a reply")
        self._fields = _merged(self._fields, fields)
        return True

    @property
    def state(self) -> ServiceState | None:
        """What has come so far; None without anything."""
        return ServiceState(service=self._service, fields=dict(self._fields)) if self._fields else None


def _others(written: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if known.issuperset(written):
        return {}  # as nearly every piece
    return {name: value for name, value in written.items() if value is not None and name not in known}


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    found = dict(old)
    for name, value in new.items():
        before = found.get(name)
        if isinstance(before, str) and isinstance(value, str) and name in TEXTS:
            found[name] = before + value
        elif is_object_value(before) and is_object_value(value):
            found[name] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            found[name] = _extended(before, value)
        elif value is not None:
            found[name] = value
    return found


def _extended(old: list[Any], new: list[Any]) -> list[Any]:
    found = list(old)
    for element in new:
        if found and _continues(found[-1], element):
            found[-1] = _merged(found[-1], element)
        else:
            found.append(element)
    return found


def _continues(last: object, element: object) -> bool:
    """Return whether an element is the next piece of the last one."""
    before, piece = as_object(last), as_object(element)
    if not before or not piece or any(before.get(name) for name in ENDS) or piece.get("data"):
        return False
    return all(before.get(name) == piece.get(name) or piece.get(name) is None for name in ("type", "index", "id"))
