"""Writes into a turn's messages what was heard of them, when the turn ends and when a peer corrects it later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from voicepipe.history import AssistantMessage
from voicepipe.text.markup import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicepipe.history import Message

__all__ = ["as_heard", "settle"]


def as_heard(
    messages: Sequence[Message], segments: Sequence[AssistantMessage], heard: Mapping[int, str]
) -> tuple[Message, ...]:
    """Return what a turn's messages would be if it ended now: copies, as they were heard so far.

    Args:
        messages: The messages of the turn.
        segments: The message that each segment of speech belongs to.
        heard: What was heard, by segment.
    """
    twins = {
        id(message): replace(message, calls=[replace(call) for call in message.calls])
        for message in messages
        if isinstance(message, AssistantMessage)
    }
    settle([twins[id(message)] for message in segments], heard, was_cut=True)
    return tuple(twins.get(id(message), message) for message in messages)


def settle(segments: Sequence[AssistantMessage], heard: Mapping[int, str], *, was_cut: bool) -> None:
    """Write what was heard into messages, and mark those that were not heard whole.

    Args:
        segments: The message that each segment of speech belongs to.
        heard: What was heard, by segment.
        was_cut: Whether the turn did not come to its end.
    """
    for message in segments:
        message.heard = ""
    for segment, text in heard.items():
        # Two segments of one message: the model spoke on after a call.
        message = segments[segment]
        message.heard = f"{message.heard.rstrip()} {text.lstrip()}"
    for message in segments:
        message.heard = message.heard.strip()
        message.is_settled = True
        message.was_interrupted |= was_cut and _words(message.heard) != _words(message.generated)


def _words(text: str) -> str:
    """Return what can be heard of a text, without what only its writing needs."""
    return "".join(filter(str.isalnum, spoken(text)))
