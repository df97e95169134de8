"""The terminal event of a turn: which one it is, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from voicepipe.conversation.turn_state import TurnState
from voicepipe.events import TurnCompleted, TurnEmpty, TurnEnded, TurnFailed, TurnInterrupted

if TYPE_CHECKING:
    from voicepipe.errors import VoicepipeError
    from voicepipe.timeline import Timeline

__all__ = ["WhatWasSaid", "terminal_event"]


class WhatWasSaid(TypedDict):
    """What every terminal event says."""

    turn_id: int
    user_text: str
    heard: str
    heard_s: float
    timeline: Timeline


def terminal_event(
    said: WhatWasSaid, state: TurnState, failure: VoicepipeError | None, finish_reason: str, *, joined: bool
) -> TurnEnded:
    """Return the event that reports how a turn has ended.

    Args:
        said: What every terminal event says.
        state: How it ended.
        failure: Why the reply is not whole; None if nothing failed.
        finish_reason: Why the model stopped, in its own word.
        joined: Whether the turn was taken back.
    """
    if failure:
        return TurnFailed(**said, error=failure, finish_reason=finish_reason)
    if state is TurnState.INTERRUPTED:
        return TurnInterrupted(**said, joined=joined)
    if state is TurnState.EMPTY:
        return TurnEmpty(**said, finish_reason=finish_reason)
    return TurnCompleted(**said, finish_reason=finish_reason)
