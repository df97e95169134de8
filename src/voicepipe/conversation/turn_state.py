"""Where a turn is, and what moves it on: one table."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, TypeAlias

__all__ = ["TRANSITIONS", "Step", "TurnState"]


class TurnState(Enum):
    """Where a turn is."""

    DRAFT = "draft"
    COMMITTED = "committed"
    SPEAKING = "speaking"
    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled back"


Step: TypeAlias = Literal["commit", "roll back", "speak", "complete", "leave empty", "fail", "interrupt"]
"""What moves a turn from one state to the next."""

_ENDS: Final[dict[Step, TurnState]] = {
    "complete": TurnState.DONE,
    "leave empty": TurnState.EMPTY,
    "fail": TurnState.FAILED,
    "interrupt": TurnState.INTERRUPTED,
}

TRANSITIONS: Final[dict[TurnState, dict[Step, TurnState]]] = {
    TurnState.DRAFT: {"commit": TurnState.COMMITTED, "roll back": TurnState.ROLLED_BACK},
    TurnState.COMMITTED: {"speak": TurnState.SPEAKING, **_ENDS},
    # The fallback speaks, too: a turn that fails or is empty may have spoken, and speaks a second time.
    TurnState.SPEAKING: {"speak": TurnState.SPEAKING, **_ENDS},
}
"""The next state, by state and step. A state that is missing here is an end."""
