"""Events of turn-taking: who has the floor, and why. `events` has all others."""

from __future__ import annotations

from dataclasses import dataclass

from voicepipe.flow import Stamped

__all__ = [
    "Backchannel",
    "CallLimit",
    "Idle",
    "Monologue",
    "MonologueCut",
    "Paused",
    "Released",
    "Resumed",
    "Withheld",
]


@dataclass(frozen=True, slots=True)
class Backchannel(Stamped):
    """The caller shows that they listen, and wants nothing: "mhm". It is neither answered nor kept.

    Attributes:
        text: What they said.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld(Stamped):
    """The caller made a sound before the reply was heard. It is prepared further, and `Released` or joined follows.

    Attributes:
        turn_id: As in `TurnStarted`.
    """

    turn_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Stamped):
    """The caller said nothing, so the reply that was withheld may be played.

    Attributes:
        turn_id: As in `TurnStarted`.
    """

    turn_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Stamped):
    """The caller may want to speak, so the agent is silent. `Resumed` or `TurnInterrupted` follows within 2 s.

    Emitted when it is decided, in the step in which the output falls silent.

    Attributes:
        turn_id: As in `TurnStarted`.
        heard_s: How many seconds of the reply were heard.
    """

    turn_id: int
    heard_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Stamped):
    """The caller said nothing that matters, so the agent goes on.

    Attributes:
        turn_id: As in `TurnStarted`.
        from_s: From which second of the reply on: at the word after the last one that was heard.
    """

    turn_id: int
    from_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle(Stamped):
    """The caller has been silent for long; see `TurnRules.idle`.

    Attributes:
        step: How often this has happened since their last words, from 1.
        silent_s: For how long, without the time while the agent was busy.
        text: What is said to them now.
        is_last: Whether the call ends after that.
    """

    step: int
    silent_s: float
    text: str
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Monologue(Stamped):
    """The caller has been speaking for long; see `TurnRules.monologue_s`.

    Attributes:
        speech_s: For how long.
    """

    speech_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MonologueCut(Stamped):
    """The caller has been speaking for too long, so what they have said so far is answered.

    Attributes:
        speech_s: For how long.
    """

    speech_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimit(Stamped):
    """The call will soon have lasted for `TurnRules.max_call_s`, or has: then it ends after its last words.

    Attributes:
        left_s: How much time is left; 0 when the call ends.
    """

    left_s: float
