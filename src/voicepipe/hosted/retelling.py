"""The conversation so far as a text, for a service that takes no messages of earlier turns. Pure.

Rule 1: what the caller, the model or a tool has said is quoted, so that it cannot imitate a line of its own, and a
        tool's data is marked as untrusted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.conversation.tool_result import dumped, result_of
from voicepipe.history import UserMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.history import Message, ToolCall

__all__ = ["retold", "retold_call"]

MAX_CHARACTERS: Final = 12_000
"""The newest part of the conversation, up to this length: about a quarter of an hour of speech."""

MAX_RESULT_CHARACTERS: Final = 1_500
"""The beginning of a tool's result; one of 8 KiB would otherwise take the place of most of the conversation."""


def retold(history: Sequence[Message]) -> str:
    """Return the conversation, a line for each message; "" if there is none."""
    lines, left = list[str](), MAX_CHARACTERS
    for message in reversed(history):
        line = _line(message)
        left -= len(line) + 1
        if left < 0:
            lines.append("(What was said before is left out.)")
            break
        if line:
            lines.append(line)
    return "\n".join(reversed(lines))


def _line(message: Message) -> str:
    if isinstance(message, UserMessage):
        return f"Caller: {dumped(message.text)}"
    said = [f"You: {dumped(message.text)}"] if message.text.strip() else []
    return "\n".join(said + [retold_call(call) for call in message.calls])


def retold_call(call: ToolCall) -> str:
    """Return a line about a call and its result."""
    result = dumped(_beginning(result_of(call)))
    return f"You called {dumped(call.name)} with {dumped(call.arguments)}, and the result was: {result}"


def _beginning(result: str) -> str:
    return result if len(result) <= MAX_RESULT_CHARACTERS else f"{result[:MAX_RESULT_CHARACTERS]} ..."
