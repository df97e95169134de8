"""A reply that is not whole, with and without calls. Whole sessions on virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.tool_rows import DONE, PieceModel, Row, calls_of, scripted
from voicepipe.errors import IncompleteReply, StageError, VendorError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.history import AssistantMessage
from voicepipe.testing import Calls, Says, ScriptedVoice

if TYPE_CHECKING:
    from voicepipe.model.model import ReplyPart, Request

pytestmark = pytest.mark.anyio

END = ReplyEnd(finish_reason="stop")
RESET = VendorError("the connection was reset", vendor="v", retryable=True)


def booking(booked: list[str], *, takes_s: float = 0.0, effect: Any = "write") -> Any:
    @vp.tool(effect=effect)
    async def book(city: str) -> str:
        """Book a room."""
        await anyio.sleep(takes_s)
        booked.append(city)
        return f"booked in {city}"

    return book


def call(city: str, index: int = 0) -> ToolCallDelta:
    return ToolCallDelta(index=index, name="book", arguments=f'{{"city": "{city}"}}')


def messages_of(session: vp.Session) -> list[AssistantMessage]:
    return [message for message in session.history if isinstance(message, AssistantMessage)]


def request_texts(request: Request) -> list[str]:
    return [message.text for message in request.messages]


# --- a call ran in a reply that is not whole --------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["write", "read"])
@pytest.mark.parametrize(
    ("ending", "error"),
    [
        pytest.param([RESET], VendorError, id="reset"),
        pytest.param([], IncompleteReply, id="no end"),
        pytest.param([KeyError("delta")], StageError, id="a bug of the model's class"),
        pytest.param([TextDelta("x" * 20_000)], IncompleteReply, id="too long"),
        pytest.param([ReplyEnd(finish_reason="length")], IncompleteReply, id="length"),
    ],
)
async def test_a_call_that_has_run_is_gone_on_with(
    ending: list[ReplyPart | Exception], error: type[vp.VoicepipeError], effect: str
) -> None:
    """If a reply breaks off after a call has run, the model is sent the result, and the caller hears the answer."""
    booked: list[str] = []
    model = PieceModel([call("Rome"), *ending], [TextDelta("It is booked."), END])
    row = Row(model, [booking(booked, takes_s=1.0, effect=effect)], fallback="Sorry.")
    async with row.session() as session:
        await session.user_says("Book it")

    assert booked == ["Rome"]
    assert [one.result for one in calls_of(session)] == ["booked in Rome"]
    assert row.voice.sentences[-1] == (1.0, "It is booked.")
    (cut,) = row.reported(vp.ReplyCut)
    assert (cut.turn_id, type(cut.error)) == (1, error)
    assert [type(event) for event in row.reported(vp.TurnEnded)] == [vp.TurnCompleted]


async def test_what_was_said_before_the_break_is_not_said_again() -> None:
    """Words before the call and after it stay said; the message is marked as cut, for the model too."""
    model = PieceModel(
        [TextDelta("One moment."), call("Rome"), TextDelta("I have your bo"), RESET], [TextDelta("Booked."), END]
    )
    row = Row(model, [booking([])], fallback="Sorry.")
    async with row.session() as session:
        await session.user_says("Book it")

    assert [text for _, text in row.voice.sentences] == ["One moment.", "I have your bo", "Booked."]
    assert [(one.text, one.was_interrupted) for one in messages_of(session)] == [
        ("One moment. I have your bo", True),
        ("Booked.", False),
    ]


@pytest.mark.parametrize("ending", [RESET, ReplyEnd(finish_reason="length")])
async def test_a_call_beside_it_that_was_cut_does_not_run(ending: ReplyPart | Exception) -> None:
    """Of two calls the one with whole arguments has run, the other never does, and the model is sent both results."""
    booked: list[str] = []
    half = ToolCallDelta(index=1, name="book", arguments='{"city": "Os')
    model = PieceModel([call("Rome"), half, ending], [TextDelta("Rome is booked."), END])
    row = Row(model, [booking(booked)])
    async with row.session() as session:
        await session.user_says("Both")

    assert booked == ["Rome"]
    assert [one.status for one in calls_of(session)] == ["done", "failed"]
    assert "it was not run" in calls_of(session)[1].result
    assert row.voice.sentences == [(0.0, "Rome is booked.")]
    assert [event.status for event in row.reported(vp.ToolFinished)] == ["failed", "done"]


@pytest.mark.parametrize("reason", ["length", "max_tokens", "content_filter"])
async def test_arguments_that_may_have_been_cut_do_not_run(reason: str) -> None:
    """Arguments that only the end of a whole reply completes do not run when the reply is cut there."""
    ran: list[str] = []

    @vp.tool
    async def pay(amount: int = 100) -> str:
        """Pay an amount."""
        ran.append(str(amount))
        return "paid"

    opened = ToolCallDelta(index=0, name="pay", arguments="{}")  # the amount may have been about to come
    model = PieceModel([opened, ReplyEnd(finish_reason=reason)], [TextDelta("How much?"), END])
    row = Row(model, [pay])
    async with row.session() as session:
        await session.user_says("Pay")

    assert ran == []
    assert [one.status for one in calls_of(session)] == ["failed"]
    assert row.voice.sentences == [(0.0, "How much?")]


async def test_a_draft_goes_on_too() -> None:
    """In a draft the writing call of a broken reply runs after the commit, once, and the turn goes on with it."""
    booked: list[str] = []
    user = vp.testing.ScriptedUser().guesses("Book it", at_s=0.0).says("Book it.", at_s=1.0).hangs_up(at_s=3.0)
    model = PieceModel([call("Rome"), RESET], [TextDelta("Booked."), END])
    row = Row(model, [booking(booked)], user)
    async with row.session() as session:
        await session.ended.wait()

    assert booked == ["Rome"]
    assert row.voice.sentences == [(1.0, "Booked.")]


async def test_the_first_error_is_the_turns() -> None:
    """If the request that goes on fails as well, the turn fails with the first error, the cause of it all."""
    model = PieceModel([call("Rome"), RESET], [VendorError("still down", vendor="v", retryable=True)])
    row = Row(model, [booking([])])
    async with row.session() as session:
        turn = await session.user_says("Book it")

    assert str(turn.failure) == "the connection was reset"
    assert [one.status for one in calls_of(session)] == ["done"]


async def test_a_call_that_did_not_run_is_nothing_to_go_on_with() -> None:
    """A reply that breaks off after a call that was refused fails its turn."""
    model = PieceModel([ToolCallDelta(index=0, name="cancel", arguments='{"city": "Rome"}'), RESET])
    row = Row(model, [booking([])])
    async with row.session() as session:
        turn = await session.user_says("Book it")

    assert turn.failure is RESET
    assert row.reported(vp.ReplyCut) == []


# --- replies that are cut ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["length", "max_tokens", "content_filter"])
async def test_a_cut_reply_fails_its_turn(reason: str) -> None:
    """A reply that the service cut is an `IncompleteReply`; what was heard stays, with a mark for the model."""
    row, model = scripted([Says("Your balance is three hund", finish_reason=reason), DONE])
    row.fallback = "Sorry."
    async with row.session() as session:
        turn = await session.user_says("My balance?")
        await session.user_says("What?")

    (failed,) = row.reported(vp.TurnFailed)
    assert isinstance(failed.error, IncompleteReply)
    assert f"cut short ({reason})" in str(failed.error)
    assert turn.finish_reason == failed.finish_reason == reason
    assert failed.heard == "Your balance is three hund Sorry."
    assert [(one.text, one.was_interrupted) for one in messages_of(session)[:2]] == [
        ("Your balance is three hund", True),
        ("Sorry.", False),
    ]
    assert [message.content for message in model.requests[1].messages if message.role == "assistant"] == [
        "Your balance is three hund —",
        "Sorry.",
    ]


@pytest.mark.parametrize("ending", [RESET, KeyError("delta")])
async def test_a_broken_reply_is_not_shown_as_a_whole_one(ending: Exception) -> None:
    """A reply that broke off carries the mark, although all of its words were heard."""
    model = PieceModel([TextDelta("Your balance is three hund"), ending], [TextDelta("Sorry."), END])
    row = Row(model, [])
    async with row.session() as session:
        await session.user_says("My balance?")

    assert [(one.text, one.was_interrupted) for one in messages_of(session)] == [("Your balance is three hund", True)]


class Dripping(PieceModel):
    """Sends each piece half a second after the one before."""

    async def reply(self, request: Request, outbox: vp.Outbox[ReplyPart], turn: vp.Turn) -> None:
        for text in ("Your balance is. ", "Three hundred."):
            await outbox.send(TextDelta(text))
            await anyio.sleep(5.0)
        await outbox.send(END)


async def test_a_reply_that_was_interrupted_while_it_was_written_is_not_whole() -> None:
    """Heard were all words that the model had written by then, yet it was not done."""
    row = Row(Dripping(), [])
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "My balance?")
        await anyio.sleep(2.0)
        session.interrupt()

    assert [(one.text, one.was_interrupted) for one in messages_of(session)] == [("Your balance is.", True)]


async def test_a_whole_reply_carries_no_mark() -> None:
    """A reply that was ended and heard is whole, also if its turn is interrupted after its last word."""
    row, _ = scripted([Says("All is well.")])
    row.voice = ScriptedVoice(character_s=0.05)
    async with row.session() as session:
        await session.user_says("How are you?")

    assert [(one.text, one.was_interrupted) for one in messages_of(session)] == [("All is well.", False)]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_cut_reply_without_words_is_empty(reason: str) -> None:
    """A model that was stopped before its first word had nothing to say, and the event has its reason."""
    row, _ = scripted([Says("", finish_reason=reason)])
    async with row.session() as session:
        await session.user_says("Hello?")

    assert [event.finish_reason for event in row.reported(vp.TurnEmpty)] == [reason]


async def test_a_cut_answer_after_a_tool_fails_its_turn() -> None:
    """The last reply of a turn with tools is cut as any other."""
    row, _ = scripted([Calls("book", {"city": "Rome"}), Says("You are boo", finish_reason="length")], booking([]))
    async with row.session() as session:
        turn = await session.user_says("Book it")

    assert isinstance(turn.failure, IncompleteReply)
    assert row.reported(vp.ReplyCut) == []
