"""Situations of a call, each with what the caller must hear and when; see docs/turns.md for the rules.

A reply of nine seconds answers the words that are final at 1.0 s, unless the situation says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest

import voicepipe as vp
from tests.helpers.story import CHARACTER_S, RATE, CountingVoice, heard_places, hold, times
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio

ASKED = "Tell me about it."
LONG = (
    "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety."
)
QUESTION = "Shall I cancel it?"
FINE = Says("Fine.")


def asks() -> ScriptedUser:
    return ScriptedUser().says(ASKED, at_s=1.0)


def heard_for(seconds: float) -> str:
    """Return the words of the long reply that end within so many seconds."""
    text = LONG[: round(seconds / CHARACTER_S) + 1]
    return text[: text.rindex(" ")]


@dataclass
class Situation:
    """What a caller does, and what must follow.

    Attributes:
        name: The id.
        caller: What they do.
        spans: When the agent is heard.
        happens: Events and their times.
        history: All messages.
        replies: What the model says, in order.
        requests: How often the model is asked.
        turns: The settings.
    """

    name: str
    caller: ScriptedUser
    spans: list[tuple[float, float]]
    happens: dict[type[vp.Event], list[float]]
    history: list[str]
    replies: list[Reply] = field(default_factory=lambda: [Says(LONG), FINE])
    requests: int = 2
    turns: vp.TurnRules = field(default_factory=vp.TurnRules)
    until_s: float = 16.0


SITUATIONS = [
    Situation(
        "a10",
        asks().guesses("Stop", at_s=4.6, stable=False).says("Stop.", at_s=5.3, speech_s=1.0, silence_s=0.3),
        [(1.0, 4.3), (5.3, 5.55)],
        {vp.Paused: [4.3], vp.TurnInterrupted: [4.6]},
        [ASKED, heard_for(3.3), "Stop.", "Fine."],
    ),
    Situation(
        "a10b",
        asks()
        .guesses("yeah", at_s=4.4, stable=False)
        .guesses("yeah but I", at_s=4.8, stable=False)
        .says("Yeah, but I can't.", at_s=5.7, speech_s=1.4, silence_s=0.3),
        [(1.0, 4.3), (5.7, 5.95)],
        {vp.Paused: [4.3], vp.Resumed: [], vp.TurnInterrupted: [4.8]},
        [ASKED, heard_for(3.3), "Yeah, but I can't.", "Fine."],
    ),
    Situation(
        "a11",
        asks().says("Yeah.", at_s=2.8, speech_s=0.3, silence_s=0.3),
        [(1.0, 1.9), (2.8, 3.05)],
        {vp.Backchannel: [], vp.TurnInterrupted: []},
        [ASKED, QUESTION, "Yeah.", "Fine."],
        [Says(QUESTION), FINE],
    ),
    Situation(
        "a12",
        asks().says("Yeah.", at_s=2.2, speech_s=0.3, silence_s=0.3),
        [(1.0, 1.9), (2.2, 2.45)],
        {vp.Backchannel: [], vp.TurnInterrupted: []},
        [ASKED, QUESTION, "Yeah.", "Fine."],
        [Says(QUESTION), FINE],
    ),
    Situation(
        "b2",
        asks()
        .coughs(at_s=4.0, for_s=0.6)
        .guesses("No wait", at_s=5.8, stable=False)
        .says("No, wait.", at_s=6.3, speech_s=0.7, silence_s=0.3),
        [(1.0, 4.3), (6.3, 6.55)],
        {vp.Paused: [4.3], vp.Resumed: [], vp.TurnInterrupted: [5.8]},
        [ASKED, heard_for(3.3), "No, wait.", "Fine."],
    ),
    Situation(
        "d1",
        ScriptedUser()
        .says("I want to cancel.", at_s=1.25)
        .says("My subscription.", at_s=2.7, speech_s=0.9, silence_s=0.3),
        [(2.7, 2.95)],
        {vp.Withheld: [1.5], vp.TurnInterrupted: [2.7]},
        ["I want to cancel. My subscription.", "Fine."],
        [Says("Why?", after_s=0.4), FINE],
    ),
    Situation(
        "g1",
        ScriptedUser().says("Hello there.", at_s=1.0).says("I have a question.", at_s=1.1),
        [(1.4, 1.65)],
        {vp.TurnInterrupted: [1.1]},
        ["Hello there. I have a question.", "Fine."],
        [Says("Hello.", after_s=0.3), Says("Fine.", after_s=0.3)],
    ),
    Situation("h1", ScriptedUser().says("", at_s=1.0, speech_s=0.5), [], {vp.TurnStarted: []}, [], requests=0),
    Situation("h2", ScriptedUser().says("...", at_s=1.0, speech_s=0.5), [], {vp.TurnStarted: []}, [], requests=0),
    Situation(
        "i2",
        ScriptedUser()
        .guesses("a table for two", at_s=1.0)
        .says("A table for ten.", at_s=1.4, speech_s=1.0, silence_s=0.3),
        [(1.4, 1.65)],
        {vp.TurnStarted: [1.4], vp.TurnCompleted: [1.65]},
        ["A table for ten.", "Fine."],
        [Says("Two."), FINE],
    ),
    Situation(
        "m1",
        asks().coughs(at_s=1.15, for_s=0.55),
        [(2.2, 11.15)],
        {vp.Withheld: [1.15], vp.Released: [2.2], vp.TurnInterrupted: []},
        [ASKED, LONG],
        [Says(LONG, after_s=0.6)],
        requests=1,
    ),
    Situation(
        "m3",
        asks()
        .guesses("and the price", at_s=1.5, stable=False)
        .says("And the price.", at_s=2.5, speech_s=1.05, silence_s=0.3),
        [(2.5, 2.75)],
        {vp.Withheld: [1.15], vp.TurnInterrupted: [1.5], vp.Released: []},
        [f"{ASKED} And the price.", "Fine."],
        [Says(LONG, after_s=0.6), FINE],
    ),
    Situation(
        "q1",
        asks().presses("1234#", at_s=4.0),
        [(1.0, 4.0), (5.0, 5.25)],
        {vp.Digit: [4.0, 4.25, 4.5, 4.75, 5.0], vp.TurnInterrupted: [4.0]},
        [ASKED, heard_for(3.0), "1234", "Fine."],
    ),
    Situation(
        "q2",
        asks(),
        [(1.0, 10.35)],
        {vp.CallLimit: [3.0, 6.0], vp.TurnInterrupted: []},
        [ASKED, LONG, "Goodbye."],
        [Says(LONG)],
        requests=1,
        turns=vp.TurnRules(max_call_s=6.0, max_call_text="Goodbye."),
    ),
]


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case.name)
async def test_what_the_caller_hears(case: Situation) -> None:
    """The agent is heard, silent, interrupted and asked again exactly as the situation asks for."""
    model = ScriptedModel(case.replies)
    session, events, output = await hold(case.caller, model=model, turns=case.turns, until_s=case.until_s)
    assert output.spans() == case.spans
    assert {kind: times(events, kind) for kind in case.happens} == case.happens
    assert [message.text for message in session.history] == case.history
    assert len(model.requests) == case.requests
