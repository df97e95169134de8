"""What happens in a session, as lines of the log.

Rule 1: one line an event: INFO for what an operator counts or looks for, DEBUG for the ordinary course of a turn.
Rule 2: no line holds what the caller, the agent or a tool said; only the logger for transcripts does.
Rule 3: a line is put together once its level is known to be on.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from logging import DEBUG, INFO, WARNING
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.call_events import CallMoved, CallResumed, StoreBack, StoreFailed
from voicepipe.core.failures import for_log
from voicepipe.core.log import SessionLabel, log, transcripts
from voicepipe.errors import StageError
from voicepipe.events import (
    CleanupOverran,
    Event,
    SentenceStarted,
    StructuredDone,
    StructuredFailed,
    ToolFinished,
    ToolStarted,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
    UtteranceEnded,
    VoiceTooSlow,
)
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
from voicepipe.flow import Digit, EarlyTranscript, SpeechEnded, SpeechStarted, Transcript
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
    from voicepipe.errors import VoicepipeError

__all__ = ["LINES", "LogWriter", "how_left"]

LINES: Final[dict[type[Event], tuple[int, str]]] = {
    SpeechStarted: (DEBUG, "the caller began to speak"),
    SpeechEnded: (DEBUG, "the caller stopped speaking"),
    EarlyTranscript: (DEBUG, "an early transcript came"),
    Transcript: (DEBUG, "a transcript came"),
    Digit: (DEBUG, "the caller pressed a key"),
    Backchannel: (DEBUG, "the caller hummed"),
    Withheld: (DEBUG, "turn {e.turn_id} is withheld: the caller made a sound"),
    Released: (DEBUG, "turn {e.turn_id} may be heard: the sound was nothing"),
    Paused: (DEBUG, "turn {e.turn_id} is paused: the caller may be speaking"),
    Resumed: (DEBUG, "turn {e.turn_id} goes on: the caller wanted nothing"),
    Idle: (INFO, "the caller has been silent for {e.silent_s:g} s"),
    Monologue: (INFO, "the caller has been speaking for {e.speech_s:.0f} s"),
    MonologueCut: (INFO, "the caller has been speaking for {e.speech_s:.0f} s, and is answered"),
    CallLimit: (INFO, "the call ends in {e.left_s:.0f} s, at its limit"),
    EchoIgnored: (DEBUG, "a transcript was taken for the agent's own voice"),
    TurnStarted: (DEBUG, "turn {e.turn_id} began"),
    SentenceStarted: (DEBUG, "turn {e.turn_id}: a sentence began"),
    UtteranceEnded: (DEBUG, "turn {e.turn_id}: all of its audio was handed over"),
    ToolStarted: (DEBUG, "turn {e.turn_id}: the tool {e.name!r} was called as {e.call_id!r}"),
    ToolFinished: (DEBUG, "turn {e.turn_id}: the call {e.call_id!r} of the tool {e.name!r} ended: {e.status}"),
    StructuredDone: (DEBUG, "turn {e.turn_id}: {e.result.__class__.__name__} was filled in"),
    StructuredFailed: (WARNING, "turn {e.turn_id}: {e.error}"),
    ModelUsage: (DEBUG, "turn {e.turn_id}: {e.model!r} read {e.input_tokens} tokens and wrote {e.output_tokens}"),
    BudgetExceeded: (WARNING, "turn {e.turn_id} is over budget: {e.name} took {e.took_s:.3f} s of {e.budget_s:g} s"),
    ObserverFailed: (WARNING, "the observer {e.observer} failed, and gets nothing more of the call: {error}"),
    RequestRetried: (INFO, "turn {e.turn_id}: a request is sent again: {error}"),
    HedgeStarted: (INFO, "turn {e.turn_id}: the model is late, and {e.model!r} is asked as well"),
    ModelAnswered: (INFO, "turn {e.turn_id}: of several requests, that to {e.model!r} is answered"),
    ReplyCut: (INFO, "turn {e.turn_id}: the reply was cut, and goes on with its tools: {error}"),
    RateLimitNear: (INFO, "turn {e.turn_id}: {e.remaining} of {e.limit} requests are left"),
    Summarised: (DEBUG, "turn {e.turn_id}: the first {e.messages} messages are a summary from now on"),
    SummaryFailed: (WARNING, "turn {e.turn_id}: the conversation could not be summarised: {error}"),
    RecordingPaused: (INFO, "the recording pauses"),
    RecordingResumed: (INFO, "the recording goes on"),
    RecordingStarted: (INFO, "the call is recorded: {e.path}"),
    RecordingStopped: (WARNING, "the recording has ended, and the call goes on: {e.reason}"),
    VoiceTooSlow: (INFO, "turn {e.turn_id}: the voice was {e.behind_s:.2f} s late within a sentence"),
    TurnCompleted: (INFO, "turn {e.turn_id} completed"),
    TurnInterrupted: (INFO, "turn {e.turn_id} interrupted"),
    TurnEmpty: (INFO, "turn {e.turn_id} empty: the model stopped with {e.finish_reason!r}"),
    TurnFailed: (WARNING, "turn {e.turn_id} failed: {error}"),
    AudioDropped: (INFO, "{e.seconds:.2f} s of audio were dropped: the recogniser lags behind"),
    AudioStopped: (INFO, "no audio comes from the source"),
    AudioResumed: (INFO, "audio comes again, after {e.after_s:.1f} s"),
    DetectorMissing: (WARNING, "no speech detector is installed; run: pip install 'voicepipe[{e.extra}]'"),
    MicrophoneLost: (WARNING, "the microphone was lost: {error}"),
    RecogniserBehind: (WARNING, "the final words of a turn came {e.late_s:.1f} s after its end"),
    RecogniserLost: (WARNING, "the recogniser was lost: {error}"),
    ToolServerLost: (WARNING, "the tool server {e.server!r} was lost: {error}"),
    ToolsChanged: (INFO, "the tool server {e.server!r} has other tools: {e.changes}"),
    AgentLost: (WARNING, "the hosted agent was lost: {error}"),
    AgentRestored: (INFO, "the hosted agent is back after {e.after_s:.1f} s"),
    CallResumed: (INFO, "the call is resumed; of the turn in flight: {e.turn}"),
    CallMoved: (INFO, "another worker has the call"),
    StoreFailed: (WARNING, "the call is not kept: {error}"),
    StoreBack: (INFO, "the store is back, and the call is kept again"),
    CleanupOverran: (INFO, "{e.part} takes longer than {e.after_s:g} s to end"),
}
"""Level and line of each event. `{e}` is the event, and `{error}` its error without words of the application. What a
model or a service names is quoted, so that it cannot begin a line of its own."""


class LogWriter:
    """Writes the lines of one session.

    Args:
        label: Names the session on each line.
    """

    def __init__(self, label: SessionLabel) -> None:
        self._label = label
        self._began_s = anyio.current_time()
        self._turns = 0
        self._tools: defaultdict[int, list[str]] = defaultdict(list)  # names, by the turn that called them

    def began(self) -> None:
        """Log that the session has begun, and its facts."""
        facts = ", ".join(f"{name}={value!r}" for name, value in self._label.facts.items())
        self._write(INFO, f"began ({facts})" if facts else "began")

    def ended(self, reason: str) -> None:
        """Log that the session has ended, and why; of an error its first line, because the error is raised."""
        lasted_s, why = anyio.current_time() - self._began_s, reason.partition("\n")[0]
        self._write(INFO, f"ended after {lasted_s:.1f} s and {self._turns} turns: {why}")

    def write(self, event: Event) -> None:
        """Log an event."""
        level, line = _line_of(type(event))
        if isinstance(event, TurnStarted):
            self._turns += 1
        elif isinstance(event, ToolStarted):
            self._tools[event.turn_id].append(event.name)
        if log.isEnabledFor(level):
            error: VoicepipeError | None = getattr(event, "error", None)
            line = line.format(e=event, error=for_log(error) if error else "")
            if isinstance(event, TurnEnded):
                line = self._with_figures(line, event)
            foreign = event.error if isinstance(event, StructuredFailed) else None
            self._write(level, line, foreign if isinstance(foreign, StageError) else None)
        if isinstance(event, TurnEnded):
            self._tools.pop(event.turn_id, None)
        if 0 < transcripts.level <= DEBUG:
            self._write_words(event)

    def _with_figures(self, line: str, turn: TurnEnded) -> str:
        """Return a line with what an operator counts at the end of its first line; a traceback may follow."""
        timeline, tools = turn.timeline, self._tools.get(turn.turn_id, ())
        waited_us, answered_us = timeline.waited_us, timeline.answered_us
        figures = [f"answered after {answered_us / 1e3:.0f} ms"] if answered_us is not None else []
        if waited_us is not None and waited_us != answered_us:  # filler, or a sound that was cut before it answered
            figures.append(f"first sound after {waited_us / 1e3:.0f} ms")
        figures += [f"heard {turn.heard_s:.2f} s", *([f"called {', '.join(tools)}"] if tools else [])]
        first, newline, traceback = line.partition("\n")
        return f"{first} ({', '.join(figures)}){newline}{traceback}"

    def _write(self, level: int, line: str, error: Exception | None = None) -> None:
        with self._label.on_records():
            log.log(level, line, exc_info=error)

    def _write_words(self, event: Event) -> None:
        with self._label.on_records():
            if isinstance(event, Transcript):
                transcripts.debug("the caller said %r", event.text)
            elif isinstance(event, TurnEnded):
                transcripts.debug("turn %d: the caller heard %r", event.turn_id, event.heard)


def how_left() -> str:
    """Return how a session's block is being left; for use in a `finally` around it."""
    error = sys.exception()
    if error is None:
        return "its block ended"
    return (
        "it was cancelled" if isinstance(error, asyncio.CancelledError) else f"its block raised {type(error).__name__}"
    )


def _line_of(kind: type[Event]) -> tuple[int, str]:
    """Return level and line of an event, also of a class that an application derived from ours."""
    return next(LINES[base] for base in kind.__mro__ if base in LINES)
