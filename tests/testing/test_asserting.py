"""Assertions about turns: what they check, and how they say what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

import voicepipe as vp
from voicepipe.testing import (
    CallNotes,
    Calls,
    RecordingOutput,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
    assert_turn,
    assert_turns,
)

pytestmark = pytest.mark.anyio


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    return f"{what}: 2 euros"


async def notes_of_a_call() -> CallNotes:
    def answer(request: Any) -> Any:
        return Says("That is two euros.") if request.tool_results else Calls("price", {"what": "tea"}, after_s=0.3)

    user = ScriptedUser().says("how much is it, please?", at_s=1.0, silence_s=0.2).coughs(at_s=2.5).hangs_up(at_s=5.0)
    row = user, ScriptedModel(answer), vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice()
    notes = CallNotes()
    async with vp.Pipeline(*row, output=RecordingOutput()).session(observers=[notes], greeting="Hello.") as session:
        await session.ended.wait()
    return notes


async def test_turns_are_what_was_said() -> None:
    """Of a turn, its words, outcome, tools and times can be checked; what is left out is not."""
    notes = await notes_of_a_call()
    greeting, answer = assert_turns(notes, "completed", "completed")
    assert_turn(greeting, heard="Hello.", caller="", tools=[])
    assert_turn(
        answer,
        caller="how much is it, please?",
        heard="That is two euros.",
        contains=["two euros", "THAT IS"],
        outcome="completed",
        tools=["price"],
        waited_s=0.5,
        spent_s={"silence": 0.2, "llm": 0.3},
    )
    assert_turn(answer, tools=[("price", {"what": "tea"})])
    (event,) = (event for _, event in notes.events if isinstance(event, vp.TurnCompleted) and event.turn_id == 2)
    assert_turn(event, contains="euros", outcome="completed")


async def test_a_failed_assertion_says_all_that_is_wrong() -> None:
    """One message holds each difference, and the turn as it was."""
    _, answer = (await notes_of_a_call()).turns
    with pytest.raises(AssertionError) as failed:
        assert_turn(
            answer,
            caller="how much?",
            contains="three euros",
            outcome="interrupted",
            tools=[("price", {"what": "cake"}), "order"],
            waited_s=0.4,
            spent_s={"llm": 0.25, "tools": 0.0, "thinking": 1.0},
        )
    assert str(failed.value).splitlines() == [
        "turn 2 is different:",
        "  the caller said 'how much is it, please?', and not 'how much?'",
        "  the caller heard 'That is two euros.', and not 'three euros' in it",
        "  it was 'completed', and not 'interrupted'",
        '  the model called price({"what": "tea"}), and not price({"what": "cake"}), order',
        "  the caller waited 0.500 s, and not at most 0.4 s for an answer",
        "  llm took 0.300000 s, and not 0.250000 s",
        "  thinking took no time at all, and not 1.000000 s",
        "turn 2, completed, after 0.500 s",
        "  caller: 'how much is it, please?'",
        '  tool:   price({"what": "tea"}) done: tea: 2 euros',
        "  heard:  'That is two euros.'",
    ]


async def test_other_turns_than_expected_are_shown() -> None:
    """The message of `assert_turns` has all turns of the call."""
    notes = await notes_of_a_call()
    with pytest.raises(AssertionError, match=r"^expected failed; found completed, completed:\nturn 1, completed\n"):
        assert_turns(notes, "failed")
    (event,) = (event for _, event in notes.events if isinstance(event, vp.TurnCompleted) and event.turn_id == 2)
    with pytest.raises(TypeError, match="does not know its tools"):
        assert_turn(event, tools=["price"])
