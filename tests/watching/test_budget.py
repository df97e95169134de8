"""Budgets of latency: which turns break them, and who learns of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

pytestmark = pytest.mark.anyio


def agent(*replies: Any, **options: Any) -> vp.Pipeline:
    """Each reply takes 0.2 s of silence, the model's time, and 0.1 s of the voice."""
    user = ScriptedUser()
    for number in range(len(replies)):
        user.says("How much is it?", at_s=1.0 + 4 * number, silence_s=0.2)
    user.hangs_up(at_s=1.0 + 4 * len(replies))
    row = user, ScriptedModel(list(replies)), vp.SentenceChunker(), ScriptedVoice(first_audio_s=0.1)
    return vp.Pipeline(*row, output=RecordingOutput(), **options)


async def test_a_turn_over_budget_is_an_event_and_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each thing that took too long is reported once, after the turn's end; a turn within its budget is not."""
    budget, seen = vp.LatencyBudget(first_audio_s=0.6, llm_first_token_s=0.3, tts_s=0.5), Seen()
    both = [budget, seen]
    async with agent(Says("Two euros.", after_s=0.3), Says("Three.", after_s=0.45)).session(observers=both) as session:
        events = [event async for event in session]
    over = [event for event in events if isinstance(event, vp.BudgetExceeded)]
    assert over == [
        vp.BudgetExceeded(turn_id=2, name="first_audio", took_s=0.75, budget_s=0.6),
        vp.BudgetExceeded(turn_id=2, name="llm_first_token", took_s=0.45, budget_s=0.3),
    ]
    assert [type(event) for event in events[-3:]] == [vp.TurnCompleted, vp.BudgetExceeded, vp.BudgetExceeded]
    assert seen.events == events
    assert "turn 2 is over budget: llm_first_token took 0.450 s of 0.3 s" in caplog.text


class Seen(vp.Observer):
    def __init__(self) -> None:
        self.events: list[vp.Event] = []

    def on_event(self, event: vp.Event) -> None:
        self.events.append(event)


async def test_a_test_fails_with_what_took_too_long() -> None:
    """`check` takes a turn, its event or its timeline; `assert_met` speaks for all sessions of a pipeline."""
    budget = vp.LatencyBudget(first_audio_s=0.6)
    pipeline = agent(Says("Two euros.", after_s=0.45), observers=[budget])
    budget.assert_met()
    async with pipeline.session(id="one") as session:
        ended = [event async for event in session if isinstance(event, vp.TurnEnded)]
    expected = "turn 1 is over its budget: first_audio took 0.750 s of 0.6 s\n<Timeline 750 ms = silence 200 "
    with pytest.raises(AssertionError, match=expected):
        budget.check(ended[0])
    with pytest.raises(AssertionError, match=r"^the turn is over its budget: first_audio took"):
        budget.check(ended[0].timeline)
    with pytest.raises(AssertionError, match=r"over budget 1 times:\nsession one, turn 1: first_audio took 0.750 s"):
        budget.assert_met()
    with pytest.raises(vp.ConfigurationError, match=r"takes a turn or its terminal event, not 0\.75"):
        budget.check(0.75)
    vp.LatencyBudget(first_audio_s=0.75).check(ended[0])


async def test_a_request_after_a_tool_is_measured_from_itself() -> None:
    """The model's first text counts from the request that it answers, not from the one that called a tool."""

    @vp.tool(effect="read")
    async def price() -> str:
        """Return a price."""
        return "2 euros"

    user = ScriptedUser().says("How much is it?", at_s=1.0, silence_s=0.2).hangs_up(at_s=5.0)
    model = ScriptedModel([Calls("price", {}, after_s=0.5), Says("Two euros.", after_s=0.2)])
    row = user, model, vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice()
    budget = vp.LatencyBudget(llm_first_token_s=0.1, llm_s=0.6)
    async with vp.Pipeline(*row, output=RecordingOutput()).session() as session:
        ended = [event async for event in session if isinstance(event, vp.TurnEnded)]
    assert [(over.name, over.took_s) for over in budget.broken(ended[0].timeline)] == [
        ("llm_first_token", 0.2),
        ("llm", 0.7),
    ]


@given(
    marks=st.dictionaries(
        st.sampled_from(["speech_ended", "endpoint", "llm_request", "llm_first_token", "first_audible", "answer"]),
        st.integers(0, 10**7).map(lambda us: us / 1e6),
    )
)
def test_recorded_marks_are_judged_like_a_live_turn(marks: dict[str, float]) -> None:
    """Whatever a recording holds of a turn, its marks give the same result as the timeline that they came from."""
    budget = vp.LatencyBudget({"stage:Redact": 0.1}, first_audio_s=1, answer_s=1, llm_first_token_s=1, endpoint_s=1)
    timeline = vp.Timeline.from_marks(marks)
    assert budget.broken(marks) == budget.broken(timeline) == budget.broken(timeline.marks)
    waited = timeline.waited_us
    names = [over.name for over in budget.broken(marks)]
    assert ("first_audio" in names) == (waited is not None and waited > 1_000_000)


@pytest.mark.parametrize(
    ("budgets", "says"),
    [
        ({}, "at least one budget"),
        ({"first_sound_s": 1.0}, "'first_sound_s' is nothing that is measured; there are first_audio_s, answer_s, sil"),
        ({"speech_s": 1.0}, "'speech_s' is nothing that is measured"),
        ({"stage:": 1.0}, "'stage:' is nothing"),
        ({"first_audio_s": 0}, "first_audio_s must be a number of seconds above 0, not 0"),
        ({"llm_s": "0.4"}, "llm_s must be a number of seconds above 0, not '0.4'"),
        ({"llm_s": float("nan")}, "not nan"),
    ],
)
def test_a_budget_that_can_never_be_broken_is_refused(budgets: dict[str, Any], says: str) -> None:
    """A name that is not measured is refused with the names that are; a time has to be a positive number."""
    with pytest.raises(vp.ConfigurationError, match=says):
        vp.LatencyBudget(budgets)


def test_what_was_measured_is_there_without_a_verdict() -> None:
    """Each name of the budget that a turn has a time for comes with it, over or not; the others are left out."""
    marks = {"speech_ended": 1.0, "endpoint": 1.2, "llm_request": 1.2, "llm_first_token": 1.5, "first_frame": 1.6}
    budget = vp.LatencyBudget(first_audio_s=0.1, llm_first_token_s=9.0, tools_s=1.0)
    assert budget.measured(marks) == {"first_audio": 0.6, "llm_first_token": 0.3}
    assert [over.name for over in budget.broken(marks)] == ["first_audio"]


def test_a_server_keeps_only_the_newest_overruns() -> None:
    """What `assert_met` shows is limited, however many turns a long-lived process has."""
    budget = vp.LatencyBudget(first_audio_s=0.1)
    budget._session = SimpleNamespace(id="call", emit=lambda event: None)  # type: ignore[assignment]
    timeline = vp.Timeline.from_marks({"speech_ended": 1.0, "first_audible": 2.0})
    for number in range(1, 1_502):
        budget.on_event(
            vp.TurnCompleted(turn_id=number, user_text="", heard="", timeline=timeline, finish_reason="stop")
        )
    with pytest.raises(AssertionError) as raised:
        budget.assert_met()
    first, *others = str(raised.value).splitlines()
    assert (first, len(others), "turn 1501:" in others[-1]) == ("over budget 1000 times or more:", 1000, True)
