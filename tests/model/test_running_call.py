"""One tool call: its `say`, the caller's agreement, refused arguments. Whole sessions on virtual time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.tool_rows import DONE, Row, calls_of, scripted
from voicepipe.errors import ConfigurationError, ToolError, ToolRetry
from voicepipe.history import AssistantMessage
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.testing import Calls, Refuses, Says, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from voicepipe.testing import ChatRequest
    from voicepipe.tools.tool import Tool

pytestmark = pytest.mark.anyio


def slow(name: str, seconds: float, say: str = "One moment.", *, effect: Any = "read") -> Tool[Any, Any]:
    """Return a tool that takes this long, and has a `say`."""

    @vp.tool(effect=effect, name=name, say=say)
    async def sleep() -> str:
        """Take a while."""
        await anyio.sleep(seconds)
        return f"{name} ended"

    return sleep


# --- words while a tool takes its time --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [
        (0.6, [(0.6, "Done.")]),
        (2.0, [(0.7, "One moment."), (2.0, "Done.")]),
        # The words last longer than the tool: the answer follows them, and nothing is lost.
        (0.8, [(0.7, "One moment."), (0.8, "Done.")]),
    ],
)
async def test_a_slow_tool_says_its_words(seconds: float, spoken: list[tuple[float, str]]) -> None:
    """The `say` of a tool is spoken after 0.7 s, and not if the tool is quicker."""
    row, _ = scripted([Calls("look", {}), DONE], slow("look", seconds))
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences == spoken


async def test_the_words_wait_until_the_agent_is_silent() -> None:
    """The `say` waits until words before the call have been heard, and is spoken then if the tool is still running."""
    row, _ = scripted([Calls("look", {}, say="Let me see. "), DONE], slow("look", 4.0))
    row.voice = ScriptedVoice(character_s=0.1)  # "Let me see." takes 1.1 s
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences == [(0.0, "Let me see. "), (1.1, "One moment."), (4.0, "Done.")]


async def test_the_words_are_not_said_when_the_agent_speaks_all_the_time() -> None:
    """Words before the call that last longer than the tool leave no silence to fill."""
    row, _ = scripted([Calls("look", {}, say="Let me see. "), DONE], slow("look", 1.0))
    row.voice = ScriptedVoice(character_s=0.1)
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert [text for _, text in row.voice.sentences] == ["Let me see. ", "Done."]


class SpeaksOn(Model):
    """Calls a tool, says a sentence in two pieces a while later, and answers when it has the result."""

    async def reply(self, request: Request, outbox: vp.Outbox[ReplyPart], turn: vp.Turn) -> None:
        if request.step:
            await outbox.send(vp.TextDelta("Done."))
        else:
            await outbox.send(vp.ToolCallDelta(index=0, name="look", arguments="{}"))
            await anyio.sleep(0.5)
            await outbox.send(vp.TextDelta("Let me "))
            await anyio.sleep(0.5)
            await outbox.send(vp.TextDelta("see."))
        await outbox.send(vp.ReplyEnd(finish_reason="stop"))


async def test_the_words_wait_for_text_after_the_call() -> None:
    """The `say` waits for text after the call, even if the text begins late and ends before its first sound."""
    row = Row(SpeaksOn(), [slow("look", 4.0)], voice=ScriptedVoice(character_s=0.1))  # "Let me see." takes 1.1 s
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences == [(1.0, "Let me see."), (2.1, "One moment."), (4.0, "Done.")]


async def test_a_result_ends_the_wait_for_silence() -> None:
    """A tool that ends while the `say` waits for text leaves it unsaid, and the turn goes on at once."""
    row = Row(SpeaksOn(), [slow("look", 0.9)], voice=ScriptedVoice(character_s=0.1))
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences == [(1.0, "Let me see."), (1.0, "Done.")]


async def test_several_slow_tools_say_one_thing() -> None:
    """Of several slow tools in one reply, only the first `say` is spoken."""
    row, _ = scripted(
        [(Calls("a", {}), Calls("b", {})), DONE], slow("a", 2.0, "Looking at a."), slow("b", 3.0, "Looking at b.")
    )
    async with row.session() as session:
        await session.user_says("Both")

    assert row.voice.sentences == [(0.7, "Looking at a."), (3.0, "Done.")]


async def test_the_model_sees_that_the_words_were_said() -> None:
    """The `say` belongs to the calling message, so that the model does not repeat it; history keeps it."""
    row, model = scripted([Calls("look", {}, say="Hm. "), DONE], slow("look", 2.0))
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert model.requests[1].messages[-2].content == "Hm.  One moment."
    assert [message.text for message in list(session.history)[1:]] == ["Hm. One moment.", "Done."]


async def test_the_words_are_no_first_token() -> None:
    """The timeline distinguishes the model's first token from the first frame that the caller hears."""
    row, _ = scripted([Calls("look", {}), Says("Done.", after_s=0.5)], slow("look", 2.0))
    async with row.session() as session:
        turn = await session.user_says("Where is it?")

    began = turn.timeline.turn_started
    assert turn.timeline.first_frame - began == pytest.approx(0.7)
    assert turn.timeline.llm_first_token - began == pytest.approx(2.5)


async def test_a_draft_does_not_say_the_words_before_its_commit() -> None:
    """The `say` of a draft waits for the commit: the caller has not finished speaking."""
    user = ScriptedUser().guesses("Where is it?", at_s=0.0).says("Where is it?", at_s=1.5).hangs_up(at_s=9.0)
    row, _ = scripted([Calls("look", {}), DONE], slow("look", 3.0), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert row.voice.sentences == [(1.5, "One moment."), (3.0, "Done.")]


async def test_a_draft_s_waiting_is_not_the_tool_s() -> None:
    """The time in a draft does not count for a writing tool, which starts with the commit."""
    user = ScriptedUser().guesses("Write it down", at_s=0.0).says("Write it down.", at_s=1.5).hangs_up(at_s=9.0)
    row, _ = scripted([Calls("note", {}), DONE], slow("note", 0.2, effect="write"), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert row.voice.sentences == [(1.7, "Done.")]


async def test_the_words_are_said_once_a_turn() -> None:
    """A second slow round of tools does not speak the `say` again."""
    row, _ = scripted([Calls("look", {}), Calls("look", {}), DONE], slow("look", 2.0))
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences == [(0.7, "One moment."), (4.0, "Done.")]


async def test_a_filled_silence_is_no_reply() -> None:
    """If no answer follows the `say` of a tool, the caller hears the fallback instead of silence."""
    row, _ = scripted([Calls("look", {}), Says("")], slow("look", 2.0))
    row.fallback = "Sorry."
    async with row.session() as session:
        await session.user_says("Where is it?")

    assert row.voice.sentences[-1] == (2.0, "Sorry.")
    assert isinstance(row.events[-1][1], vp.TurnEmpty)


async def test_a_barge_in_ends_the_words() -> None:
    """After a barge-in into the `say`, history keeps what was heard of it."""
    row, _ = scripted([Calls("look", {}), DONE], slow("look", 9.0))
    row.voice = ScriptedVoice(character_s=0.1)
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Where is it?")
        await anyio.sleep(0.7 + 0.5)
        session.interrupt()

    (message,) = [one for one in session.history if isinstance(one, AssistantMessage)]
    assert (message.text, message.was_interrupted) == ("One", True)


def test_a_delay_that_cannot_be_is_refused() -> None:
    """`say_after_s` must be finite and not negative."""
    for seconds in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigurationError, match="say_after_s must be seconds"):
            vp.ToolRouter([], say_after_s=seconds)


# --- whether the caller has an answer ---------------------------------------------------------------------------------


@vp.tool
async def note(text: str) -> str:
    """Take a note."""
    if text == "wrong":
        raise ToolError("the book is full")
    return "noted"


@vp.tool(reply=False)
async def transfer(to: str, call: vp.ToolContext[Any]) -> str:
    """Transfer the call."""
    if to == "nobody":
        raise ToolError("nobody is there")
    if to == "away":
        call.session.end(after_reply=True)
    return "transferred"


ANSWER = "You are on the list. "


@pytest.mark.parametrize(
    ("replies", "spoken", "ended"),
    [
        pytest.param([Calls("note", {"text": "a"}, say=ANSWER), Says("")], [ANSWER], vp.TurnCompleted, id="alongside"),
        pytest.param(
            [Calls("note", {"text": "a"}, say=ANSWER), Calls("note", {"text": "b"}), Says("")],
            [ANSWER],
            vp.TurnCompleted,
            id="two rounds",
        ),
        pytest.param(
            [Calls("note", {"text": "a"}), Calls("note", {"text": "b"}, say=ANSWER), Says("")],
            [ANSWER],
            vp.TurnCompleted,
            id="in the second round",
        ),
        pytest.param(
            [(Calls("note", {"text": "a"}, say=ANSWER), Calls("note", {"text": "b"})), Says("")],
            [ANSWER],
            vp.TurnCompleted,
            id="two calls",
        ),
        pytest.param(
            [Calls("note", {"text": "wrong"}, say=ANSWER), Says("")],
            [ANSWER, "Sorry."],
            vp.TurnEmpty,
            id="the call failed",
        ),
        pytest.param(
            [(Calls("note", {"text": "a"}, say=ANSWER), Calls("note", {"text": "wrong"})), Says("")],
            [ANSWER, "Sorry."],
            vp.TurnEmpty,
            id="one of two failed",
        ),
        pytest.param(
            [Calls("note", {"words": "a"}, say=ANSWER), Says("")],
            [ANSWER, "Sorry."],
            vp.TurnEmpty,
            id="arguments refused",
        ),
        pytest.param([Calls("note", {"text": "a"}), Says("")], ["Sorry."], vp.TurnEmpty, id="no words"),
        pytest.param(
            [Calls("note", {"text": "a"}, say="... "), Says("")], ["Sorry."], vp.TurnEmpty, id="nothing to pronounce"
        ),
        pytest.param([Calls("note", {"text": "a"}, say=ANSWER), DONE], [ANSWER, "Done."], vp.TurnCompleted, id="both"),
        pytest.param(
            [Calls("note", {"text": "a"}, say=ANSWER), Refuses(400, "no")],
            [ANSWER, "Sorry."],
            vp.TurnFailed,
            id="the follow-up fails",
        ),
    ],
)
async def test_words_alongside_calls_are_the_answer(replies: list[Any], spoken: list[str], ended: type[Any]) -> None:
    """Words heard, all calls done and nothing to add is a whole reply; a failed call without a word on it is not."""
    row, _ = scripted(replies, note)
    row.fallback = "Sorry."
    async with row.session() as session:
        await session.user_says("Put me on the list")

    assert [text for _, text in row.voice.sentences] == [text.strip() for text in spoken]
    assert [type(event) for event in row.reported(vp.TurnEnded)] == [ended]


async def test_an_answer_alongside_a_call_is_heard_by_the_model() -> None:
    """What was said alongside the call is in history as the answer, with the call and its result."""
    row, model = scripted([Calls("note", {"text": "a"}, say=ANSWER), Says(""), DONE], note)
    async with row.session() as session:
        await session.user_says("Put me on the list")
        await session.user_says("Thanks")

    assert [message.role for message in model.requests[-1].messages] == ["user", "assistant", "tool", "user"]
    assert model.requests[-1].messages[1].content == ANSWER.strip()


@pytest.mark.parametrize("say", ["", ANSWER])
async def test_a_tool_can_say_that_no_reply_is_wanted(say: str) -> None:
    """After a call of `@tool(reply=False)` the model is not asked again, and no fallback is heard."""
    row, model = scripted([Calls("transfer", {"to": "Ada"}, say=say)], transfer)
    row.fallback = "Sorry."
    async with row.session() as session:
        await session.user_says("Ada, please")

    assert len(model.requests) == 1
    assert [text for _, text in row.voice.sentences] == ([say.strip()] if say else [])
    assert [type(event) for event in row.reported(vp.TurnEnded)] == [vp.TurnCompleted]


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param((Calls("transfer", {"to": "nobody"}),), id="it failed"),
        pytest.param((Calls("transfer", {"whom": "Ada"}),), id="it was refused"),
        pytest.param((Calls("transfer", {"to": "Ada"}), Calls("note", {"text": "a"})), id="another wants a reply"),
        pytest.param((Calls("transfer", {"to": "Ada"}), Calls("unheard_of", {})), id="another does not exist"),
    ],
)
async def test_the_model_is_asked_if_a_reply_is_wanted(calls: tuple[Calls, ...]) -> None:
    """If such a call fails, or another one of the same reply wants a reply, the model is asked again."""
    row, model = scripted([calls, Says("There is nobody.")], transfer, note)
    async with row.session() as session:
        await session.user_says("Ada, please")

    assert len(model.requests) == 2
    assert row.voice.sentences == [(0.0, "There is nobody.")]


@pytest.mark.parametrize("say", ["", "Good bye. "])
@pytest.mark.parametrize("follow_up", [Says(""), Refuses(400, "no")])
async def test_no_fallback_once_the_end_was_asked_for(say: str, follow_up: Says | Refuses) -> None:
    """If a tool ends the call and the model has nothing to add, or fails, the last words are not an apology."""

    @vp.tool
    async def hang_up(call: vp.ToolContext[Any]) -> str:
        """End the call."""
        call.session.end(after_reply=True)
        return "ended"

    row, _ = scripted([Calls("hang_up", {}, say=say), follow_up], hang_up)
    row.fallback = "Sorry."
    async with row.session() as session:
        await session.user_says("Bye")
        await session.ended.wait()

    assert [text for _, text in row.voice.sentences] == ([say.strip()] if say else [])


async def test_a_transfer_ends_the_call_in_silence() -> None:
    """A tool without a reply that asks for the end ends the call with its turn."""
    row, _ = scripted([Calls("transfer", {"to": "away"})], transfer)
    row.fallback = "Sorry."
    async with row.session() as session:
        await session.user_says("Ada, please")
        assert session.ended.is_set()

    assert [type(event) for event in row.reported(vp.TurnEnded)] == [vp.TurnCompleted]


# --- the same call twice ----------------------------------------------------------------------------------------------


def reserving(
    reserved: list[tuple[float, int]], takes_s: float, *, timeout_s: float = 10.0, confirm: bool = False
) -> Any:
    @vp.tool(timeout_s=timeout_s, confirm=confirm)
    async def reserve(seats: int, outside: bool = False) -> str:
        """Reserve a table."""
        reserved.append((anyio.current_time(), seats))
        await anyio.sleep(takes_s)
        return f"table {len(reserved)}"

    return reserve


async def test_an_equal_call_of_a_later_reply_joins_the_pending_one() -> None:
    """A writing call that is repeated while it is pending runs once, and both calls get its result at its end."""
    reserved: list[tuple[float, int]] = []
    row, model = scripted(
        [Calls("reserve", {"seats": 4}), Calls("reserve", {"seats": 4, "outside": False}), DONE],
        reserving(reserved, 4.0),
    )
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "A table for four")
            await anyio.sleep(2.0)
            session.interrupt()
        await session.user_says("A table for four, please")

    assert reserved == [(0.0, 4)]
    assert row.tool_table == [(0.0, "reserve", "started"), (4.0, "reserve", "done"), (4.0, "reserve", "done")]
    assert [(call.status, call.result) for call in calls_of(session)] == [("done", "table 1")] * 2
    assert len({call.call_id for call in calls_of(session)}) == 2
    assert row.voice.sentences == [(4.0, "Done.")]
    assert len(model.requests) == 3  # the answer shows the first result too, so nobody is asked about it again


async def test_a_call_whose_outcome_is_unknown_is_joined_too() -> None:
    """After its timeout a tool is still running: the same call in the next reply waits for it."""
    reserved: list[tuple[float, int]] = []
    row, _ = scripted(
        [Calls("reserve", {"seats": 4}), Calls("reserve", {"seats": 4}), DONE], reserving(reserved, 1.5, timeout_s=1.0)
    )
    async with row.session() as session:
        await session.user_says("A table for four")

    assert reserved == [(0.0, 4)]
    assert row.tool_table == [
        (0.0, "reserve", "started"),
        (1.0, "reserve", "unknown"),
        (1.5, "reserve", "done"),
        (1.5, "reserve", "done"),
    ]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"seats": 5}, id="other arguments"),
        pytest.param({"seats": 4, "outside": True}, id="not the default"),
    ],
)
async def test_another_call_runs(second: dict[str, Any]) -> None:
    """A call with other arguments is another call."""
    reserved: list[tuple[float, int]] = []
    row, _ = scripted(
        [Calls("reserve", {"seats": 4}), Calls("reserve", second), DONE], reserving(reserved, 1.5, timeout_s=1.0)
    )
    async with row.session() as session:
        await session.user_says("A table for four")

    assert len(reserved) == 2


async def test_two_equal_calls_of_one_reply_both_run() -> None:
    """In one reply two equal calls are meant as two; repeated later they join one each, and a third one runs."""
    reserved: list[tuple[float, int]] = []
    four = Calls("reserve", {"seats": 4})
    row, _ = scripted([(four, four), (four, four, four), DONE, DONE], reserving(reserved, 1.5, timeout_s=1.0))
    async with row.session() as session:
        await session.user_says("Two tables for four")

    assert reserved == [(0.0, 4), (0.0, 4), (1.0, 4)]


async def test_after_its_end_the_same_call_runs_again() -> None:
    """Once a call has its result, an equal call is a new one."""
    reserved: list[tuple[float, int]] = []
    row, _ = scripted([Calls("reserve", {"seats": 4}), Calls("reserve", {"seats": 4}), DONE], reserving(reserved, 1.0))
    async with row.session() as session:
        await session.user_says("A table for four, and one more")

    assert reserved == [(0.0, 4), (1.0, 4)]


async def test_a_joined_call_that_fails_fails_for_both() -> None:
    """The error of the tool is the one result of each call that waited for it."""

    @vp.tool(timeout_s=1.0)
    async def reserve() -> str:
        """Reserve a table."""
        await anyio.sleep(1.5)
        raise ToolError("all taken")

    row, _ = scripted([Calls("reserve", {}), Calls("reserve", {}), DONE], reserve)
    async with row.session() as session:
        await session.user_says("A table")

    assert results_of(session) == [{"error": "all taken"}] * 2


async def test_a_pending_call_that_was_agreed_to_is_not_asked_about_again() -> None:
    """The same confirmed call joins while the first is pending, without another question."""
    reserved: list[tuple[float, int]] = []
    four = Calls("reserve", {"seats": 4})
    row, _ = scripted([four, Says("Shall I?"), four, four, DONE], reserving(reserved, 1.5, timeout_s=1.0, confirm=True))
    async with row.session() as session:
        await session.user_says("A table for four")
        await session.user_says("Yes")

    assert len(reserved) == 1
    assert [call.status for call in calls_of(session)] == ["unconfirmed", "done", "done"]


# --- calls that the caller has to agree to ----------------------------------------------------------------------------


def booking(booked: list[int]) -> Tool[Any, Any]:
    @vp.tool(confirm=True)
    async def book(seats: int) -> str:
        """Book a table."""
        booked.append(seats)
        return "booked"

    return book


def asks_then_books(request: ChatRequest) -> Says | Calls:
    """Reply as a model that calls whenever the caller has spoken, and asks when the result says so."""
    results = request.tool_results.values()
    if any("needs_confirmation" in result for result in results):
        return Says("A table for two. Shall I?")
    return Says("It is booked.") if results else Calls("book", {"seats": 2})


async def test_a_call_waits_for_the_callers_word() -> None:
    """The first call does not run but asks; the same call after a yes runs once."""
    booked: list[int] = []
    row, _ = scripted(asks_then_books, booking(booked))
    async with row.session() as session:
        await session.user_says("A table for two")
        assert booked == []
        await session.user_says("Yes, please")

    assert booked == [2]
    assert [text for _, text in row.voice.sentences] == ["A table for two.", " Shall I?", "It is booked."]
    assert [status for _, _, status in row.tool_table] == ["unconfirmed", "started", "done"]


async def test_a_refusal_keeps_a_call_from_running() -> None:
    """A call after a no does not run."""
    booked: list[int] = []
    row, _ = scripted(asks_then_books, booking(booked))
    async with row.session() as session:
        await session.user_says("A table for two")
        await session.user_says("No, wait")

    assert booked == []


async def test_a_question_nobody_heard_is_asked_again() -> None:
    """A caller who speaks before any of the question was heard has not agreed."""
    booked: list[int] = []
    user = ScriptedUser().says("A table for two.", at_s=0.0).says("And yes.", at_s=0.5).hangs_up(at_s=9.0)
    row, _ = scripted(asks_then_books, booking(booked), user=user)
    row.voice = ScriptedVoice(first_audio_s=1.0, character_s=0.1)
    async with row.session() as session:
        await session.ended.wait()

    assert booked == []


async def test_a_draft_neither_asks_nor_agrees() -> None:
    """A draft on an early yes that is rolled back does not use up the agreement."""
    booked: list[int] = []
    user = (
        ScriptedUser()
        .says("A table for two.", at_s=0.0)
        .guesses("Yes", at_s=1.0)
        .says("Yes, do.", at_s=1.2)  # the draft is rolled back
        .hangs_up(at_s=9.0)
    )
    row, model = scripted(asks_then_books, booking(booked), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert len([request for request in model.requests if request.last_user_text.startswith("Yes")]) == 3
    assert booked == [2]


async def test_two_calls_of_one_reply_are_agreed_to_together() -> None:
    """One question covers two different calls of a tool, and both run after one yes."""
    booked: list[int] = []

    def model(request: ChatRequest) -> Says | tuple[Calls, ...]:
        results = request.tool_results.values()
        if any("needs_confirmation" in result for result in results):
            return Says("Both?")
        return Says("Booked.") if results else (Calls("book", {"seats": 2}), Calls("book", {"seats": 3}))

    row, _ = scripted(model, booking(booked))
    async with row.session() as session:
        await session.user_says("A table for two and one for three")
        await session.user_says("Yes, both")

    assert booked == [2, 3]


async def test_the_fallback_is_no_question() -> None:
    """If the reply that should have asked fails, the fallback does not count as the question."""
    booked: list[int] = []
    row, _ = scripted(
        [Calls("book", {"seats": 2}), Refuses(400, "no"), Calls("book", {"seats": 2}), DONE], booking(booked)
    )
    row.fallback = "Sorry, I cannot answer that."
    async with row.session() as session:
        await session.user_says("A table for two")
        await session.user_says("Hello? Are you there?")

    assert booked == []


async def test_a_tool_that_was_removed_meanwhile_does_not_run() -> None:
    """A writing call of a draft does not run at the commit if its tool was removed meanwhile."""
    booked: list[int] = []

    @vp.tool
    async def book(seats: int) -> str:
        """Book a table."""
        booked.append(seats)
        return "booked"

    user = ScriptedUser().guesses("Book", at_s=0.0).says("Book.", at_s=1.0).hangs_up(at_s=5.0)
    row, _ = scripted([Calls("book", {"seats": 2}), DONE], book, user=user)
    async with row.session() as session:
        await anyio.sleep(0.5)
        session.tools.remove("book")
        await session.ended.wait()

    assert booked == []
    assert "removed" in calls_of(session)[0].result


# --- arguments that a tool cannot take --------------------------------------------------------------------------------


@vp.tool(effect="read")
async def order(number: int) -> str:
    """Look up an order."""
    if number < 10:
        raise ToolRetry("order numbers have two digits; ask the caller for the second one")
    return f"order {number}"


def results_of(session: vp.Session) -> list[Any]:
    return [json.loads(call.result) if call.status == "failed" else call.result for call in calls_of(session)]


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ({"number": 1}, "order numbers have two digits; ask the caller for the second one"),
        ({"number": "many"}, "number: Input should be a valid integer"),
    ],
)
async def test_a_refused_call_may_be_made_once_more(wrong: dict[str, object], shown: str) -> None:
    """The model is shown what is wrong with its arguments, and its corrected call runs."""
    row, model = scripted([Calls("order", wrong), Calls("order", {"number": 12}), DONE], order)
    async with row.session() as session:
        await session.user_says("Order one, two")

    assert results_of(session) == [{"error": shown}, "order 12"]
    assert [request.tools for request in model.requests] == [("order",)] * 3


async def test_a_second_refusal_ends_in_an_apology() -> None:
    """After two refusals of one tool the model has to answer without tools; the next turn has them again."""
    row, model = scripted(
        [Calls("order", {"number": 1}), Calls("order", {"number": "x"}), Says("Sorry, I cannot find it."), DONE], order
    )
    async with row.session() as session:
        await session.user_says("Order one")
        await session.user_says("Then not")

    assert [request.tools for request in model.requests] == [("order",), ("order",), (), ("order",)]
    assert results_of(session)[1] == {
        "error": "number: Input should be a valid integer; do not call it again, tell the caller that it did not work"
    }
    assert [text for _, text in row.voice.sentences] == ["Sorry, I cannot find it.", "Done."]


async def test_one_refusal_each_is_not_too_much() -> None:
    """Two tools that refuse once each may both be called once more."""
    other = vp.tool(order.__wrapped__, effect="read", name="other")  # type: ignore[attr-defined]
    row, model = scripted([(Calls("order", {"number": 1}), Calls("other", {"number": 1})), DONE], order, other)
    async with row.session() as session:
        await session.user_says("Both")

    assert model.requests[1].tools == ("order", "other")


async def test_two_wrong_calls_of_one_reply_count_once() -> None:
    """Two refused calls in one reply count as one refusal: the model had not seen the error."""
    row, model = scripted(
        [(Calls("order", {"number": 1}), Calls("order", {"number": 2})), Calls("order", {"number": 12}), DONE], order
    )
    async with row.session() as session:
        await session.user_says("Both")

    assert results_of(session)[-1] == "order 12"
    assert model.requests[1].tools == ("order",)


async def test_a_tool_that_cannot_is_not_asked_for_better_arguments() -> None:
    """A plain `ToolError` is not a refusal of arguments, and the tool stays available."""

    @vp.tool(effect="read")
    async def look() -> str:
        """Look."""
        raise ToolError("the shop is closed")

    row, model = scripted([Calls("look", {}), Calls("look", {}), DONE], look)
    async with row.session() as session:
        await session.user_says("Look")

    assert [request.tools for request in model.requests] == [("look",)] * 3
    assert results_of(session) == [{"error": "the shop is closed"}] * 2
