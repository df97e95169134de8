"""What flows from part to part of a pipeline.

Rule 1: everything here is immutable, and named after what happened.
Rule 2: times are seconds on the event loop's clock (`anyio.current_time()`); field names carry the unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from voicepipe.history import ServiceState

__all__ = [
    "CUT_REASONS",
    "KEYS",
    "AudioFrame",
    "Digit",
    "EarlyTranscript",
    "Hearing",
    "ReplyEnd",
    "ReplyState",
    "Sentence",
    "SpeechEnded",
    "SpeechStarted",
    "Stamped",
    "TextDelta",
    "ToolCallDelta",
    "Transcript",
    "Word",
    "WordMark",
    "Wording",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """Base of what a session emits as an event.

    Attributes:
        session_id: The id of the session that emitted it; "" until then. It takes no part in comparisons and in
            the repr.
    """

    session_id: str = field(default="", compare=False, repr=False)


# --- listening: from the source to turn-taking ------------------------------------------------------------------------


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
class SpeechStarted(Stamped):
    """The caller began to speak.

    How soon this is reported depends on the recogniser: one on this machine needs 0.1 s, a service may need a second.

    Attributes:
        at_s: Time of the first speech sample, not of the report. For speech that goes on after a gap in the audio, the
            time at which audio came again.
        until_s: The end of the audio, if it had stopped before this report came: the speech lasted no longer, and
            `SpeechEnded` follows. None while audio comes.
    """

    at_s: float
    until_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEnded(Stamped):
    """The caller stopped speaking, perhaps only for a moment: the turn ends with a `Transcript`, not with this.

    Attributes:
        at_s: Time of the last speech sample.
    """

    at_s: float


@dataclass(frozen=True, slots=True)
class EarlyTranscript(Stamped):
    """What the caller has said so far; it may still change.

    Attributes:
        text: The words so far.
        stable: Whether the recogniser is sure enough of it to start a draft reply. The same words, with or without more
            behind them, take that back when they are not stable.
    """

    text: str
    stable: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a transcript.

    Attributes:
        text: As in the transcript, with its punctuation.
        start_s: When it began. Recognisers pad words, so do not cut audio at this time.
        end_s: When it ended.
        confidence: How sure the recogniser is, 0 to 1.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Transcript(Stamped):
    """What the caller said; it ends the caller's turn and will not change.

    Attributes:
        text: The words, never blank.
        speech_ended_s: Time of the last speech sample (for typed text: when it arrived).
        endpoint_s: When the end of the turn was decided (for typed text: when it arrived).
        words: The words one by one, if the recogniser reports them.
    """

    text: str
    speech_ended_s: float
    endpoint_s: float
    words: tuple[Word, ...] = ()


KEYS: Final = "0123456789*#ABCD"
"""The keys of a telephone."""


@dataclass(frozen=True, slots=True)
class Digit(Stamped):
    """The caller pressed a key of their telephone (DTMF).

    Attributes:
        key: One of `KEYS`.
    """

    key: str


Hearing: TypeAlias = SpeechStarted | SpeechEnded | EarlyTranscript | Transcript | Digit
"""What a recogniser reports."""

# --- replying: from the model to the output ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the reply's text, as it came.

    Attributes:
        text: May be empty, and may end in the middle of a word.
        ends_segment: Whether the sentence ends here whatever follows, e.g. because a tool call comes next.
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
        state: What the service wants back with the call, as far as it has come; None if that is the same as before.
    """

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    state: ServiceState | None = None


@dataclass(frozen=True, slots=True)
class ReplyState:
    """What the service wants back with a reply that calls tools; a later one takes the place of an earlier one.

    Attributes:
        state: As far as it has come.
    """

    state: ServiceState


LIMIT: Final = "raise max_tokens, or ask for less"
WINDOW: Final = "the conversation is too long for the model; use a smaller window"
FILTER: Final = "the service refuses what it would say; ask for something else"

REMEDIES: Final = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), LIMIT),
    "model_context_window_exceeded": WINDOW,
    **dict.fromkeys(("content_filter", "content_filtered", "guardrail_intervened", "refusal", "sensitive"), FILTER),
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content", "spii", "error_toxic"), FILTER),
}

CUT_REASONS: Final = REMEDIES | {reason.upper(): remedy for reason, remedy in REMEDIES.items()}
"""Finish reasons that mean that a reply is not whole, and what to do about each. Some services write them in capitals.

Source, read 2026-11-29: the API references of OpenAI, Anthropic, Gemini, Mistral, Cohere, Amazon Bedrock and Zhipu AI.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyEnd:
    """The model finished this reply.

    Attributes:
        finish_reason: Why, in the vendor's word, e.g. "stop", "tool_calls", "length"; "" if it has none.
    """

    finish_reason: str

    @property
    def is_cut(self) -> bool:
        """Whether the service stopped the model in the middle: at its limit of tokens, or by a filter."""
        return self.finish_reason in CUT_REASONS


@dataclass(frozen=True, slots=True)
class Wording:
    """A piece of a sentence that is spoken in other words than it was written, or in the same.

    Attributes:
        spoken: What is said, e.g. "five dollars".
        written: What the model wrote there, e.g. "$5".
    """

    spoken: str
    written: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something to speak in one go.

    Attributes:
        text: What is spoken. Includes the white space around it: the sentences of a reply, joined, are its text.
        segment: Which part of the reply it belongs to, from 0; tool calls separate the parts.
        wording: If a stage such as `Speakable` has put other words into `text`: its pieces, in order, with what the
            model wrote in place of each. History and events keep what was written. It counts for as long as the pieces,
            joined, are `text`; a stage that changes `text` later makes its words the ones to keep.
    """

    text: str
    segment: int = 0
    wording: tuple[Wording, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WordMark:
    """How far the speech of a sentence has come; `TTSSink.synthesize` may yield it along with the audio.

    Attributes:
        char_end: How many characters of `Sentence.text` have been spoken completely ...
        end_s: ... this many seconds after the sentence's first sample.
    """

    char_end: int
    end_s: float
