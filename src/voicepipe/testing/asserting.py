"""Assertions about turns that read like what was said, and say in one message all that is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from voicepipe.events import TurnEnded
from voicepipe.watching.replay import CallNotes, CallTurn, Replayed, turns_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from voicepipe.watching.replay import Outcome, ToolUse

__all__ = ["assert_turn", "assert_turns"]


def assert_turn(
    turn: CallTurn | TurnEnded,
    *,
    caller: str | None = None,
    heard: str | None = None,
    contains: str | Sequence[str] = (),
    outcome: Outcome | None = None,
    tools: Sequence[str | tuple[str, Mapping[str, Any]]] | None = None,
    waited_s: float | None = None,
    spent_s: Mapping[str, float] | None = None,
) -> None:
    """Check one turn; what is left out is not checked.

        assert_turn(call.turns[1], caller="Where is my order?", contains="on its way", tools=["find_order"])

    Args:
        turn: A turn of `CallNotes.turns` or `Replayed.turns`, or the event with which one ended.
        caller: What the caller said.
        heard: What the caller heard, all of it.
        contains: Words among those that the caller heard, in any case.
        outcome: "completed", "interrupted", "failed", "empty" or "unfinished".
        tools: The tools that were called, in order: their names, or names and arguments. Not for an event.
        waited_s: How long the caller waited for the answer at most.
        spent_s: What the wait was spent on, in seconds, as `Timeline.contributions_us` has it: of each that is named,
            exactly so much, to the microsecond.

    Raises:
        AssertionError: The turn is not like this; the message says everything that differs, and shows the turn.
    """
    if isinstance(turn, TurnEnded):
        if tools is not None:
            raise TypeError("the event of a turn does not know its tools; pass a turn of CallNotes or of a cassette")
        turn = turns_of([(0.0, turn)])[0]
    wrong: list[str] = []
    _compare(wrong, "the caller said", caller, turn.user_text)
    _compare(wrong, "the caller heard", heard, turn.heard)
    wrong += [
        f"the caller heard {turn.heard!r}, and not {words!r} in it"
        for words in ([contains] if isinstance(contains, str) else contains)
        if words.casefold() not in turn.heard.casefold()
    ]
    _compare(wrong, "it was", outcome, turn.outcome)
    if tools is not None:
        _compare_tools(wrong, tools, turn.tools)
    if waited_s is not None and (turn.waited_s is None or turn.waited_s > waited_s + 1e-9):
        found = "there was no answer" if turn.waited_s is None else f"the caller waited {turn.waited_s:.3f} s"
        wrong.append(f"{found}, and not at most {waited_s:g} s for an answer")
    for what, seconds in (spent_s or {}).items():
        found_s = turn.spent_s.get(what)
        if found_s is None or round(found_s - seconds, 6):
            wrong.append(f"{what} took {_seconds(found_s)}, and not {_seconds(seconds)}")
    if wrong:
        raise AssertionError(
            "\n".join([f"turn {turn.turn_id} is different:", *(f"  {one}" for one in wrong), _shown(turn)])
        )


def assert_turns(call: CallNotes | Replayed | Iterable[CallTurn], *outcomes: Outcome) -> list[CallTurn]:
    """Check how the turns of a call ended, in order, and return them.

        greeting, answer = assert_turns(notes, "interrupted", "completed")

    Raises:
        AssertionError: There are others; the message shows all turns.
    """
    turns = list(call.turns if isinstance(call, (CallNotes, Replayed)) else call)
    if [turn.outcome for turn in turns] != [*outcomes]:
        expected = ", ".join(outcomes) or "no turn"
        found = ", ".join(turn.outcome for turn in turns) or "no turn"
        raise AssertionError("\n".join([f"expected {expected}; found {found}:", *map(_shown, turns)]))
    return turns


def _compare(wrong: list[str], what: str, expected: str | None, found: str) -> None:
    if expected is not None and expected != found:
        wrong.append(f"{what} {found!r}, and not {expected!r}")


def _compare_tools(
    wrong: list[str], expected: Sequence[str | tuple[str, Mapping[str, Any]]], tools: Sequence[ToolUse]
) -> None:
    wanted = [one if isinstance(one, str) else _call(*one) for one in expected]
    found = [
        tool.name if index >= len(expected) or isinstance(expected[index], str) else _call(tool.name, _arguments(tool))
        for index, tool in enumerate(tools)
    ]
    if wanted != found:
        wrong.append(f"the model called {', '.join(found) or 'no tool'}, and not {', '.join(wanted) or 'no tool'}")


def _arguments(tool: ToolUse) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", json.loads(tool.arguments)) if tool.arguments else {}


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{name}({json.dumps(dict(arguments), sort_keys=True, ensure_ascii=False, default=str)})"


def _shown(turn: CallTurn) -> str:
    waited = "" if turn.waited_s is None else f", after {turn.waited_s:.3f} s"
    error = f": {turn.error}" if turn.error else ""
    lines = [f"turn {turn.turn_id}, {turn.outcome}{error}{waited}", f"  caller: {turn.user_text!r}"]
    lines += [f"  tool:   {tool.name}({tool.arguments}) {tool.status}: {tool.result}" for tool in turn.tools]
    return "\n".join([*lines, f"  heard:  {turn.heard!r}"])


def _seconds(seconds: float | None) -> str:
    return "no time at all" if seconds is None else f"{seconds:.6f} s"
