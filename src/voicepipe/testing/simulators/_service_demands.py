"""What services demand of a conversation: an order of its messages, and their own state back. Pure.

Source, read 2026-11-29: the validator of mistral-common, the chat templates of vLLM's examples, Google's "Thought
signatures", DeepSeek's "Thinking mode", OpenRouter's "Reasoning tokens".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    Messages: TypeAlias = Sequence[Mapping[str, Any]]

__all__ = ["MessageOrder", "State", "refusal_of_order", "refusal_of_state", "state_of_call", "state_of_message"]

MessageOrder: TypeAlias = Literal["any", "mistral", "gemma", "llama"]
"""Whose order of messages a server insists on."""

State: TypeAlias = Literal["call", "message", "details"]
"""Where the state is that a service wants back: on the first call, in the message's thoughts, or in their details."""

MAY_FOLLOW: Final = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "calls": ("tool",),
    "tool": ("assistant",),
}

SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSBzaW11bGF0b3I="
THOUGHTS: Final = "The caller wants to know something."


def refusal_of_order(order: MessageOrder, messages: Messages) -> str:
    """Return why a server refuses the order of messages, in its own words; "" if it takes them."""
    match order:
        case "mistral":
            return _refusal_of_mistral(messages)
        case "gemma":
            return _refusal_of_gemma(messages)
        case "llama":
            return _refusal_of_llama(messages)
        case _:
            return ""


def _refusal_of_mistral(messages: Messages) -> str:
    before, ids = "", list[str]()
    for message in messages:
        role = message["role"]
        if role not in MAY_FOLLOW[before]:
            return f"Unexpected role '{role}' after role '{before}'"
        before = role
        if role == "assistant":
            if bool(message.get("content")) == bool(message.get("tool_calls")):
                return "Assistant message must have either content or tool_calls, but not both."
            if message.get("tool_calls"):
                before, ids = "calls", [call["id"] for call in message["tool_calls"]]
        if role == "tool":
            call_id = message["tool_call_id"]
            if not re.fullmatch("[a-zA-Z0-9]{9}", call_id):
                return f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
            ids.remove(call_id)
            before = "calls" if ids else "tool"
    return "" if before in ("user", "tool") else f"Expected last role User or Tool but got {before}"


def _refusal_of_gemma(messages: Messages) -> str:
    messages = _without_system(messages)
    if not all(isinstance(message.get("content"), str) for message in messages):
        return "Invalid content type"
    spoken = [one["role"] for one in messages if one["role"] != "tool" and "tool_calls" not in one]
    if spoken != [("user", "assistant")[place % 2] for place in range(len(spoken))]:
        return "Conversation roles must alternate user/assistant/user/assistant/..."
    return ""


def _refusal_of_llama(messages: Messages) -> str:
    messages = _without_system(messages)
    if not messages or messages[0]["role"] != "user":
        return "Cannot put tools in the first user message when there's no first user message!"
    if any(len(message.get("tool_calls") or "x") != 1 for message in messages):
        return "This model only supports single tool-calls at once!"
    return ""


def _without_system(messages: Messages) -> Messages:
    return messages[1:] if messages and messages[0]["role"] == "system" else messages


def state_of_call(state: State | None, index: int) -> dict[str, JsonValue]:
    """Return the fields that a service adds to a call of its own: to the first one of a message."""
    return {"extra_content": {"google": {"thought_signature": SIGNATURE}}} if state == "call" and not index else {}


def state_of_message(state: State | None) -> dict[str, JsonValue]:
    """Return the fields that a service adds to a message of its own."""
    if state == "message":
        return {"reasoning_content": THOUGHTS}
    if state == "details":
        details: JsonValue = [{"type": "reasoning.encrypted", "data": SIGNATURE, "index": 0}]
        return {"reasoning_details": details}
    return {}


def refusal_of_state(state: State | None, messages: Messages) -> str:
    """Return why a service refuses a conversation in which its own state is missing; "" if it is there."""
    for at, message in enumerate(messages):
        calls = message.get("tool_calls")
        if not calls or state is None:
            continue
        if any(calls[0].get(name) != value for name, value in state_of_call(state, 0).items()):
            return f"Function call is missing a thought_signature in functionCall parts, position {at}."
        for name, value in state_of_message(state).items():
            if message.get(name) != value:
                return f"Missing `{name}` field in the assistant message at message index {at}."
    return ""
