"""What `TurnCore` may decide; the session carries out each decision in one line.

What it only notices, such as a `Backchannel`, it returns as the event that the session emits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from voicepipe.floor_events import Backchannel, CallLimit, Idle, Monologue, MonologueCut

if TYPE_CHECKING:
    from voicepipe.flow import Transcript

__all__ = [
    "Commit",
    "Decision",
    "Draft",
    "ForceEndpoint",
    "Ignore",
    "Interrupt",
    "Pause",
    "Release",
    "Resume",
    "RollBack",
    "Start",
    "Withhold",
]


@dataclass(frozen=True, slots=True)
class Draft:
    """Prepare a reply to what the caller has probably said."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class ForceEndpoint:
    """The caller has said all that is expected: let the recogniser end their turn, if it can."""


@dataclass(frozen=True, slots=True)
class Start:
    """Reply to the caller, whose words came at `heard_s`."""

    transcript: Transcript
    heard_s: float


@dataclass(frozen=True, slots=True)
class Commit:
    """The draft's text was right: let it be played."""

    transcript: Transcript
    heard_s: float


@dataclass(frozen=True, slots=True)
class RollBack:
    """The draft's text was wrong: drop it without a trace."""


@dataclass(frozen=True, slots=True)
class Withhold:
    """The caller may be going on: prepare the reply, but play nothing of it."""


@dataclass(frozen=True, slots=True)
class Release:
    """The caller said nothing: play the reply."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The caller may want to speak: be silent, but keep the reply."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The caller said nothing that matters: go on from the word after the last one heard."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The caller speaks: the reply is over.

    Attributes:
        joins: Whether the words that it answers are taken back, because the caller has not finished them.
    """

    joins: bool = False


@dataclass(frozen=True, slots=True)
class Ignore:
    """The event is the agent's own voice."""


Decision: TypeAlias = (
    Draft
    | ForceEndpoint
    | Start
    | Commit
    | RollBack
    | Withhold
    | Release
    | Pause
    | Resume
    | Interrupt
    | Backchannel
    | Ignore
    | Idle
    | Monologue
    | MonologueCut
    | CallLimit
)
