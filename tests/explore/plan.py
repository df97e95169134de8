"""What is going to happen in a call. Everything is drawn from one seed, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

import voicepipe as vp
from voicepipe.turntaking.rules import Eagerness

# What is written several times is drawn more often.
CALLER_ACTS: Final = (
    *("says",) * 6,
    *("interrupts",) * 4,
    *("hums",) * 2,
    *("goes on", "coughs", "stops", "repeats", "nothing", "guesses wrong", "keys", "types", "no final", "waits"),
)
APPLICATION_ACTS: Final = ("say", "say", "protected", "reply", "interrupt", "interrupt", "expect", "tools", "waits")
ENDINGS: Final = ("hangs up", "hangs up", "end", "end after reply", "leave", "cancel", "cancel twice")

EAGERNESS: Final[tuple[Eagerness, ...]] = ("low", "normal", "normal", "high")

ROUND_S: Final = (0.0, 0.0, 0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 1.0, 2.0, 2.5)
"""Much coincides on purpose: at the end of a frame, of a pause or of a tool, or in the same step."""

REPLIES: Final = (
    *("words",) * 8,
    *("call", "calls", "words and call") * 3,
    *("break", "break in call", "refused", "busy", "stalls", "empty", "slow", "cut", "question"),
)
CALM_REPLIES: Final = (*("words",) * 6, *("call", "calls", "words and call") * 2, "slow", "question")
VOICES: Final = (*("speaks",) * 12, "late", "slow", "fails", "fails in the middle", "hangs", "mute")
CALM_VOICES: Final = ("speaks", "speaks", "speaks", "late")

KEEPING: Final = ("", "", "", "exact", "killed", "parted", "handed over")
"""How the call gets from one worker to another: not at all in most calls; by a snapshot of the very moment; or by the
record of a worker that is killed, loses its caller without noticing it, or hands the call over in order."""

FATAL: Final = ("recogniser fails", "output fails", "output stalls")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody does.

    Attributes:
        what: One of the acts above.
        after_s: When: so long after what they did before it, or with `over` after the agent began to be audible.
        over: Whether they wait, for 6 s at most, until the agent speaks.
        luck: Draws the rest.
    """

    what: str
    after_s: float
    over: bool
    luck: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One call."""

    seed: int
    rules: vp.TurnRules
    over_http: bool
    fallback: str
    greeting: str
    is_greeting_protected: bool
    turn_s: float
    has_marks: float
    replies: tuple[str, ...]
    voices: tuple[str, ...]
    crashes_at: int
    fatal: str
    fatal_at_s: float
    caller: tuple[Act, ...]
    application: tuple[Act, ...]
    ending: str
    luck: int
    keeping: str
    store_s: float
    breaks: tuple[Act, ...]


def planned(seed: int) -> Plan:
    """Draw a call."""
    chance = Random(seed)
    rough = chance.random()  # how much goes wrong in this one
    fatal = chance.choice(FATAL) if chance.random() < 0.12 * rough else ""
    keeping = chance.choice(KEEPING)
    return Plan(
        seed=seed,
        rules=_rules(chance),
        over_http=chance.random() < 0.12,
        fallback=chance.choice(("Sorry.", "Sorry.", "")),
        greeting=chance.choice(("", "", "Hello there.")),
        is_greeting_protected=chance.random() < 0.2,
        turn_s=chance.choice((8.0, 20.0)),
        has_marks=chance.choice((1.0, 1.0, 0.7, 0.0)),
        replies=tuple(chance.choices(REPLIES if rough > 0.4 else CALM_REPLIES, k=8)),
        voices=tuple(chance.choices(VOICES if rough > 0.5 else CALM_VOICES, k=6)),
        crashes_at=chance.randint(1, 6) if chance.random() < 0.15 * rough else 0,
        fatal=fatal,
        fatal_at_s=chance.uniform(0.0, 12.0),
        caller=_acts(chance, CALLER_ACTS, chance.randint(2, 9)),
        application=_acts(chance, APPLICATION_ACTS, chance.choice((0, 0, 1, 2, 4))),
        ending=chance.choice(ENDINGS),
        luck=chance.getrandbits(32),
        keeping=keeping,
        store_s=chance.choice((0.0, 0.0, 0.002, 0.03, 0.15)),
        breaks=_acts(chance, (keeping,), chance.choice((1, 1, 2, 4)), most_s=8.0) if keeping else (),
    )


def _rules(chance: Random) -> vp.TurnRules:
    return vp.TurnRules(
        eagerness=chance.choice(EAGERNESS),
        min_speech_s=chance.choice((0.0, 0.3, 0.3, 0.6)),
        drafts=chance.random() < 0.8,
        local_end=chance.random() < 0.15,
        idle=chance.choice(((), (), (5.0, 9.0))),
        idle_texts=("Still there?", "Goodbye then."),
        dtmf_end=chance.choice(("#", "")),
    )


def _acts(chance: Random, names: tuple[str, ...], count: int, most_s: float = 3.0) -> tuple[Act, ...]:
    return tuple(
        Act(
            what=chance.choice(names),
            after_s=moment(chance, most_s),
            over=chance.random() < 0.4,
            luck=chance.getrandbits(32),
        )
        for _ in range(count)
    )


def moment(chance: Random, most_s: float) -> float:
    """Draw a time: a round one, at which other things happen too, or any."""
    return chance.choice(ROUND_S) if chance.random() < 0.5 else round(chance.uniform(0.0, most_s), 3)
