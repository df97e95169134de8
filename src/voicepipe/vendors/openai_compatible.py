"""The chat-completions format: requests out, pieces of a reply in. Pure: no network, no clock.

Rule 1: vendor JSON becomes our events here and nowhere else.
Rule 2: tolerant of what carries no meaning (null choices, unknown objects, blank deltas), strict about what does: an
        error object, broken JSON, or a reply without an end is told.

Source: OpenAI's API reference, "Chat completions" and "Streaming", read 2026-11-22, and the oddities that compatible
servers are known for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.events import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.history import AssistantMessage, Message, UserMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from voicepipe.stages.model import ReplyPart

__all__ = ["CompletionParser", "messages_json", "refusal"]

SHOWN_BODY_CHARACTERS = 200
"""How much of an error's body is put into the message."""

CUT_MARK = " —"
"""Ends what was heard of an interrupted message, so that the model knows it was cut there."""


def messages_json(system: str, messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation as chat messages.

    Neighbouring user messages become one. Of an assistant message of an earlier turn only what was heard is given; one
    of which nothing was heard, and which called no tool, is left out. Every call is followed by exactly one result.
    """
    rendered: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for message in messages:
        if isinstance(message, UserMessage):
            if rendered and rendered[-1]["role"] == "user":
                rendered[-1]["content"] += "\n" + message.text
            else:
                rendered.append({"role": "user", "content": message.text})
        elif message.text.strip() or message.calls:
            rendered += _assistant_json(message)
    return rendered


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
            "function": {"name": call.name, "arguments": _sendable(call.arguments)},
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
    except ValueError:
        return "{}"


class CompletionParser:
    """Reads one reply, streamed or whole.

    Args:
        vendor: Named in errors.

    Attributes:
        has_ended: Whether a finish reason was seen.
    """

    def __init__(self, vendor: str) -> None:
        self.has_ended = False
        self._vendor = vendor
        self._is_done = False
        self._last_call = -1

    def feed(self, data: str) -> Iterator[ReplyPart]:
        """Read the data of one event. What follows the finish reason or `[DONE]` is no part of the reply.

        Raises:
            VendorError: It is an error, or no JSON object.
        """
        if data.strip() == "[DONE]":
            self._is_done = True
        if self._is_done or self.has_ended:
            return
        for choice in self._choices(data):
            yield from self._part(choice, choice.get("delta"))

    def whole(self, body: str) -> Iterator[ReplyPart]:
        """Read a completion that was not streamed.

        Raises:
            VendorError: It is an error, or no completion.
        """
        choices = self._choices(body)
        if not choices:
            raise self._broken("answered with JSON that is no completion", body)
        yield from self._part(choices[0], choices[0].get("message"))

    def _choices(self, data: str) -> list[dict[str, Any]]:
        try:
            chunk = json.loads(data)
        except ValueError:
            raise self._broken("sent an event that is no JSON", data) from None
        if not isinstance(chunk, dict):
            raise self._broken("sent an event that is no JSON object", data)
        chunk = cast("dict[str, Any]", chunk)
        if chunk.get("error") or (isinstance(chunk.get("code"), int) and "message" in chunk):
            raise self._broken("reported an error", data)
        choices: list[Any] = chunk.get("choices") or []
        return [choice for choice in choices if isinstance(choice, dict)]

    def _part(self, choice: dict[str, Any], delta: object) -> Iterator[ReplyPart]:
        piece = cast("dict[str, Any]", delta) if isinstance(delta, dict) else {}
        # A refusal is the model's own words to the caller.
        for text in (piece.get("content"), piece.get("refusal")):
            if isinstance(text, str) and text:
                yield TextDelta(text)
        calls: list[Any] = piece.get("tool_calls") or choice.get("tool_calls") or []
        for call in calls:
            if isinstance(call, dict):
                yield from self._call(cast("dict[str, Any]", call))
        if isinstance(reason := choice.get("finish_reason"), str) and reason and not self.has_ended:
            self.has_ended = True
            yield ReplyEnd(finish_reason=reason)

    def _call(self, call: dict[str, Any]) -> Iterator[ToolCallDelta]:
        function = cast("dict[str, Any]", call.get("function") or {})
        call_id = str(call.get("id") or function.get("id") or "")
        name, arguments = str(function.get("name") or ""), function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        if not (call_id or name or arguments):
            return  # the blank delta that some gateways open with
        index = call.get("index")
        if not isinstance(index, int):
            # Without an index, a piece that names a tool opens a call; any other one continues the last.
            index = self._last_call + 1 if name else max(self._last_call, 0)
        self._last_call = index
        yield ToolCallDelta(index=index, call_id=call_id, name=name, arguments=arguments)

    def _broken(self, what: str, data: str) -> VendorError:
        return VendorError(f"{self._vendor} {what}: {_shown(data)}", vendor=self._vendor, retryable=False)


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
