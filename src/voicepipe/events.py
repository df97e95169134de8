"""What flows through a pipeline, and what an application is told.

Rule 1: everything here is immutable, and named after what happened.
Rule 2: times are seconds on the event loop's clock (`anyio.current_time()`); field names carry the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pydantic import BaseModel

    from voicepipe.errors import VoicepipeError
    from voicepipe.timeline import Timeline

__all__ = [
    "AudioDropped",
    "AudioFrame",
    "CleanupOverran",
    "EarlyTranscript",
    "Event",
    "Hearing",
    "ReplyEnd",
    "RequestRetried",
    "Sentence",
    "SentenceStarted",
    "SpeechEnded",
    "SpeechStarted",
    "StructuredDone",
    "StructuredFailed",
    "TextDelta",
    "ToolCallDelta",
    "ToolFinished",
    "ToolStarted",
    "Transcript",
    "TurnCompleted",
    "TurnEmpty",
    "TurnEnded",
    "TurnFailed",
    "TurnInterrupted",
    "TurnStarted",
    "WordMark",
]

# --- heard: from the source to the turn policy ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFrame:
    """Mono PCM that belongs together in time.

    Attributes:
        pcm: Little-endian signed 16-bit samples, shape (n,), as bytes (2 n bytes).
        sample_rate: Samples per second, e.g. 16_000.
        start_s: Time of the first sample.
    """

    pcm: bytes
    sample_rate: int
    start_s: float

    @property
    def duration_s(self) -> float:
        """Length of the frame in seconds."""
        return len(self.pcm) / 2 / self.sample_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted:
    """The caller began to speak.

    Attributes:
        at_s: Time of the first speech sample.
    """

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEnded:
    """The caller stopped speaking, perhaps only for a moment: a `Transcript` ends the turn, not this.

    Attributes:
        at_s: Time of the last speech sample.
    """

    at_s: float


@dataclass(frozen=True, slots=True)
class EarlyTranscript:
    """What the caller has said so far; it may still change.

    Attributes:
        text: The words so far.
        stable: Whether the recogniser vouches for it enough to start a draft reply.
    """

    text: str
    stable: bool = False


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the caller said; it ends the caller's turn and will not change.

    Attributes:
        text: The words, never blank.
        speech_ended_s: Time of the last speech sample (for typed text: when it arrived).
        endpoint_s: When the end of the turn was decided (for typed text: when it arrived).
    """

    text: str
    speech_ended_s: float
    endpoint_s: float


Hearing: TypeAlias = SpeechStarted | SpeechEnded | EarlyTranscript | Transcript
"""What a recogniser reports."""

# --- said: from the model to the output -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the reply's text, as it came.

    Attributes:
        text: May be empty, may end within a word.
        ends_segment: Nothing that follows belongs to the same sentence (a tool call comes next, say).
    """

    text: str
    ends_segment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call, as it came.

    Attributes:
        index: Which call of the reply it belongs to, from 0.
        call_id: The model's id for the call; "" when this piece carries none.
        name: The tool's name; "" when this piece carries none.
        arguments: A piece of the arguments' JSON text.
    """

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEnd:
    """The model finished this reply.

    Attributes:
        finish_reason: The vendor's own word, e.g. "stop", "tool_calls", "length".
    """

    finish_reason: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something to speak in one go.

    Attributes:
        text: With the white space around it, so that joining sentences gives the reply's text back.
        segment: Counts the parts of the reply that a tool round separates, from 0.
    """

    text: str
    segment: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WordMark:
    """How far a synthesised sentence has come; may be yielded by `TTSSink.synthesize` beside the audio.

    Attributes:
        char_end: How many characters of `Sentence.text` have been spoken whole ...
        end_s: ... this many seconds after the sentence's first sample.
    """

    char_end: int
    end_s: float


# --- told: from the session to the application ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted:
    """A reply is being prepared.

    Attributes:
        turn_id: Counts the turns of a session, from 1.
        user_text: What the caller said; "" when the agent speaks on its own (a greeting, `Session.say`).
    """

    turn_id: int
    user_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceStarted:
    """The first frame of a sentence was handed to the output."""

    turn_id: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """A tool was called with arguments that validate."""

    turn_id: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished:
    """A call has its result.

    Attributes:
        status: "done", "failed" (the model was told why), "unconfirmed" (the caller is asked first) or "unknown" (a
            writing tool that overran its timeout).
    """

    turn_id: int
    call_id: str
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRetried:
    """A request to the model failed before anything of it was used, and is sent again."""

    turn_id: int
    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredDone:
    """What the caller said was put into a model of the application, beside the spoken reply or before it.

    Attributes:
        turn_id: The caller's turn.
        result: The validated model.
    """

    turn_id: int
    result: BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredFailed:
    """What the caller said could not be put into a model of the application; the model replies all the same.

    Attributes:
        turn_id: The caller's turn.
        error: Why: `StructuredOutputError`, `VendorError`, or `StageError` when the application's function raised.
    """

    turn_id: int
    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """Base of the four ways a turn ends; each turn ends in exactly one of them.

    Attributes:
        turn_id: As in `TurnStarted`.
        user_text: What the caller said.
        heard: The part of the reply that the caller heard.
        timeline: Where the time went.
    """

    turn_id: int
    user_text: str
    heard: str
    timeline: Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCompleted(TurnEnded):
    """The reply was played to its end.

    Attributes:
        finish_reason: Why the model stopped, in the vendor's word; "length" means that the reply was cut there.
    """

    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnInterrupted(TurnEnded):
    """The reply was cut short, by the caller or by `Session.interrupt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(TurnEnded):
    """The reply could not be given, or not whole.

    Attributes:
        error: Why.
    """

    error: VoicepipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEmpty(TurnEnded):
    """The model had nothing to say.

    Attributes:
        finish_reason: Why the model stopped, in the vendor's word, e.g. "content_filter".
    """

    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDropped:
    """The recogniser lagged, so the oldest waiting audio was dropped.

    Attributes:
        seconds: How much, since the last such event.
    """

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupOverran:
    """A part of a dead turn was still cleaning up after the time allowed for it. Nothing waits for it.

    Attributes:
        part: Its name, e.g. "AcmeTTS".
        after_s: The time allowed.
    """

    part: str
    after_s: float


Event: TypeAlias = (
    Hearing
    | TurnStarted
    | SentenceStarted
    | ToolStarted
    | ToolFinished
    | RequestRetried
    | StructuredDone
    | StructuredFailed
    | TurnEnded
    | AudioDropped
    | CleanupOverran
)
"""What iterating over a session yields."""
