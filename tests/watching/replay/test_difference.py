"""Differences of two calls: what counts as one, and how it reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import voicepipe as vp
from tests.helpers.recorded import recorded_call
from voicepipe.testing import Calls, Says, ScriptedModel, ScriptedUser, ScriptedVoice
from voicepipe.watching.replay import Difference, RecordedCall, side_by_side


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    return f"{what}: 2 euros"


def call(what: str = "tea", after_s: float = 0.2, words: str = "That is two euros.") -> RecordedCall:
    def answer(request: Any) -> Any:
        return Says(words, after_s=after_s) if request.tool_results else Calls("price", {"what": what})

    user = ScriptedUser().says("how much is it, please?", at_s=1.0, silence_s=0.2).hangs_up(at_s=5.0)
    row = user, ScriptedModel(answer), vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice()
    return recorded_call(vp.Pipeline(*row), greeting="Hello.")


def test_equal_calls_do_not_differ() -> None:
    """The text says so for each turn, in a few lines."""
    difference = Difference(call(), call(), times="marks")
    assert not difference
    assert difference.to_json()["same"] is True
    assert side_by_side(difference).split("\n\n")[1:] == [
        "turn 1  same",
        "turn 2  same",
        "no difference; marks at most 0.000 ms apart",
    ]


def test_what_differs_stands_side_by_side() -> None:
    """Words, tools with their arguments, what the wait was spent on, and what the model was sent."""
    difference = Difference(call(), call("cake", 0.5, "That is three euros."), names=("before", "after"))
    assert [(one.turn_id, one.what, one.by_s) for one in difference.changes] == [
        (2, "heard", None),
        (2, "tool 1", None),
        (2, "heard for", 0.1),
        (2, "waited", 0.3),
        (2, "llm", 0.3),
        (2, "request 2", None),
    ]
    assert side_by_side(difference, width=80).splitlines() == [
        "                before                           after",
        "",
        "turn 1  same",
        "",
        "turn 2",
        "  caller        how much is it, please?          how much is it, please?",
        "! heard         That is two euros.               That is three euros.",
        '! tool 1        price({"what": "tea"}) done:     price({"what": "cake"}) done:',
        "                tea: 2 euros                     cake: 2 euros",
        "! heard for     0.900 s                          1.000 s (+0.100)",
        "! waited        0.400 s                          0.700 s (+0.300)",
        "! llm           0.200 s                          0.500 s (+0.300)",
        "",
        "the call",
        '! 2: request 2  call: price({"what": "tea"})     call: price({"what": "cake"})',
        "                done: tea: 2 euros               done: cake: 2 euros",
        "",
        "6 differences; marks at most 400.000 ms apart",
    ]


def test_no_word_controls_the_terminal() -> None:
    """What a caller or a model said may hold anything; control characters are left out."""
    shown = side_by_side(Difference(call(), call(words="That is \x1b[2Jfour\x07 euros.")))
    assert "four" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_times_within_the_tolerance_are_the_same() -> None:
    """20 ms by default: a frame of audio. A larger tolerance compares calls that were held in real time."""
    slow, slower = call(after_s=0.2), call(after_s=0.23)
    assert [one.what for one in Difference(slow, slower).changes] == ["waited", "llm"]
    assert not Difference(slow, slower, tolerance_s=0.05)
    assert Difference(slow, slower, times="marks").largest_s == 0.03


def test_what_took_no_time_in_one_of_the_calls_differs_by_its_time() -> None:
    """On a busy machine a turn is committed a moment after its words: that is a difference of times alone."""

    def late(event: vp.Event) -> vp.Event:
        if not isinstance(event, vp.TurnEnded) or "transcript" not in event.timeline.marks:
            return event
        marks = event.timeline.marks
        wait = {"committed": marks["transcript"] + 0.042, "turn_started": marks["transcript"] + 0.043}
        return replace(event, timeline=vp.Timeline.from_marks({**marks, **wait}))

    quiet = call()
    busy = replace(quiet, events=[(at_s, late(event)) for at_s, event in quiet.events])
    changes = Difference(busy, quiet, times="marks").changes
    assert {(one.what, one.by_s) for one in changes} >= {("patience", -0.042), ("at turn_started", -0.043)}
    assert [one for one in changes if one.by_s is None] == []


def test_a_turn_that_is_missing_and_another_end_are_differences() -> None:
    """A call that was cut off is not compared beyond its cut; one that ended otherwise differs."""
    whole = call()
    cut = replace(whole, events=whole.events[:4], reason="the application ended it")
    whats = [(one.what, one.b) for one in Difference(whole, cut).changes]
    assert ("turn", "") in whats
    assert ("end", "the application ended it") in whats
    assert "end" not in [one.what for one in Difference(whole, replace(cut, reason=None)).changes]
