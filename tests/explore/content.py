"""Promises about what is said, remembered and done: history, tools, sound, and limits."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import voicepipe as vp
from tests.explore import facts
from tests.explore.moving import SLOW_S
from tests.explore.promise import Promise
from tests.explore.world import words_of
from voicepipe.events import TurnEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.explore.facts import Fact


class Once(Promise):
    """Never say it twice: no sentence is spoken again, and no request is made again once it has given something."""

    name = "R2"

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()
        self._asked: dict[int, tuple[int, tuple[facts.Line, ...]]] = {}
        self._has_given: set[int] = set()
        self._unmarked: set[str] = set()
        self._resumed = 0

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Given(text=text, has_marks=has_marks):
                for word in words_of(text):
                    self._given[word] += 1
                    if self._given[word] > 1:
                        yield f"the voice was given {word!r} twice"
                    if not has_marks:
                        self._unmarked.add(word)
            case facts.Gave(request=request):
                self._has_given.add(request)
            case facts.Asked(request, turn, lines):
                before, same = self._asked.get(turn, (0, ()))
                if before in self._has_given and same == lines:
                    yield f"turn {turn} asked again although request {before} had given something"
                self._asked[turn] = (request, lines)
            case facts.Broke():
                self._given.clear()  # see `NotTwice`
            case facts.Emitted(vp.Resumed()):
                self._resumed += 1
            case facts.Left(replayed=replayed):
                for word, often in replayed.items():
                    # Without marks nobody knows where a word begins: a resumed reply goes on a little earlier.
                    if often - 1 > (self._resumed if word in self._unmarked else 0):
                        yield f"{word!r} was audible {often} times"
            case _:
                pass


class Heard(Promise):
    """History is what was heard, and each request holds it: the words, in order, and one result for each call."""

    name = "R4"

    def __init__(self) -> None:
        self._said: dict[int, str] = {}  # the user's words of turns that were not taken back, in order
        self._heard: dict[int, list[str]] = {}  # the words of each that were heard
        self._gave: dict[int, list[str]] = {}
        self._text: dict[int, str] = {}
        self._ended: dict[int, tuple[str, bool]] = {}
        self._audible: set[str] = set()  # before the call broke off
        self._before: tuple[list[str], list[str]] | None = ([], [])  # what this worker knows of that; None until seen

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Broke(heard=heard):
                self._audible = set(heard)
                self._said, self._heard, self._text, self._ended = {}, {}, {}, {}
            case facts.Began(leg=leg, is_resumed=is_resumed):
                self._before = None if leg and is_resumed else ([], [])
            case facts.Emitted(vp.TurnStarted(user_text=text), turn):
                self._said[turn] = text
            case facts.Gave(turn=turn, text=text):
                self._text[turn] = self._text.get(turn, "") + text
            case facts.Emitted(TurnEnded() as event, turn):
                yield from self._end(event, turn, fact)
            case facts.Asked(turn=turn, lines=lines) if turn not in self._heard:
                yield from self._ask(turn, lines)  # else it was cancelled in the step in which it began
            case facts.Said(text, heard, is_whole, turn):
                if (heard, is_whole) != self._ended.get(turn, ("", False)):
                    yield f"who waited for {text!r} learned {heard!r}, {is_whole}, and not {self._ended.get(turn)}"
            case facts.Left(history=history):
                for line in history:
                    if not line.is_settled:
                        yield f"a message is not settled: {line}"
                    for call in line.calls:
                        if call.status == "pending":
                            yield f"the call {call.call_id!r} of {call.name!r} has no result"
                yield from self._one_result(history)
            case _:
                pass

    def _end(self, event: TurnEnded, turn: int, fact: facts.Emitted) -> Iterator[str]:
        heard = list(words_of(event.heard))
        self._ended[turn] = (event.heard, isinstance(event, vp.TurnCompleted))
        audible = iter(fact.heard)
        if missing := [word for word in heard if word not in audible]:
            yield f"turn {turn} says that {missing} was heard, and audible was {fact.heard}"
        if isinstance(event, vp.TurnCompleted):
            wanted = list(words_of(self._text.get(turn, "")))
            if wanted != heard and self._text.get(turn):
                yield f"turn {turn} completed, but of {wanted} was heard {heard}"
        if isinstance(event, vp.TurnInterrupted) and event.joined:
            self._said.pop(turn, None)
            heard = []
        self._heard[turn] = heard
        known = self._audible.union(*self._heard.values())
        for line in fact.history:
            if line.role == "agent" and line.is_settled and (more := set(words_of(line.text)) - known):
                yield f"history holds {more}, which nobody heard"

    def _ask(self, turn: int, lines: tuple[facts.Line, ...]) -> Iterator[str]:
        before = [one for one in self._said if one != turn]
        users = [self._said[one] for one in before if self._said[one]]
        heard = [word for one in before for word in self._heard.get(one, [])]
        asked = [line.text for line in lines if line.role == "user"]
        seen = [word for line in lines if line.role == "agent" for word in words_of(line.text)]
        own = set(words_of(self._text.get(turn, "")))
        if self._before is None:  # what was heard in the turn that broke off is for the record to say, within bounds
            has_words = bool(self._said.get(turn, True))  # a draft answers the caller
            known = len(asked) - len(users) - has_words
            others = [word for word in seen if word not in own]
            self._before = asked[:known], others[: len(others) - len(heard)]
            if unheard := [word for word in self._before[1] if word not in self._audible]:
                yield f"the request of turn {turn} holds {unheard}, which nobody had heard when the call broke off"
        users, heard = [*self._before[0], *users], [*self._before[1], *heard]
        if asked[: len(users)] != users or len(asked) > len(users) + 1:
            yield f"the request of turn {turn} holds as the caller's words {asked}, and they were {users}"
        if seen[: len(heard)] != heard:
            yield f"the request of turn {turn} holds {seen}, and heard was {heard}"
        if rest := set(seen[len(heard) :]) - own:
            yield f"the request of turn {turn} holds {rest}, which was not heard"
        yield from self._one_result(lines)

    def _one_result(self, lines: tuple[facts.Line, ...]) -> Iterator[str]:
        ids = Counter(call.call_id for line in lines for call in line.calls)
        if twice := [call_id for call_id, count in ids.items() if count > 1 or not call_id]:
            yield f"calls share an id or have none: {twice}"


class Tools(Promise):
    """A tool runs at most once per call, only with arguments that validate, and a barge-in touches no writing tool."""

    name = "R5"

    def __init__(self) -> None:
        self._began: dict[tuple[int, str], facts.ToolBegan] = {}
        self._leg = 0
        self._is_slow = False
        self._unconfirmed: dict[tuple[str, str], int] = {}  # by name and number: how many words of the caller before
        self._running: dict[tuple[int, str], facts.ToolBegan] = {}
        self._users = 0
        self._is_over = False

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Broke(how=how, lag_s=lag_s):
                self._is_slow = lag_s > SLOW_S
                self._leg = -1  # what runs in a worker that has lost the call is given a second, and then ended
                if how in ("exact", "killed"):
                    self._running.clear()
            case facts.Began(leg=leg, is_resumed=is_resumed):
                self._leg = leg
                if not is_resumed:
                    self._began.clear()
            case facts.ToolBegan():
                yield from self._begin(fact)
            case facts.ToolEnded(call_id=call_id, how=how, writes=writes, name=name, leg=leg):
                self._running.pop((leg, call_id), None)
                if writes and how == "cancelled" and not self._is_over and leg == self._leg:
                    yield f"the writing tool {name!r} was cancelled in its call {call_id!r}"
            case facts.Asked(lines=lines):
                self._users = max(self._users, sum(line.role == "user" for line in lines))
                for line in lines:
                    for call in line.calls:
                        if call.status == "unconfirmed":
                            self._unconfirmed.setdefault((call.name, call.arguments), self._users)
            case facts.Acted(act):
                self._is_over |= act.startswith("end")
            case facts.Fault(is_fatal=True):
                self._is_over = True
            case facts.Left(history=history):
                yield from self._compare(history)
            case _:
                pass

    def _begin(self, fact: facts.ToolBegan) -> Iterator[str]:
        key = fact.leg, fact.call_id
        if key in self._began:
            yield f"the call {fact.call_id!r} of {fact.name!r} ran twice"
        if not isinstance(fact.number, int) or isinstance(fact.number, bool) or fact.number < 0:
            yield f"{fact.name!r} ran with {fact.number!r}"
        if fact.confirm:
            asked = [
                users for (name, args), users in self._unconfirmed.items()
                if name == fact.name and f": {fact.number}" in args
            ]  # fmt: skip
            if not any(users < self._users for users in asked):
                yield f"{fact.name!r} ran before the caller had agreed"
        for other in self._running.values():
            if fact.writes and (other.name, other.number) == (fact.name, fact.number) and other.turn != fact.turn:
                yield f"{fact.name!r} runs twice at a time, for the calls {other.call_id!r} and {fact.call_id!r}"
        self._began[key] = self._running[key] = fact

    def _compare(self, history: tuple[facts.Line, ...]) -> Iterator[str]:
        calls = {call.call_id: call for line in history for call in line.calls}
        for (leg, call_id), began in self._began.items():
            call = calls.get(call_id)
            if call is None:
                if began.writes and (leg == self._leg or not self._is_slow):
                    yield f"the call {call_id!r} of {began.name!r} ran and is not in the history"
            elif (leg == self._leg or began.writes) and (call.name, call.arguments) != (
                began.name,
                f'{{"number": {began.number}}}',
            ):
                yield f"the call {call_id!r} ran {began.name!r} with {began.number!r}, and the model called {call}"


class Silence(Promise):
    """Barge-in is final: once a reply was interrupted or paused, no sample of it reaches the output."""

    name = "R6"

    def __init__(self) -> None:
        self._turns: dict[int, int] = {}  # of each sentence
        self._over: set[int] = set()
        self._paused: set[int] = set()
        self._dead: set[int] = set()  # sentences that were given before an interruption

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Given(sentence=sentence, turn=turn):
                self._turns[sentence] = turn
            case facts.Wrote(sentences):
                for sentence in sentences:
                    turn = self._turns.get(sentence, 0)
                    if turn in self._over or sentence in self._dead:
                        yield f"sentence {sentence} of turn {turn} was written after its end"
                    elif turn in self._paused:
                        yield f"sentence {sentence} of turn {turn} was written while it was paused"
            case facts.Audible(sentence):
                yield f"sentence {sentence} of turn {self._turns.get(sentence, 0)} is audible after its end"
            case facts.Returned("interrupt") | facts.Broke():
                self._dead |= set(self._turns)
                self._paused.clear()
            case facts.Emitted(vp.Paused(), turn):
                self._paused.add(turn)
            case facts.Emitted(vp.Resumed(), turn):
                self._paused.discard(turn)
            case facts.Emitted(TurnEnded(), turn) | facts.DraftDropped(turn):
                self._over.add(turn)
            case _:
                pass


class Bounded(Promise):
    """Everything is bounded: what is prepared ahead, the requests of a turn, the calls of a reply, and a result."""

    name = "R7"
    AHEAD, STEPS, CALLS, RESULT = 3, 6, 8, 8 * 1024 + 200

    def __init__(self) -> None:
        self._waiting: dict[int, int] = {}  # sentences that were given and not begun, with their turns
        self._asked: Counter[int] = Counter()
        self._runs: Counter[int] = Counter()

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Given(sentence=sentence, turn=turn):
                self._waiting[sentence] = turn
                if (ahead := sum(one == turn for one in self._waiting.values())) > self.AHEAD:
                    yield f"{ahead} sentences of turn {turn} are prepared ahead"
            case facts.Broke():
                self._waiting.clear()
            case facts.Wrote(sentences):
                for sentence in sentences:
                    self._waiting.pop(sentence, None)
            case facts.Emitted(TurnEnded(), turn) | facts.DraftDropped(turn):
                self._waiting = {one: of for one, of in self._waiting.items() if of != turn}
            case facts.Asked(turn=turn, lines=lines):
                self._asked[turn] += 1
                self._runs[turn] = 0
                if self._asked[turn] > self.STEPS:
                    yield f"turn {turn} made {self._asked[turn]} requests"
                for call in (call for line in lines for call in line.calls):
                    if len(call.result.encode()) > self.RESULT:
                        yield f"the result of {call.name!r} has {len(call.result)} characters"
            case facts.ToolBegan(turn=turn):
                self._runs[turn] += 1
                if self._runs[turn] > self.CALLS:
                    yield f"a reply of turn {turn} ran {self._runs[turn]} calls"
            case _:
                pass
