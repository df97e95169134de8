"""How one call differs from another: their turns side by side.

Rule 1: words, outcomes, tools, decisions and their order are the same or not. Times are the same within a tolerance.
Rule 2: the turns of two calls are compared by their numbers. What a turn spends its time on is compared, and for a
        replay also when that was.
"""

from __future__ import annotations

import difflib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from voicepipe.events import TurnEnded, TurnStarted
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
from voicepipe.history import AssistantMessage
from voicepipe.listening_events import EchoIgnored
from voicepipe.observed import ModelAsked
from voicepipe.watching.replay.playhead import SAME_S
from voicepipe.watching.replay.turns import CallTurn, turns_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from voicepipe.events import Event
    from voicepipe.watching.replay.recorded_call import RecordedCall

__all__ = ["Change", "Difference", "Times", "TurnPair"]

DECISIONS: Final = (
    Backchannel,
    CallLimit,
    EchoIgnored,
    Idle,
    Monologue,
    MonologueCut,
    Paused,
    Released,
    Resumed,
    TurnEnded,
    TurnStarted,
    Withheld,
)
"""Events that say what was decided about who speaks."""

Times: TypeAlias = Literal["spent", "marks"]
"""What is compared of the times: durations, or also when each thing happened."""


ONLY_IF_IT_TOOK_TIME: Final = frozenset({"at committed"})
"""Marks that a turn has only if something took time up to them, as anything may on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that differs.

    Attributes:
        turn_id: The turn; 0 for the call as a whole.
        what: What it is: "heard", "outcome", "tool 1", "waited", ...
        a: How it is in the first call; "" if there is no such thing.
        b: And in the second one.
        by_s: By how many seconds b is later or longer; None if it is no time.
    """

    turn_id: int
    what: str
    a: str
    b: str
    by_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPair:
    """A turn of one call next to that of the other.

    Attributes:
        turn_id: Its number.
        a: The turn in the first call; None if there is none.
        b: And in the second one.
        changes: What differs.
    """

    turn_id: int
    a: CallTurn | None
    b: CallTurn | None
    changes: tuple[Change, ...]


class Difference:
    """How the second of two calls differs from the first.

    Args:
        a: The first call.
        b: The second call.
        names: What they are called in texts.
        times: What is compared of the times: "spent" for two calls, "marks" also for a call and its replay.
        tolerance_s: How many seconds two times may be apart that are the same.
    """

    def __init__(
        self,
        a: RecordedCall,
        b: RecordedCall,
        *,
        names: tuple[str, str] = ("a", "b"),
        times: Times = "spent",
        tolerance_s: float = SAME_S,
    ) -> None:
        self.names = names
        self._a, self._b = a, b
        self._times = times
        self._tolerance_s = tolerance_s + 1e-9

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes)

    @cached_property
    def pairs(self) -> list[TurnPair]:
        """The turns of both calls, by their numbers."""
        a = {turn.turn_id: turn for turn in turns_of(self._a.events, self._a.exchanges)}
        b = {turn.turn_id: turn for turn in turns_of(self._b.events, self._b.exchanges)}
        return [
            TurnPair(
                turn_id=turn_id,
                a=a.get(turn_id),
                b=b.get(turn_id),
                changes=tuple(self._changes_of(turn_id, a.get(turn_id), b.get(turn_id))),
            )
            for turn_id in sorted(a.keys() | b.keys())
        ]

    @cached_property
    def changes(self) -> list[Change]:
        """What differs, turn by turn, then in the call as a whole."""
        of_turns = [change for pair in self.pairs for change in pair.changes]
        return [*of_turns, *self._of_decisions(), *self._of_requests(), *self._of_end()]

    @cached_property
    def largest_s(self) -> float:
        """How far apart the same mark of a turn is in both calls, at most, in seconds since the session began."""
        apart = [
            abs(pair.b.marks[name] - at_s)
            for pair in self.pairs
            if pair.a is not None and pair.b is not None
            for name, at_s in pair.a.marks.items()
            if name in pair.b.marks
        ]
        return round(max(apart, default=0.0), 6)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "same": not self,
            "a": self.names[0],
            "b": self.names[1],
            "largest_deviation_s": self.largest_s,
            "turns": [
                {
                    "turn_id": pair.turn_id,
                    "same": not pair.changes,
                    "a": None if pair.a is None else _summary(pair.a),
                    "b": None if pair.b is None else _summary(pair.b),
                }
                for pair in self.pairs
            ],
            "changes": [
                {"turn_id": one.turn_id, "what": one.what, "a": one.a, "b": one.b, "by_s": one.by_s}
                for one in self.changes
            ],
        }

    # --- one turn -----------------------------------------------------------------------------------------------------

    def _changes_of(self, turn_id: int, a: CallTurn | None, b: CallTurn | None) -> Iterable[Change]:
        if a is None or b is None:
            yield Change(turn_id=turn_id, what="turn", a=_line(a), b=_line(b))
            return
        for what, of_a, of_b in (
            ("caller", a.user_text, b.user_text),
            ("outcome", _outcome(a), _outcome(b)),
            ("heard", a.heard, b.heard),
        ):
            if of_a != of_b:
                yield Change(turn_id=turn_id, what=what, a=of_a, b=of_b)
        yield from self._of_tools(turn_id, a, b)
        yield from self._of_times(turn_id, a, b)

    def _of_tools(self, turn_id: int, a: CallTurn, b: CallTurn) -> Iterable[Change]:
        for index in range(max(len(a.tools), len(b.tools))):
            one, other = (_tool(turn, index) for turn in (a, b))
            if one != other:
                yield Change(turn_id=turn_id, what=f"tool {index + 1}", a=one, b=other)

    def _of_times(self, turn_id: int, a: CallTurn, b: CallTurn) -> Iterable[Change]:
        pairs: list[tuple[str, float | None, float | None]] = [("heard for", a.heard_s, b.heard_s)]
        pairs.append(("waited", a.waited_s, b.waited_s))
        pairs += [(what, a.spent_s.get(what), b.spent_s.get(what)) for what in {**a.spent_s, **b.spent_s}]
        if self._times == "marks":
            pairs += [
                (f"at {name}", a.marks.get(name), b.marks.get(name))
                for name in {**a.marks, **b.marks}
                if (name in a.marks and name in b.marks)
                or self._took_time(name, a.marks if name in a.marks else b.marks)
            ]
        for what, of_a, of_b in pairs:
            if of_a is None and of_b is None:
                continue
            change = Change(turn_id=turn_id, what=what, a=_seconds(of_a), b=_seconds(of_b))
            is_spent = what in a.spent_s or what in b.spent_s  # a turn that does not name it spent no time on it
            if (of_a is not None and of_b is not None) or is_spent:
                by_s = round((of_b or 0.0) - (of_a or 0.0), 6)
                if abs(by_s) > self._tolerance_s:
                    yield replace(change, by_s=by_s)
            elif what.startswith("at "):
                if what not in ONLY_IF_IT_TOOK_TIME:
                    yield change
            elif (of_a or of_b or 0.0) > self._tolerance_s:
                yield change

    def _took_time(self, name: str, marks: Mapping[str, float]) -> bool:
        """Return whether something took time up to a mark; one that took none may be there or not."""
        before_s = max((at_s for other, at_s in marks.items() if at_s <= marks[name] and other != name), default=-1.0)
        return marks[name] - before_s > self._tolerance_s

    # --- the call -----------------------------------------------------------------------------------------------------

    def _of_decisions(self) -> Iterable[Change]:
        """Yield the places where the calls decide in another order, or something else."""
        a, b = _decisions(self._a.events), _decisions(self._b.events)
        if a == b:
            return
        for step, from_a, to_a, from_b, to_b in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            if step != "equal":
                yield Change(turn_id=0, what="decisions", a=", ".join(a[from_a:to_a]), b=", ".join(b[from_b:to_b]))

    def _of_requests(self) -> Iterable[Change]:
        """Yield the requests to the model that say something else."""
        a, b = (_requests(call) for call in (self._a, self._b))
        for turn_id, step, number in sorted({*a, *b}):
            one, other = (requests.get((turn_id, step, number)) for requests in (a, b))
            if one == other:
                continue
            in_a, in_b = _first_difference(one or (), other or ())
            yield Change(turn_id=turn_id, what=f"request {step + 1}", a=in_a, b=in_b)

    def _of_end(self) -> Iterable[Change]:
        if self._a.is_cut or self._b.is_cut:
            return
        if self._a.reason != self._b.reason:
            yield Change(turn_id=0, what="end", a=str(self._a.reason), b=str(self._b.reason))


def _summary(turn: CallTurn) -> dict[str, Any]:
    return {
        "caller": turn.user_text,
        "outcome": _outcome(turn),
        "heard": turn.heard,
        "heard_s": turn.heard_s,
        "tools": [_tool(turn, index) for index in range(len(turn.tools))],
        "waited_s": turn.waited_s,
        "spent_s": dict(turn.spent_s),
    }


def _line(turn: CallTurn | None) -> str:
    return "" if turn is None else f"{_outcome(turn)}: {turn.user_text!r} -> {turn.heard!r}"


def _outcome(turn: CallTurn) -> str:
    if turn.outcome == "interrupted":
        return f"interrupted by the {turn.by}{', and joined to the next turn' if turn.is_joined else ''}"
    return f"failed: {turn.error}" if turn.outcome == "failed" else turn.outcome


def _tool(turn: CallTurn, index: int) -> str:
    if index >= len(turn.tools):
        return ""
    tool = turn.tools[index]
    arguments = tool.arguments
    with suppress(ValueError):  # then it is shown as the model wrote it
        arguments = json.dumps(json.loads(arguments), sort_keys=True, ensure_ascii=False) if arguments else "..."
    return f"{tool.name}({arguments}) {tool.status}: {tool.result}".rstrip(": ")


def _decisions(events: Iterable[tuple[float, Event]]) -> list[str]:
    found: list[str] = []
    for _, event in events:
        if isinstance(event, DECISIONS):
            turn_id = getattr(event, "turn_id", None)
            found.append(type(event).__name__ + (f" {turn_id}" if turn_id is not None else ""))
    return found


def _requests(call: RecordedCall) -> Mapping[tuple[int, int, int], tuple[str, ...]]:
    """Return what the model was sent, by turn, step and how often that was asked."""
    found: dict[tuple[int, int, int], tuple[str, ...]] = {}
    for asked in call.of(ModelAsked):
        number = 0
        while (key := (asked.turn_id, asked.step, number)) in found:
            number += 1
        found[key] = tuple(_message_lines(asked))
    return found


def _message_lines(asked: ModelAsked) -> Iterable[str]:
    if asked.system is not None:
        yield f"system: {asked.system}"
    for message in asked.messages:
        if not isinstance(message, AssistantMessage):
            yield f"caller: {message.text}"
            continue
        yield f"agent: {message.text}"
        for call in message.calls:
            yield f"call: {call.name}({call.arguments}) {call.status}: {call.result}"


def _first_difference(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, str]:
    """Return the first messages that differ."""
    at = next((at for at, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
    return (a[at] if at < len(a) else ""), (b[at] if at < len(b) else "")


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"
