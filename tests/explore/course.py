"""Promises about the course of a call: turns, faults, the end, and that the caller is answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import voicepipe as vp
from tests.explore import facts
from tests.explore.promise import Promise
from tests.explore.world import words_of
from voicepipe.events import TurnEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.explore.facts import Fact


class Settles(Promise):
    """Every turn settles: each that begins ends in exactly one way, in time, and never in silence."""

    name = "R1"

    def __init__(self) -> None:
        self._live: dict[int, float] = {}  # turns, and when something last happened in them
        self._ended: set[int] = set()
        self._dropped: set[int] = set()
        self._apologised: set[int] = set()
        self._began = facts.Began()
        self._is_ending = False
        self._flushed_s = -1.0

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        limit_s = self._began.turn_s + 12.0
        for turn, since_s in self._live.items():
            if at_s - since_s > limit_s and not isinstance(fact, facts.Left):
                self._live[turn] = at_s
                yield f"nothing has happened in turn {turn} for {at_s - since_s:.1f} s"
        match fact:
            case facts.Began():
                self._began = fact
            case facts.Broke():
                self._live.clear()  # what becomes of them is for the next worker to say
            case facts.Emitted(vp.TurnStarted(), turn):
                if turn in self._live or turn in self._ended:
                    yield f"turn {turn} began twice"
                self._live[turn] = at_s
            case facts.Emitted(TurnEnded() as event, turn):
                yield from self._end(event, turn, at_s)
            case facts.Emitted(turn=turn) | facts.Gave(turn=turn) | facts.Asked(turn=turn):
                self._touch(turn, at_s)
            case facts.Given(turn=turn, text=text):
                self._touch(turn, at_s)
                if text.strip() == self._began.fallback:
                    self._apologised.add(turn)
            case facts.Wrote():
                for turn in self._live:
                    self._live[turn] = at_s
            case facts.Flushed():
                self._flushed_s = at_s
            case facts.DraftDropped(turn):
                self._dropped.add(turn)
            case facts.Acted(act):
                self._is_ending |= act.startswith("end")
            case facts.Fault(is_fatal=True):
                self._is_ending = True
            case facts.Fault("stage in the fallback", turn):
                self._apologised.add(turn)  # it was tried
            case facts.Left():
                for turn in self._live:
                    yield f"turn {turn} never ended"
            case _:
                pass

    def _touch(self, turn: int, at_s: float) -> None:
        if turn in self._live:
            self._live[turn] = at_s

    def _end(self, event: TurnEnded, turn: int, at_s: float) -> Iterator[str]:
        if turn not in self._live:
            yield f"turn {turn} ended {'twice' if turn in self._ended else 'before it began'}"
        if turn in self._dropped:
            yield f"turn {turn} was a draft that was dropped, and ended all the same"
        self._live.pop(turn, None)
        self._ended.add(turn)
        is_cut = self._flushed_s == at_s or self._is_ending
        wants = isinstance(event, vp.TurnFailed) or (isinstance(event, vp.TurnEmpty) and bool(event.user_text))
        if wants and self._began.fallback and not is_cut and turn not in self._apologised:
            yield f"turn {turn} ended as {type(event).__name__}, and the caller heard nothing of it"


class Whole(Promise):
    """A cut reply is never a whole one."""

    name = "R3"

    def __init__(self) -> None:
        self._last: dict[int, facts.Told] = {}

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Broke():
                self._last.clear()
            case facts.Asked(turn=turn):
                self._last.pop(turn, None)
            case facts.Answered(turn=turn, how=how):
                self._last[turn] = how
            case facts.Emitted(vp.TurnCompleted(), turn):
                if (how := self._last.get(turn, "whole")) != "whole":
                    yield f"turn {turn} completed although its last reply ended as {how!r}"
            case facts.Emitted(vp.TurnEmpty(), turn):
                if self._last.get(turn, "whole") in ("broke", "refused"):
                    yield f"turn {turn} counts as empty although its last reply failed"
            case _:
                pass


class Exit(Promise):
    """Clean exit: within 3 s of the end no task, socket or file is left."""

    name = "R8"

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        if not isinstance(fact, facts.Left):
            return
        if fact.took_s > 3.001:
            yield f"the exit took {fact.took_s} s"
        if fact.tasks:
            yield f"tasks are left: {', '.join(fact.tasks)}"
        if fact.files > 0:
            yield f"{fact.files} files are left open"


class Loud(Promise):
    """Loud: what fails ends its turn as failed, or the session with an error, and nothing else does."""

    name = "R9"

    def __init__(self) -> None:
        self._faults: dict[int, list[str]] = {}
        self._fatal: list[str] = []
        self._failed_tools: dict[str, str] = {}
        self._is_over = False

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        match fact:
            case facts.Unhandled(what):
                yield what
            case facts.Fault(part, turn, is_fatal):
                self._faults.setdefault(turn, []).append(part)
                if is_fatal or part == "output stalls":
                    self._fatal.append(part)
            case facts.Asked(turn=turn):  # what failed was followed by another request
                self._faults[turn] = [part for part in self._faults.get(turn, []) if part != "model"]
            case facts.Emitted(vp.TurnCompleted() | vp.TurnEmpty(), turn):
                if parts := self._faults.get(turn):
                    yield f"turn {turn} ended well although there failed in it: {', '.join(parts)}"
            case facts.Emitted(vp.TurnFailed(error=error), turn):
                if not self._faults.get(turn) and not self._fatal and not _is_ours(error):
                    yield f"turn {turn} failed although nothing had: {error!r}"
            case facts.Left(error=error):
                if error and not self._fatal:
                    yield f"{error} was raised although nothing had failed"
                if not error and self._fatal and self._fatal[0] == "recogniser fails" and not self._is_over:
                    yield f"the {self._fatal[0]}, and no error was raised"
            case facts.Acted(act):
                self._is_over |= act.startswith("end")
            case _:
                pass


def _is_ours(error: BaseException) -> bool:
    """Return whether an error says that a limit was reached, or a reply was cut, which is no fault of a part."""
    return isinstance(error, vp.IncompleteReply)


class Answered(Promise):
    """The caller is answered: what they say ends in a turn, and nobody waits for it in silence."""

    name = "the caller is answered"
    PATIENCE_S = 15.0

    def __init__(self) -> None:
        self._waiting: dict[str, float] = {}
        self._answered: set[str] = set()  # early words are often answered before the final ones come
        self._live: set[int] = set()
        self._quiet_s = 0.0

    def take(self, fact: Fact, at_s: float) -> Iterator[str]:
        if self._waiting and not self._live and not isinstance(fact, facts.Left):
            for word, since_s in self._waiting.items():
                if at_s - max(since_s, self._quiet_s) > self.PATIENCE_S:
                    self._waiting = {}
                    yield f"{word!r} has not been answered for {at_s - since_s:.1f} s"
                    break
        match fact:
            case facts.Broke():
                self._waiting.clear()  # nobody knows what was said and not yet answered; the caller says it again
                self._live.clear()
            case facts.Spoke(words=words):
                self._waiting |= {word: at_s for word in words if word not in self._answered}
                self._quiet_s = at_s
            case facts.Emitted(vp.TurnStarted(user_text=text), turn):
                self._live.add(turn)
                self._answered |= set(_parts(text))
                for word in _parts(text):
                    self._waiting.pop(word, None)
            case facts.Emitted(vp.TurnInterrupted(joined=True, user_text=text), turn):
                self._live.discard(turn)
                self._quiet_s = at_s
                self._answered -= set(_parts(text))
                self._waiting |= dict.fromkeys(words_of(text), at_s)
            case facts.Emitted(TurnEnded(), turn):
                self._live.discard(turn)
                self._quiet_s = at_s
            case facts.Emitted(vp.SpeechStarted() | vp.SpeechEnded() | vp.EarlyTranscript() | vp.Transcript()):
                self._quiet_s = at_s
            case _:
                pass


def _parts(text: str) -> tuple[str, ...]:
    """Return the words and keys of a text."""
    return (*words_of(text), *re.findall(r"\d+", text))
