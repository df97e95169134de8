"""What a session reports about its observers; see `events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicepipe.flow import Stamped

if TYPE_CHECKING:
    from voicepipe.errors import VoicepipeError

__all__ = [
    "BudgetExceeded",
    "ObserverFailed",
    "RecordingPaused",
    "RecordingResumed",
    "RecordingStarted",
    "RecordingStopped",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded(Stamped):
    """Something in a turn took longer than a `LatencyBudget` allows.

    Attributes:
        turn_id: The turn.
        name: What, as the budget calls it, e.g. "first_audio".
        took_s: How long it took.
        budget_s: How long it may take.
    """

    turn_id: int
    name: str
    took_s: float
    budget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserverFailed(Stamped):
    """An observer of the session failed, and gets nothing more of it; the call goes on.

    Attributes:
        observer: Its name, e.g. "Recorder".
        error: Why.
    """

    observer: str
    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStarted(Stamped):
    """The call is recorded from now on.

    Attributes:
        path: The directory of the recording.
        sides: Whose words and sound are recorded: "both", "caller" or "agent".
    """

    path: str
    sides: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPaused(Stamped):
    """From now on nothing that is said is recorded, until `RecordingResumed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResumed(Stamped):
    """What is said is recorded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStopped(Stamped):
    """The recording has ended before the call, which goes on. One that fails emits `ObserverFailed` instead.

    Attributes:
        path: The directory of the recording.
        reason: Why, in a few words.
    """

    path: str
    reason: str
