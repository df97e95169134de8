"""Who has the floor when the caller has said nothing: replies of the application's wish, and results that come late."""

from __future__ import annotations

from typing import Any, Never

import anyio
import pytest

import voicepipe as vp
from tests.helpers.tool_rows import DONE, Row, calls_of, scripted, sleeper
from voicepipe.history import AssistantMessage, UserMessage
from voicepipe.testing import (
    Calls,
    ChatRequest,
    RecordingOutput,
    Refuses,
    Reply,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
)

pytestmark = pytest.mark.anyio

WAIT = Says("I am still at it.")
BOOKED = Says("It is booked.")


def notes(model: ScriptedModel) -> list[str]:
    """Return what each request ends with, if it is a note of the application."""
    return [
        chat.last_user_text for chat in model.requests if chat.last_user_text.startswith("[A note of the application")
    ]


def results(chat: ChatRequest) -> list[str | None]:
    """Return all results that a request holds."""
    return [message.content for message in chat.messages if message.role == "tool"]


def turns(row: Row) -> list[tuple[str, str]]:
    """Return how each turn ended, and what was heard of it."""
    return [(type(event).__name__, event.heard) for event in row.reported(vp.TurnEnded)]


# --- results that come after their turn -------------------------------------------------------------------------------


def booking(seconds: float, **options: Any) -> Any:
    return sleeper("book", seconds, effect="write", **options)


async def test_a_result_that_comes_late_is_told() -> None:
    """The caller asks during the booking and is answered; when it is done the model is asked once more, and speaks."""
    user = ScriptedUser().says("Book it.", at_s=0.0).says("Still there?", at_s=2.0).hangs_up(at_s=9.0)
    row, model = scripted([Calls("book", {}), WAIT, BOOKED], booking(4.2), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert row.voice.sentences == [(2.0, "I am still at it."), (4.2, "It is booked.")]
    assert [results(chat) for chat in model.requests] == [
        [], ['{"pending":"still running"}'], ['{"untrusted_result":"book ended"}'],
    ]  # fmt: skip
    (note,) = notes(model)
    assert "its result is in the conversation now" in note
    assert model.requests[-1].messages[-1].role == "user"
    # The note is nowhere in the history: the caller did not say it.
    assert [message.text for message in session.history if isinstance(message, UserMessage)] == [
        "Book it.", "Still there?",
    ]  # fmt: skip
    assert [event.user_text for event in row.reported(vp.TurnStarted)] == ["Book it.", "Still there?", ""]


async def test_it_is_told_after_a_timeout_too() -> None:
    """The caller was told that the outcome is unknown; when it is known, they are told that."""
    row, model = scripted([Calls("book", {}), Says("I do not know yet."), BOOKED], booking(3.0, timeout_s=1.0))
    async with row.session() as session:
        await session.user_says("Book it")
        await anyio.sleep_until(5.0)

    assert row.voice.sentences == [(1.0, "I do not know yet."), (3.0, "It is booked.")]
    assert len(notes(model)) == 1


async def test_a_failure_that_comes_late_is_told() -> None:
    """A booking that fails after its turn is told as well."""

    @vp.tool(timeout_s=1.0)
    async def book() -> str:
        """Book."""
        await anyio.sleep(2.0)
        raise vp.ToolError("sold out")

    row, model = scripted([Calls("book", {}), WAIT, Says("It was sold out.")], book)
    async with row.session() as session:
        await session.user_says("Book it")
        await anyio.sleep_until(5.0)

    assert row.voice.sentences[-1] == (2.0, "It was sold out.")
    assert results(model.requests[-1]) == ['{"error": "sold out"}']


async def test_it_is_told_once_nobody_speaks() -> None:
    """While the agent speaks the result waits, and follows what is being said and what waits to be said."""
    row, model = scripted([Calls("book", {}), WAIT, BOOKED], booking(2.5))
    row.voice = ScriptedVoice(character_s=0.1)  # "I am still at it." takes 1.7 s
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Book it")
            await anyio.sleep(1.0)
            session.interrupt()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Still there?")
            await anyio.sleep(1.0)
            session.say("Please hold.")  # 1.2 s
        await anyio.sleep_until(9.0)

    assert row.voice.sentences == [(1.0, "I am still at it."), (2.7, "Please hold."), (3.9, "It is booked.")]
    assert len(model.requests) == 3


@pytest.mark.parametrize("says", ["Hello?", ""])
async def test_it_waits_while_the_caller_speaks(says: str) -> None:
    """While the caller speaks the model is not asked: their words bring the result along, a noise only delays it."""
    user = ScriptedUser().says("Book it.", at_s=0.0).coughs(at_s=1.0, for_s=2.0).guesses("so", at_s=1.3, stable=False)
    user.hangs_up(at_s=9.0)
    if says:
        user.says(says, at_s=3.5)
    row, model = scripted([Calls("book", {}), BOOKED, DONE], booking(2.0), user=user)
    row.voice = ScriptedVoice(first_audio_s=1.0)
    async with row.session() as session:
        await session.ended.wait()

    asked = [chat.last_user_text for chat in model.requests]
    if says:
        # Asked when the noise ended, and taken back by the words: nothing of it was heard.
        assert asked[-1] == says
        assert turns(row)[-1] == ("TurnCompleted", "Done.")
        assert turns(row)[1] == ("TurnInterrupted", "")
    else:
        assert len(notes(model)) == 1
        assert row.voice.sentences == [(3.0, "It is booked.")]


async def test_words_that_come_with_the_result_are_answered_first() -> None:
    """If the caller speaks in the very step in which the result comes, their turn tells it."""
    user = ScriptedUser().says("Book it.", at_s=0.0).says("Well?", at_s=2.0).hangs_up(at_s=9.0)
    row, model = scripted([Calls("book", {}), WAIT, BOOKED], booking(2.0, timeout_s=1.0), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert notes(model) == []
    assert row.voice.sentences == [(1.0, "I am still at it."), (2.0, "It is booked.")]
    assert [type(event) for event in row.reported(vp.TurnEnded)] == [vp.TurnCompleted] * 2


class Ears(vp.SessionStage[Never, vp.Hearing]):
    """Reports when speech begins and what is understood, and never that it ended."""

    async def run(self, inbox: vp.Inbox[Never], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
        await outbox.send(vp.Transcript("Book it.", 0.0, 0.0))
        await anyio.sleep(1.0)
        await outbox.send(vp.SpeechStarted(at_s=1.0))
        await outbox.send(vp.EarlyTranscript("uh", stable=False))
        await anyio.sleep(3.0)
        await outbox.send(vp.EarlyTranscript("uh", stable=False))
        await anyio.sleep_forever()


async def test_speech_that_never_ends_is_none() -> None:
    """Five seconds after the last sign of speech it counts as over, where a recogniser does not report its end."""
    model, voice = ScriptedModel([Calls("book", {}), BOOKED]), ScriptedVoice()
    agent = vp.Pipeline(
        Ears(), model, vp.ToolRouter([booking(2.0)]), vp.SentenceChunker(), voice, output=RecordingOutput()
    )
    async with agent.session():
        await anyio.sleep_until(12.0)

    assert voice.sentences == [(9.0, "It is booked.")]


async def test_a_request_that_holds_the_result_tells_it() -> None:
    """If the caller's own turn is asked after the result has come, the model is not asked again."""
    user = ScriptedUser().says("Book it.", at_s=0.0).coughs(at_s=1.0, for_s=3.0).guesses("so", at_s=1.3, stable=False)
    user.says("Well?", at_s=3.9).hangs_up(at_s=9.0)
    row, model = scripted([Calls("book", {}), BOOKED], booking(2.0), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert notes(model) == []
    assert row.voice.sentences == [(3.9, "It is booked.")]


async def test_a_draft_that_is_dropped_has_told_nothing() -> None:
    """A draft's request holds the result, but the draft is dropped: the result is still to be told."""
    user = (
        ScriptedUser()
        .says("Book it.", at_s=0.0)
        .coughs(at_s=1.0, for_s=5.0)
        .guesses("so", at_s=1.3, stable=False)
        .guesses("Well then", at_s=2.0)
        .says("...", at_s=4.0)  # no word: the draft is dropped
        .hangs_up(at_s=9.0)
    )
    row, model = scripted([Calls("book", {}), BOOKED, BOOKED], booking(2.0), user=user)
    async with row.session() as session:
        await session.ended.wait()

    assert model.requests[1].last_user_text == "Well then"
    assert results(model.requests[1]) == ['{"untrusted_result":"book ended"}']
    assert len(notes(model)) == 1
    assert [text for at_s, text in row.voice.sentences if at_s >= 4.0] == ["It is booked."]


async def test_several_results_are_told_together() -> None:
    """Two results that come in the same step are one request."""
    row, model = scripted(
        [(Calls("a", {}), Calls("b", {})), BOOKED],
        sleeper("a", 2.0, effect="write"),
        sleeper("b", 2.0, effect="write"),
    )
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Both")
            await anyio.sleep(1.0)
            session.interrupt()
        await anyio.sleep_until(5.0)

    assert len(notes(model)) == 1
    assert row.voice.sentences == [(2.0, "It is booked.")]


async def test_a_model_with_nothing_to_say_stays_silent() -> None:
    """If the model has nothing to tell, nothing is said, and no fallback either: the caller asked nothing."""
    row, _ = scripted([Calls("book", {}), Says("")], booking(2.0))
    row.fallback = "Sorry."
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Book it")
            await anyio.sleep(1.0)
            session.interrupt()
        await anyio.sleep_until(5.0)

    assert row.voice.sentences == []
    assert turns(row) == [("TurnInterrupted", ""), ("TurnEmpty", "")]


async def test_a_result_that_cannot_be_told_is_not_tried_again() -> None:
    """If the model fails over it, that turn fails, and the next words of the caller bring the result along."""
    row, model = scripted([Calls("book", {}), Refuses(400, "no"), BOOKED], booking(2.0))
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Book it")
            await anyio.sleep(1.0)
            session.interrupt()
        await anyio.sleep_until(5.0)
        assert len(model.requests) == 2
        await session.user_says("Well?")

    assert results(model.requests[2]) == ['{"untrusted_result":"book ended"}']


async def test_a_model_does_not_go_on_alone() -> None:
    """A model that answers each late result with another slow call is asked three times, until the caller speaks."""
    row, model = scripted(lambda _: Calls("book", {}), booking(2.0, timeout_s=1.0))
    row.follows_up = True
    async with row.session() as session:
        await session.user_says("Book it")
        await anyio.sleep(60.0)
        alone = len(notes(model))
        await session.user_says("Hello?")
        await anyio.sleep(60.0)

    turns_alone = [event for event in row.reported(vp.TurnStarted) if not event.user_text]
    assert len(turns_alone) == 6
    assert alone == 3 * 6  # five rounds of calls each, and the last one without tools


async def test_it_can_be_turned_off() -> None:
    """With `ToolRouter(follows_up=False)` a late result waits in history until the caller speaks."""
    row, model = scripted([Calls("book", {})], booking(2.0))
    row.follows_up = False
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Book it")
            await anyio.sleep(1.0)
            session.interrupt()
        await anyio.sleep_until(5.0)

    assert len(model.requests) == 1
    assert [call.status for call in calls_of(session)] == ["done"]


async def test_nothing_is_told_after_the_goodbye() -> None:
    """A result that comes while the last words are spoken does not hold up the end of the call."""
    row, model = scripted([Calls("book", {}), Says("Good bye to you.")], booking(2.0, timeout_s=1.0))
    row.voice = ScriptedVoice(character_s=0.2)
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Book it, bye")
            await anyio.sleep(1.5)
            session.end(after_reply=True)
        await session.ended.wait()

    assert round(anyio.current_time(), 6) == 4.2
    assert notes(model) == []


async def test_a_reading_tool_has_no_late_result() -> None:
    """A reading tool ends with its turn, and nobody is asked about it."""
    row, model = scripted([Calls("look", {})], sleeper("look", 2.0))
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Look")
            await anyio.sleep(2.0)  # it ends in the very step of the interruption
            session.interrupt()
        await anyio.sleep_until(5.0)

    assert len(model.requests) == 1


# --- replies that the application wants -------------------------------------------------------------------------------


async def test_the_application_lets_the_model_speak() -> None:
    """A greeting that the model makes: its request ends with the note; the history holds the agent's words alone."""
    row, model = scripted([Says("Good morning, Ada."), DONE])
    async with row.session() as session:
        session.reply("Greet Ada.")
        await anyio.sleep(1.0)
        await session.user_says("Hello")

    assert [(message.role, message.content) for message in model.requests[0].messages] == [
        ("user", "[A note of the application, not words of the caller: Greet Ada.]")
    ]
    assert [message.content for message in model.requests[1].messages] == ["Good morning, Ada.", "Hello"]
    assert [message.text for message in session.history] == ["Good morning, Ada.", "Hello", "Done."]
    assert turns(row) == [("TurnCompleted", "Good morning, Ada."), ("TurnCompleted", "Done.")]


async def test_without_instructions_the_model_goes_on() -> None:
    """Without instructions the note says only that it is the agent's turn."""
    row, model = scripted([DONE, Says("Are you still there?")])
    async with row.session() as session:
        await session.user_says("Hello")
        session.reply()
        await anyio.sleep(1.0)

    (note,) = notes(model)
    assert "It is your turn to speak." in note
    assert [text for _, text in row.voice.sentences] == ["Done.", "Are you still there?"]


async def test_it_waits_for_its_turn() -> None:
    """Texts and replies that wait are spoken in the order in which they were asked for."""
    row, _ = scripted([Says("Two.")])
    row.voice = ScriptedVoice(character_s=0.1)
    async with row.session() as session:
        session.say("One.")
        session.reply("Say two.")
        session.say("Three.")
        assert session.is_busy
        await anyio.sleep(3.0)
        assert not session.is_busy

    assert [(round(at_s, 6), text) for at_s, text in row.voice.sentences] == [
        (0.0, "One."),
        (0.4, "Two."),
        (0.8, "Three."),
    ]


async def test_the_caller_can_interrupt_it() -> None:
    """Words of the caller end it, drop what waits after it, and are answered."""
    user = ScriptedUser().says("Stop", at_s=1.0).hangs_up(at_s=9.0)
    row, model = scripted([Says("Let me tell you a long story."), DONE], user=user)
    row.voice = ScriptedVoice(character_s=0.1)
    async with row.session() as session:
        session.reply("Tell a story.")
        session.reply("And another one.")
        await session.ended.wait()

    assert turns(row) == [("TurnInterrupted", "Let me"), ("TurnCompleted", "Done.")]
    assert len(model.requests) == 2


async def test_tools_serve_in_it() -> None:
    """The model may call tools; the note stays where the caller's words would be, before the call."""
    row, model = scripted([Calls("look", {}), DONE], sleeper("look", 0.5))
    async with row.session() as session:
        session.reply("Look whether it rains.")
        await anyio.sleep(1.0)

    assert [message.role for message in model.requests[1].messages] == ["user", "assistant", "tool"]
    assert row.voice.sentences == [(0.5, "Done.")]


async def test_a_note_is_no_agreement() -> None:
    """A call that the caller has to agree to does not run on a note of the application."""
    booked: list[int] = []

    @vp.tool(confirm=True)
    async def book() -> str:
        """Book."""
        booked.append(1)
        return "booked"

    def model(request: ChatRequest) -> Reply:
        asks = any("needs_confirmation" in result for result in request.tool_results.values())
        return Says("Shall I?") if asks and request.messages[-1].role == "tool" else Calls("book", {})

    row, _ = scripted(model, book)
    async with row.session() as session:
        await session.user_says("Book")
        session.reply("Go on.")
        await anyio.sleep(1.0)
        assert booked == []
        await session.user_says("Yes")

    assert booked == [1]


async def test_stages_in_front_of_the_model_take_no_part() -> None:
    """A stage that reads the caller's words does not see a note, and cannot withhold it."""
    seen: list[str] = []

    class Spy(vp.Stage[vp.Transcript, vp.Transcript]):
        async def run(self, inbox: vp.Inbox[vp.Transcript], outbox: vp.Outbox[vp.Transcript], turn: vp.Turn) -> None:
            async for transcript in inbox:
                seen.append(transcript.text)

    pipeline = vp.Pipeline(
        Spy(), ScriptedModel([Says("Good morning.")]), vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput()
    )
    async with pipeline.session() as session:
        session.reply("Greet.")
        await anyio.sleep(2.0)

    assert seen == []
    (message,) = session.history
    assert isinstance(message, AssistantMessage)
    assert message.heard == "Good morning."


async def test_a_failed_one_is_no_dead_air() -> None:
    """If the model fails, the caller hears the fallback and the application gets the error."""
    row, _ = scripted([Refuses(400, "no")])
    row.fallback = "Sorry."
    async with row.session() as session:
        session.reply("Greet.")
        await anyio.sleep(1.0)

    assert turns(row) == [("TurnFailed", "Sorry.")]


async def test_after_the_end_nobody_speaks() -> None:
    """`reply` does nothing once the session has ended."""
    row, model = scripted([])
    async with row.session() as session:
        session.end()
        session.reply("Greet.")
    assert model.requests == []


async def test_a_tool_can_ask_for_it() -> None:
    """A tool reaches `reply` through its context, e.g. for what follows its turn."""

    @vp.tool(reply=False)
    async def later(call: vp.ToolContext[Any]) -> str:
        """Speak about it later."""
        call.session.reply("Offer help.")
        return "noted"

    row, _ = scripted([Calls("later", {}), Says("Can I help?")], later)
    async with row.session() as session:
        await session.user_says("Later")
        await anyio.sleep(1.0)

    assert row.voice.sentences == [(0.0, "Can I help?")]
    assert turns(row) == [("TurnCompleted", ""), ("TurnCompleted", "Can I help?")]
