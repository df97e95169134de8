"""Promises about a call that gets from one worker to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import voicepipe as vp
from tests.explore import facts
from tests.explore.promise import Promise
from tests.explore.world import words_of
from voicepipe.events import TurnEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.explore.facts import Fact, Line

SLOW_S = 0.7
"""A writing tool does not wait for a store that is slower: it runs, also in a worker that has lost the call."""

Key = tuple[str, object]
"""A tool and its argument."""


class RunsOnce(Promise):
    """A writing tool that had begun when the call broke off never runs again, unless the caller has agreed."""

    name = "N1"

    def __init__(self) -> None:
        self._began: dict[tuple[int, str], facts.ToolBegan] = {}
        self._open: set[Key] = set()  # began in a worker that lost the call, with an outcome that nobody knew
        self._asked: dict[Key, int] = {}  # how much the caller had said when the model was shown that they must agree
        self._said = 0
        self._leg = 0
        self._is_slow = False
        self._turns: set[int] = set()  # that are live
        self._in_flight: set[int] = set()  # when the call broke off

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Began(leg=leg):
                self._leg = leg
            case facts.Broke(lag_s=lag_s):
                self._is_slow = lag_s > SLOW_S
                self._open |= {(one.name, one.number) for one in self._began.values()}
                self._in_flight, self._turns = self._turns, set()
            case facts.ToolBegan(writes=True):
                yield from self._begin(fact)
            case facts.ToolEnded(call_id=call_id, leg=leg):
                self._began.pop((leg, call_id), None)
            case facts.Emitted(vp.TurnStarted(user_text=text), turn):
                self._turns.add(turn)
                self._said += bool(text)
            case facts.Emitted(TurnEnded(), turn):
                self._turns.discard(turn)
            case facts.Emitted(vp.CallResumed(turn="again")):
                if wrote := [one.name for one in self._began.values() if one.turn in self._in_flight]:
                    yield f"the turn in which {wrote} had begun is answered again"
            case facts.Asked(lines=lines):
                for call in (call for line in lines for call in line.calls if call.status == "unconfirmed"):
                    for key in self._open:
                        if call.name == key[0] and f": {key[1]}" in call.arguments:
                            self._asked.setdefault(key, self._said)
            case _:
                pass

    def _begin(self, fact: facts.ToolBegan) -> Iterator[str]:
        key = (fact.name, fact.number)
        if fact.leg < self._leg:
            self._open.add(key)
            if not self._is_slow:
                yield f"{fact.name!r} began in a worker after another one had taken the call"
        if key in self._open and fact.leg == self._leg:
            if self._said <= self._asked.get(key, self._said):
                yield f"{fact.name!r} with {fact.number!r} runs again, and nobody has agreed"
            self._open.discard(key)
        self._began[fact.leg, fact.call_id] = fact


class NotTwice(Promise):
    """What was heard before the call broke off is not said again, but for the sentence that was cut."""

    name = "N2"

    def __init__(self) -> None:
        self._heard: set[str] = set()
        self._protected: set[str] = set()  # which is said again whole

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Acted("protected", text):
                self._protected |= set(words_of(text))
            case facts.Broke(heard=heard, cut=cut):
                self._heard = set(heard) - set(cut) - self._protected
            case facts.Given(text=text):
                if again := [word for word in words_of(text) if word in self._heard]:
                    yield f"{again} were heard before the call broke off, and are said again"
            case _:
                pass


class SameCall(Promise):
    """The model sees the same conversation after the call has got to another worker."""

    name = "N3"

    def __init__(self) -> None:
        self._ends: list[tuple[float, tuple[Line, ...]]] = [(0.0, ())]
        self._known: list[tuple[Line, ...]] = []  # what may be the settled conversation
        self._is_due = False

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Emitted(TurnEnded(), history=history):
                self._ends.append((at_s, history))
            case facts.Broke(lag_s=lag_s):
                late = [history for ended_s, history in self._ends if ended_s >= at_s - lag_s]
                before = [history for ended_s, history in self._ends if ended_s < at_s - lag_s]
                self._known = [*before[-1:], *late]
            case facts.Began(leg=leg, is_resumed=is_resumed):
                self._is_due = leg > 0 and is_resumed
                if not is_resumed:
                    self._ends = [(at_s, ())]
            case facts.Asked(lines=lines) if self._is_due:
                self._is_due = False
                shown = _conversation(lines)
                if not any(_conversation(known) == shown[: len(_conversation(known))] for known in self._known):
                    yield f"the model sees {shown}, and the conversation was {_conversation(self._known[-1])}"
            case _:
                pass


def _conversation(lines: tuple[Line, ...]) -> list[tuple[object, ...]]:
    return [
        (line.role, line.text, *((call.call_id, call.name, call.arguments) for call in line.calls))
        for line in lines
        if line.role != "note" and (line.text or line.calls)
    ]
