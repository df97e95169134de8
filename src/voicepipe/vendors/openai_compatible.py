"""The chat-completions format: requests out, pieces of a reply in. Pure: no network, no clock.

Rule 1: vendor JSON becomes our events here and nowhere else.
Rule 2: tolerant of what carries no meaning (null choices, unknown objects, blank deltas), strict about what does: an
        error object, broken JSON, or a reply without an end is told.

Source: OpenAI's API reference, "Chat completions" and "Streaming", read 2026-11-22, and the oddities that compatible
servers are known for.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.events import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.history import AssistantMessage, Message, UserMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from voicepipe.stages.model import ReplyPart

__all__ = ["CompletionParser", "Conversation", "messages_json", "refusal"]

SHOWN_BODY_CHARACTERS = 200
"""How much of an error's body is put into the message."""

CUT_MARK = " —"
"""Ends what was heard of an interrupted message, so that the model knows it was cut there."""


def messages_json(system: str, messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation as chat messages. See `Conversation`."""
    rendered: list[dict[str, Any]] = json.loads(Conversation().rendered(system, messages))
    return rendered


class Conversation:
    """The messages of one session as JSON text.

    A message that cannot change any more is rendered once, so a request costs what is new, however long the call.

    Neighbouring user messages become one. Of an assistant message of an earlier turn only what was heard is given; one
    of which nothing was heard, and which called no tool, is left out. Every call is followed by exactly one result.
    """

    def __init__(self) -> None:
        self._final: dict[int, tuple[Message, str]] = {}  # with the message, so that its id is not used again

    def request(self, fields: Mapping[str, Any], system: str, messages: Iterable[Message]) -> str:
        """Return the body of a request: `fields`, of which there is at least one, and the messages."""
        return f'{_dumped(fields)[:-1]},"messages":{self.rendered(system, messages)}}}'

    def rendered(self, system: str, messages: Iterable[Message]) -> str:
        """Return the messages as a JSON array."""
        parts = [_dumped({"role": "system", "content": system})] if system else []
        said: list[UserMessage] = []
        for message in messages:
            if isinstance(message, UserMessage):
                said.append(message)
            elif id(message) in self._final or message.text.strip() or message.calls:
                parts += self._user(said)
                said = []
                parts.append(self._once(message))
        return f"[{','.join([*parts, *self._user(said)])}]"

    def _user(self, said: list[UserMessage]) -> list[str]:
        if len(said) > 1:
            return [_rendered(UserMessage("\n".join(message.text for message in said)))]
        return [self._once(message) for message in said]

    def _once(self, message: Message) -> str:
        if (known := self._final.get(id(message))) is not None:
            return known[1]
        text = _rendered(message)
        if _is_final(message):
            self._final[id(message)] = message, text
        return text


def _is_final(message: Message) -> bool:
    if isinstance(message, UserMessage):
        return True
    return message.is_settled and all(call.status in ("done", "failed") for call in message.calls)


def _rendered(message: Message) -> str:
    if isinstance(message, UserMessage):
        return _dumped({"role": "user", "content": message.text})
    return ",".join(map(_dumped, _assistant_json(message)))


_dumped: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _assistant_json(message: AssistantMessage) -> Iterator[dict[str, Any]]:
    content = message.text.strip()
    if content and message.was_interrupted:
        content += CUT_MARK
    if not message.calls:
        yield {"role": "assistant", "content": content}
        return
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": _sendable_name(call.name), "arguments": _sendable(call.arguments)},
        }
        for call in message.calls
    ]
    yield {"role": "assistant", "content": content or None, "tool_calls": calls}
    for call in message.calls:
        yield {"role": "tool", "tool_call_id": call.call_id, "content": call.result}


def _sendable(arguments: str) -> str:
    """Return the arguments as the model wrote them; some servers refuse a history with broken ones, so {} for those."""
    try:
        return arguments if isinstance(json.loads(arguments), dict) else "{}"
    except (ValueError, RecursionError):
        return "{}"


def _sendable_name(name: str) -> str:
    """Return the name as the model wrote it; every later request would be refused for one that no tool can have."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unnamed"


class CompletionParser:
    """Reads one reply, streamed or whole.

    Args:
        vendor: Named in errors.
        without_key: Takes the key out of what an error quotes.

    Attributes:
        has_ended: Whether a finish reason was seen.
        is_over: Whether nothing that follows can belong to the reply: it has ended, or `[DONE]` was seen.
    """

    def __init__(self, vendor: str, without_key: Callable[[str], str] = str) -> None:
        self.has_ended = False
        self.is_over = False
        self._vendor = vendor
        self._without_key = without_key
        self._half = ""
        self._calls: dict[int, str] = {}
        self._moved: dict[int, int] = {}
        self._last_call = -1

    def feed(self, data: str) -> Iterator[ReplyPart]:
        """Read the data of one event. What follows the finish reason or `[DONE]` is no part of the reply.

        Raises:
            VendorError: It is an error, or no JSON object.
        """
        if data.strip() == "[DONE]":
            self.is_over = True
        if self.is_over:
            return
        for choice in self._choices(data):
            yield from self._part(choice, choice.get("delta"))

    def whole(self, body: str) -> Iterator[ReplyPart]:
        """Read a completion that was not streamed.

        Raises:
            VendorError: It is an error, or no completion.
        """
        choices = self._choices(body, quoted=body)
        if not choices:
            raise self._broken("answered with JSON that is no completion", body)
        yield from self._part(choices[0], choices[0].get("message"))

    def _choices(self, data: str, quoted: str | None = None) -> list[dict[str, Any]]:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise self._broken("sent something that is no JSON", quoted) from None
        if not isinstance(chunk, dict):
            raise self._broken("sent something that is no JSON object", quoted)
        chunk = cast("dict[str, Any]", chunk)
        if chunk.get("error") or (isinstance(chunk.get("code"), int) and "message" in chunk):
            raise self._broken("reported an error", data)
        return _objects(chunk.get("choices"))

    def _part(self, choice: dict[str, Any], delta: object) -> Iterator[ReplyPart]:
        piece = _object(delta)
        # A refusal is the model's own words to the caller.
        for written in (piece.get("content"), piece.get("refusal")):
            if isinstance(written, str) and (text := self._whole_characters(written)):
                yield TextDelta(text)
        for call in _objects(piece.get("tool_calls") or choice.get("tool_calls")):
            yield from self._call(call)
        if isinstance(reason := choice.get("finish_reason"), str) and reason and not self.has_ended:
            self.has_ended = self.is_over = True
            yield ReplyEnd(finish_reason=reason)

    def _whole_characters(self, text: str) -> str:
        """Join surrogate pairs that were split between two deltas; a half without its other half becomes U+FFFD."""
        if text.isascii() and not self._half:
            return text
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _call(self, call: dict[str, Any]) -> Iterator[ToolCallDelta]:
        function = _object(call.get("function"))
        call_id = str(call.get("id") or function.get("id") or "")
        name, arguments = str(function.get("name") or ""), function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        if not (call_id or name or arguments):
            return  # the blank delta that some gateways open with
        index = self._index(call.get("index"), call_id, name)
        self._last_call = index
        self._calls[index] = self._calls.get(index) or call_id
        yield ToolCallDelta(index=index, call_id=call_id, name=name, arguments=arguments)

    def _index(self, written: object, call_id: str, name: str) -> int:
        """Return which call of the reply a piece belongs to, from 0."""
        free = max(self._calls, default=-1) + 1
        if not isinstance(written, int):
            # Without an index, a piece that names a tool opens a call; any other one continues the last.
            return free if name else max(self._last_call, 0)
        index = self._moved.get(written, written)
        if name and call_id and self._calls.get(index, call_id) != call_id:
            # Some servers number every call 0: a new id opens another call.
            index = self._moved[written] = free
        return index

    def _broken(self, what: str, data: str | None = None) -> VendorError:
        # What a service says of its error is quoted; an event that is broken may hold the reply's text, so it is not.
        shown = "" if data is None else f": {_shown(self._without_key(data))}"
        return VendorError(f"{self._vendor} {what}{shown}", vendor=self._vendor, retryable=False)


def refusal(vendor: str, status: int, body: str, retry_after: str | None) -> VendorError:
    """Return the error for an HTTP status other than 200."""
    message = f"{vendor} answered HTTP {status}: {_shown(body)}"
    if status in (401, 403):
        return AuthenticationError(f"{message}; check the key", vendor=vendor)
    if status == 429:
        return RateLimited(message, vendor=vendor, retry_after_s=_seconds(retry_after))
    if 300 <= status < 400:
        return VendorError(f"{message}; redirects are not followed: change base_url", vendor=vendor, retryable=False)
    return VendorError(message, vendor=vendor, retryable=status == 408 or status >= 500)


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    found: list[Any] = value if isinstance(value, list) else []
    return [one for one in found if isinstance(one, dict)]


def _shown(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.split())
    return (line[:SHOWN_BODY_CHARACTERS] + " ...") if len(line) > SHOWN_BODY_CHARACTERS else line or "(empty)"


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None for its date form, which no model service uses."""
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
