"""Writes one message of a conversation in the chat-completions format. Pure.

Rule 1: data from a tool is marked as untrusted; see `conversation.tool_result`.
Rule 2: what a service wants back goes to that service as it came, and to no other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from voicepipe.conversation.tool_result import dumped, result_of
from voicepipe.history import UserMessage
from voicepipe.vendors.loose_json import as_object, is_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.history import AssistantMessage, Message, ServiceState, ToolCall

__all__ = ["CUT_MARK", "call_json", "content_of", "rendered_message", "state_for"]

CUT_MARK: Final = " —"
"""Ends the heard part of an interrupted message, so that the model knows that it was cut there."""


def rendered_message(message: Message, filler: str = "{}", service: str = "") -> str:
    """Return a message as JSON text, the results of its calls behind it, with commas between.

    Args:
        message: The message.
        filler: Sent in place of empty arguments.
        service: Where it is sent.
    """
    if isinstance(message, UserMessage):
        return dumped({"role": "user", "content": message.text})
    return ",".join(map(dumped, _assistant_json(message, filler, service)))


def _assistant_json(message: AssistantMessage, filler: str, service: str) -> Iterator[dict[str, Any]]:
    content = content_of(message)
    if not message.calls:
        yield {"role": "assistant", "content": content}
        return
    calls = [call_json(call, filler, service) for call in message.calls]
    yield {
        **state_for(service, message.state),
        "role": "assistant",
        "content": content or None,
        "tool_calls": calls,
    }
    for call in message.calls:
        yield {"role": "tool", "tool_call_id": call.call_id, "content": result_of(call)}


def content_of(message: AssistantMessage) -> str:
    """Return what the model may know of its words, with a mark where it was cut."""
    content = message.text.strip()
    return content + CUT_MARK if content and message.was_interrupted else content


def state_for(service: str, state: ServiceState | None) -> dict[str, Any]:
    """Return the fields that a service wants back; none of another service."""
    return dict(state.fields) if state is not None and state.service == service else {}


def call_json(call: ToolCall, filler: str, service: str = "") -> dict[str, Any]:
    """Return a call as an element of `tool_calls`."""
    state = state_for(service, call.state)
    function = {"name": _sendable_name(call.name), "arguments": _sendable(call.arguments, filler)}
    return {
        **state,
        "id": call.call_id,
        "type": "function",
        "function": {**as_object(state.get("function")), **function},
    }


def _sendable(arguments: str, filler: str) -> str:
    """Return the arguments as the model wrote them. What is no object is put into one: some servers refuse it."""
    if "".join(arguments.split()) in ("", "{}"):
        return filler
    return arguments if is_object(arguments) else dumped({"unreadable_arguments": arguments})


def _sendable_name(name: str) -> str:
    """Return the name as the model wrote it, without what a service would refuse in every later request."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unnamed"
