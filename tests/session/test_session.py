"""What a call promises, as tables of (time, event) on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Breaks, Calls, RecordingOutput, Refuses, Says, ScriptedModel, ScriptedUser, ScriptedVoice

pytestmark = pytest.mark.anyio

LONG = "One two three four. Five six seven eight. Nine ten eleven twelve."


def row(model: vp.Model, *parts: vp.Part, voice: vp.TTSSink | None = None, user: vp.Part | None = None) -> vp.Pipeline:
    """Return a pipeline of scripted parts; `parts` come between model and chunker."""
    before = [user] if user else []
    return vp.Pipeline(*before, model, *parts, vp.SentenceChunker(), voice or ScriptedVoice())


def at(session_events: list[tuple[float, vp.Event]], *kinds: type) -> list[tuple[float, str]]:
    """Return the times and names of the events of some kinds."""
    return [(round(when, 6), type(event).__name__) for when, event in session_events if isinstance(event, kinds)]


async def listen(session: vp.Session, into: list[tuple[float, vp.Event]]) -> None:
    async for event in session:
        into.append((anyio.current_time(), event))


@asynccontextmanager
async def call(pipeline: vp.Pipeline, **given: Any) -> AsyncGenerator[tuple[vp.Session, list[tuple[float, vp.Event]]]]:
    """Yield a session and the list of its events."""
    events: list[tuple[float, vp.Event]] = []
    async with (
        anyio.create_task_group() as tasks,
        pipeline.session(**{"output": RecordingOutput(), **given}) as session,
    ):
        tasks.start_soon(listen, session, events)
        yield session, events


async def test_a_sentence_is_spoken_while_later_tokens_still_arrive() -> None:
    """The first sentence is heard long before the model has finished."""
    output = RecordingOutput()
    model = ScriptedModel([Says(LONG, after_s=0.2, token_s=0.1)])
    async with call(row(model, voice=ScriptedVoice(first_audio_s=0.1)), output=output) as (session, events):
        turn = await session.user_says("Count.")

    # The fifth token, the first full stop, comes at 0.6; the last one at 1.6.
    assert at(events, vp.SentenceStarted) == [
        (0.7, "SentenceStarted"),
        (1.61, "SentenceStarted"),  # two frames before it is heard
        (2.71, "SentenceStarted"),
    ]
    assert turn.timeline.contributions_us == {
        "silence": 0,
        "stt": 0,
        "turn": 0,
        "request": 0,
        "llm": 200_000,
        "sentence": 400_000,
        "tts": 100_000,
        "output": 0,
        "lead_in": 0,
    }
    assert sum(turn.timeline.contributions_us.values()) == turn.timeline.waited_us == 700_000


async def test_the_next_sentence_is_synthesised_while_one_plays_and_no_further() -> None:
    """Prefetch is one sentence at any speed of the model, and there is no gap when TTS is quicker than speech."""
    voice, output = ScriptedVoice(first_audio_s=0.3), RecordingOutput()
    async with call(row(ScriptedModel([Says(LONG)]), voice=voice), output=output) as (session, _):
        await session.user_says("Count.")

    assert [text for _, text in voice.sentences] == [
        "One two three four.",
        " Five six seven eight.",
        " Nine ten eleven twelve.",
    ]
    # 19 characters take 0.95 s; synthesis of the third sentence begins when the second is played, two frames early.
    assert [round(when, 6) for when, _ in voice.sentences] == [0.0, 0.0, 1.21]
    assert output.spans() == [(0.3, 0.3 + 0.05 * len(LONG))]


async def test_interrupt_is_silence_when_it_returns() -> None:
    """After `interrupt()` no frame reaches the output, and history ends with the last word that was fully played."""
    output = RecordingOutput()
    async with call(row(ScriptedModel([Says(LONG)])), output=output) as (session, events):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Count.")
            await anyio.sleep(0.6)
            session.interrupt()
            flushed_s = output.played_s
        await anyio.sleep(1)

    assert output.written_after(0.6) == []
    assert output.played_s == flushed_s
    assert output.spans() == [(0.0, 0.6)]
    # At 0.05 s a character: "One two" ends at 0.35 s, "three" at 0.65 s.
    assert [message.text for message in session.history] == ["Count.", "One two"]
    assert session.history.to_json()[-1]["was_interrupted"] is True
    assert at(events, vp.TurnEnded) == [(0.6, "TurnInterrupted")]


@pytest.mark.parametrize(
    ("user", "silent_at"),
    [
        pytest.param(
            ScriptedUser().says("Count.", at_s=0).coughs(at_s=1, for_s=0.2), None, id="a short noise does not"
        ),
        pytest.param(
            ScriptedUser().says("Count.", at_s=0).coughs(at_s=1, for_s=0.5), None, id="lasting noise does not either"
        ),
        pytest.param(
            ScriptedUser().says("Count.", at_s=0).guesses("wait", at_s=1, stable=False), 1.0, id="a word does"
        ),
        pytest.param(ScriptedUser().says("Count.", at_s=0).says("Stop.", at_s=1), 1.0, id="a final transcript does"),
    ],
)
async def test_what_interrupts_the_agent(user: ScriptedUser, silent_at: float | None) -> None:
    """Only a recognised word or a final transcript interrupts the agent."""
    model = ScriptedModel([Says(LONG), Says("Fine, I have stopped.")])
    async with call(row(model, user=user)) as (session, events):
        await anyio.sleep(8)

    assert at(events, vp.TurnInterrupted) == ([(silent_at, "TurnInterrupted")] if silent_at else [])
    assert session.history[1].text == (LONG if silent_at is None else "One two three four.")


class SlowToClean(ScriptedVoice):
    """Takes 400 ms to say good-bye to its vendor."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        try:
            async for piece in super().synthesize(sentence):
                yield piece
        finally:
            with anyio.move_on_after(0.4, shield=True):
                await anyio.sleep_forever()


class Swallowing(ScriptedVoice):
    """Swallows ten cancellations before it ends."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        swallowed = 0
        async for piece in super().synthesize(sentence):
            yield piece
            while swallowed < 10:
                try:
                    await anyio.sleep(0.01)
                    break
                except BaseException:  # noqa: BLE001 - the bad manners under test
                    swallowed += 1


@pytest.mark.parametrize(
    "voice", [SlowToClean(marks=False), Swallowing(marks=False)], ids=lambda voice: type(voice).__name__
)
async def test_bad_manners_of_a_tts_delay_neither_silence_nor_the_next_turn(voice: ScriptedVoice) -> None:
    """The next reply is heard as soon as its words have come."""
    output = RecordingOutput()
    user = ScriptedUser().says("Count.", at_s=0).says("Stop.", at_s=0.5)
    async with call(row(ScriptedModel([Says(LONG), Says("Yes.")]), voice=voice, user=user), output=output) as (
        _,
        events,
    ):
        await anyio.sleep(4)

    assert at(events, vp.TurnInterrupted, vp.SentenceStarted) == [
        (0.0, "SentenceStarted"),
        (0.5, "TurnInterrupted"),
        (0.5, "SentenceStarted"),
    ]
    assert output.spans()[0] == (0.0, 0.7)  # "Yes." follows at once


async def test_a_clean_up_that_overruns_is_reported_by_name() -> None:
    """Nothing waits for such a clean-up, and an event names the part."""

    class Endless(ScriptedVoice):
        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
            try:
                async for piece in super().synthesize(sentence):
                    yield piece
            finally:
                with anyio.move_on_after(2, shield=True):
                    await anyio.sleep_forever()

    user = ScriptedUser().says("Count.", at_s=0).guesses("wait", at_s=0.8, stable=False)
    async with call(row(ScriptedModel([Says(LONG)]), voice=Endless(), user=user)) as (_, events):
        await anyio.sleep(4)

    overran = [(when, event.part) for when, event in events if isinstance(event, vp.CleanupOverran)]
    assert overran == [(1.3, "Endless")]


async def test_a_draft_is_heard_only_once_it_is_committed() -> None:
    """Model and TTS work on the early transcript, one sentence ahead; the first frame waits for the final one."""
    voice, output = ScriptedVoice(first_audio_s=0.2), RecordingOutput()
    user = ScriptedUser().guesses("where is it", at_s=1.0).says("Where is it?", at_s=1.5)
    model = ScriptedModel([Says(LONG, after_s=0.1)])
    async with call(row(model, voice=voice, user=user), output=output) as (session, events):
        await anyio.sleep(8)

    assert [round(when, 6) for when, _ in voice.sentences][:2] == [1.1, 1.1]
    assert output.written[0][0] == 1.5
    assert at(events, vp.TurnStarted, vp.TurnEnded) == [(1.5, "TurnStarted"), (4.75, "TurnCompleted")]
    assert [message.text for message in session.history] == ["Where is it?", LONG]
    assert len(model.requests) == 1


async def test_a_draft_on_the_wrong_words_leaves_no_trace() -> None:
    """A wrong draft is rolled back without event, history or sound, and the turn that follows is number one."""
    output = RecordingOutput()
    user = ScriptedUser().guesses("where is", at_s=1.0).says("Where is Lyon?", at_s=1.5)
    model = ScriptedModel([Says("Somewhere."), Says("In France.")])
    async with call(row(model, user=user), output=output) as (session, events):
        await anyio.sleep(4)

    assert [event.turn_id for _, event in events if isinstance(event, vp.TurnStarted)] == [1]
    assert at(events, vp.TurnEnded) == [(2.0, "TurnCompleted")]
    assert [message.text for message in session.history] == ["Where is Lyon?", "In France."]
    assert output.spans() == [(1.5, 2.0)]


async def test_a_draft_that_fails_is_dropped_silently() -> None:
    """After a draft that failed, the final transcript starts a turn of its own."""
    user = ScriptedUser().guesses("where is it", at_s=1.0).says("Where is it?", at_s=1.5)
    model = ScriptedModel([Refuses(400, "no"), Says("Here.")])
    async with call(row(model, user=user)) as (_, events):
        await anyio.sleep(4)

    assert at(events, vp.TurnStarted, vp.TurnEnded) == [(1.5, "TurnStarted"), (1.75, "TurnCompleted")]


async def test_a_failed_turn_is_told_and_the_caller_hears_the_fallback() -> None:
    """Never dead air: the fallback is spoken, enters history, and the error is the model's own."""
    async with call(row(ScriptedModel([Refuses(400, "bad request"), Says("Yes.")]))) as (session, events):
        turn = await session.user_says("Hello?")
        after = await session.user_says("Again?")

    failed = next(event for _, event in events if isinstance(event, vp.TurnFailed))
    assert (str(failed.error), turn.state, after.state) == ("bad request", vp.TurnState.FAILED, vp.TurnState.DONE)
    assert failed.heard == "Sorry, I cannot answer that right now. Please try again."
    assert [message.text for message in session.history][1] == failed.heard


async def test_an_empty_reply_is_told() -> None:
    """A model without words leads to `TurnEmpty` with its reason, and the fallback can be turned off."""
    model = ScriptedModel([Says("", finish_reason="content_filter")])
    pipeline = vp.Pipeline(model, vp.SentenceChunker(), ScriptedVoice(), fallback="")
    async with call(pipeline) as (session, events):
        await session.user_says("Hello?")

    empty = [event for _, event in events if isinstance(event, vp.TurnEnded)]
    assert [(type(event), event.finish_reason) for event in empty if isinstance(event, vp.TurnEmpty)] == [
        (vp.TurnEmpty, "content_filter")
    ]
    assert [message.text for message in session.history] == ["Hello?"]


async def test_a_stage_that_raises_fails_its_turn_by_name_and_the_call_goes_on() -> None:
    """The error that is raised names the part, and the original exception is its cause."""

    class Broken(vp.Stage[vp.TextDelta, vp.TextDelta]):
        async def run(self, inbox: vp.Inbox[vp.TextDelta], outbox: vp.Outbox[vp.TextDelta], turn: vp.Turn) -> None:
            async for delta in inbox:
                if turn.turn_id == 1:
                    raise KeyError("oops")
                await outbox.send(delta)

    async with call(row(ScriptedModel([Says("One."), Says("Two.")]), Broken())) as (session, events):
        first = await session.user_says("Hello?")
        second = await session.user_says("Again?")

    assert isinstance(first.failure, vp.StageError)
    assert isinstance(first.failure.__cause__, KeyError)
    assert (first.failure.part, second.state) == ("Broken", vp.TurnState.DONE)
    assert [type(event) for _, event in events if isinstance(event, vp.TurnEnded)] == [vp.TurnFailed, vp.TurnCompleted]


async def test_a_greeting_and_what_is_said_are_spoken_in_order() -> None:
    """`say` waits for the current reply, and history holds it as heard."""
    output = RecordingOutput()
    async with call(row(ScriptedModel([])), output=output, greeting="Hello.") as (session, _):
        session.say("One.")
        session.say("Two.")
        await anyio.sleep(2)

    assert output.spans() == [(0.0, 0.7)]
    assert [message.text for message in session.history] == ["Hello.", "One.", "Two."]


async def test_the_session_ends_after_the_reply_when_a_tool_asks_for_it() -> None:
    """With `after_reply` the goodbye is heard to its end, and `result` is kept."""

    @vp.tool
    async def hang_up(call: vp.ToolContext[None]) -> str:
        """End the call."""
        call.session.end(after_reply=True, result="done")
        return "Say good-bye."

    output = RecordingOutput()
    model = ScriptedModel([Calls("hang_up", {}), Says("Good-bye.")])
    async with call(row(model, vp.ToolRouter([hang_up])), output=output) as (session, events):
        await session.user_says("That was all.")
        await session.ended.wait()

    assert (session.result, output.spans()) == ("done", [(0.0, 0.45)])
    assert at(events, vp.TurnEnded) == [(0.45, "TurnCompleted")]


async def test_a_hang_up_interrupts_the_reply_and_ends_the_session() -> None:
    """A hang-up ends the session, and history holds what was heard until then."""
    user = ScriptedUser().says("Count.", at_s=0).hangs_up(at_s=0.6)
    async with call(row(ScriptedModel([Says(LONG)]), user=user)) as (session, events):
        await session.ended.wait()
        assert anyio.current_time() == 0.6

    assert [message.text for message in session.history] == ["Count.", "One two"]
    assert at(events, vp.TurnEnded) == [(0.6, "TurnInterrupted")]


async def test_leaving_the_block_ends_the_session_in_mid_reply() -> None:
    """Leaving the block interrupts the turn, and its terminal event still comes."""
    async with call(row(ScriptedModel([Says(LONG)]))) as (session, events):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Count.")
            await anyio.sleep(0.6)
            session.end()

    assert at(events, vp.TurnEnded) == [(0.6, "TurnInterrupted")]


async def test_an_error_of_the_application_comes_out_as_itself() -> None:
    """The block's own exception is not wrapped in a group."""
    with pytest.raises(KeyError, match="mine"):
        async with row(ScriptedModel([Says(LONG)])).session(output=RecordingOutput()) as session:
            session.say("Hello.")
            await anyio.sleep(0.1)
            raise KeyError("mine")


async def test_a_session_stage_that_raises_ends_the_session_under_its_name() -> None:
    """A part that fails cancels the block, and the error is typed."""

    class Deaf(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
        async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
            await anyio.sleep(1)
            raise OSError("no ears")

    pipeline = vp.Pipeline(Deaf(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    with pytest.raises(vp.StageError, match="Deaf raised OSError: no ears"):
        async with pipeline.session(output=RecordingOutput(), source=vp.PushSource()):
            await anyio.sleep_forever()
    assert anyio.current_time() == 1


async def test_a_hanging_writing_tool_does_not_hold_the_exit() -> None:
    """A writing tool that hangs gets one second at the end of the session, then its outcome is unknown."""

    @vp.tool
    async def pay() -> str:
        """Pay."""
        await anyio.sleep_forever()
        return ""

    async with call(row(ScriptedModel([Calls("pay", {})]), vp.ToolRouter([pay]))) as (session, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Pay.")
            await anyio.sleep(0.5)
            session.end()

    assert anyio.current_time() == 1.5
    assert session.history.to_json()[-1]["calls"][0]["status"] == "unknown"


async def test_there_is_no_gap_through_a_tool_round_that_is_quicker_than_the_words_before_it() -> None:
    """The answer is spoken after the words before the call as if there had been no call."""

    @vp.tool(effect="read")
    async def look_up() -> str:
        """Look it up."""
        await anyio.sleep(0.3)
        return "found"

    output = RecordingOutput()
    model = ScriptedModel([Calls("look_up", {}, say="One moment."), Says("Here it is.")])
    async with call(row(model, vp.ToolRouter([look_up]), voice=ScriptedVoice(first_audio_s=0.1)), output=output) as (
        session,
        _,
    ):
        await session.user_says("Find it.")

    assert output.spans() == [(0.1, pytest.approx(0.1 + 22 * 0.05, abs=1e-9))]
    assert session.history[1].text == "One moment."
    assert session.history[2].text == "Here it is."


async def test_calls_of_one_host_share_nothing_but_what_was_opened() -> None:
    """Each call has its own history, turns and output."""
    model = ScriptedModel(lambda request: Says(f"You said {request.last_user_text}"))
    outputs = [RecordingOutput(), RecordingOutput()]
    async with row(model).open() as host:
        async with (
            host.session(
                output=outputs[0], history=[vp.UserMessage("Before."), vp.AssistantMessage.said("Yes.")]
            ) as one,
            host.session(output=outputs[1], deps="shop") as two,
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.user_says, "one.")
                tasks.start_soon(two.user_says, "two.")

    assert [message.text for message in one.history] == ["Before.", "Yes.", "one.", "You said one."]
    assert [message.text for message in two.history] == ["two.", "You said two."]
    assert (one.deps, two.deps) == (None, "shop")


@pytest.mark.slow
async def test_iterating_is_optional_and_old_events_are_counted() -> None:
    """Of unread events, the newest thousand are kept."""
    model = ScriptedModel(lambda _: Says("Yes. " * 300))
    pipeline = row(model, voice=ScriptedVoice(character_s=0.0001))
    async with pipeline.session(output=RecordingOutput()) as session:
        for _ in range(4):
            await session.user_says("Go on.")
    kept = [event async for event in session]

    assert len(kept) == 1000
    assert session.dropped_events == 4 * 304 - 1000


async def test_each_loop_over_a_session_gets_every_event() -> None:
    """Two loops that begin together read the same events, from the session's first one to its last."""
    read = [list[vp.Event](), list[vp.Event]()]

    async def follow(session: vp.Session, into: list[vp.Event]) -> None:
        async for event in session:
            into.append(event)

    async with anyio.create_task_group() as tasks:
        async with row(ScriptedModel([Says("Hi.")])).session(output=RecordingOutput(), greeting="Hello.") as session:
            for into in read:
                tasks.start_soon(follow, session, into)
            await session.user_says("Hello?")
            session.end()
    assert read[0] == read[1]
    assert [type(event) for event in read[0]].count(vp.TurnCompleted) == 1
    assert isinstance(read[0][0], vp.TurnStarted)


async def test_a_session_has_an_id(caplog: pytest.LogCaptureFixture) -> None:
    """The id that was given, or one of its own, is in the session's repr and in the log lines about its turns."""
    async with row(ScriptedModel(lambda _: Breaks())).open() as host:
        async with host.session(output=RecordingOutput(), id="call-7") as named:
            await named.user_says("Hello?")
        async with (
            host.session(output=RecordingOutput()) as one,
            host.session(output=RecordingOutput()) as other,
        ):
            ids = {one.id, other.id}
    assert repr(named) == "<Session call-7: ended, 2 messages>"
    assert caplog.messages[0].startswith("session call-7: turn 1 failed: ")
    assert (len(ids), {len(made) for made in ids}) == (2, {16})


@pytest.mark.parametrize("id", ["", " ", "a\nsession b: turn 1 failed"])
async def test_an_id_that_would_spoil_the_log_is_refused(id: str) -> None:  # noqa: A002
    """An empty id, or one that could forge a log line, is refused before the session begins."""
    with pytest.raises(vp.ConfigurationError, match="id needs printable characters for the log"):
        async with row(ScriptedModel([])).session(output=RecordingOutput(), id=id):
            pytest.fail("a session began")


async def test_the_same_script_gives_the_same_timeline_twice() -> None:
    """The contributions of a timeline add up to the wait, to the microsecond."""

    async def once() -> list[tuple[float, str]]:
        user = ScriptedUser().says("Count.", at_s=0.3, speech_s=0.2, silence_s=0.1).coughs(at_s=1).says("Go.", at_s=2)
        start = anyio.current_time()
        model = ScriptedModel([Says(LONG, after_s=0.13, token_s=0.017), Says("Yes.", after_s=0.1)])
        async with call(row(model, voice=ScriptedVoice(first_audio_s=0.07), user=user)) as (_, events):
            await anyio.sleep(5)
        return [(round(when - start, 6), repr(event).partition("timeline")[0]) for when, event in events]

    def without_times(events: list[tuple[float, str]]) -> list[tuple[float, str]]:
        return [(when, text.partition("at_s")[0].partition("speech_ended_s")[0]) for when, text in events]

    assert without_times(await once()) == without_times(await once())


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.slow
async def test_cancelling_the_block_leaves_nothing_behind(twice: bool) -> None:
    """A tool turn can be cancelled at any moment: no task is left, and each call has a result."""

    @vp.tool
    async def book(what: str) -> str:
        """Book it."""
        await anyio.sleep(0.2)
        return "booked"

    tasks_before = asyncio.all_tasks()
    sessions: list[vp.Session] = []
    for step in range(60):
        model = ScriptedModel(
            [Calls("book", {"what": "a table"}, say="One moment.", token_s=0.02), Says("It is booked.", token_s=0.02)]
        )
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel(scope: anyio.CancelScope = scope, step: int = step) -> None:
                    await anyio.sleep(0.013 * step)
                    scope.cancel()
                    if twice:
                        await anyio.lowlevel.cancel_shielded_checkpoint()
                        scope.cancel()

                tasks.start_soon(cancel)
                async with row(model, vp.ToolRouter([book])).session(output=RecordingOutput()) as session:
                    sessions.append(session)
                    await session.user_says("Book it.")
    assert len(sessions) > 50
    for session in sessions:
        for message in session.history:
            if isinstance(message, vp.AssistantMessage):
                assert all(one.status != "pending" for one in message.calls)
                assert message.is_settled
    assert asyncio.all_tasks() == tasks_before


async def test_the_history_that_is_sent_holds_what_was_heard() -> None:
    """After an interruption the model is shown the words that were played, and a mark."""
    model = ScriptedModel([Says(LONG), Says("Yes.")])
    async with call(row(model)) as (session, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Count.")
            await anyio.sleep(0.6)
            session.interrupt()
        await session.user_says("Go on.")

    assert [(message.role, message.content) for message in model.requests[-1].messages] == [
        ("user", "Count."),
        ("assistant", "One two —"),
        ("user", "Go on."),
    ]
