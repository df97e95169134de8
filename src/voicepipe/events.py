"""What a session reports to the application: the events that iterating over it yields.

Rule 1: everything here is immutable, and named after what happened.
Rule 2: times are seconds on the event loop's clock (`anyio.current_time()`); field names carry the unit.
Rule 3: `Session.emit` writes the session's id onto each event, so that the parts that make events need not know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from voicepipe.call_events import CallMoved, CallResumed, StoreBack, StoreFailed
from voicepipe.floor_events import (
    Backchannel,
    CallLimit,
    Idle,
    Monologue,
    MonologueCut,
    Paused,
    Released,
    Resumed,
    Withheld,
)
from voicepipe.flow import Hearing, Stamped
from voicepipe.listening_events import (
    AgentLost,
    AgentRestored,
    AudioDropped,
    AudioResumed,
    AudioStopped,
    DetectorMissing,
    EchoIgnored,
    MicrophoneLost,
    RecogniserBehind,
    RecogniserLost,
)
from voicepipe.model_events import (
    HedgeStarted,
    ModelAnswered,
    ModelUsage,
    RateLimitNear,
    ReplyCut,
    RequestRetried,
    Summarised,
    SummaryFailed,
)
from voicepipe.tool_events import ToolsChanged, ToolServerLost
from voicepipe.watching_events import (
    BudgetExceeded,
    ObserverFailed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from voicepipe.errors import VoicepipeError
    from voicepipe.timeline import Timeline

__all__ = [
    "BudgetExceeded",
    "CleanupOverran",
    "Event",
    "Interrupter",
    "ObserverFailed",
    "RecordingPaused",
    "RecordingResumed",
    "RecordingStarted",
    "RecordingStopped",
    "SentenceStarted",
    "StructuredDone",
    "StructuredFailed",
    "ToolFinished",
    "ToolStarted",
    "TurnCompleted",
    "TurnEmpty",
    "TurnEnded",
    "TurnFailed",
    "TurnInterrupted",
    "TurnStarted",
    "UtteranceEnded",
    "VoiceTooSlow",
]


Interrupter: TypeAlias = Literal["caller", "application", "end"]
"""What can interrupt a reply: the caller, the application, or the end of the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Stamped):
    """A reply is being prepared.

    Attributes:
        turn_id: Counts the turns of a session, from 1.
        user_text: What the caller said; "" when the agent speaks on its own (a greeting, `Session.say`).
    """

    turn_id: int
    user_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceStarted(Stamped):
    """The first frame of a sentence was handed to the output."""

    turn_id: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceEnded(Stamped):
    """All audio of a turn was handed to the output, which may still be playing it; `TurnCompleted` comes when it has.

    More may follow all the same: when the turn was paused and is `Resumed`, or when it failed and the fallback is said.
    """

    turn_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceTooSlow(Stamped):
    """The voice gave a sentence's audio more slowly than it is spoken; `TTSSink.start_buffer_s` helps.

    Attributes:
        turn_id: The turn that speaks.
        text: The sentence.
        behind_s: For how many seconds playback had to wait in the middle of it, without a start buffer.
        silent_s: How much of that the caller heard, as silence between or inside words.
    """

    turn_id: int
    text: str
    behind_s: float
    silent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Stamped):
    """A tool was called with arguments that validate."""

    turn_id: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Stamped):
    """A tool call has its result.

    Attributes:
        turn_id: The turn that called it; 0 where the application has reported its outcome.
        status: "done", "failed" (the model was shown why), "unconfirmed" (the caller is asked first) or "unknown" (a
            writing tool exceeded its timeout).
    """

    turn_id: int
    call_id: str
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredDone(Stamped):
    """What the caller said was put into one of the application's models, before or during the spoken reply.

    Attributes:
        turn_id: The caller's turn.
        result: The validated model.
    """

    turn_id: int
    result: BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredFailed(Stamped):
    """What the caller said could not be put into one of the application's models; the reply is given all the same.

    Attributes:
        turn_id: The caller's turn.
        error: Why: `StructuredOutputError`, `VendorError`, or `StageError` if the application's function raised.
    """

    turn_id: int
    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded(Stamped):
    """Base of the four ways in which a turn ends; each turn ends in exactly one of them.

    Attributes:
        turn_id: As in `TurnStarted`.
        user_text: What the caller said.
        heard: The part of the reply that the caller heard.
        timeline: Where the time went.
        heard_s: Seconds of the reply's audio that the caller heard.
    """

    turn_id: int
    user_text: str
    heard: str
    timeline: Timeline
    heard_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCompleted(TurnEnded):
    """The reply was played to its end.

    Attributes:
        finish_reason: Why the model stopped, in the vendor's word, e.g. "stop".
    """

    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnInterrupted(TurnEnded):
    """The reply was cut short, by the caller or by `Session.interrupt`.

    Emitted when it is decided, in the step in which the output falls silent; `SpeechStarted` says only that somebody
    makes a sound.

    Attributes:
        joined: Whether the turn was taken back, because the caller went on before they had heard an answer: its words
            are the beginning of the next turn's, and the history keeps nothing of it.
        by: What cut it: the caller's words, the application with `Session.interrupt`, or the end of the session.
    """

    joined: bool = False
    by: Interrupter = "application"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(TurnEnded):
    """The reply could not be given, or only in part: it broke off, or the model was stopped at its limit of tokens.

    Attributes:
        error: Why.
        finish_reason: Why the model stopped, in the vendor's word, e.g. "length"; "" if it did not end its last reply.
    """

    error: VoicepipeError
    finish_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEmpty(TurnEnded):
    """The model had nothing to say.

    Attributes:
        finish_reason: Why the model stopped, in the vendor's word, e.g. "content_filter".
    """

    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupOverran(Stamped):
    """A part needs longer to end than it may, after an interruption or after its work. Nothing waits for it.

    Attributes:
        part: Its name, e.g. "AcmeTTS".
        after_s: The time allowed, in seconds.
    """

    part: str
    after_s: float


Event: TypeAlias = (
    Hearing
    | Backchannel
    | Withheld
    | Released
    | Paused
    | Resumed
    | Idle
    | Monologue
    | MonologueCut
    | CallLimit
    | TurnStarted
    | SentenceStarted
    | UtteranceEnded
    | VoiceTooSlow
    | ToolStarted
    | ToolFinished
    | RequestRetried
    | HedgeStarted
    | ModelAnswered
    | ReplyCut
    | StructuredDone
    | StructuredFailed
    | TurnEnded
    | AudioDropped
    | AudioStopped
    | AudioResumed
    | DetectorMissing
    | EchoIgnored
    | MicrophoneLost
    | RecogniserBehind
    | RecogniserLost
    | ToolServerLost
    | ToolsChanged
    | AgentLost
    | AgentRestored
    | CallMoved
    | CallResumed
    | StoreBack
    | StoreFailed
    | CleanupOverran
    | ModelUsage
    | BudgetExceeded
    | ObserverFailed
    | RateLimitNear
    | RecordingPaused
    | RecordingResumed
    | RecordingStarted
    | RecordingStopped
    | Summarised
    | SummaryFailed
)
"""What iterating over a session yields."""
