"""What a report says about an event, in a few words.

Rule 1: words of the caller are kept apart from ours, so that a report without content can leave them out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from voicepipe.watching.report.records import error_text

if TYPE_CHECKING:
    from voicepipe.watching.report.records import Record

__all__ = ["INTERRUPTERS", "Note", "note_of"]


@dataclass(slots=True, kw_only=True)
class Note:
    """An event, for people.

    Attributes:
        at_s: When.
        kind: The class of the event, e.g. "Paused".
        who: Whose doing it is: "caller", "agent", or "trouble" for what went wrong.
        text: What happened.
        content: Words of the call that belong to it; "" without any.
        turn_id: The turn that it belongs to; 0 for none.
    """

    at_s: float
    kind: str
    who: str
    text: str
    content: str = ""
    turn_id: int = 0


class _Wording(NamedTuple):
    who: str
    text: str
    content: str = ""


WORDINGS: Final = {
    "Backchannel": _Wording("caller", "Back-channel: the caller only listens", "{text}"),
    "Digit": _Wording("caller", "The caller presses a key", "{key}"),
    "Withheld": _Wording("agent", "Withheld: the caller makes a sound before the reply"),
    "Released": _Wording("agent", "Released: the sound held no words"),
    "Paused": _Wording("agent", "Paused after {heard_s:.1f} s of the reply"),
    "Resumed": _Wording("agent", "Resumed from {from_s:.1f} s of the reply"),
    "Idle": _Wording("caller", "The caller has been silent for {silent_s:.0f} s"),
    "Monologue": _Wording("caller", "The caller has been speaking for {speech_s:.0f} s"),
    "MonologueCut": _Wording("agent", "Cut in: the caller had been speaking for {speech_s:.0f} s"),
    "CallLimit": _Wording("agent", "Limit of the call: {left_s:.0f} s left"),
    "EchoIgnored": _Wording("caller", "Echo: the agent's own voice was ignored", "{text}"),
    "AudioDropped": _Wording("trouble", "The recogniser lags: {seconds:.1f} s of audio dropped"),
    "AudioStopped": _Wording("trouble", "No audio comes from the caller's side"),
    "AudioResumed": _Wording("caller", "Audio comes again, after {after_s:.1f} s"),
    "DetectorMissing": _Wording("trouble", "No speech detector is installed"),
    "MicrophoneLost": _Wording("trouble", "The microphone disappeared", "{error}"),
    "RecogniserBehind": _Wording("trouble", "The recogniser is slow: the last words came after {late_s:.1f} s"),
    "RecogniserLost": _Wording("trouble", "The recogniser is reconnecting", "{error}"),
    "ToolServerLost": _Wording("trouble", "The tool server {server} is reconnecting", "{error}"),
    "ToolsChanged": _Wording("agent", "The tool server {server} has other tools"),
    "AgentLost": _Wording("trouble", "The hosted agent is reconnecting", "{error}"),
    "AgentRestored": _Wording("agent", "The hosted agent is back after {after_s:.1f} s"),
    "CallResumed": _Wording("agent", "The call is resumed from a snapshot"),
    "CallMoved": _Wording("agent", "Another worker has the call"),
    "StoreFailed": _Wording("trouble", "The call is not kept", "{error}"),
    "StoreBack": _Wording("agent", "The call is kept again"),
    "RequestRetried": _Wording("trouble", "The request to the model is sent again", "{error}"),
    "HedgeStarted": _Wording("agent", "The model is late; another request is sent"),
    "ModelAnswered": _Wording("agent", "{model} answers first"),
    "ReplyCut": _Wording("trouble", "The reply is not whole", "{error}"),
    "VoiceTooSlow": _Wording("trouble", "The voice is too slow: {behind_s:.2f} s behind", "{text}"),
    "StructuredDone": _Wording("agent", "Structured data is there"),
    "StructuredFailed": _Wording("trouble", "Structured data could not be made", "{error}"),
    "CleanupOverran": _Wording("trouble", "{part} needs longer to end than {after_s:.1f} s"),
    "ObserverFailed": _Wording("trouble", "The observer {observer} failed", "{error}"),
    "RateLimitNear": _Wording("trouble", "{remaining} of {limit} requests to the model left"),
    "BudgetExceeded": _Wording("trouble", "Over budget: {name} took {took_s:.3f} s of {budget_s:g} s"),
    "Summarised": _Wording("agent", "The first {messages} messages are a summary from now on", "{text}"),
    "SummaryFailed": _Wording("trouble", "The conversation could not be summarised", "{error}"),
    "RecordingPaused": _Wording("agent", "The recording pauses"),
    "RecordingResumed": _Wording("agent", "The recording goes on"),
    "RecordingStopped": _Wording("trouble", "The recording stops", "{reason}"),
    "TurnInterrupted": _Wording("caller", "Interrupted by {by} after {heard_s:.1f} s"),
    "TurnFailed": _Wording("trouble", "The turn failed", "{error}"),
    "TurnEmpty": _Wording("trouble", "The model had nothing to say"),
}
"""What is said of each event."""

INTERRUPTERS: Final = {"caller": "the caller", "application": "the application", "end": "the end of the call"}
"""What can interrupt a reply, in words."""

SHOWN_ELSEWHERE: Final = {
    "TurnStarted",
    "TurnCompleted",
    "SentenceStarted",
    "UtteranceEnded",
    "ToolStarted",
    "ToolFinished",
    "Transcript",
    "EarlyTranscript",
    "SpeechStarted",
    "SpeechEnded",
    "ModelUsage",
    "RecordingStarted",
}
"""Events that are parts of a turn, or of the axis."""


def note_of(record: Record) -> Note | None:
    """Return what to say about an event; None for nothing."""
    kind = record["event"]
    if kind in SHOWN_ELSEWHERE:
        return None
    wording = WORDINGS.get(kind) or _Wording("agent", _in_words(kind))
    by = INTERRUPTERS.get(str(record.get("by")), record.get("by"))
    fields = {**record, "by": by, "error": error_text(record.get("error"))}
    if kind == "TurnInterrupted" and record.get("joined"):
        wording = _Wording("caller", "Joined: the caller went on before the answer was heard")
    return Note(
        at_s=record["t_s"],
        kind=kind,
        who=wording.who,
        text=_filled(wording.text, fields),
        content=_filled(wording.content, fields),
        turn_id=record.get("turn_id", 0),
    )


def _filled(text: str, fields: Record) -> str:
    try:
        return text.format_map(fields)
    except (KeyError, TypeError, ValueError):
        # A recording of another version may lack a field; what happened is worth more than how much of it.
        return text.partition("{")[0].strip(" :")


def _in_words(kind: str) -> str:
    """Return "Budget exceeded" for "BudgetExceeded": an event of a newer version still says what it is."""
    return re.sub(r"(?<!^)([A-Z])", r" \1", kind).capitalize()
