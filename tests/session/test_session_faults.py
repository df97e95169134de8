"""A call goes on, or ends in order, when one of its parts does not do what it should."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Refuses, Says, ScriptedModel, ScriptedUser, ScriptedVoice

pytestmark = pytest.mark.anyio

LONG = "One two three four. Five six seven eight. Nine ten eleven twelve."


def row(model: vp.Model, *parts: vp.Part, voice: vp.TTSSink | None = None, user: vp.Part | None = None) -> vp.Pipeline:
    before = [user] if user else []
    return vp.Pipeline(*before, model, *parts, vp.SentenceChunker(), voice or ScriptedVoice())


async def ended(session: vp.Session) -> list[vp.TurnEnded]:
    return [event async for event in session if isinstance(event, vp.TurnEnded)]


async def test_an_output_that_takes_a_frame_in_after_a_flush_is_flushed_again() -> None:
    """A frame that an output takes in after it was flushed is flushed as well."""

    class Forgetful(RecordingOutput):
        held: Sequence[bytes] = ()

        async def write(self, pcm: bytes) -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.02)
            self.written.append((anyio.current_time(), pcm))
            self.held = [*self.held, pcm]

        def flush(self) -> None:
            self.held = ()

    output = Forgetful()
    async with row(ScriptedModel([Says(LONG)])).session(output=output) as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Count.")
            await anyio.sleep(0.605)
            session.interrupt()
        await anyio.sleep(1)
        assert output.held == ()


async def test_a_draft_without_an_end_is_dropped() -> None:
    """A draft without a final transcript is dropped after 5 s, and the agent may speak again."""
    output = RecordingOutput()
    user = ScriptedUser().guesses("where is", at_s=1.0)
    async with row(ScriptedModel([Says("Here.")]), user=user).session(output=output) as session:
        await anyio.sleep(2.0)
        session.say("Hello?")
        session.end(after_reply=True)
        await session.ended.wait()
    assert output.spans() == [(6.0, 6.3)]
    assert [message.text for message in session.history] == ["Hello?"]


async def test_a_stage_in_front_of_the_model_changes_what_the_model_and_history_know() -> None:
    """What a `Stage[Transcript, Transcript]` sends is what the caller said."""

    @vp.stage
    async def hide(said: vp.Transcript) -> AsyncIterator[vp.Transcript]:
        yield vp.Transcript(said.text.replace("4111", "****"), said.speech_ended_s, said.endpoint_s)

    model = ScriptedModel([Says("Thank you.")])
    pipeline = vp.Pipeline(hide, model, vp.SentenceChunker(), ScriptedVoice())
    async with pipeline.session(output=RecordingOutput()) as session:
        await session.user_says("My card is 4111.")
    assert model.requests[0].last_user_text == "My card is ****."
    assert [message.text for message in session.history] == ["My card is ****.", "Thank you."]


async def test_a_stage_may_end_segments_of_its_own() -> None:
    """A stage that ends segments itself neither fails the turn nor loses what was heard."""

    @vp.stage
    async def hurry(delta: vp.TextDelta) -> AsyncIterator[vp.TextDelta]:
        yield vp.TextDelta(delta.text, ends_segment=True)

    async with row(ScriptedModel([Says("One two. Three.")]), hurry).session(output=RecordingOutput()) as session:
        turn = await session.user_says("Count.")
    assert turn.state is vp.TurnState.DONE
    assert session.history[-1].text == "One two Three"  # a punctuation mark alone is not spoken


async def test_a_voice_that_gives_no_audio_fails_the_turn() -> None:
    """A voice without audio is a failure: nothing counts as heard, and the turn fails."""

    class Mute(vp.TTSSink):
        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
            await anyio.sleep(0.1)
            if sentence.text == "":
                yield b""

    pipeline = vp.Pipeline(ScriptedModel([Says("Hi.")]), vp.SentenceChunker(), Mute(), fallback="")
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
    assert isinstance(turn.failure, vp.VendorError)
    assert (turn.state, (await ended(session))[0].heard) == (vp.TurnState.FAILED, "")


async def test_an_empty_reply_whose_fallback_fails_is_a_failed_turn() -> None:
    """If the fallback of an empty reply fails, the turn fails with that error."""

    class Broken(ScriptedVoice):
        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
            raise vp.VendorError("no voice", vendor="acme", retryable=False)
            yield b""

    async with row(ScriptedModel([Says("")]), voice=Broken()).session(output=RecordingOutput()) as session:
        turn = await session.user_says("Hello?")
    assert (turn.state, str(turn.failure)) == (vp.TurnState.FAILED, "no voice")


async def test_a_model_that_does_not_end_its_reply_gives_a_cut_one() -> None:
    """Without a `ReplyEnd` a reply is incomplete: what was said stays said, and none of its calls runs."""
    ran: list[str] = []

    @vp.tool
    async def book() -> str:
        """Book it."""
        ran.append("book")
        return "booked"

    class Short(vp.Model):
        async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
            await outbox.send(vp.TextDelta("One moment."))
            await outbox.send(vp.ToolCallDelta(index=0, call_id="1", name="book"))

    pipeline = vp.Pipeline(Short(), vp.ToolRouter([book]), vp.SentenceChunker(), ScriptedVoice(), fallback="")
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("Book it.")
    assert isinstance(turn.failure, vp.IncompleteReply)
    assert (ran, session.history.to_json()[-1]["heard"]) == ([], "One moment.")


async def test_the_block_can_tidy_up_after_a_part_has_failed() -> None:
    """`interrupt`, `say` and `end` do nothing once the session has ended, even if an error ended it."""

    class Deaf(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
        async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
            await anyio.sleep(0.5)
            raise OSError("no ears")

    pipeline = vp.Pipeline(Deaf(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    with pytest.raises(vp.StageError, match="Deaf raised OSError"):
        async with pipeline.session(output=RecordingOutput(), source=vp.PushSource(), greeting=LONG) as session:
            try:
                await anyio.sleep_forever()
            finally:
                session.interrupt()
                session.say("Good-bye.")
                session.end()


async def test_the_first_result_counts() -> None:
    """A second `end` does not change the result of the first one."""
    async with row(ScriptedModel([])).session(output=RecordingOutput(), greeting="Hello.") as session:
        session.end(after_reply=True, result="done")
        session.end()
    assert session.result == "done"


async def test_an_exception_in_a_tool_is_logged_for_the_developer(caplog: pytest.LogCaptureFixture) -> None:
    """The model is shown only the class of a tool's exception; the log has the traceback."""

    @vp.tool
    async def broken() -> str:
        """Break."""
        raise KeyError("sku")

    model = ScriptedModel([Calls("broken", {}), Says("Sorry.")])
    async with row(model, vp.ToolRouter([broken])).session(output=RecordingOutput()) as session:
        await session.user_says("Go.")
    assert [(record.message, record.exc_info is not None) for record in caplog.records] == [
        (f"session {session.id}: the tool broken raised KeyError", True)
    ]


async def test_a_session_ends_within_three_seconds_whatever_hangs() -> None:
    """A writing tool, the output's `attach` and its `open` hang, all at once."""

    class Hanging(RecordingOutput):
        def attach(self, session: vp.Session):
            return hang()

        def open(self):
            return hang()

    @vp.tool
    async def pay() -> str:
        """Pay."""
        await anyio.sleep_forever()
        return ""

    pipeline = row(ScriptedModel([Calls("pay", {})]), vp.ToolRouter([pay]))
    async with pipeline.session(output=Hanging()) as session:
        with anyio.move_on_after(0.5):
            await session.user_says("Pay.")
    assert anyio.current_time() == 3.5


def hang():
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def never_closes() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await anyio.sleep_forever()

    return never_closes()


@pytest.mark.parametrize("piece_s", [1.0, 0.02, 0.0025])
async def test_no_audio_is_lost_whatever_the_size_of_the_pieces(piece_s: float) -> None:
    """Audio in pieces of any size arrives completely, in order, in frames of 20 ms."""
    heard: list[bytes] = []

    class Ear(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
        async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
            async for frame in inbox:
                heard.append(frame.pcm)

    source = vp.PushSource(16_000)
    audio = bytes(range(250)) * 256
    size = round(piece_s * 32_000)
    pipeline = vp.Pipeline(Ear(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    async with pipeline.session(output=RecordingOutput(), source=source) as session:
        for at in range(0, len(audio), size):
            source.push(audio[at : at + size])
            await anyio.sleep(piece_s)
        source.end()
        await session.ended.wait()
    assert b"".join(heard) == audio
    assert {len(frame) for frame in heard} == {640}


async def test_the_last_resampled_words_are_heard_before_the_hang_up() -> None:
    """The audio that the resampler still holds when the caller hangs up is not lost."""
    pytest.importorskip("soxr")
    heard_s: list[float] = []

    class Ear(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
        async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
            async for frame in inbox:
                heard_s.append(frame.duration_s)

    source = vp.PushSource(8_000)
    pipeline = vp.Pipeline(Ear(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    async with pipeline.session(output=RecordingOutput(), source=source) as session:
        for _ in range(50):
            source.push(b"\x00\x10" * 160)
            await anyio.sleep(0.02)
        source.end()
        await session.ended.wait()
    assert round(sum(heard_s), 6) == 1.0


async def test_resampled_speech_has_no_gaps() -> None:
    """Long pieces from a resampler are still written in frames, and played without a gap."""
    pytest.importorskip("soxr")
    output = RecordingOutput(8_000)
    async with row(ScriptedModel([Says(LONG)])).session(output=output) as session:
        await session.user_says("Count.")
    assert len(output.spans()) == 1
    assert max(len(pcm) for _, pcm in output.written) <= 320


async def test_two_failing_requests_leave_one_event_each() -> None:
    """Each turn ends in exactly one event, even when nothing works."""
    model = ScriptedModel([Refuses(400, "no"), Refuses(400, "no")])
    async with row(model).session(output=RecordingOutput()) as session:
        with suppress(vp.VoicepipeError):
            await session.user_says("One?")
            await session.user_says("Two?")
    assert [type(event) for event in await ended(session)] == [vp.TurnFailed, vp.TurnFailed]


async def test_a_stage_in_front_that_hangs_does_not_hold_its_turn() -> None:
    """A turn has a time limit, whichever part uses it up; then the caller hears the fallback and can ask again."""

    class Hanging(vp.Stage[vp.Transcript, vp.Transcript]):
        async def run(self, inbox: vp.Inbox[vp.Transcript], outbox: vp.Outbox[vp.Transcript], turn: vp.Turn) -> None:
            async for transcript in inbox:
                if transcript.text == "Hang":
                    await anyio.sleep_forever()
                await outbox.send(transcript)

    voice = ScriptedVoice(character_s=0.0)
    pipeline = vp.Pipeline(
        Hanging(), ScriptedModel([Says("Fine.")]), vp.ToolRouter([], turn_s=5.0), vp.SentenceChunker(), voice
    )
    async with pipeline.session(output=RecordingOutput()) as session:
        failed = await session.user_says("Hang")
        await session.user_says("How are you?")

    assert isinstance(failed.failure, vp.StageError)
    assert "did not reach the model within 5 s; Hanging has not passed it on" in str(failed.failure)
    assert failed.failure.part == "Hanging"
    assert [(round(at_s, 3), text) for at_s, text in voice.sentences] == [
        (5.0, "Sorry, I cannot answer that right now."),
        (5.0, " Please try again."),
        (5.0, "Fine."),
    ]


@pytest.mark.parametrize("words", ["", "Wait!"])
async def test_last_words_are_heard_to_their_end(words: str) -> None:
    """After `end(after_reply=True)` neither a cough nor the caller's words interrupt the goodbye."""
    user = ScriptedUser().says("Bye.", at_s=0.0).coughs(at_s=0.5)
    if words:
        user.says(words, at_s=1.0, speech_s=0.4)
    agent = row(ScriptedModel([Says("Good-bye, and thank you for calling.")]), user=user)
    async with agent.session(output=RecordingOutput()) as session:
        await anyio.sleep(0.1)
        session.end(after_reply=True)
        with pytest.raises(vp.ConfigurationError, match="ends with its current reply"):
            await session.user_says("Wait!")
        await session.ended.wait()

    assert session.history[-1].text == "Good-bye, and thank you for calling."
    assert [type(event) for event in await ended(session)] == [vp.TurnCompleted]


async def test_the_log_does_not_quote_what_a_part_raised(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the application may quote the caller, so the log has only its class and place."""

    class Looking(vp.Stage[vp.Transcript, vp.Transcript]):
        async def run(self, inbox: vp.Inbox[vp.Transcript], outbox: vp.Outbox[vp.Transcript], turn: vp.Turn) -> None:
            async for transcript in inbox:
                raise KeyError(transcript.text)

    pipeline = vp.Pipeline(Looking(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    async with pipeline.session(output=RecordingOutput()) as session:
        turn = await session.user_says("My card is 4111 1111")

    assert "4111" in str(turn.failure)
    assert "4111" not in caplog.text
    assert "Looking raised KeyError at test_session_faults.py:" in caplog.text
