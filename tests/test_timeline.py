"""Where the time of one turn went."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.timeline import CONTRIBUTIONS, Timeline


def timeline(**marks: float) -> Timeline:
    made = Timeline()
    for name, at_s in marks.items():
        made.mark(name, at_s)
    return made


@pytest.mark.anyio
async def test_a_mark_is_set_now() -> None:
    """A mark without a time gets the event loop's time."""
    made = Timeline()
    await anyio.sleep(1.25)
    made.mark("ended")
    assert made.ended == 1.25


def test_the_first_time_counts() -> None:
    """A mark that is set already does not change."""
    made = timeline(first_frame=1.0)
    made.mark("first_frame", 2.0)
    assert made.first_frame == 1.0


@pytest.mark.anyio
async def test_marks_that_repeat_are_numbered() -> None:
    """`mark_again` keeps every time: name, name_2, name_3."""
    made = Timeline()
    for _ in range(3):
        made.mark_again("llm_request")
        await anyio.sleep(0.5)
    assert made.marks == {"llm_request": 0.0, "llm_request_2": 0.5, "llm_request_3": 1.0}


def test_a_mark_that_is_not_there_is_told_with_those_that_are() -> None:
    """The error for a mark that is not set names the marks that are."""
    with pytest.raises(AttributeError, match="no mark 'first_frame'; it has endpoint, transcript"):
        _ = timeline(endpoint=1.0, transcript=2.0).first_frame


def test_presence_is_asked_with_in() -> None:
    """`in` returns whether a mark is set, without raising."""
    made = timeline(endpoint=1.0)
    assert ("endpoint" in made, "first_frame" in made) == (True, False)


def test_marks_come_in_the_order_of_time() -> None:
    """Marks are listed in the order of their times, not in the order in which they were set."""
    assert list(timeline(transcript=3.0, endpoint=2.0, speech_ended=1.0).marks) == [
        "speech_ended",
        "endpoint",
        "transcript",
    ]


@pytest.mark.parametrize("marks", [{}, {"speech_ended": 1.0}, {"first_frame": 1.0}])
def test_a_turn_without_an_answer_has_no_wait(marks: dict[str, float]) -> None:
    """Without an answer, or without a caller's words before it, there is no wait."""
    made = timeline(**marks)
    assert (made.waited_us, made.contributions_us) == (None, {})


def test_each_step_is_charged_with_its_time() -> None:
    """The time up to a mark counts for what happened before it."""
    made = timeline(
        speech_ended=1.0,
        endpoint=1.2,
        transcript=1.3,
        turn_started=1.3,
        llm_request=1.31,
        llm_first_token=1.5,
        first_sentence=1.6,
        tts_first_audio=1.8,
        first_frame=1.81,
    )
    assert made.contributions_us == {
        "silence": 200_000,
        "stt": 100_000,
        "turn": 0,
        "request": 10_000,
        "llm": 190_000,
        "sentence": 100_000,
        "tts": 200_000,
        "output": 10_000,
    }


def test_a_tool_round_is_charged_to_the_tools() -> None:
    """With a tool before the first word, its time counts for "tools", and both requests count for "llm"."""
    made = timeline(
        speech_ended=0.0, llm_request=0.1, tool_called=0.3, tools_done=0.8, llm_request_2=0.9, llm_first_token=1.0,
        first_frame=1.0,
    )  # fmt: skip
    assert made.contributions_us == {
        "request": 200_000, "llm": 300_000, "tools": 500_000, "output": 0,
    }  # fmt: skip


MICROSECONDS = st.integers(0, 10**8)


@given(
    start=MICROSECONDS,
    waited=MICROSECONDS,
    others=st.dictionaries(
        st.sampled_from([*sorted(set(CONTRIBUTIONS) - {"speech_ended", "first_audible"}), "llm_request_2",
                         "tools_done_3", "first_sentence_2", "stage:Redact", "stage:Redact_2", "ended", "of_my_own"]),
        MICROSECONDS,
    ),
    more=st.integers(0, 10**8),
)  # fmt: skip
def test_contributions_add_up_exactly(start: int, waited: int, others: dict[str, int], more: int) -> None:
    """Whatever marks a turn has, the contributions add up to the waits that the ear hears, and none is negative."""
    heard = start + waited
    marks = {"speech_ended": start, "first_audible": heard, "answer": heard + more, "first_audible_2": heard + more}
    made = timeline(**{name: us / 1e6 for name, us in (marks | others).items()})
    assert (made.waited_us, made.answered_us) == (waited, waited + more)
    assert sum(made.contributions_us.values()) == waited
    assert sum(made.answer_contributions_us.values()) == waited + more
    assert min([*made.contributions_us.values(), *made.answer_contributions_us.values()]) >= 0


def test_it_shows_the_wait_in_milliseconds() -> None:
    """The repr is a sum that fits into a log line."""
    made = timeline(speech_ended=0.0, endpoint=0.2, llm_request=0.2, llm_first_token=0.5, first_frame=0.5)
    assert repr(made) == "<Timeline 500 ms = silence 200 + llm 300>"


def test_it_shows_its_marks_while_there_is_no_wait() -> None:
    """Before the first frame the repr names the marks so far."""
    assert repr(timeline(endpoint=0.2)) == "<Timeline endpoint>"
    assert repr(Timeline()) == "<Timeline no marks>"
