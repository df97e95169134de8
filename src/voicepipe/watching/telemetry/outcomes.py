"""How a turn and a session ended, in a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.events import TurnCompleted, TurnEmpty, TurnEnded, TurnFailed, TurnInterrupted

if TYPE_CHECKING:
    from voicepipe.watching.telemetry.content import Content

__all__ = ["OTHER", "REASONS", "UNWATCHED", "ended_by", "outcome_of", "why_ended"]

OTHER: Final = "other"

UNWATCHED: Final = "it was not watched to its end"
"""Stands for the reason where the observer had failed before."""

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
    UNWATCHED: OTHER,
}
"""Who ended a session, by what `Observer.on_end` is given."""


def ended_by(reason: str) -> str:
    """Return who ended a session: "caller", "application" or "cancelled"; "error" for any other reason."""
    return REASONS.get(reason, "error")


def why_ended(reason: str, content: Content | None) -> str:
    """Return why a session ended; of an error, whose message may quote, without content only that it was one."""
    if reason in REASONS:
        return reason
    return "error" if content is None else content.text(reason, "error")
