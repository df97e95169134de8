"""Reads replies in the chat-completions format. Pure: no network, no clock.

Rule 1: the service's JSON becomes parts of a reply here and nowhere else.
Rule 2: JSON without meaning (null choices, unknown objects, blank deltas) is skipped. An error object, broken JSON, or
        a reply without an end is an error.
Rule 3: a piece of one call never goes to another: if the service does not say whose it is, no call gets it.
Rule 4: text is what the model says to the caller. Its thoughts, and calls written as text, are not: see `spoken_text`.

Source: OpenAI's API reference, "Chat completions" and "Streaming", read 2026-11-22, and the known oddities of
compatible servers.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from voicepipe.errors import IncompleteReply, VendorError
from voicepipe.flow import CUT_REASONS, ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.http.refusals import excerpt, failure
from voicepipe.model.model import Completion, ReplyPart, Usage
from voicepipe.vendors.loose_json import as_object, as_objects, is_object
from voicepipe.vendors.openai.spoken_text import SpokenText
from voicepipe.vendors.openai.usage import RateLimit, usage_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Answer", "CompletionParser", "Part", "Unspoken", "unfinished"]

log = logging.getLogger("voicepipe")


@dataclass(frozen=True, slots=True)
class Unspoken:
    """A piece of a reply that nobody hears: thoughts, or control text. The service is at work."""


Part: TypeAlias = ReplyPart | Usage | RateLimit | Unspoken
"""What a service sends: the reply itself, and what it counted."""

THOUGHT_FIELDS: Final = ("reasoning_content", "reasoning", "reasoning_details")
"""Where servers with a reasoning parser send thoughts: DeepSeek, vLLM and llama.cpp; Ollama and Groq; OpenRouter."""

THOUGHT_TYPES: Final = ("thinking", "reasoning")

TEXT: Final = None
"""Stands for the reply's text where a number stands for a call."""

MAX_ANSWER_CHARACTERS: Final = 1 << 18
"""The longest answer that is put together from a stream."""

OTHER_ROLES: Final = ("user", "system", "developer", "tool")
"""Roles other than the model's."""


@dataclass(slots=True, eq=False)
class _Call:
    """A tool call of a reply, as far as it has arrived.

    Attributes:
        index: Which call of the reply it is, from 0.
        number: The service's own number for it; None without one.
    """

    index: int
    number: int | None
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list[str])

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class CompletionParser:
    """Reads one reply, streamed or whole.

    Args:
        vendor: Named in errors.
        without_key: Takes the key out of what an error quotes.
        filler: What requests send in place of empty arguments. A model that copies it means empty arguments.
        spoken: Takes the reply's text, and returns what of it is spoken.

    Attributes:
        has_ended: Whether a finish reason has arrived.
        is_over: Whether nothing that follows can belong to the reply: it has ended, or `[DONE]` has arrived.
    """

    def __init__(
        self,
        vendor: str,
        without_key: Callable[[str], str] = str,
        filler: str = "",
        spoken: SpokenText | None = None,
    ) -> None:
        self.has_ended = False
        self.is_over = False
        self._vendor = vendor
        self._without_key = without_key
        self._filler = filler
        self._spoken = spoken or SpokenText()
        self._choice: int | None = None
        self._has_deltas = False
        self._halves: dict[int | None, str] = {}
        self._held: dict[int, str] = {}
        self._calls: dict[int, _Call] = {}
        self._last: _Call | None = None

    def feed(self, data: str, name: str = "message") -> Iterator[Part]:
        """Read the data of one event. After the finish reason or `[DONE]` only the tokens used are read.

        Args:
            data: The event's data.
            name: The event's name. An event with a name other than "message" may hold anything.

        Raises:
            VendorError: The event reports an error or is not a JSON object, or the reply ends and held nothing but text
                that is not spoken.
        """
        if data.strip() == "[DONE]":
            self.is_over = True
        if self.is_over:
            with suppress(VendorError):  # the reply is whole, whatever else may come
                yield from usage_in(self._object(data))
            return
        if name == "error":
            raise self._broken("reported an error", data)
        if name != "message" and not data.lstrip().startswith(("{", "[")):
            return
        chunk = self._object(data)
        if "usage" in chunk:
            yield from usage_in(chunk)
        for choice in self._chosen(as_objects(chunk.get("choices"))):
            delta = as_object(choice.get("delta"))
            self._has_deltas |= bool(delta)
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
            raise self._broken("answered with JSON that is not a completion: it holds", held)
        yield from usage_in(completion)
        message = as_object(choices[0].get("message"))
        calls = as_objects(message.get("tool_calls") or choices[0].get("tool_calls"))
        numbered = [{**call, "index": number} for number, call in enumerate(calls)]  # each is a call of its own
        self._spoken.foresee(_words(message.get("content")))
        yield from self._part(choices[0], {**message, "tool_calls": numbered})

    def _object(self, data: str) -> dict[str, Any]:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise self._broken("sent something that is not JSON") from None
        errors = [one for one in (as_objects(chunk) or [as_object(chunk)]) if _is_error(one)]
        if errors:
            # The reply's text may stand next to the error; it is not quoted.
            error = errors[0].get("error")
            raise self._broken("reported an error", json.dumps(error) if error and "choices" in errors[0] else data)
        if not isinstance(chunk, dict):
            raise self._broken("sent something that is not a JSON object")
        return cast("dict[str, Any]", chunk)

    def _chosen(self, choices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the choices that belong to the reply that came first: of several replies only one is spoken."""
        for position, choice in enumerate(choices):
            number = _number(choice.get("index"))
            if number is None:
                number = self._choice if self._choice is not None and position == 0 else position
            if self._choice is None:
                self._choice = number
            if number == self._choice:
                yield choice

    def _part(self, choice: dict[str, Any], piece: dict[str, Any]) -> Iterator[Part]:
        if error := choice.get("error"):
            raise self._broken("reported an error", json.dumps(error))
        calls = as_objects(piece.get("tool_calls") or choice.get("tool_calls"))
        if piece.get("role") not in OTHER_ROLES:
            yield from self._text(piece, calls)
        for call in calls:
            yield from self._call(call)
        if isinstance(reason := choice.get("finish_reason"), str) and reason and not self.has_ended:
            yield from self._end(reason)

    def _text(self, piece: dict[str, Any], calls: list[dict[str, Any]]) -> Iterator[Part]:
        has_text = False
        # A refusal is text that the model addresses to the caller.
        for written in (piece.get("content"), piece.get("refusal")):
            text = self._whole_characters(TEXT, _words(written))
            if not text or (calls and _repeats(text, calls)):
                continue
            if spoken := self._spoken.feed(text):
                has_text = True
                yield TextDelta(spoken)
        if not has_text and (self._spoken.is_hiding or _has_thoughts(piece)):
            yield Unspoken()

    def _end(self, reason: str) -> Iterator[ReplyPart]:
        self.has_ended = self.is_over = True
        if text := self._spoken.end():
            yield TextDelta(text)
        if not self._calls:
            if fault := self._spoken.fault():
                raise self._broken(fault)
            if hint := self._spoken.hint():
                log.warning("%s %s", self._vendor, hint)
        yield from (ToolCallDelta(index=index, arguments=held) for index, held in self._held.items())
        if reason in CUT_REASONS:
            yield from self._cut()
        yield ReplyEnd(finish_reason=reason)

    def _cut(self) -> Iterator[ToolCallDelta]:
        """Make the calls invalid whose arguments may have been cut off, so that none of them runs."""
        for call in self._calls.values():
            if "".join(call.arguments.split()) in ("", "{}", self._filler):
                yield ToolCallDelta(index=call.index, arguments="{")

    def _whole_characters(self, of: int | None, text: str) -> str:
        """Join surrogate pairs that were split between two deltas; a half without its other half becomes U+FFFD."""
        if not text:
            return text
        half = self._halves.pop(of, "")
        if text.isascii() and not half:
            return text
        text = half + text
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._halves[of] = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _call(self, written: dict[str, Any]) -> Iterator[ToolCallDelta]:
        function = as_object(written.get("function"))
        call_id = str(written.get("id") or function.get("id") or "")
        name, arguments = str(function.get("name") or ""), function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        if not (call_id or name or arguments):
            return  # the blank delta that some gateways open with
        number = _number(index := written.get("index"))
        if number is None and index is not None:
            raise self._broken(f"numbered a tool call with a {type(index).__name__} that is not a whole number")
        call = self._known(number, call_id, name) or self._opened(number)
        is_new = not call.pieces
        self._last = call
        call.call_id, call.name = call.call_id or call_id, call.name or name
        arguments = self._whole_characters(call.index, arguments)
        call.pieces.append(arguments)
        if self._filler and (is_new or call.index in self._held):
            arguments = self._without_filler(call.index, arguments)
        yield ToolCallDelta(index=call.index, call_id=call_id, name=name, arguments=arguments)

    def _known(self, number: int | None, call_id: str, name: str) -> _Call | None:
        """Return the call that a piece continues; None when it opens one."""
        calls = [call for call in self._calls.values() if number is None or call.number == number]
        same = next((call for call in reversed(calls) if call_id and call.call_id == call_id), None)
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
        call = self._calls[index] = _Call(index, number)
        return call

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

    def _broken(self, what: str, data: str | None = None) -> VendorError:
        # A service's report of an error is quoted. A broken event is not, because it may hold the reply's text.
        shown = "" if data is None else f": {excerpt(self._without_key(data)) or '(empty)'}"
        return failure(self._vendor, f"{what}{shown}")


class Answer:
    """An outbox that puts a whole answer together.

    Args:
        vendor: Named in errors.
    """

    def __init__(self, vendor: str) -> None:
        self._vendor = vendor
        self._text: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._characters = 0

    async def send(self, item: Part, /) -> None:
        """Take a part of the reply. See `Outbox.send`."""
        match item:
            case TextDelta(text=piece):
                self._text.append(piece)
            case ToolCallDelta(index=index, arguments=piece):
                self._calls.setdefault(index, []).append(piece)
            case ReplyEnd(finish_reason=reason):
                self._finish_reason = self._finish_reason or reason
                return
            case Usage():
                self._usage = item
                return
            case _:
                return  # nobody is told here how many requests are left
        self._characters += len(piece)
        if self._characters > MAX_ANSWER_CHARACTERS:
            raise IncompleteReply(f"the answer is longer than {MAX_ANSWER_CHARACTERS} characters", vendor=self._vendor)

    def close(self) -> None:
        """Do nothing: the answer ends with its request."""

    def completion(self) -> Completion:
        """Return the whole answer.

        Raises:
            IncompleteReply: The model was stopped before its end.
        """
        if remedy := CUT_REASONS.get(self._finish_reason):
            raise IncompleteReply(
                f"{self._vendor} cut the answer short ({self._finish_reason}): {remedy}", vendor=self._vendor
            )
        first_call = next(iter(self._calls.values()), None)
        arguments = "" if first_call is None else "".join(first_call) or "{}"
        return Completion(
            text="".join(self._text), arguments=arguments, finish_reason=self._finish_reason, usage=self._usage
        )


def unfinished(vendor: str) -> IncompleteReply:
    """Return the error for a reply without a finish reason. It is retryable while nothing of the reply was used."""
    error = IncompleteReply(f"{vendor} ended the reply without a finish reason", vendor=vendor)
    error.retryable = True
    return error


def _is_error(chunk: Mapping[str, Any]) -> bool:
    if chunk.get("error") or "error" in (chunk.get("type"), chunk.get("object")):
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
    if any(piece.get(key) for key in THOUGHT_FIELDS):
        return True
    return any(part.get("type") in THOUGHT_TYPES for part in as_objects(piece.get("content")))


def _repeats(text: str, calls: list[dict[str, Any]]) -> bool:
    """Return whether the text of a delta is a call of the same delta, written once more."""
    bare = text.strip()
    for function in (as_object(call.get("function")) for call in calls):
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(arguments, str) and bare and bare == arguments.strip():
            return True
        if isinstance(name, str) and name and re.match(rf"{re.escape(name)}(?:\Z|[(\[{{:\n])", bare):
            return True
    return False


def _number(written: object) -> int | None:
    """Return a number, which may be written as text; None for anything else."""
    if isinstance(written, str) and re.fullmatch(r"[0-9]{1,9}", written):
        return int(written)
    return written if type(written) is int else None
