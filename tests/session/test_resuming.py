"""A call breaks off in the middle of a turn and goes on elsewhere: what the caller hears, and what runs, in all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio


@dataclass
class Desk:
    """An agent that books tables, and the two workers that hold its call; a character takes 0.05 s to say."""

    booked: list[int] = field(default_factory=list)
    takes_s: float = 1.0

    def agent(self, *replies: Reply, confirm: bool = False, **rules: Any) -> tuple[ScriptedModel, vp.Pipeline]:
        @vp.tool(confirm=confirm)
        async def book(seats: int) -> str:
            """Reserve a table."""
            self.booked.append(seats)
            await anyio.sleep(self.takes_s)
            return "booked"

        @vp.tool(effect="read")
        async def look() -> str:
            """Look whether a table is free."""
            await anyio.sleep(self.takes_s)
            return "one is free"

        model = ScriptedModel([*replies])
        parts = [model, vp.ToolRouter([book, look]), vp.SentenceChunker(), ScriptedVoice()]
        return model, vp.Pipeline(*parts, output=RecordingOutput(), turns=vp.TurnRules(**rules))

    async def left(
        self, at_s: float, *replies: Reply, words: str = "Book a table.", say: Sequence[str] = (), **options: Any
    ) -> bytes:
        """Return the snapshot of a call that breaks off so many seconds after its caller, or its agent, has spoken."""
        _, pipeline = self.agent(*replies, **options)
        async with pipeline.session() as session, anyio.create_task_group() as tasks:
            for text in say:
                session.say(text.removeprefix("!"), protected=text.startswith("!"))
            if words:
                tasks.start_soon(session.user_says, words)
            await anyio.sleep(at_s)
            data = session.snapshot()
            tasks.cancel_scope.cancel()
        return data


def texts(session: vp.Session) -> list[str]:
    """Return what was said, as the history holds it."""
    return [message.text for message in session.history if message.text]


def statuses(session: vp.Session) -> list[str]:
    """Return what became of the calls of tools."""
    messages = [message for message in session.history if isinstance(message, vp.AssistantMessage)]
    return [call.status for message in messages for call in message.calls]


async def resumed(session: vp.Session) -> vp.CallResumed:
    """Return the event that reports that the call is resumed."""
    return await anext(event async for event in session if isinstance(event, vp.CallResumed))


SUNNY = Says("It is sunny. Take a hat.", after_s=0.2)  # heard from 0.2 s to 1.4 s; the first sentence until 0.8 s
SLOWLY = Says("It is sunny. Take a hat.", after_s=0.2, token_s=0.2)
BOOK = Calls("book", {"seats": 2}, after_s=0.2)
LOOK = Calls("look", {}, after_s=0.2)
AGAIN = Says("Again.")

WEATHER = [
    # what breaks off, when, what becomes of it, and the conversation once it is over
    (SUNNY, 0.1, "again", ["Weather?", "Again."]),
    (SUNNY, 0.25, "again", ["Weather?", "Again."]),
    (SUNNY, 0.5, "rest", ["Weather?", "It is", "It is sunny. Take a hat."]),
    (SUNNY, 0.85, "rest", ["Weather?", "It is sunny.", "Take a hat."]),
    (SUNNY, 1.25, "rest", ["Weather?", "It is sunny. Take a", "Take a hat."]),
    (SUNNY, 1.5, "none", ["Weather?", "It is sunny. Take a hat."]),
    (SLOWLY, 1.6, "note", ["Weather?", "It is sunny.", "Again."]),
    (LOOK, 0.5, "again", ["Weather?", "Again."]),
]


@pytest.mark.parametrize(("reply", "at_s", "turn", "conversation"), WEATHER)
async def test_a_reply_that_broke_off_is_heard_once(
    reply: Reply, at_s: float, turn: str, conversation: list[str]
) -> None:
    """Nobody hears a sentence twice that they have heard whole; the model is asked only for what is not written yet."""
    data = await Desk().left(at_s, reply, words="Weather?")
    model, pipeline = Desk().agent(AGAIN)
    async with pipeline.session(resume=data) as session:
        assert (await resumed(session)).turn == turn
        await anyio.sleep(3)
        assert texts(session) == conversation
    assert len(model.requests) == (turn in ("again", "note"))
    if turn == "note":
        assert str(model.requests[0].messages[-1].content).startswith("[A note of the application")


SAID = [
    (["One two. Three four."], 0.2, ["One", "One two. Three four."]),
    (["One two. Three four."], 0.5, ["One two.", "Three four."]),
    (["!One two. Three four."], 0.5, ["One two.", "One two. Three four."]),
    (["One two.", "Three.", "!Four."], 0.1, ["One two.", "Three.", "Four."]),
    (["One two.", "Three."], 0.6, ["One two.", "Three."]),
]


@pytest.mark.parametrize(("say", "at_s", "conversation"), SAID)
async def test_what_was_said_and_what_waited_is_said_to_its_end(
    say: list[str], at_s: float, conversation: list[str]
) -> None:
    """A text goes on with the sentence that was cut, one that must be heard whole begins again, and the rest waits."""
    data = await Desk().left(at_s, say=say, words="")
    _, pipeline = Desk().agent()
    async with pipeline.session(resume=data) as session:
        await anyio.sleep(4)
        assert texts(session) == conversation


async def test_a_writing_tool_that_had_begun_is_never_run_again() -> None:
    """Its outcome is unknown and the model says so; the same call runs again only once the caller has agreed to it."""
    desk = Desk()
    data = await desk.left(0.5, BOOK)
    doubt = Says("Perhaps it is booked. Shall I try again?")
    model, pipeline = desk.agent(doubt, BOOK, Says("It is booked."))
    async with pipeline.session(resume=data) as session:
        assert (await resumed(session)).unknown_calls == ("call_1",)
        assert statuses(session) == ["unknown"]
        await anyio.sleep(4)
        assert desk.booked == [2]
        await session.user_says("Yes, please.")
        assert desk.booked == [2, 2]
        assert texts(session) == ["Book a table.", doubt.text, "Yes, please.", "It is booked."]
        assert statuses(session) == ["unknown", "done"]
    asked = model.requests[0].messages
    assert [message.role for message in asked] == ["user", "assistant", "tool", "user"]


@pytest.mark.parametrize("replies", [(BOOK,), (AGAIN, BOOK), (BOOK, AGAIN, BOOK)])
async def test_a_model_that_repeats_an_unknown_call_is_refused(replies: Sequence[Reply]) -> None:
    """In the turn in which the caller is told, and after they have said no, the identical call is not run."""
    desk = Desk()
    data = await desk.left(0.5, BOOK)
    _, pipeline = desk.agent(*replies, Says("Shall I?"), Says("Well."))
    async with pipeline.session(resume=data) as session:
        await anyio.sleep(4)
        await session.user_says("No, wait.")
    assert desk.booked == [2]


async def test_a_call_that_waits_for_an_equal_one_is_as_unknown_as_that() -> None:
    """Both wait for one run of the tool, whose outcome nobody knows; neither stays "still running"."""
    desk = Desk(takes_s=9.0)
    _, pipeline = desk.agent(BOOK, BOOK)
    async with pipeline.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Book a table.")
        await anyio.sleep(0.5)
        session.interrupt()
        tasks.start_soon(session.user_says, "Do it.")
        await anyio.sleep(0.5)
        assert statuses(session) == ["pending", "pending"]
        data = session.snapshot()
        tasks.cancel_scope.cancel()
    _, pipeline = desk.agent(Says("Perhaps."))
    async with pipeline.session(resume=data) as session:
        assert statuses(session) == ["unknown", "unknown"]
        assert (await resumed(session)).unknown_calls == ("call_1", "call_2")
        await anyio.sleep(2)
        assert texts(session)[-1] == "Perhaps."
    assert desk.booked == [2]


async def test_other_arguments_are_another_call() -> None:
    """Only the call whose outcome is unknown needs the caller's agreement."""
    desk = Desk()
    data = await desk.left(0.5, BOOK)
    _, pipeline = desk.agent(Says("Perhaps."), Calls("book", {"seats": 4}), Says("Booked."))
    async with pipeline.session(resume=data) as session:
        await anyio.sleep(2)
        await session.user_says("Then for four.")
    assert desk.booked == [2, 4]


async def test_a_stale_record_means_that_something_may_have_been_done() -> None:
    """More may have happened than the record says: the caller is told, and no writing tool runs before they answer."""
    desk = Desk()
    data = await desk.left(0.1, SUNNY)
    _, pipeline = desk.agent(BOOK, Says("Perhaps it is booked. Shall I try?"), BOOK, Says("Booked."))
    async with pipeline.session(resume=data, is_stale=True) as session:
        assert (await resumed(session)).turn == "note"
        await anyio.sleep(4)
        assert desk.booked == []
        await session.user_says("Yes.")
    assert desk.booked == [2]


async def test_the_application_reports_what_became_of_an_unknown_call() -> None:
    """The model is shown the result, and tells the caller once nobody speaks; a second report is refused."""
    data = await Desk().left(0.5, BOOK)
    model, pipeline = Desk().agent(Says("Perhaps."), Says("It is booked after all."))
    async with pipeline.session(resume=data) as session:
        await anyio.sleep(1)
        session.report_outcome("call_1", {"table": 7})
        await anyio.sleep(3)
        assert texts(session) == ["Book a table.", "Perhaps.", "It is booked after all."]
        assert statuses(session) == ["done"]
        for call_id, message in (("call_1", "is known, it is 'done'"), ("call_9", "has no tool call 'call_9'")):
            with pytest.raises(vp.ConfigurationError, match=message):
                session.report_outcome(call_id, "booked")
    assert [one.content for one in model.requests[1].messages if one.role == "tool"] == [
        '{"untrusted_result":{"table": 7}}'
    ]


async def test_an_unknown_call_takes_text_or_json() -> None:
    """A result that is not JSON is refused, and nothing changes."""
    data = await Desk().left(0.5, BOOK)
    _, pipeline = Desk().agent(Says("Perhaps."))
    async with pipeline.session(resume=data) as session:
        with pytest.raises(vp.ConfigurationError, match="must be a text or JSON values, not object"):
            session.report_outcome("call_1", object())
        assert statuses(session) == ["unknown"]


async def test_a_question_waits_for_its_answer_in_the_next_worker() -> None:
    """A call that the caller was asked to confirm runs there once they agree, with one question in all."""
    desk = Desk()
    data = await desk.left(2.5, BOOK, Says("Shall I book it?"), confirm=True)
    assert desk.booked == []
    _, pipeline = desk.agent(BOOK, Says("Booked."), confirm=True)
    async with pipeline.session(resume=data) as session:
        await session.user_says("Yes, please.")
        assert statuses(session) == ["unconfirmed", "done"]
    assert desk.booked == [2]


async def test_a_question_without_its_tool_is_forgotten() -> None:
    """Where the tool takes other arguments now, the caller is asked again."""
    data = await Desk().left(2.5, BOOK, Says("Shall I book it?"), confirm=True)

    @vp.tool(confirm=True)
    async def book(seats: str) -> str:
        """Reserve a table."""
        raise AssertionError(seats)

    model = ScriptedModel([Calls("book", {"seats": "2"}), Says("Shall I?")])
    pipeline = vp.Pipeline(
        model, vp.ToolRouter([book]), vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput()
    )
    async with pipeline.session(resume=data) as session:
        assert (await resumed(session)).differs == ("tools",)
        await session.user_says("Yes, please.")
        assert statuses(session) == ["unconfirmed", "unconfirmed"]


async def test_tools_that_were_removed_stay_removed_and_added_ones_are_named() -> None:
    """The application adds the tools again that this pipeline lacks, before the model is asked anything."""

    @vp.tool(effect="read")
    async def menu() -> str:
        """Read the menu."""
        return "soup"

    _, pipeline = Desk().agent(SUNNY)
    async with pipeline.session() as session, anyio.create_task_group() as tasks:
        session.tools.remove("look")
        session.tools.add(menu)
        tasks.start_soon(session.user_says, "What is there?")
        await anyio.sleep(0.1)
        data = session.snapshot()
        tasks.cancel_scope.cancel()
    model, pipeline = Desk().agent(AGAIN)
    async with pipeline.session(resume=data) as session:
        session.tools.add(menu)
        event = await resumed(session)
        assert (event.turn, event.missing_tools, event.differs) == ("again", ("menu",), ())
        await anyio.sleep(1)
        assert session.snapshot() != data
        assert list(session.tools) == ["book", "menu"]
    assert list(model.requests[0].tools) == ["book", "menu"]


async def test_a_silent_caller_is_spoken_to_where_it_was_left_off() -> None:
    """The ladder goes on with its next step, also over two workers, and the call ends with its last one."""
    idle: dict[str, Any] = {"idle": (2.0, 4.0), "idle_texts": ("Still there?", "Bye.")}
    _, pipeline = Desk().agent(**idle)
    async with pipeline.session() as session:
        await session.say("Hello.")
        await anyio.sleep(3)
        data = session.snapshot()
        assert texts(session) == ["Hello.", "Still there?"]
    began_s = 0.0
    for waits_s in (1.0, 10.0):
        _, pipeline = Desk().agent(**idle)
        began_s = anyio.current_time()
        async with pipeline.session(resume=data) as session:
            with anyio.move_on_after(waits_s):
                await session.ended.wait()
            data = session.snapshot()
    assert texts(session) == ["Hello.", "Still there?", "Bye."]
    assert anyio.current_time() - began_s == pytest.approx(2.2)


async def test_a_long_call_ends_at_its_limit_in_whichever_worker() -> None:
    """The time that the call has lasted counts, and the time between two workers does not."""
    rules: dict[str, Any] = {"max_call_s": 20.0}
    _, pipeline = Desk().agent(**rules)
    async with pipeline.session() as session:
        await anyio.sleep(15)
        data = session.snapshot()
    await anyio.sleep(100)
    began_s = anyio.current_time()
    async with pipeline.session(resume=data) as session:
        await session.ended.wait()
    assert 5.0 <= anyio.current_time() - began_s < 10.0


async def test_a_call_that_was_about_to_end_ends() -> None:
    """After `end(after_reply=True)` the last words are said to their end, and the call is over."""
    _, pipeline = Desk().agent()
    async with pipeline.session() as session:
        session.say("Goodbye then. See you.")
        session.end(after_reply=True)
        await anyio.sleep(0.3)
        data = session.snapshot()
    async with pipeline.session(resume=data) as session:
        await session.ended.wait()
        assert texts(session) == ["Goodbye then. See you."]


async def test_a_late_result_is_told_in_the_next_worker() -> None:
    """A tool ended after its turn, and before the model was asked about it the call broke off."""
    desk = Desk(takes_s=0.5)
    _, pipeline = desk.agent(BOOK, AGAIN)
    async with pipeline.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Book a table.")
        await anyio.sleep(0.3)
        session.interrupt()
        session.say("One two three four.")
        await anyio.sleep(0.6)
        assert statuses(session) == ["done"]
        data = session.snapshot()
        tasks.cancel_scope.cancel()
    _, pipeline = desk.agent(Says("It is booked."))
    async with pipeline.session(resume=data) as session:
        assert (await resumed(session)).unknown_calls == ()
        await anyio.sleep(3)
        assert texts(session)[-2:] == ["One two three four.", "It is booked."]
    assert desk.booked == [2]
