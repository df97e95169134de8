"""The states of a conversation, and what leads from one to another.

Rule 1: pure. `TurnCore.state` follows from what the core knows; nobody sets it.
Rule 2: the table is proved against the core row by row, and the picture in docs/turns.md is drawn from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from voicepipe.floor_events import Backchannel
from voicepipe.turntaking.decisions import Commit, Draft, Interrupt, Pause, Release, Resume, Start, Withhold

if TYPE_CHECKING:
    from voicepipe.turntaking.decisions import Decision
    from voicepipe.turntaking.floor_view import Phase
    from voicepipe.turntaking.utterance import Utterance
    from voicepipe.turntaking.yielding import Yielding

__all__ = ["TRANSITIONS", "State", "Transition", "state_of"]


class State(Enum):
    """Who waits for whom.

    Attributes:
        QUIET: Nobody speaks.
        HEARING: The caller speaks.
        HOLDING: Their final words are held, because they may go on.
        THINKING: The reply is prepared, and nothing of it is heard yet.
        WITHHELD: The same, but it must not be heard, because the caller makes a sound.
        SPEAKING: The reply is heard.
        PAUSED: It has begun, and is silent because of a sound.
    """

    QUIET = "quiet"
    HEARING = "hearing"
    HOLDING = "holding"
    THINKING = "thinking"
    WITHHELD = "withheld"
    SPEAKING = "speaking"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table.

    Attributes:
        before: The state in which something happens.
        event: What happens.
        after: The state that follows.
        decisions: What the core decides then; it makes one of them.
    """

    before: State
    event: str
    after: State
    decisions: tuple[type[Decision], ...] = ()


TRANSITIONS: Final = (
    Transition(State.QUIET, "speech", State.HEARING),
    Transition(State.HEARING, "stable words", State.HEARING, (Draft,)),
    Transition(State.HEARING, "no word", State.QUIET),
    Transition(State.HEARING, "a part of a sentence", State.HOLDING, (Draft,)),
    Transition(State.HEARING, "a whole sentence", State.THINKING, (Start, Commit)),
    Transition(State.HOLDING, "more words", State.HOLDING, (Draft,)),
    Transition(State.HOLDING, "patience is over", State.THINKING, (Start, Commit)),
    Transition(State.THINKING, "speech", State.WITHHELD, (Withhold,)),
    Transition(State.THINKING, "words", State.HOLDING, (Interrupt,)),
    Transition(State.THINKING, "the first sample", State.SPEAKING),
    Transition(State.WITHHELD, "no word", State.THINKING, (Release,)),
    Transition(State.WITHHELD, "words", State.HOLDING, (Interrupt,)),
    Transition(State.SPEAKING, "speech of 0.3 s", State.PAUSED, (Pause,)),
    Transition(State.SPEAKING, '"mhm"', State.SPEAKING, (Backchannel,)),
    Transition(State.SPEAKING, "words", State.HEARING, (Interrupt,)),
    Transition(State.SPEAKING, "the last sample", State.QUIET),
    Transition(State.PAUSED, 'no word, or "mhm"', State.SPEAKING, (Resume,)),
    Transition(State.PAUSED, "words", State.HEARING, (Interrupt,)),
)
"""What leads on. Words that come when a reply was hardly heard join those that it answers, which are held again."""


def state_of(phase: Phase, speech: Utterance, yielding: Yielding, *, is_holding: bool) -> State:
    """Return the state of a conversation in which the agent is in this phase.

    Args:
        phase: What the agent does.
        speech: What the caller is saying.
        yielding: What the reply waits for.
        is_holding: Whether final words of the caller wait for an answer.
    """
    if phase == "speaking":
        return State.PAUSED if yielding.holds_up else State.SPEAKING
    if phase == "thinking":
        return State.WITHHELD if yielding.holds_up else State.THINKING
    if is_holding:
        return State.HOLDING
    return State.HEARING if speech.is_open or speech.text else State.QUIET
