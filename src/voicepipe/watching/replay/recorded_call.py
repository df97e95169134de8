"""What a replay knows of a recorded call: who was given what when, in the order in which it happened.

Rule 1: pure: times are seconds since the session began, and nothing here knows what time it is.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from voicepipe.events import ToolFinished, TurnCompleted, TurnEmpty, TurnEnded, TurnFailed, TurnStarted
from voicepipe.flow import ToolCallDelta
from voicepipe.history import AssistantMessage
from voicepipe.model_events import HedgeStarted, ModelAnswered, ModelUsage, RateLimitNear, RequestRetried
from voicepipe.observed import (
    ApplicationAsked,
    Heard,
    ModelAsked,
    ModelEnded,
    ModelGave,
    SessionBegan,
    ToolAsked,
    ToolGave,
    ToolOffered,
    VoiceAsked,
    VoiceEnded,
    VoiceGave,
)
from voicepipe.turntaking.rules import TurnRules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.core.context import Fact
    from voicepipe.events import Event
    from voicepipe.flow import Hearing
    from voicepipe.observed import Exchange

__all__ = ["RecordedCall", "RecordedReply", "RecordedSentence", "RecordedTool", "error_in"]

E = TypeVar("E")

OF_MODELS: Final = (HedgeStarted, ModelAnswered, ModelUsage, RateLimitNear, RequestRetried)
"""Events that a model emits."""

BY_THE_ROUTER: Final = (
    "the call was cancelled",
    "the call was cut off",
    "the tool did not answer",
    "the tool was removed",
    "the turn ended before",
    "there is no tool",
    "too many calls",
)
"""What the errors begin with that a call gets from the tool loop, and not from its tool: the loop gives them again."""

ENDS_ITSELF: Final = (TurnCompleted, TurnEmpty, TurnFailed)
"""How turns end that nobody interrupts."""

JUST_BEFORE_S: Final = 0.1
"""What comes so soon after the end of a turn may be an answer to it."""

HUNG_UP: Final = "the caller hung up"
"""How a session says so."""

PREPARED: Final = "PreparedAudio"
"""What exchanges call the voice of `Session.say(audio=...)`."""


@dataclass(slots=True, kw_only=True)
class RecordedReply:
    """One request to the model, and what came of it.

    Attributes:
        asked: The request.
        gave: The pieces of the reply.
        ended: How the model ended it; None if it was cancelled.
        sent_s: When the model sent the request, and sent it again.
        events: What the model emitted about it, with the times.
        until_s: Until when it can have been waited for: the end of its turn, if that is known.
    """

    asked: ModelAsked
    gave: list[ModelGave] = field(default_factory=list[ModelGave])
    ended: ModelEnded | None = None
    sent_s: list[float] = field(default_factory=list[float])
    events: list[tuple[float, Event]] = field(default_factory=list["tuple[float, Event]"])
    until_s: float


@dataclass(slots=True, kw_only=True)
class RecordedSentence:
    """One sentence that a voice was given, and its audio.

    Attributes:
        asked: The sentence.
        gave: The pieces of its audio, and its marks.
        ended: How the voice ended it; None if it was cancelled.
        until_s: As in `RecordedReply`.
    """

    asked: VoiceAsked
    gave: list[VoiceGave] = field(default_factory=list[VoiceGave])
    ended: VoiceEnded | None = None
    until_s: float

    @property
    def audio_s(self) -> float:
        """Seconds of audio that came."""
        return sum(len(gave.piece) for gave in self.gave if isinstance(gave.piece, bytes)) / 2 / self.asked.sample_rate


@dataclass(slots=True, kw_only=True)
class RecordedTool:
    """One run of a tool.

    Attributes:
        asked: What it was given.
        gave: What it returned; None if it had not when the recording ended.
        used: How the tool itself used the session meanwhile.
    """

    asked: ToolAsked
    gave: ToolGave | None = None
    used: list[ApplicationAsked] = field(default_factory=list[ApplicationAsked])


@dataclass(frozen=True, kw_only=True)
class RecordedCall:
    """A call, as far as a replay needs to know it.

    Attributes:
        exchanges: What its parts were given and gave, in order.
        events: What it emitted, in order, with the times.
        rules: How turns were taken.
        fallback: What was said where there was no reply.
        ended_s: When it ended, or when the recording of it was cut off.
        reason: Why it ended; None if the recording was cut off before.
        caller_audio: Returns what the caller said, as s16 mono PCM from the session's beginning, and its rate; None
            where that was not recorded.
        facts: What the application said about it.
        sides: Whose words were recorded: "both", "caller" or "agent".
        is_redacted: Whether words may have been left out of it.
    """

    exchanges: tuple[Exchange, ...]
    events: tuple[tuple[float, Event], ...]
    rules: TurnRules = field(default_factory=TurnRules)
    fallback: str = ""
    ended_s: float = 0.0
    reason: str | None = None
    caller_audio: Callable[[], tuple[bytes, int]] | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict[str, "Fact"])
    sides: str = "both"
    is_redacted: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the recording ends before the call does."""
        return self.reason is None

    @property
    def hung_up(self) -> bool:
        """Whether the caller ended it."""
        return self.reason == HUNG_UP

    def of(self, kind: type[E]) -> list[E]:
        """Return the exchanges of one kind."""
        return [one for one in self.exchanges if isinstance(one, kind)]

    @cached_property
    def began(self) -> SessionBegan:
        """When the session began to listen, and how it took turns."""
        found = self.of(SessionBegan)
        if found:
            return found[0]
        return SessionBegan(at_s=0.0, is_closed=False, has_echo=False, shows_text=False, output_rate=self.voice_rate)

    @cached_property
    def heard(self) -> list[Heard]:
        """What turn-taking was given."""
        return self.of(Heard)

    @cached_property
    def ends(self) -> dict[int, TurnEnded]:
        """How each turn ended."""
        return {event.turn_id: event for _, event in self.events if isinstance(event, TurnEnded)}

    @cached_property
    def replies(self) -> dict[tuple[int, int], list[RecordedReply]]:
        """The requests to the model, by turn and step; drafts that were dropped share their turn with what followed."""
        found: dict[int, RecordedReply] = {}
        for one in self.exchanges:
            if isinstance(one, ModelAsked):
                found[one.request_id] = RecordedReply(asked=one, until_s=self._over_s(one.turn_id))
            elif isinstance(one, ModelGave) and one.request_id in found:
                found[one.request_id].gave.append(one)
            elif isinstance(one, ModelEnded) and one.request_id in found:
                found[one.request_id].ended = one
        replies = list(found.values())
        self._add_marks(replies)
        for at_s, event in self.events:
            if isinstance(event, OF_MODELS) and (reply := _newest(replies, event.turn_id, at_s)) is not None:
                reply.events.append((at_s, event))
        by_turn: dict[tuple[int, int], list[RecordedReply]] = defaultdict(list)
        for reply in replies:
            by_turn[reply.asked.turn_id, reply.asked.step].append(reply)
        return dict(by_turn)

    @cached_property
    def sentences(self) -> list[RecordedSentence]:
        """The sentences that the voice was given, those of drafts included."""
        found: dict[int, RecordedSentence] = {}
        for one in self.exchanges:
            if isinstance(one, VoiceAsked):
                found[one.sentence_id] = RecordedSentence(asked=one, until_s=self._over_s(one.turn_id))
            elif isinstance(one, VoiceGave) and one.sentence_id in found:
                found[one.sentence_id].gave.append(one)
            elif isinstance(one, VoiceEnded) and one.sentence_id in found:
                found[one.sentence_id].ended = one
        return list(found.values())

    @cached_property
    def spoken(self) -> list[RecordedSentence]:
        """The sentences that the pipeline's own voice was given."""
        return [sentence for sentence in self.sentences if sentence.asked.voice != PREPARED]

    @cached_property
    def prepared(self) -> list[RecordedSentence]:
        """What was said as prepared audio."""
        return [sentence for sentence in self.sentences if sentence.asked.voice == PREPARED]

    @cached_property
    def voice_rate(self) -> int:
        """Samples per second of the voice."""
        return self.spoken[0].asked.sample_rate if self.spoken else 24_000

    @cached_property
    def offered(self) -> dict[str, ToolOffered]:
        """The tools that the model was offered, by name; of one that has changed, the newest."""
        return {one.name: one for one in self.of(ToolOffered)}

    @cached_property
    def runs(self) -> dict[str, RecordedTool]:
        """The runs of tools, by the id of their call."""
        return self._tools_and_uses[0]

    @cached_property
    def asked(self) -> list[ApplicationAsked]:
        """How the application used the session, except for its tools."""
        return self._tools_and_uses[1]

    @cached_property
    def refused(self) -> dict[tuple[str, str], str]:
        """Why a tool refused its arguments, by its name and these: the same ones are refused each time."""
        ran = {(run.asked.name, run.asked.arguments) for run in self.runs.values()}
        known: set[str] = set()
        found: dict[tuple[str, str], str] = {}
        for asked in self.of(ModelAsked):
            for message in asked.messages:
                for call in message.calls if isinstance(message, AssistantMessage) else ():
                    known.add(call.call_id)
                    why, of = error_in(call.result), (call.name, call.arguments)
                    if call.status == "failed" and of not in ran and not why.startswith(BY_THE_ROUTER):
                        found.setdefault(of, why)
        for turn_id, call_id in self._failed:
            called = self._called.get((turn_id, call_id))
            if called is not None and call_id not in known and called not in ran:
                found.setdefault(called, "the arguments did not fit")
        return found

    @cached_property
    def _failed(self) -> list[tuple[int, str]]:
        """The calls of tools that failed before their turn ended: its number, and theirs."""
        over: set[int] = set()
        found: list[tuple[int, str]] = []
        for _, event in self.events:
            if isinstance(event, TurnEnded):
                over.add(event.turn_id)
            elif isinstance(event, ToolFinished) and event.status == "failed" and event.turn_id not in over:
                found.append((event.turn_id, event.call_id))
        return found

    @cached_property
    def _called(self) -> dict[tuple[int, str], tuple[str, str]]:
        """The tool and the arguments of each call that the model made, by its turn and its id."""
        found: dict[tuple[int, str], tuple[str, str]] = {}
        for (turn_id, _), replies in self.replies.items():
            for reply in replies:
                calls: dict[int, list[str]] = defaultdict(lambda: ["", "", ""])
                for part in (gave.part for gave in reply.gave):
                    if isinstance(part, ToolCallDelta):
                        call = calls[part.index]
                        call[:] = call[0] or part.call_id, call[1] or part.name, call[2] + part.arguments
                found |= {(turn_id, call_id): (name, arguments) for call_id, name, arguments in calls.values()}
        return found

    def turns_before(self, at_s: float, hearing: Hearing | None = None) -> list[int]:
        """Return the turns that had ended by themselves, just before something was given to the session.

        Args:
            at_s: When it was given.
            hearing: What it was, if turn-taking was given it: the events then show what came first in one moment.
        """
        found: list[int] = []
        first = bisect_left(self.events, at_s - JUST_BEFORE_S, key=itemgetter(0))
        for event_s, event in islice(self.events, first, None):
            if event_s > at_s or (event_s == at_s and event == hearing):
                break
            # What was given may itself have begun a turn in that moment, or ended one: interrupted, or failed before.
            if not isinstance(event, ENDS_ITSELF) or (event_s == at_s and isinstance(event, TurnFailed)):
                continue
            if self._starts.get(event.turn_id, at_s) < at_s:
                found.append(event.turn_id)
        return found

    @cached_property
    def _starts(self) -> dict[int, float]:
        """When each turn was reported to begin."""
        return {event.turn_id: at_s for at_s, event in self.events if isinstance(event, TurnStarted)}

    def _over_s(self, turn_id: int) -> float:
        ended = self.ends.get(turn_id)
        return ended.timeline.ended if ended is not None and "ended" in ended.timeline else self.ended_s

    def _add_marks(self, replies: list[RecordedReply]) -> None:
        """Note when each request was sent, as the marks of its turn say; a turn may have several in one moment."""
        for turn_id, ended in self.ends.items():
            of_turn = [reply for reply in replies if reply.asked.turn_id == turn_id]
            while any(reply.asked.step == 0 for reply in of_turn[1:]):
                del of_turn[0]  # of a draft that was dropped
            for at_s in sorted(at_s for name, at_s in ended.timeline.marks.items() if name.startswith("llm_request")):
                while len(of_turn) > 1 and at_s >= (next_s := of_turn[1].asked.at_s):
                    if at_s == next_s and not of_turn[0].sent_s:
                        break
                    del of_turn[0]
                if of_turn:
                    of_turn[0].sent_s.append(at_s)

    @cached_property
    def _tools_and_uses(self) -> tuple[dict[str, RecordedTool], list[ApplicationAsked]]:
        runs: dict[str, RecordedTool] = {}
        running: list[RecordedTool] = []
        uses: list[ApplicationAsked] = []
        for one in self.exchanges:
            if isinstance(one, ToolAsked):
                running.append(runs.setdefault(one.call_id, RecordedTool(asked=one)))
            elif isinstance(one, ToolGave):
                for run in [run for run in running if run.asked.call_id == one.call_id]:
                    run.gave = one
                    running.remove(run)
            elif isinstance(one, ApplicationAsked) and one.by != "rules":
                if one.by == "turn" and running:
                    running[-1].used.append(one)  # nobody knows which of several tools it was; this one began last
                elif one.method != "say" or str(one.arguments.get("text", "")).strip():
                    uses.append(one)
        return runs, uses


def _newest(replies: list[RecordedReply], turn_id: int, at_s: float) -> RecordedReply | None:
    """Return the newest request of a turn at a time."""
    of_turn = [one for one in replies if one.asked.turn_id == turn_id and one.asked.at_s <= at_s + 1e-6]
    return of_turn[-1] if of_turn else None


def error_in(result: str) -> str:
    """Return the error that a call has as its result."""
    try:
        found: object = json.loads(result)
    except ValueError:
        return result
    fields = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    return str(fields.get("error", result))
