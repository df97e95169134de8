"""Replays of a family of calls: whatever happens in a call happens again, at the same times."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import voicepipe as vp
from tests.helpers.recorded import as_lines, recorded_call
from voicepipe.testing import (
    Breaks,
    Calls,
    Refuses,
    Reply,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
    run_on_virtual_time,
)
from voicepipe.watching.replay.difference import Difference
from voicepipe.watching.replay.replay import Replay
from voicepipe.watching.replay.side_by_side import side_by_side


@vp.tool(effect="read")
async def look(what: str, seconds: float = 0.1) -> str:
    """Look something up."""
    await anyio.sleep(seconds)
    return f"{what} is there"


@vp.tool(say="One moment, please.", timeout_s=2.0)
async def book(table: int, call: vp.ToolContext[None]) -> dict[str, int]:
    """Book a table."""
    await anyio.sleep(1.4 if table % 2 else 2.6)
    if table == 3:
        raise vp.ToolError("the table is taken")
    if table == 5:
        call.session.say("I have booked it.")
    return {"booked": table}


@vp.tool(confirm=True)
async def cancel(table: int) -> str:
    """Cancel a table."""
    return f"table {table} is free"


@vp.tool(reply=False)
async def note(text: str) -> None:
    """Take a note."""


TOOLS = [look, book, cancel, note]

moments = st.integers(0, 1_000_000).map(lambda n: n / 100_000)  # nothing in the world happens in the same microsecond
words = st.sampled_from(["How much is tea?", "I would like", "mhm", "stop that", "Book table five, please.", "No."])
sentences = st.sampled_from(
    ["Yes. It is here.", "Do you want anything else?", "Good morning, dear caller. How are you?"]
)
calls = st.one_of(
    st.builds(Calls, st.just("look"), st.fixed_dictionaries({"what": st.sampled_from(["tea", "cake"])})),
    st.builds(Calls, st.just("book"), st.fixed_dictionaries({"table": st.integers(2, 5)})),
    st.just(Calls("book", {"table": "five"})),
    st.just(Calls("cancel", {"table": 7}, say="Let me see.")),
    st.just(Calls("note", {"text": "tea"})),
    st.just(Calls("unknown", {})),
)
replies = st.one_of(
    st.builds(Says, sentences, after_s=st.sampled_from([0.0, 0.21, 0.8]), token_s=st.sampled_from([0.0, 0.013, 0.11])),
    calls,
    st.tuples(calls, calls),
    st.builds(Breaks, sentences, token_s=st.just(0.02)),
    st.just(Refuses(503, "overloaded", after_s=0.1)),
    st.just(Says("", finish_reason="content_filter")),
)
acts = st.one_of(
    st.tuples(st.just("says"), words, moments),
    st.tuples(st.just("guesses"), words, moments),
    st.tuples(st.just("interrupts"), words, moments),
    st.tuples(st.just("hums"), st.just("mhm"), moments),
    st.tuples(st.just("coughs"), st.just(""), moments),
    st.tuples(st.just("presses"), st.just("12#"), moments),
)
uses = st.one_of(
    st.tuples(st.just("say"), moments),
    st.tuples(st.just("interrupt"), moments),
    st.tuples(st.just("reply"), moments),
)


def caller(script: list[tuple[str, str, float]], ends_s: float) -> ScriptedUser:
    user = ScriptedUser()
    for act, text, at_s in script:
        if act == "says":
            user.says(text, at_s=at_s + 1.0, speech_s=0.7, silence_s=0.25)
        elif act == "coughs":
            user.coughs(at_s=at_s, for_s=0.45)
        else:
            getattr(user, act)(text, at_s=at_s)
    return user.hangs_up(at_s=ends_s)


async def use(session: vp.Session, script: list[tuple[str, float]]) -> None:
    """Use the session as an application does."""
    for method, at_s in sorted(script, key=lambda line: line[1]):
        await anyio.sleep_until(at_s + 0.037)
        given: dict[str, Any] = {"say": {"text": "By the way, we close soon."}, "reply": {"instructions": "Say hello."}}
        getattr(session, method)(**given.get(method, {}))


@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    script=st.lists(acts, min_size=1, max_size=6, unique_by=lambda act: act[2]),
    answers=st.lists(replies, min_size=8, max_size=8),
    used=st.lists(uses, max_size=2, unique_by=lambda use: use[1]),
    first_audio_s=st.sampled_from([0.0, 0.09, 0.3]),
    ends_s=st.sampled_from([6.0, 14.0]),
)
@pytest.mark.slow
def test_a_replay_equals_its_call_and_the_next_replay(
    script: list[tuple[str, str, float]],
    answers: list[Reply],
    used: list[tuple[str, float]],
    first_audio_s: float,
    ends_s: float,
) -> None:
    """Interruptions, pauses, drafts, tools and failures: the same words, decisions and order, to the microsecond."""

    def answer(_: object) -> Reply:
        return answers.pop(0) if answers else Says("That is all.")

    row = caller(script, ends_s), ScriptedModel(answer), vp.ToolRouter(TOOLS), vp.SentenceChunker()
    agent = vp.Pipeline(*row, ScriptedVoice(first_audio_s=first_audio_s))
    call = recorded_call(agent, lambda session: use(session, used), greeting="Hello.")
    first, second = (run_on_virtual_time(Replay(call).run) for _ in range(2))
    difference = Difference(call, first.replay, names=("recording", "replay"), times="marks", tolerance_s=1e-6)
    assert not difference, side_by_side(difference)
    # What the end of a call cancels ends in an order of its own.
    assert sorted(as_lines(first.replay)) == sorted(as_lines(second.replay))
