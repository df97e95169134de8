"""Reads the tool calls of a reply, which come in pieces that often do not say whose they are. Pure.

Rule 1: a piece of one call never goes to another. If the service does not say whose it is, the call is not whole or has
        no name, so it becomes a failed result, which the model is shown.
Rule 2: behind a whole object no arguments continue: what comes there opens another call.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicepipe.flow import ToolCallDelta
from voicepipe.http.refusals import failure
from voicepipe.vendors.loose_json import as_object, is_object
from voicepipe.vendors.openai.service_state import CALL_FIELDS, StateReader

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CallReader", "WholeCharacters", "number_in"]


class WholeCharacters:
    """Joins surrogate pairs that were split between two pieces of a text."""

    def __init__(self) -> None:
        self._half = ""

    def joined(self, text: str) -> str:
        """Return the text of the next piece; a half without its other half becomes U+FFFD."""
        if not text or (text.isascii() and not self._half):
            return text
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(slots=True, eq=False)
class _Call:
    """A tool call of a reply, as far as it has arrived.

    Attributes:
        index: Which call of the reply it is, from 0.
        number: The service's own number for it; None without one.
        state: What the service wants back with it.
    """

    index: int
    number: int | None
    state: StateReader
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list[str])
    characters: WholeCharacters = field(default_factory=WholeCharacters)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class CallReader:
    """Puts the calls of one reply together.

    Args:
        vendor: Named in errors.
        filler: What requests send in place of empty arguments. A model that copies it means empty arguments.
        service: The service, as `ServiceState` names it.
    """

    def __init__(self, vendor: str, filler: str = "", service: str = "") -> None:
        self._vendor = vendor
        self._service = service
        self._filler = filler
        self._held: dict[int, str] = {}
        self._calls: dict[int, _Call] = {}
        self._last: _Call | None = None

    def __bool__(self) -> bool:
        """Return whether the reply has called anything."""
        return bool(self._calls)

    def feed(self, written: dict[str, Any]) -> Iterator[ToolCallDelta]:
        """Read an element of `tool_calls`.

        Raises:
            VendorError: It is numbered with something that is not a number.
        """
        function = as_object(written.get("function"))
        call_id = str(written.get("id") or function.get("id") or "")
        name, arguments = str(function.get("name") or ""), function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        if not (call_id or name or arguments):
            yield from self._late_state(written)
            return  # or the blank delta that some gateways open with
        number = number_in(index := written.get("index"))
        if number is None and index is not None:
            kind = type(index).__name__
            raise failure(self._vendor, f"numbered a tool call with a {kind} that is not a whole number")
        call = self._known(number, call_id, name)
        if call is not None and not call_id and _opens_behind(call, name, arguments):
            if not name and arguments.strip() == call.arguments.strip():
                return  # some servers send the whole arguments once more at the end
            call = None
        call = call or self._opened(number)
        is_new = not call.pieces
        self._last = call
        call.call_id, call.name = call.call_id or call_id, call.name or name
        arguments = call.characters.joined(arguments)
        call.pieces.append(arguments)
        if self._filler and (is_new or call.index in self._held):
            arguments = self._without_filler(call.index, arguments)
        state = call.state.state if call.state.feed(written) else None
        yield ToolCallDelta(index=call.index, call_id=call_id, name=name, arguments=arguments, state=state)

    def end(self, *, was_cut: bool) -> Iterator[ToolCallDelta]:
        """Yield what was held back.

        Args:
            was_cut: Whether the service stopped the model. Then calls whose arguments may have been cut off are made
                invalid, so that none of them runs.
        """
        yield from (ToolCallDelta(index=index, arguments=held) for index, held in self._held.items())
        if was_cut:
            for call in self._calls.values():
                if "".join(call.arguments.split()) in ("", "{}", self._filler):
                    yield ToolCallDelta(index=call.index, arguments="{")

    def _known(self, number: int | None, call_id: str, name: str) -> _Call | None:
        """Return the call that a piece continues; None when it opens one."""
        calls = [call for call in self._calls.values() if number is None or call.number == number]
        same = next((call for call in reversed(calls) if call.call_id == call_id), None) if call_id else None
        if number is not None:
            if same or not calls:
                return same
            # Some servers number every call 0: a name with a new id opens another call.
            return None if name and call_id and calls[-1].call_id else calls[-1]
        if same:
            # Two calls of one reply may have the same id: a complete call does not continue.
            return None if name and (name != same.name or is_object(same.arguments)) else same
        if name or (self._last and call_id and self._last.call_id):
            return None
        return self._last

    def _opened(self, number: int | None) -> _Call:
        free = max(self._calls, default=-1) + 1
        index = free if number is None or number in self._calls else number
        call = self._calls[index] = _Call(index, number, StateReader(self._vendor, self._service, CALL_FIELDS))
        return call

    def _late_state(self, written: dict[str, Any]) -> Iterator[ToolCallDelta]:
        """Read a piece that holds nothing but fields for a call that is there."""
        call = self._known(number_in(written.get("index")), "", "")
        if call is not None and call.state.feed(written):
            yield ToolCallDelta(index=call.index, state=call.state.state)

    def _without_filler(self, index: int, arguments: str) -> str:
        """Return a call's arguments; hold them back as long as they may become the filler."""
        written = self._held.pop(index, "") + arguments
        bare = "".join(written.split())
        if bare == self._filler:
            return "{}"
        if self._filler.startswith(bare):
            self._held[index] = written
            return ""
        return written


def number_in(written: object) -> int | None:
    """Return a number, which may be written as text; None for anything else."""
    if type(written) is int:
        return written
    return int(written) if isinstance(written, str) and re.fullmatch(r"[0-9]{1,9}", written) else None


def _opens_behind(call: _Call, name: str, arguments: str) -> bool:
    """Return whether a piece without an id opens a call behind the one that its number or its place names."""
    if name and call.name and name != call.name:
        return True
    # Some services begin with an empty object and send the arguments after it.
    begins = arguments.lstrip().startswith("{")
    return begins and is_object(call.arguments) and (bool(name) or "".join(call.arguments.split()) != "{}")
