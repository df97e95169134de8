"""What a session reports about a call that several workers hold one after another; see `events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from voicepipe.flow import Stamped

if TYPE_CHECKING:
    from voicepipe.errors import VoicepipeError

__all__ = ["CallMoved", "CallResumed", "ResumedTurn", "StoreBack", "StoreFailed"]

ResumedTurn: TypeAlias = Literal["none", "again", "rest", "note"]
"""What becomes of the turn in which a call broke off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResumed(Stamped):
    """A call goes on from a snapshot, perhaps in another process. It comes before any event of a turn.

    Attributes:
        turn: What becomes of the turn in which the call broke off: "none" if none was in flight, or all of it was
            heard; "again" if its words are answered again; "rest" if the rest of its text is said, from the beginning
            of the sentence that was cut; "note" if the model is told what happened, and goes on from there.
        differs: What is configured differently from the agent that wrote the snapshot: some of "parts", "tools",
            "prompt" and "rules".
        unknown_calls: Ids of the writing calls of which nobody knows what they did; `Session.report_outcome` takes it.
        missing_tools: Names of tools that the application had added and this pipeline lacks; add them again.
        lost_state: Names of parts whose state could not be kept or restored.
    """

    turn: ResumedTurn
    differs: tuple[str, ...] = ()
    unknown_calls: tuple[str, ...] = ()
    missing_tools: tuple[str, ...] = ()
    lost_state: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMoved(Stamped):
    """Another worker has claimed the call: its caller has come back there. The session ends here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFailed(Stamped):
    """The store of calls fails. The call goes on, and is not kept until `StoreBack` follows.

    Attributes:
        error: Why.
    """

    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreBack(Stamped):
    """The store of calls is back, and the call is kept again."""
