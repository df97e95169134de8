"""The conversation so far as a text, for a service that takes no messages of earlier turns. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from voicepipe.history import UserMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.history import Message

__all__ = ["retold"]

MAX_CHARACTERS: Final = 12_000
"""The newest part of the conversation, up to this length: about a quarter of an hour of speech."""


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
        return f"Caller: {json.dumps(message.text, ensure_ascii=False)}"
    said = [f"You: {json.dumps(message.text, ensure_ascii=False)}"] if message.text.strip() else []
    called = [
        f"You called {call.name} with {call.arguments}, and the result was: {call.result}" for call in message.calls
    ]
    return "\n".join(said + called)
