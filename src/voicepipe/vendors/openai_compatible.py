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

from voicepipe.errors import AuthenticationError, IncompleteReply, RateLimited, VendorError
from voicepipe.events import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.history import AssistantMessage, Message, ToolCall, UserMessage, check_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from voicepipe._window import Window
    from voicepipe.stages.model import ReplyPart

__all__ = ["CompletionParser", "Conversation", "messages_json", "needs_filler", "refusal", "unfinished"]

TEXT: Final = -1
"""Stands for the reply's words where a number stands for a call."""

SHOWN_BODY_CHARACTERS = 200
"""How much of an error's body is put into the message."""

CUT_MARK = " —"
"""Ends what was heard of an interrupted message, so that the model knows it was cut there."""

FILLER: Final = '{"_":""}'
"""Stands for arguments that are empty, where a model's route refuses a history with empty ones."""


def needs_filler(model: str) -> bool:
    """Return whether calls without arguments must be sent with some: routes to Claude answer 400 or 500 otherwise.

    Source: AssemblyAI's command line client, which does the same; read 2026-11-22.
    """
    return model.startswith("claude")


def messages_json(system: str, messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation as chat messages. See `Conversation`."""
    rendered: list[dict[str, Any]] = json.loads(Conversation().rendered(system, tuple(messages)))
    return rendered


class Conversation:
    """The messages of one session as JSON text.

    A message that cannot change any more is rendered once, and what fell out of the window is forgotten, so a request
    costs what is new in it, however long the call.

    Neighbouring user messages become one. Of an assistant message of an earlier turn only what was heard is given; one
    of which nothing was heard, and which called no tool, is left out. Every call is followed by exactly one result.

    Args:
        window: How much of the conversation a request holds; None for all of it.
    """

    def __init__(self, window: Window | None = None) -> None:
        self._window = window
        self._since = 0
        self._first: Message | None = None
        # With the message, so that its id is not used again.
        self._final: dict[tuple[int, str], tuple[Message, str]] = {}

    def request(
        self,
        fields: Mapping[str, Any],
        system: str,
        messages: Sequence[Message],
        *,
        schemas: str = "",
        filler: str = "{}",
    ) -> str:
        """Return the body of a request.

        Args:
            fields: What it holds beside the messages; at least one field.
            system: The system prompt.
            messages: The conversation, oldest first.
            schemas: Further fields as JSON text, each after a comma.
            filler: Sent for the arguments of a call that has none.

        Raises:
            ConfigurationError: A call lacks an id of its own or a result.
        """
        return f'{_dumped(fields)[:-1]}{schemas},"messages":{self.rendered(system, messages, filler)}}}'

    def rendered(self, system: str, messages: Sequence[Message], filler: str = "{}") -> str:
        """Return the messages as a JSON array."""
        parts = [_dumped({"role": "system", "content": system})] if system else []
        said: list[UserMessage] = []
        call_ids: set[str] = set()
        sent = self._windowed(messages)
        for message in sent:
            if isinstance(message, UserMessage):
                said.append(message)
            elif message.calls or message.text.strip():
                check_calls(message.calls, call_ids)
                parts += self._user(said)
                said = []
                parts.append(self._once(message, filler))
        parts += self._user(said)
        if len(self._final) > 2 * len(sent) + 16:
            self._forget(sent)
        return f"[{','.join(parts)}]"

    def _windowed(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._window is None or not messages:
            return messages
        if self._since >= len(messages) or messages[self._since] is not self._first:
            self._since = 0  # not the conversation that it was: a message before was taken out
        self._since = self._window.start(messages, self._since)
        self._first = messages[self._since]
        return messages[self._since :]

    def _user(self, said: list[UserMessage]) -> list[str]:
        if len(said) > 1:
            return [_rendered(UserMessage("\n".join(message.text for message in said)), "")]
        return [self._once(message, "") for message in said]

    def _once(self, message: Message, filler: str) -> str:
        if (known := self._final.get((id(message), filler))) is not None:
            return known[1]
        text = _rendered(message, filler)
        if _is_final(message):
            self._final[id(message), filler] = message, text
        return text

    def _forget(self, sent: Sequence[Message]) -> None:
        kept = set(map(id, sent))
        self._final = {key: known for key, known in self._final.items() if key[0] in kept}


def _is_final(message: Message) -> bool:
    if isinstance(message, UserMessage):
        return True
    return message.is_settled and all(call.status not in ("pending", "unknown") for call in message.calls)


def _rendered(message: Message, filler: str) -> str:
    if isinstance(message, UserMessage):
        return _dumped({"role": "user", "content": message.text})
    return ",".join(map(_dumped, _assistant_json(message, filler)))


_dumped: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _assistant_json(message: AssistantMessage, filler: str) -> Iterator[dict[str, Any]]:
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
            "function": {"name": _sendable_name(call.name), "arguments": _sendable(call.arguments, filler)},
        }
        for call in message.calls
    ]
    yield {"role": "assistant", "content": content or None, "tool_calls": calls}
    for call in message.calls:
        yield {"role": "tool", "tool_call_id": call.call_id, "content": _told(call)}


def _told(call: ToolCall) -> str:
    """Return a result as JSON. What a tool brought in is marked: it is data from outside, whatever it says."""
    if call.status == "pending":
        return _dumped({"pending": call.result})
    if call.status != "done":
        return call.result  # our own words, which are JSON already
    return f'{{"untrusted_result":{call.result if _is_data(call.result) else _dumped(call.result)}}}'


def _is_data(result: str) -> bool:
    """Return whether a result is a JSON object or array, as tools give that return no text."""
    try:
        return result[:1] in ("{", "[") and isinstance(json.loads(result, parse_constant=_refuse), (dict, list))
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _sendable(arguments: str, filler: str) -> str:
    """Return the arguments as the model wrote them; none instead of broken ones, which some servers refuse."""
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return filler
    return arguments if isinstance(values, dict) and values else filler


def _sendable_name(name: str) -> str:
    """Return the name as the model wrote it; every later request would be refused for one that no tool can have."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unnamed"


class CompletionParser:
    """Reads one reply, streamed or whole.

    Args:
        vendor: Named in errors.
        without_key: Takes the key out of what an error quotes.
        filler: What a request had for the arguments of a call without any; a model that does likewise means none.

    Attributes:
        has_ended: Whether a finish reason was seen.
        is_over: Whether nothing that follows can belong to the reply: it has ended, or `[DONE]` was seen.
    """

    def __init__(self, vendor: str, without_key: Callable[[str], str] = str, filler: str = "") -> None:
        self.has_ended = False
        self.is_over = False
        self._vendor = vendor
        self._without_key = without_key
        self._halves: dict[int, str] = {}
        self._filler = filler
        self._held: dict[int, str] = {}
        self._calls: dict[int, str] = {}
        self._moved: dict[int, int] = {}
        self._last_call = -1

    def feed(self, data: str, *, is_error: bool = False) -> Iterator[ReplyPart]:
        """Read the data of one event. What follows the finish reason or `[DONE]` is no part of the reply.

        Args:
            data: The event's data.
            is_error: Whether the server named the event so.

        Raises:
            VendorError: It is an error, or no JSON object.
        """
        if data.strip() == "[DONE]":
            self.is_over = True
        if self.is_over:
            return
        if is_error:
            raise self._broken("reported an error", data)
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
        if _is_error(chunk):
            raise self._broken("reported an error", data)
        return _objects(chunk.get("choices"))

    def _part(self, choice: dict[str, Any], delta: object) -> Iterator[ReplyPart]:
        piece = _object(delta)
        # A refusal is the model's own words to the caller.
        for written in (piece.get("content"), piece.get("refusal")):
            if isinstance(written, str) and (text := self._whole_characters(TEXT, written)):
                yield TextDelta(text)
        for call in _objects(piece.get("tool_calls") or choice.get("tool_calls")):
            yield from self._call(call)
        if isinstance(reason := choice.get("finish_reason"), str) and reason and not self.has_ended:
            self.has_ended = self.is_over = True
            yield from (ToolCallDelta(index=index, arguments=held) for index, held in self._held.items())
            yield ReplyEnd(finish_reason=reason)

    def _whole_characters(self, of: int, text: str) -> str:
        """Join surrogate pairs that were split between two deltas; a half without its other half becomes U+FFFD."""
        half = self._halves.pop(of, "")
        if text.isascii() and not half:
            return text
        text = half + text
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._halves[of] = text[:-1], text[-1]
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
        is_new = index not in self._calls
        self._last_call = index
        self._calls[index] = self._calls.get(index) or call_id
        arguments = self._whole_characters(index, arguments)
        if self._filler and (is_new or index in self._held):
            arguments = self._without_filler(index, arguments)
        yield ToolCallDelta(index=index, call_id=call_id, name=name, arguments=arguments)

    def _without_filler(self, index: int, arguments: str) -> str:
        """Return a call's arguments, held back as long as they may become the filler."""
        written = self._held.pop(index, "") + arguments
        bare = "".join(written.split())
        if bare == self._filler:
            return "{}"
        if self._filler.startswith(bare):
            self._held[index] = written
            return ""
        return written

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


def unfinished(vendor: str) -> IncompleteReply:
    """Return the error for a reply without a finish reason. While nothing of it was used, it may be asked for again."""
    error = IncompleteReply(f"{vendor} ended the reply without a finish reason", vendor=vendor)
    error.retryable = True
    return error


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


def _is_error(chunk: Mapping[str, Any]) -> bool:
    if chunk.get("error") or "error" in (chunk.get("type"), chunk.get("object")):
        return True
    return "message" in chunk and chunk.get("code") is not None and "choices" not in chunk


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
