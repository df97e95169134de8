"""What `say` and `reply` return: it can be awaited, and then says what became of the words."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from typing import TYPE_CHECKING, Literal

import anyio
import pytest

import voicepipe as vp
from tests.helpers.tool_rows import scripted
from voicepipe.testing import Breaks, Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio


def agent(*replies: Reply, user: ScriptedUser | None = None, fallback: str = "") -> vp.Pipeline:
    """Return an agent that takes 0.05 s for each character."""
    callers = [user] if user else []
    parts = [*callers, ScriptedModel([*replies]), vp.SentenceChunker(), ScriptedVoice()]
    return vp.Pipeline(*parts, output=RecordingOutput(), fallback=fallback)


async def test_awaiting_waits_until_it_was_heard() -> None:
    """Awaiting returns once the last sample has been played, with what was heard and its turn."""
    async with agent().session() as session:
        said = await session.say("Hello there.")
        assert anyio.current_time() == pytest.approx(0.6)
        assert (said.heard, said.is_whole) == ("Hello there.", True)
        assert said.turn is not None
        assert said.turn.state is vp.TurnState.DONE


async def test_texts_are_awaited_in_the_order_in_which_they_are_said() -> None:
    """Each wait ends with its own text, whichever is awaited first, and a text may be awaited twice."""
    async with agent().session(greeting="Hi.") as session:
        first, second = session.say("One."), session.say("Two.")
        await second
        assert round(anyio.current_time(), 6) == 0.55
        assert (await first).heard == (await first).heard == "One."
        assert round(anyio.current_time(), 6) == 0.55


async def test_an_interruption_says_how_much_was_heard_and_what_was_dropped() -> None:
    """The text that was being said is heard in part; the one that waited has no turn."""
    user = ScriptedUser().guesses("stop", at_s=0.5, stable=False)  # at 0.05 s a character "One two" has been heard
    async with agent(user=user).session() as session:
        current, waiting = session.say("One two three four."), session.say("Five.")
        said, dropped = await current, await waiting
        assert round(anyio.current_time(), 6) == 0.5
    assert (said.heard, said.is_whole) == ("One two", False)
    assert said.turn is not None
    assert said.turn.state is vp.TurnState.INTERRUPTED
    assert dropped == vp.Said(heard="", is_whole=False, turn=None)


async def test_the_end_of_the_session_ends_the_wait() -> None:
    """What is being said is cut, and what waits or comes later is dropped; nobody waits for ever."""
    async with agent().session() as session:
        current, waiting = session.say("One two three four."), session.say("Five.")
        await anyio.sleep(0.5)
        session.end()
        late = session.say("Six.")
        assert (await current).heard == "One two"
        assert await waiting == await late == vp.Said()
        assert anyio.current_time() == 0.5


async def test_last_words_can_be_awaited() -> None:
    """With `end(after_reply=True)` what waits is said first, so awaiting it returns that it was heard."""
    async with agent().session() as session:
        first, last = session.say("One."), session.say("Good-bye.")
        session.end(after_reply=True)
        assert [(await first).is_whole, (await last).is_whole] == [True, True]
    assert round(anyio.current_time(), 6) == 0.65


@pytest.mark.parametrize("text", ["", " \n"])
async def test_a_blank_text_is_over_at_once(text: str) -> None:
    """Nothing is said, no turn begins, and awaiting returns at once."""
    async with agent().session() as session:
        assert await session.say(text) == vp.Said()
        assert not session.is_busy
        assert len(session.history) == 0


async def test_a_failure_is_in_the_turn() -> None:
    """When the voice fails, awaiting does not raise: the turn says why, and the fallback counts as heard."""

    class Broken(ScriptedVoice):
        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
            if "Sorry" not in sentence.text:
                raise vp.VendorError("no voice", vendor="acme", retryable=False)
            async for piece in super().synthesize(sentence):
                yield piece

    pipeline = agent(fallback="Sorry.").replace({ScriptedVoice: Broken()})
    async with pipeline.session() as session:
        said = await session.say("Hello.")
    assert (said.heard, said.is_whole) == ("Sorry.", False)
    assert said.turn is not None
    assert isinstance(said.turn.failure, vp.VendorError)


async def test_a_reply_is_awaited_alike() -> None:
    """`reply` returns what the model said and the caller heard; a cut reply is not whole."""
    async with agent(Says("Good morning!", after_s=1.0), Says("It is", finish_reason="length")).session() as session:
        said = await session.reply("Greet the caller.")
        assert (said.heard, said.is_whole, round(anyio.current_time(), 6)) == ("Good morning!", True, 1.65)
        cut = await session.reply()
        assert (cut.heard, cut.is_whole) == ("It is", False)


async def test_a_reply_without_words_is_not_heard() -> None:
    """A model with nothing to say leaves nothing to hear, and the wait ends."""
    async with agent(Says("")).session() as session:
        said = await session.reply()
    assert (said.heard, said.is_whole) == ("", False)
    assert said.turn is not None
    assert said.turn.state is vp.TurnState.EMPTY


async def test_cancelling_stops_the_waiting_alone() -> None:
    """After a timeout the words go on, and can be awaited again."""
    async with agent().session() as session:
        saying = session.say("One two three four.")
        with anyio.move_on_after(0.2):
            await saying
        assert anyio.current_time() == 0.2
        assert (await saying).heard == "One two three four."
        assert round(anyio.current_time(), 6) == 0.95


async def test_it_need_not_be_awaited() -> None:
    """What nobody awaits is said all the same, without a warning when it is collected."""
    async with agent().session() as session:
        session.say("One.")
        gc.collect()
        await anyio.sleep(1)
    assert [message.text for message in session.history] == ["One."]


async def test_it_works_with_what_takes_awaitables() -> None:
    """`asyncio.wait_for` and `asyncio.gather` take it."""
    async with agent().session() as session:
        said = await asyncio.gather(session.say("One."), asyncio.wait_for(session.say("Two."), 5))
    assert [one.heard for one in said] == ["One.", "Two."]


async def test_a_text_behind_a_draft_waits_for_it() -> None:
    """A draft has the floor until it is committed or expires; the text follows."""
    user = ScriptedUser().guesses("Weather?", at_s=0.0).says("...", at_s=4.9)
    async with agent(Says("Sunny."), user=user).session() as session:
        await anyio.sleep(1.0)
        assert (await session.say("One moment.")).is_whole
    assert round(anyio.current_time(), 6) == 5.45  # the words were none


# --- where it cannot be awaited ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["read", "write"])
async def test_a_tool_cannot_wait_for_what_is_said_after_its_turn(
    effect: Literal["read", "write"], caplog: pytest.LogCaptureFixture
) -> None:
    """The turn would wait for the tool and the tool for the turn: the call fails at once, and says what to write."""

    @vp.tool(effect=effect)
    async def look_up(call: vp.ToolContext[None]) -> str:
        """Look something up."""
        await call.session.say("One moment.")
        return "found"

    row, model = scripted([Calls("look_up", {}), Says("Done.")], look_up)
    async with row.session() as session:
        turn = await session.user_says("Look it up.")
        await anyio.sleep(1)
    assert turn.heard == "Done."
    # The text itself is said, once the turn is over.
    assert [(round(at_s, 3), text) for at_s, text in row.voice.sentences] == [(0.0, "Done."), (0.0, "One moment.")]
    assert row.tool_table == [(0.0, "look_up", "started"), (0.0, "look_up", "failed")]
    assert "cannot wait for what is said after that turn" in caplog.text
    assert len(model.requests) == 2


async def test_a_tool_says_something_without_awaiting() -> None:
    """Without `await` a tool lets the agent speak after its turn; when that turn is over, somebody may await it."""
    sayings: list[vp.Saying] = []

    @vp.tool
    async def look_up(call: vp.ToolContext[None]) -> str:
        """Look something up."""
        saying = call.session.say("One moment.")
        assert isinstance(saying, vp.Saying)
        sayings.append(saying)
        return "found"

    row, _ = scripted([Calls("look_up", {}), Says("Done.")], look_up)
    async with row.session() as session:
        await session.user_says("Look it up.")
        assert (await sayings[0]).heard == "One moment."


async def test_a_stage_cannot_wait_either() -> None:
    """A stage of the turn that awaits what is said after it fails under its name."""

    class Announce(vp.Stage[vp.Sentence, vp.Sentence]):
        async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: vp.Turn) -> None:
            await turn.session.say("Listen!")

    parts = [ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), Announce(), ScriptedVoice()]
    async with vp.Pipeline(*parts, output=RecordingOutput(), fallback="").session() as session:
        turn = await session.user_says("Hello?")
    assert isinstance(turn.failure, vp.VoicepipeError)
    assert "turn 1" in str(turn.failure)


async def test_a_writing_tool_may_wait_once_its_turn_is_over() -> None:
    """A tool that outlives its turn no longer holds it up, so it may wait for what is said."""
    heard: list[str] = []

    @vp.tool(effect="write")
    async def book(call: vp.ToolContext[None]) -> str:
        """Book."""
        await anyio.sleep(1.0)
        heard.append((await call.session.say("It is booked.")).heard)
        return "booked"

    row, _ = scripted([Calls("book", {}), Says("Done.")], book)
    async with row.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Book it.")
            await anyio.sleep(0.5)
            session.interrupt()
        await anyio.sleep(2)
    assert heard == ["It is booked."]


@pytest.mark.slow
async def test_what_a_turn_began_does_not_keep_the_call_alive() -> None:
    """A context that was copied in a turn, as a kept connection does, keeps neither the turn nor its session."""
    contexts: list[contextvars.Context] = []

    @vp.tool
    async def connect() -> str:
        """Open a connection."""
        contexts.append(contextvars.copy_context())
        return "open"

    async def hold() -> weakref.ref[vp.Turn]:
        pipeline = vp.Pipeline(
            ScriptedModel([Calls("connect", {}), Says("Done.")]),
            vp.ToolRouter([connect]),
            vp.SentenceChunker(),
            ScriptedVoice(),
            output=RecordingOutput(),
        )
        async with pipeline.session() as session:
            return weakref.ref(await session.user_says("Connect."))

    turn = await hold()
    gc.collect()
    assert turn() is None
    assert len(contexts) == 1


async def test_another_session_may_be_awaited_from_a_tool() -> None:
    """Only its own session is what a tool cannot wait for."""
    async with agent().session() as other:

        @vp.tool
        async def call_colleague() -> str:
            """Call a colleague."""
            return (await other.say("A caller for you.")).heard

        row, model = scripted([Calls("call_colleague", {}), Says("Done.")], call_colleague)
        async with row.session() as session:
            turn = await session.user_says("Connect me.")
        assert turn.heard == "Done."
        assert round(anyio.current_time(), 3) == 0.85
        assert "A caller for you." in str(model.requests[1].messages[-1].content)


async def test_its_repr_shows_what_became_of_it() -> None:
    """The repr shows the turn, and no words."""
    async with agent().session() as session:
        first, second = session.say("One."), session.say("Two.")
        assert repr(first).startswith("<Saying in <Turn 1 ")
        assert repr(second) == "<Saying waiting>"
        session.interrupt()
        assert repr(second) == "<Saying dropped>"


async def test_a_failed_model_is_in_the_turn_of_its_reply() -> None:
    """A reply that the model cannot give is over with its failure."""
    async with agent(Breaks(after_text="Good"), fallback="Sorry.").session() as session:
        said = await session.reply()
    assert not said.is_whole
    assert said.turn is not None
    assert said.turn.state is vp.TurnState.FAILED
