"""Writes requests in the chat-completions format. Pure: no network, no clock.

Rule 1: the cost of a request does not grow with the length of the conversation.
Rule 2: a setting is checked in the same way wherever it comes from.

Source: OpenAI's API reference, "Chat completions", read 2026-11-22.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.errors import ConfigurationError
from voicepipe.history import AssistantMessage, Message, ToolCall, UserMessage, check_calls
from voicepipe.vendors.loose_json import is_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voicepipe.model.model import Request
    from voicepipe.model.window import Window
    from voicepipe.vendors.openai.services import LimitField

__all__ = ["Conversation", "check_settings", "messages_json", "was_answered"]

OWN_FIELDS: Final = {"messages", "stream", "tools", "model"}
"""Fields of a body that the stage sets itself."""

CUT_MARK = " —"
"""Ends the heard part of an interrupted message, so that the model knows that it was cut there."""


def messages_json(system: str, messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the conversation as chat messages. See `Conversation`."""
    rendered: list[dict[str, Any]] = json.loads(Conversation().rendered(system, tuple(messages)))
    return rendered


class Conversation:
    """The messages of one session as JSON text.

    A message that can no longer change is rendered once, and messages outside the window are forgotten, so the cost of
    a request depends only on what is new in it.

    Neighbouring user messages become one. An assistant message of an earlier turn holds only the text that the caller
    heard; without such text and without a tool call it is left out. Exactly one result follows each call.

    Args:
        window: How much of the conversation a request holds; None for all of it.
        filler: Sent in place of empty arguments.
    """

    def __init__(self, window: Window | None = None, filler: str = "") -> None:
        self._window = window
        self._filler = filler or "{}"
        self._since = 0
        self._first: Message | None = None
        # With the message, so that its id is not used again.
        self._final: dict[int, tuple[Message, str]] = {}

    def body(self, request: Request, *, stream: bool, schemas: str = "", limit_field: LimitField = "max_tokens") -> str:
        """Return the body of a request.

        Args:
            request: What is asked, with the conversation.
            stream: Whether the reply should come in pieces.
            schemas: Its tools and format as JSON text, each after a comma. See `SchemaTexts`.
            limit_field: The field that limits the reply.

        Raises:
            ConfigurationError: A call has no id, no result, or the id of another call.
        """
        messages = self.rendered(request.system or "", request.messages)
        return f'{_dumped(_fields(request, limit_field, stream=stream))[:-1]}{schemas},"messages":{messages}}}'

    def rendered(self, system: str, messages: Sequence[Message]) -> str:
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
                parts.append(self._once(message))
        parts += self._user(said)
        if len(self._final) > 2 * len(sent) + 16:
            self._forget(sent)
        return f"[{','.join(parts)}]"

    def _windowed(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._window is None or not messages:
            return messages
        if self._since >= len(messages) or messages[self._since] is not self._first:
            self._since = 0  # the conversation has changed: an earlier message was removed
        self._since = self._window.start(messages, self._since)
        self._first = messages[self._since]
        return messages[self._since :]

    def _user(self, said: list[UserMessage]) -> list[str]:
        if len(said) > 1:
            return [_rendered(UserMessage("\n".join(message.text for message in said)), "")]
        return [self._once(message) for message in said]

    def _once(self, message: Message) -> str:
        if (known := self._final.get(id(message))) is not None:
            return known[1]
        text = _rendered(message, self._filler)
        if _is_final(message):
            self._final[id(message)] = message, text
        return text

    def _forget(self, sent: Sequence[Message]) -> None:
        kept = set(map(id, sent))
        self._final = {key: known for key, known in self._final.items() if key in kept}


def was_answered(messages: Sequence[Message]) -> bool:
    """Return whether the model said something to the caller before it called tools, and all of them succeeded.

    Then it may have nothing to add to their results.
    """
    replies: list[AssistantMessage] = []
    for message in reversed(messages):
        if isinstance(message, UserMessage):
            break
        replies.append(message)
    calls = [call for reply in replies for call in reply.calls]
    has_words = any(reply.text.strip() for reply in replies if reply.calls)
    return has_words and all(call.status == "done" for call in calls)


def check_settings(request: Request, part: str) -> None:
    """Refuse invalid settings.

    Args:
        request: Holds the settings.
        part: The part whose settings they are; named in the error.

    Raises:
        ConfigurationError: A setting is invalid; the message names it.
    """
    model, system, extra = (cast("object", value) for value in (request.model, request.system, request.extra_body))
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f"{part}: model must name a model of the service, not be {model!r}")
    if system is not None and not isinstance(system, str):
        raise ConfigurationError(f"{part}: system must be text, not {type(system).__name__}")
    if request.max_tokens is not None and (type(request.max_tokens) is not int or request.max_tokens < 1):
        raise ConfigurationError(f"{part}: max_tokens must be at least 1, not {request.max_tokens!r}")
    temperature: Any = request.temperature
    if temperature is not None and not (type(temperature) in (int, float) and 0 <= temperature <= 2):
        raise ConfigurationError(f"{part}: temperature must be 0 to 2, not {temperature!r}")
    if extra:
        _check_extra(extra, part)
    if request.must_call and request.must_call not in _names(request):
        offered = ", ".join(_names(request)) or "none"
        raise ConfigurationError(
            f"{part}: must_call names {request.must_call!r}, which is not among the tools: {offered}"
        )


def _check_extra(extra: object, part: str) -> None:
    if not isinstance(extra, Mapping):
        raise ConfigurationError(f"{part}: extra_body must be a dict of fields, not {type(extra).__name__}")
    if taken := OWN_FIELDS & set(extra):
        raise ConfigurationError(f"{part}: extra_body may not set {', '.join(sorted(map(str, taken)))}")
    try:
        json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{part}: extra_body must hold JSON values only: {error}") from None


def _names(request: Request) -> list[str]:
    return [str(tool["function"]["name"]) for tool in request.tools]


def _fields(request: Request, limit_field: LimitField, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request without its messages, tools and format."""
    fields: dict[str, Any] = {"model": request.model, "stream": stream}
    # A service refuses two limits.
    if request.max_tokens is not None and not {"max_tokens", "max_completion_tokens"} & set(request.extra_body):
        fields[limit_field] = request.max_tokens
    if request.temperature is not None:
        fields["temperature"] = request.temperature
    fields |= request.extra_body
    if request.must_call:
        fields["tool_choice"] = {"type": "function", "function": {"name": request.must_call}}
    if request.response_format is not None:
        fields.pop("response_format", None)
    return fields


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
        yield {"role": "tool", "tool_call_id": call.call_id, "content": _result(call)}


def _result(call: ToolCall) -> str:
    """Return a call's result as JSON. Data from a tool is marked as untrusted, whatever it says."""
    if call.status == "pending":
        return _dumped({"pending": call.result})
    if call.status != "done":
        return call.result  # this library's own text, which is JSON already
    return f'{{"untrusted_result":{call.result if _is_data(call.result) else _dumped(call.result)}}}'


def _is_data(result: str) -> bool:
    """Return whether a result is a JSON object or array, as it is for tools that return no text."""
    try:
        return result[:1] in ("{", "[") and isinstance(json.loads(result, parse_constant=_refuse), (dict, list))
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _sendable(arguments: str, filler: str) -> str:
    """Return the arguments as the model wrote them. What is no object is put into one: some servers refuse it."""
    if "".join(arguments.split()) in ("", "{}"):
        return filler
    return arguments if is_object(arguments) else _dumped({"unreadable_arguments": arguments})


def _sendable_name(name: str) -> str:
    """Return the name as the model wrote it, without what a service would refuse in every later request."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unnamed"
