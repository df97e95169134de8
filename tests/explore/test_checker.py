"""The checker itself: whatever breaks a promise is found, under the name of that promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

import voicepipe as vp
from tests.explore import facts
from tests.explore.call import Parts, explore
from tests.explore.facts import Fact, Noted
from tests.explore.parts import LastRelay, Model
from tests.explore.promises import PROMISES, check
from tests.explore.world import Ear, words_of
from voicepipe.events import TurnEnded
from voicepipe.flow import ReplyEnd

Tamper: TypeAlias = Callable[[list[Noted]], Iterator[Noted]]


# --- facts that were tampered with ------------------------------------------------------------------------------------


def with_first(
    kind: type[Any], *instead: Callable[[Any], Fact], where: Callable[[Any], bool] = lambda _: True
) -> Tamper:
    """Return what puts other facts in the place of the first one of a kind; it has to occur."""

    def tamper(story: list[Noted]) -> Iterator[Noted]:
        is_done = False
        for noted in story:
            fact: Any = noted.fact
            if not is_done and isinstance(fact, kind) and where(fact):
                is_done = True
                yield from (replace(noted, fact=made(fact)) for made in instead)
            else:
                yield noted
        assert is_done, f"the story holds no such {kind.__name__}"

    return tamper


def same(fact: Fact) -> Fact:
    return fact


def is_event(*kinds: type[vp.Event]) -> Callable[[facts.Emitted], bool]:
    return lambda fact: isinstance(fact.event, kinds)


def spoken_turn(fact: facts.Emitted) -> bool:
    return isinstance(fact.event, vp.TurnCompleted) and bool(fact.heard)


def as_completed(fact: facts.Emitted) -> Fact:
    event: Any = fact.event
    ending = {name: getattr(event, name) for name in ("turn_id", "user_text", "heard", "timeline", "heard_s")}
    return replace(fact, event=vp.TurnCompleted(**ending, finish_reason="stop"))


def asked_with(*calls: facts.Call) -> Callable[[facts.Asked], Fact]:
    return lambda fact: replace(fact, lines=(*fact.lines, facts.Line("agent", "", calls)))


PENDING = facts.Call("1", "book", "{}", "pending", "")
BROKE = facts.Broke("exact")
GOES_ON = facts.Began(leg=1, is_resumed=True)
LONG = "too much " * 2_000
TAMPERED: dict[str, tuple[str, Tamper]] = {
    "a turn never ends": ("R1", with_first(facts.Emitted, where=is_event(TurnEnded))),
    "a turn ends twice": ("R1", with_first(facts.Emitted, same, same, where=is_event(TurnEnded))),
    "a turn ends that never began": ("R1", with_first(facts.Emitted, where=is_event(vp.TurnStarted))),
    "a turn stands still": (
        "R1",
        lambda story: (replace(one, at_s=one.at_s + (at >= len(story) // 2) * 100.0) for at, one in enumerate(story)),
    ),
    "a failed turn is silent": (
        "R1",
        lambda story: (
            one for one in story if not (isinstance(one.fact, facts.Given) and one.fact.text.strip() == "Sorry.")
        ),
    ),
    "a sentence is spoken twice": ("R2", with_first(facts.Given, same, same, where=lambda one: "x" in one.text)),
    "a request is made twice": (
        "R2",
        with_first(facts.Asked, same, lambda one: facts.Gave(one.request, one.turn, text="Oh"), same),
    ),
    "a word is audible twice": ("R2", with_first(facts.Left, lambda one: replace(one, replayed={"babix": 2}))),
    "a cut reply counts as whole": (
        "R3",
        with_first(facts.Answered, lambda one: replace(one, how="cut"), where=lambda one: one.how == "whole"),
    ),
    "history holds what nobody heard": (
        "R4",
        with_first(facts.Emitted, lambda one: replace(one, heard=()), where=spoken_turn),
    ),
    "a request lacks the caller's words": (
        "R4",
        with_first(facts.Asked, lambda one: replace(one, lines=one.lines[1:]), where=lambda one: len(one.lines) > 2),
    ),
    "a call has no result": (
        "R4",
        with_first(
            facts.Left,
            lambda one: replace(
                one, history=(facts.Line("agent", "", (facts.Call("1", "book", "{}", "pending", ""),)),)
            ),
        ),
    ),
    "two calls have one id": (
        "R4",
        with_first(facts.Asked, asked_with(*[facts.Call("1", "book", "{}", "done", "")] * 2)),
    ),
    "who waits learns something else": (
        "R4",
        with_first(facts.Left, lambda one: facts.Said("Hi", "Hi", True, 1), same),
    ),
    "a call runs twice": ("R5", with_first(facts.ToolBegan, same, same)),
    "a tool runs with what does not validate": ("R5", with_first(facts.ToolBegan, lambda one: replace(one, number=-1))),
    "a writing tool is cancelled": (
        "R5",
        with_first(facts.ToolEnded, lambda one: replace(one, how="cancelled"), where=lambda one: one.writes),
    ),
    "nobody agreed": ("R5", with_first(facts.ToolBegan, lambda one: replace(one, confirm=True))),
    "an interrupted reply goes on": (
        "R6",
        lambda story: (
            noted
            for one in story
            for noted in (one, *[sound for sound in story if isinstance(sound.fact, facts.Wrote)])
            if noted is one or (isinstance(one.fact, facts.Emitted) and isinstance(one.fact.event, vp.TurnInterrupted))
        ),
    ),
    "a result is too long": (
        "R7",
        with_first(facts.Asked, asked_with(facts.Call("1", "look_up", "{}", "done", LONG))),
    ),
    "too much is prepared ahead": (
        "R7",
        with_first(
            facts.Given, same, *[lambda one, more=at: replace(one, sentence=200 + more, text="") for at in range(4)]
        ),
    ),
    "the exit is slow": ("R8", with_first(facts.Left, lambda one: replace(one, took_s=3.5))),
    "a task is left": ("R8", with_first(facts.Left, lambda one: replace(one, tasks=("Task-1",)))),
    "a file is left": ("R8", with_first(facts.Left, lambda one: replace(one, files=1))),
    "an error is only logged": ("R9", with_first(facts.Left, lambda one: facts.Unhandled("never retrieved"), same)),
    "a fault ends well": (
        "R9",
        with_first(facts.Emitted, lambda one: facts.Fault("voice", one.turn), same, where=is_event(vp.TurnCompleted)),
    ),
    "an error comes from nothing": ("R9", with_first(facts.Left, lambda one: replace(one, error="StageError"))),
    "a tool that had begun runs again": (
        "N1",
        with_first(
            facts.ToolBegan,
            same,
            lambda _: BROKE,
            lambda _: GOES_ON,
            lambda one: replace(one, call_id="other", leg=1),
            where=lambda one: one.writes,
        ),
    ),
    "a turn with a tool that had begun is answered again": (
        "N1",
        with_first(
            facts.ToolBegan,
            same,
            lambda _: BROKE,
            lambda _: GOES_ON,
            lambda _: facts.Emitted(vp.CallResumed(turn="again")),
            where=lambda one: one.writes,
        ),
    ),
    "what was heard is said again": (
        "N2",
        with_first(
            facts.Given,
            same,
            lambda one: replace(BROKE, heard=words_of(one.text)),
            lambda _: GOES_ON,
            same,
            where=lambda one: "x" in one.text,
        ),
    ),
    "the conversation is lost": (
        "N3",
        with_first(
            facts.Emitted,
            same,
            lambda _: BROKE,
            lambda _: GOES_ON,
            lambda _: facts.Asked(99, 99, ()),
            where=lambda one: is_event(TurnEnded)(one) and len(one.history) > 1,
        ),
    ),
    "the caller is ignored": (
        "the caller is answered",
        lambda story: (
            replace(one, at_s=one.at_s + 30.0 * (at > 3))
            for at, one in enumerate([Noted(0.0, facts.Spoke("says", "I want babax.", ("babax",))), *story])
        ),
    ),
}


@pytest.fixture(scope="module")
def stories() -> list[list[Noted]]:
    """The facts of some calls that kept the promises."""
    kept = [explore(seed) for seed in range(8)]
    assert not any(story.broken for story in kept)
    return [story.facts for story in kept]


def found_in(story: list[Noted], tamper: Tamper) -> set[str]:
    try:
        return {one.promise for one in check(list(tamper(story)))}
    except AssertionError:
        return set()  # it has nothing to tamper with


def test_whatever_breaks_a_promise_is_found(stories: list[list[Noted]]) -> None:
    """Facts that are tampered with break the promise that they should, in a call where they occur."""
    for what, (promise, tamper) in TAMPERED.items():
        assert promise in set().union(*(found_in(story, tamper) for story in stories)), what


def test_each_promise_can_be_broken() -> None:
    """None of them is there for nothing."""
    assert {promise for promise, _ in TAMPERED.values()} == {promise.name for promise in PROMISES}


# --- parts that are broken --------------------------------------------------------------------------------------------


class GoesOn(Ear):
    """Plays on after it was told to be silent."""

    def flush(self) -> None:
        self._flushes += 1


class SaysTwice(LastRelay):
    """Has each sentence spoken twice."""

    async def run(self, inbox: Any, outbox: Any, turn: Any) -> None:
        async for sentence in inbox:
            for _ in range(2):
                self._world.passes(sentence, turn)
                await outbox.send(sentence)


class Lies(Model):
    """Ends a reply that broke off as if it were whole; it notes that it was not."""

    async def reply(self, request: Any, outbox: Any, turn: Any) -> None:
        try:
            await super().reply(request, outbox, turn)
        except vp.VendorError:
            await outbox.send(ReplyEnd(finish_reason="stop"))


class Tricks(Parts):
    """Parts with some of them broken."""

    def __init__(self, **broken: Any) -> None:
        for name, part in broken.items():
            setattr(self, name, part)


BROKEN_PARTS: dict[str, tuple[str, Parts]] = {
    "an output that plays on": ("R6", Tricks(ear=GoesOn)),
    "a stage that says everything twice": ("R2", Tricks(relay=SaysTwice)),
    "a model that calls a broken reply whole": ("R3", Tricks(model=Lies)),
}


@pytest.mark.parametrize("what", BROKEN_PARTS)
def test_a_broken_part_is_found(what: str) -> None:
    """One of a few calls shows it, whatever else it breaks."""
    promise, parts = BROKEN_PARTS[what]
    for seed in range(40):
        if promise in {one.promise for one in explore(seed, parts).broken}:
            return
    pytest.fail(f"no call shows {what}")
