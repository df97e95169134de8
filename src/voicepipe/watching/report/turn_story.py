"""What a report knows about a turn, and about what each part did for it.

Rule 1: all times are in seconds since the session began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicepipe.timeline import Timeline
from voicepipe.watching.report.notes import Note
from voicepipe.watching.report.spans import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Asking", "Spoken", "ToolRun", "TurnStory"]


@dataclass(slots=True, kw_only=True)
class Asking:
    """A request to the model, and its reply.

    Attributes:
        request_id: Counts the requests of the call, from 1.
        step: Counts the requests of a turn, from 0.
        asked_s: When it was sent.
        first_s: When the first piece of the reply came; None if none did.
        ended_s: When the model returned, or failed; None if the request was cancelled.
        dropped_s: When its draft was dropped; None if it belongs to a turn.
        system: The system prompt that the session gave.
        messages: What the model was sent: messages with their fields, as the recording has them.
        tools: Names of the tools that the model might call.
        text: The text of the reply, as far as it came.
        calls: The tool calls of the reply: name and arguments, as the model wrote them.
        finish_reason: Why the model stopped, in the vendor's word.
        error: Why it failed; "" if it did not.
    """

    request_id: int
    step: int
    asked_s: float
    first_s: float | None = None
    ended_s: float | None = None
    dropped_s: float | None = None
    system: str = ""
    messages: Sequence[Any] = ()
    tools: Sequence[str] = ()
    text: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    finish_reason: str = ""
    error: str = ""


@dataclass(slots=True, kw_only=True)
class ToolRun:
    """A tool that ran.

    Attributes:
        call_id: The call.
        name: The tool.
        arguments: JSON text of an object.
        asked_s: When it began.
        gave_s: When it had a result; None if the call ended before.
        status: "done", "failed" or "unknown"; "running" without a result.
        result: What the model was shown.
    """

    call_id: str
    name: str
    arguments: str
    asked_s: float
    gave_s: float | None = None
    status: str = "running"
    result: str = ""


@dataclass(slots=True, kw_only=True)
class Spoken:
    """A sentence that a voice was given.

    Attributes:
        sentence_id: Counts the sentences of the call, from 1.
        text: The sentence.
        voice: Who spoke it.
        asked_s: When the voice was given it.
        rate: Samples per second of its audio.
        first_s: When its first audio came; None if none did.
        ended_s: When all audio had come; None if it was cancelled.
        dropped_s: When its draft was dropped; None if it belongs to a turn.
        samples: How many samples of audio came.
        error: Why it failed; "" if it did not.
    """

    sentence_id: int
    text: str
    voice: str
    asked_s: float
    rate: int
    first_s: float | None = None
    ended_s: float | None = None
    dropped_s: float | None = None
    samples: int = 0
    error: str = ""

    @property
    def audio_s(self) -> float:
        """How many seconds of audio came."""
        return self.samples / self.rate


@dataclass(slots=True, kw_only=True)
class TurnStory:
    """A turn.

    Attributes:
        turn_id: Counts the turns of the call, from 1.
        user_text: What the caller said; "" when the agent spoke on its own.
        spoke_s: When the caller began to say it; None if nobody did.
        started_s: When the reply was started.
        ended_s: When it had ended; None if the recording ends before.
        outcome: "completed", "interrupted", "joined", "failed", "empty"; "open" if the recording ends before, and
            "never" for drafts that became no turn.
        by: What interrupted it: "caller", "application" or "end", the end of the call.
        heard: What the caller heard of the reply.
        heard_s: How many seconds of it.
        generated: The reply as the model wrote it, or as the application said it.
        unheard: The rest of it, which the caller did not hear.
        marks: The marks of its timeline.
        contributions: What the wait was spent on, in seconds.
        spans: The same as stretches of time.
        error: Why it failed; "" if it did not.
        finish_reason: Why the model stopped, in the vendor's word.
        requests: The requests to the model.
        sentences: The sentences that the voice was given.
        tools: The tools that ran.
        said: When each sentence began to be played, and its text.
        dropped: Requests of drafts that were dropped before this turn: the caller had gone on.
        dropped_sentences: What the voice was given for them.
        notes: What else happened in it.
    """

    turn_id: int
    user_text: str = ""
    spoke_s: float | None = None
    started_s: float = 0.0
    ended_s: float | None = None
    outcome: str = "open"
    by: str = ""
    heard: str = ""
    heard_s: float = 0.0
    generated: str = ""
    unheard: str = ""
    marks: dict[str, float] = field(default_factory=dict[str, float])
    contributions: dict[str, float] = field(default_factory=dict[str, float])
    spans: list[Span] = field(default_factory=list[Span])
    error: str = ""
    finish_reason: str = ""
    requests: list[Asking] = field(default_factory=list[Asking])
    sentences: list[Spoken] = field(default_factory=list[Spoken])
    tools: list[ToolRun] = field(default_factory=list[ToolRun])
    said: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    dropped: list[Asking] = field(default_factory=list[Asking])
    dropped_sentences: list[Spoken] = field(default_factory=list[Spoken])
    notes: list[Note] = field(default_factory=list[Note])

    @property
    def waited_s(self) -> float | None:
        """The silence from the end of the caller's speech to the first audible sample; None if there was no answer."""
        return round(sum(self.contributions.values()), 6) if self.contributions else None

    @property
    def answered_s(self) -> float | None:
        """The time until the answer itself was audible, where filler came before it; None without filler."""
        answered_us = Timeline.from_marks(self.marks).answered_us
        answered_s = None if answered_us is None else answered_us / 1e6
        return None if answered_s == self.waited_s else answered_s
