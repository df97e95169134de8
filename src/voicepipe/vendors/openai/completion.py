"""Reads replies in the chat-completions format. Pure: no network, no clock.

Rule 1: the service's JSON becomes parts of a reply here and nowhere else.
Rule 2: JSON without meaning (null choices, unknown objects, blank deltas) is skipped. An error object, a finish reason
        that reports a failure, broken JSON, or a reply without an end is an error.
Rule 3: text is what the model says to the caller. Its thoughts, and calls written as text, are not: see `spoken_text`.

Source: OpenAI's API reference, "Chat completions" and "Streaming", read 2026-11-22, and the known oddities of
compatible servers.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voicepipe.core.log import log
from voicepipe.errors import VendorError
from voicepipe.flow import CUT_REASONS, ReplyEnd, ReplyState, TextDelta
from voicepipe.http.refusals import excerpt, failure
from voicepipe.model.model import ReplyPart, Usage
from voicepipe.vendors.loose_json import as_object, as_objects
from voicepipe.vendors.openai.calls import CallReader, WholeCharacters, number_in
from voicepipe.vendors.openai.service_state import MESSAGE_FIELDS, StateReader
from voicepipe.vendors.openai.spoken_text import SpokenText
from voicepipe.vendors.openai.usage import RateLimit, usage_in
from voicepipe.vendors.openai.verdicts import failed_reply, finish_reason_in, reported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["CompletionParser", "Part", "Unspoken"]


@dataclass(frozen=True, slots=True)
class Unspoken:
    """A piece of a reply that nobody hears: thoughts, or control text. The service is at work."""


Part: TypeAlias = ReplyPart | Usage | RateLimit | Unspoken
"""What a service sends: the reply itself, and what it counted."""

THOUGHT_FIELDS: Final = ("reasoning_content", "reasoning", "reasoning_details")
"""Where servers with a reasoning parser send thoughts: DeepSeek, vLLM and llama.cpp; Ollama and Groq; OpenRouter."""

THOUGHT_TYPES: Final = ("thinking", "reasoning")

OTHER_ROLES: Final = ("user", "system", "developer", "tool")
"""Roles other than the model's."""


JSON: Final = json.JSONDecoder()


class CompletionParser:
    """Reads one reply, streamed or whole.

    Args:
        vendor: Named in errors.
        without_key: Takes the key out of what an error quotes.
        filler: What requests send in place of empty arguments. A model that copies it means empty arguments.
        spoken: Takes the reply's text, and returns what of it is spoken.
        service: Where the reply comes from, as `ServiceState` names it.

    Attributes:
        has_ended: Whether the end has arrived: a finish reason or `[DONE]`. Nothing that follows belongs to the reply.
    """

    def __init__(
        self,
        vendor: str,
        without_key: Callable[[str], str] = str,
        filler: str = "",
        spoken: SpokenText | None = None,
        service: str = "",
    ) -> None:
        self.has_ended = False
        self._vendor = vendor
        self._without_key = without_key
        self._spoken = spoken or SpokenText()
        self._choice: int | None = None
        self._has_deltas = False
        self._characters = WholeCharacters()
        self._calls = CallReader(vendor, filler, service)
        self._state = StateReader(vendor, service, MESSAGE_FIELDS)
        self._has_new_state = False

    def feed(self, data: str, name: str = "message") -> Iterator[Part]:
        """Read the data of one event. After the finish reason or `[DONE]` only the tokens used are read.

        Args:
            data: The event's data.
            name: The event's name. An event with a name other than "message" may hold anything.

        Raises:
            VendorError: The event reports an error or is not a JSON object, or the reply ends and held nothing but text
                that is not spoken.
        """
        if self.has_ended:
            with suppress(VendorError):  # the reply is whole, whatever else may come
                return usage_in(self._object(data))
        elif data.strip() == "[DONE]":
            return self._end("")
        elif name == "error":
            raise self._reported(data)
        elif name == "message" or data.lstrip().startswith(("{", "[")):
            return self._chunk(self._object(data))
        return iter(())

    def _chunk(self, chunk: dict[str, Any]) -> Iterator[Part]:
        if "usage" in chunk:
            yield from usage_in(chunk)
        for position, choice in enumerate(as_objects(chunk.get("choices"))):
            if not self._is_chosen(choice.get("index"), position):
                continue
            if delta := as_object(choice.get("delta")):
                self._has_deltas = True
            # A whole message after deltas repeats them.
            yield from self._part(choice, delta if self._has_deltas else as_object(choice.get("message")))

    def whole(self, body: str) -> Iterator[Part]:
        """Read a completion that was not streamed.

        Raises:
            VendorError: It reports an error, is not a completion, or holds nothing but text that is not spoken.
        """
        completion = self._object(body)
        choices = as_objects(completion.get("choices"))
        if not choices:
            held = ", ".join(completion) or "nothing"
            raise self._broken(
                f"answered with JSON that is not a completion: it holds: {excerpt(self._without_key(held))}"
            )
        yield from usage_in(completion)
        message = as_object(choices[0].get("message"))
        calls = as_objects(message.get("tool_calls") or choices[0].get("tool_calls"))
        numbered = [{**call, "index": number} for number, call in enumerate(calls)]  # each is a call of its own
        self._spoken.foresee(_words(message.get("content")))
        yield from self._part(choices[0], {**message, "tool_calls": numbered})
        if not self.has_ended:
            yield from self._end("")  # a whole body is a whole reply

    def _object(self, data: str) -> dict[str, Any]:
        try:
            value: Any = JSON.decode(data)
        except (ValueError, RecursionError):
            raise self._broken("sent something that is not JSON") from None
        chunk = as_object(value)
        for one in (chunk,) if chunk else as_objects(value):
            if _is_error(one):
                # The reply's text may stand next to the error; it is not quoted.
                error = one.get("error")
                raise self._reported(json.dumps(error) if error and "choices" in one else data)
        if not chunk and value != {}:
            raise self._broken("sent something that is not a JSON object")
        return chunk

    def _is_chosen(self, index: object, position: int) -> bool:
        """Return whether a choice belongs to the reply that came first: of several replies only one is spoken."""
        number = number_in(index)
        if number is None:
            number = self._choice if self._choice is not None and position == 0 else position
        if self._choice is None:
            self._choice = number
        return number == self._choice

    def _part(self, choice: dict[str, Any], piece: dict[str, Any]) -> Iterator[Part]:
        reason = finish_reason_in(choice)
        if error := choice.get("error"):
            raise self._reported(json.dumps(error), retryable=failed_reply(reason))
        calls = as_objects(piece.get("tool_calls") or choice.get("tool_calls"))
        if piece.get("role") not in OTHER_ROLES:
            if spoken := self._text(piece, calls):
                yield TextDelta(spoken)
            elif self._spoken.is_hiding or _has_thoughts(piece):
                yield Unspoken()
        for call in calls:
            yield from self._calls.feed(call)
        self._has_new_state |= self._state.feed(piece)
        # Only a message that calls tools is sent back whole.
        if self._has_new_state and self._calls and (state := self._state.state):
            self._has_new_state = False
            yield ReplyState(state)
        if reason and not self.has_ended:
            yield from self._end(reason)

    def _text(self, piece: dict[str, Any], calls: list[dict[str, Any]]) -> str:
        """Return what of a piece is spoken. A refusal is text that the model addresses to the caller."""
        spoken = ""
        for written in (piece.get("content"), piece.get("refusal")):
            if written and (text := self._characters.joined(_words(written))) and not _repeats(text, calls):
                spoken += self._spoken.feed(text)
        return spoken

    def _end(self, reason: str) -> Iterator[ReplyPart]:
        if failed_reply(reason):
            raise failure(self._vendor, f"could not finish the reply (finish reason {reason!r})", retryable=True)
        self.has_ended = True
        if text := self._spoken.end():
            yield TextDelta(text)
        if not self._calls:
            if fault := self._spoken.fault():
                raise self._broken(fault)
            if hint := self._spoken.hint():
                log.warning("%s %s", self._vendor, hint)
        yield from self._calls.end(was_cut=reason in CUT_REASONS)
        yield ReplyEnd(finish_reason=reason)

    def _broken(self, what: str) -> VendorError:
        # Not quoted, because it may hold the reply's text.
        return failure(self._vendor, what)

    def _reported(self, data: str, *, retryable: bool = False) -> VendorError:
        """Return the error for one that the service reports; it is quoted."""
        body: object = data
        with suppress(ValueError, RecursionError):
            body = json.loads(data)
        error = reported(self._vendor, f"reported an error: {excerpt(self._without_key(data)) or '(empty)'}", body)
        error.retryable |= retryable
        return error


def _is_error(chunk: Mapping[str, Any]) -> bool:
    if chunk.get("error") or chunk.get("type") == "error" or chunk.get("object") == "error":
        return True
    if "choices" in chunk:
        return False
    status = chunk.get("status")
    has_failed = chunk.get("code") is not None or (type(status) is int and status >= 400)
    return bool(chunk.get("detail") or chunk.get("errors")) or ("message" in chunk and has_failed)


def _words(written: object) -> str:
    """Return the text of a message's content, which may be a list of parts; thoughts and pictures are skipped."""
    if isinstance(written, str):
        return written
    parts = (part.get("text") for part in as_objects(written) if part.get("type", "text") == "text")
    return "".join(text for text in parts if isinstance(text, str))


def _has_thoughts(piece: Mapping[str, Any]) -> bool:
    """Return whether a delta holds thoughts in a field of their own, or as parts of the content."""
    if any(map(piece.get, THOUGHT_FIELDS)):
        return True
    return any(part.get("type") in THOUGHT_TYPES for part in as_objects(piece.get("content")))


def _repeats(text: str, calls: list[dict[str, Any]]) -> bool:
    """Return whether the text of a delta is a call of the same delta, written once more."""
    if not calls:
        return False
    bare = text.strip()
    for function in (as_object(call.get("function")) for call in calls):
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(arguments, str) and bare and bare == arguments.strip():
            return True
        if isinstance(name, str) and name and re.match(rf"{re.escape(name)}(?:\Z|[(\[{{:\n])", bare):
            return True
    return False
