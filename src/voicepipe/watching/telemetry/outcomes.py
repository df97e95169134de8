"""How a turn and a session ended, in a word."""

from __future__ import annotations

from typing import Final

from voicepipe.events import TurnCompleted, TurnEmpty, TurnEnded, TurnFailed, TurnInterrupted

__all__ = ["OTHER", "ended_by", "outcome_of"]

OTHER: Final = "other"

OUTCOMES: Final[dict[type[TurnEnded], str]] = {
    TurnCompleted: "completed",
    TurnInterrupted: "interrupted",
    TurnFailed: "failed",
    TurnEmpty: "empty",
}


def outcome_of(turn: TurnEnded) -> str:
    """Return how a turn ended: "completed", "interrupted", "failed" or "empty"; "other" for a class of your own."""
    return next((word for kind, word in OUTCOMES.items() if isinstance(turn, kind)), OTHER)


REASONS: Final = {
    "the caller hung up": "caller",
    "the application ended it": "application",
    "its block ended": "application",
    "it was cancelled": "cancelled",
}
"""Who ended a session, by what `Observer.on_end` is given."""


def ended_by(reason: str) -> str:
    """Return who ended a session: "caller", "application" or "cancelled"; "error" for any other reason."""
    return REASONS.get(reason, "error")
