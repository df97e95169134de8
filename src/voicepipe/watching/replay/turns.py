"""The turns of a call, each with what came of it and what its tools did: what people look at first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from voicepipe.events import (
    ToolFinished,
    ToolStarted,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
)
from voicepipe.observed import ToolAsked, ToolGave

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicepipe.events import Event
    from voicepipe.observed import Exchange

__all__ = ["CallTurn", "Outcome", "ToolUse", "turns_of"]

Outcome: TypeAlias = Literal["completed", "interrupted", "failed", "empty", "unfinished"]
"""How a turn ended; "unfinished" is one that the call, or its recording, did not outlive."""

OUTCOMES: Final[tuple[tuple[type[TurnEnded], Outcome], ...]] = (
    (TurnCompleted, "completed"),
    (TurnInterrupted, "interrupted"),
    (TurnFailed, "failed"),
    (TurnEmpty, "empty"),
)


@dataclass(slots=True, kw_only=True)
class ToolUse:
    """One call of a tool.

    Attributes:
        name: The tool.
        arguments: JSON text, as the model wrote it; "" for a call that did not run.
        status: As in `ToolFinished`; "" as long as there is no result.
        result: What the model was shown; "" for a call that did not run.
        took_s: Seconds that the tool took; None if it did not return.
    """

    name: str
    arguments: str = ""
    status: str = ""
    result: str = ""
    took_s: float | None = None


@dataclass(slots=True, kw_only=True)
class CallTurn:
    """One turn of a call.

    Attributes:
        turn_id: As in `TurnStarted`.
        began_s: When it was reported to begin, in seconds since the session began.
        user_text: What the caller said; "" when the agent speaks on its own.
        outcome: How it ended.
        by: Who interrupted it; "" if nobody did.
        is_joined: As in `TurnInterrupted`.
        error: Why it failed; "" if it did not.
        heard: What the caller heard.
        heard_s: Seconds of audio that the caller heard.
        tools: The calls of tools, in order.
        marks: The times of its `Timeline`, in seconds since the session began.
        spent_s: What the wait for the answer was spent on, as `Timeline.contributions_us` has it, in seconds.
        waited_s: Seconds from the caller's last word to the first frame of the answer; None without an answer.
    """

    turn_id: int
    began_s: float
    user_text: str
    outcome: Outcome = "unfinished"
    by: str = ""
    is_joined: bool = False
    error: str = ""
    heard: str = ""
    heard_s: float = 0.0
    tools: list[ToolUse] = field(default_factory=list[ToolUse])
    marks: Mapping[str, float] = field(default_factory=dict[str, float])
    spent_s: Mapping[str, float] = field(default_factory=dict[str, float])
    waited_s: float | None = None


def turns_of(events: Iterable[tuple[float, Event]], exchanges: Iterable[Exchange] = ()) -> list[CallTurn]:
    """Return the turns of a call.

    Args:
        events: What the session emitted, with the times.
        exchanges: What its parts were given and gave, from which the arguments and results of tools are taken.
    """
    turns: dict[int, CallTurn] = {}
    tools: dict[str, ToolUse] = {}
    for at_s, event in events:
        if isinstance(event, TurnStarted):
            turns[event.turn_id] = CallTurn(turn_id=event.turn_id, began_s=at_s, user_text=event.user_text)
        elif isinstance(event, (ToolStarted, ToolFinished)) and event.turn_id in turns:
            if event.call_id not in tools:
                tools[event.call_id] = ToolUse(name=event.name)
                turns[event.turn_id].tools.append(tools[event.call_id])
            if isinstance(event, ToolFinished):
                tools[event.call_id].status = event.status
        elif isinstance(event, TurnEnded):
            _end(turns.setdefault(event.turn_id, CallTurn(turn_id=event.turn_id, began_s=at_s, user_text="")), event)
    _add_exchanges(tools, exchanges)
    return list(turns.values())


def _end(turn: CallTurn, event: TurnEnded) -> None:
    turn.outcome = next(outcome for kind, outcome in OUTCOMES if isinstance(event, kind))
    turn.user_text, turn.heard, turn.heard_s = event.user_text, event.heard, round(event.heard_s, 6)
    turn.marks = event.timeline.marks
    turn.spent_s = {what: us / 1e6 for what, us in event.timeline.contributions_us.items()}
    waited_us = event.timeline.waited_us
    turn.waited_s = None if waited_us is None else waited_us / 1e6
    if isinstance(event, TurnInterrupted):
        turn.by, turn.is_joined = event.by, event.joined
    elif isinstance(event, TurnFailed):
        turn.error = f"{type(event.error).__name__}: {event.error}"


def _add_exchanges(tools: Mapping[str, ToolUse], exchanges: Iterable[Exchange]) -> None:
    asked_s: dict[str, float] = defaultdict(float)
    for one in exchanges:
        if isinstance(one, ToolAsked) and one.call_id in tools:
            tools[one.call_id].arguments = one.arguments
            asked_s[one.call_id] = one.at_s
        elif isinstance(one, ToolGave) and one.call_id in tools:
            tools[one.call_id].result = one.result
            tools[one.call_id].took_s = round(one.at_s - asked_s[one.call_id], 6)
