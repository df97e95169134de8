"""The messages of streaming recognition, as the event models of the vendor's SDK.

Rule 1: the SDK is imported when a part opens, not with this module: that takes 0.16 s and 7 MB.
Rule 2: nothing a service sends can break the reading. In a message that does not validate, each field that is wrong or
        missing takes the value that says nothing, and the others count. The log names the field, never its content.

Source: the vendor's Python SDK 1.8.2 (`streaming/v3/models.py`), read 2026-11-22.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final

from voicepipe.core.log import log
from voicepipe.http.refusals import excerpt
from voicepipe.vendors.assemblyai.key import VENDOR
from voicepipe.vendors.line.json_values import number, parsed

if TYPE_CHECKING:
    from assemblyai.streaming.v3 import EventMessage
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["MessageReader", "event_models"]

NOTHING: Final[dict[str, object]] = {
    "id": "",
    "expires_at": 0,
    "error": "",
    "timestamp": -1,
    "turn_order": -1,
    "turn_is_formatted": False,
    "end_of_turn": False,
    "end_of_turn_confidence": 0.0,
    "words": (),
    "text": "",
    "start": -1,
    "end": -1,
    "start_ms": -1,
    "end_ms": -1,
    "confidence": 0.0,
    "word_is_final": False,
}
"""What stands for a field that cannot be read; None for all others, so that a turn without its text is dropped."""

MANY: Final = 1_000
"""A message with more faults than this loses its words: to mend each fault would take too long."""

MOST_REPORTS: Final = 20
"""Log lines for one connection."""


@cache
def event_models() -> TypeAdapter[EventMessage]:
    """Import the SDK, and return what reads all of its events."""
    from assemblyai.streaming.v3 import EventMessage  # noqa: PLC0415 - see Rule 1
    from pydantic import Field, TypeAdapter  # noqa: PLC0415

    return TypeAdapter(Annotated[EventMessage, Field(discriminator="type")])


class MessageReader:
    """Reads the messages of one connection, and logs once what is wrong with them."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def read(self, raw: bytes) -> EventMessage | None:
        """Return a message; None for what is not JSON, or of a kind that the SDK does not know."""
        try:
            # "allow" keeps what the SDK does not know yet, such as `utterance` of a turn.
            return event_models().validate_json(raw, extra="allow")
        except ValueError:  # pydantic's ValidationError is one
            return self._mended(parsed(raw))

    def _mended(self, message: dict[str, Any]) -> EventMessage | None:
        from pydantic import ValidationError  # noqa: PLC0415 - loaded with the models

        if "error" in message and "type" not in message:
            message["type"] = "Error"  # the shape it had once
        with suppress(LookupError, TypeError):  # a path to a fault that only a later SDK has
            for _ in range(3):  # a word that is replaced shows only then which of its fields are missing
                try:
                    return event_models().validate_python(message, extra="allow")
                except ValidationError as error:
                    self._mend(message, error)
        return None

    def _mend(self, message: dict[str, Any], error: ValidationError) -> None:
        kind = excerpt(str(message.get("type")))
        if error.error_count() > MANY:
            self._report(f"a message of type {kind} with {error.error_count()} faults")
            message["words"] = ()
            return
        for fault in error.errors(include_url=False, include_context=False):
            where = fault["loc"][1:]
            if not where:  # the message as a whole
                self._report(f"a message of type {kind}, which the SDK does not know")
                return
            names = ".".join(one for one in where if isinstance(one, str))
            self._report(f"a message of type {kind} that does not fit the SDK's model: {names}: {fault['msg']}")
            holder: Any = message
            for one in where[:-1]:
                holder = holder[one]
            holder[where[-1]] = _instead(fault)

    def _report(self, what: str) -> None:
        if what not in self._reported and len(self._reported) < MOST_REPORTS:
            self._reported.add(what)
            log.warning("%s sent %s", VENDOR, what)


def _instead(fault: ErrorDetails) -> object:
    """Return the value nearest to one that does not validate."""
    name, found = fault["loc"][-1], fault["input"]
    if isinstance(name, int):
        return {}  # a word
    if fault["type"] == "int_from_float" and number(found) is not None:
        return int(found)  # a fraction of a millisecond
    return NOTHING.get(name)
