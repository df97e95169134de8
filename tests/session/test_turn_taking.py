"""Turn-taking in whole sessions: what the caller hears when they hum, cough, pause and go on."""

from __future__ import annotations

import anyio
import pytest

import voicepipe as vp
from tests.helpers.story import CHARACTER_S, RATE, STORY, STORY_S, CountingVoice, heard_places, hold, times
from voicepipe.history import AssistantMessage
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser

pytestmark = pytest.mark.anyio


async def test_a_cough_pauses_the_reply_and_costs_no_word() -> None:
    """The reply goes on at the word that was cut in two: each word is heard whole once, and the history is whole."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0).coughs(at_s=2.0, for_s=0.6)
    session, events, output = await hold(user)
    assert (times(events, vp.Paused), times(events, vp.Resumed)) == ([2.3], [3.4])
    # At 2.3 s the caller had heard "nine", which ends at 2.2 s, and the beginning of "ten".
    assert heard_places(output) == [(0.0, 0.0, 2.3), (3.4, 2.2, 5.05)]
    assert session.history[-1] == AssistantMessage.said(STORY)


@pytest.mark.parametrize(
    "voice", [CountingVoice(marks=False), CountingVoice(rate=16_000)], ids=["no marks", "resampled"]
)
async def test_every_voice_goes_on_without_a_gap(voice: CountingVoice) -> None:
    """Without word marks the reply goes on a quarter of a second earlier, and a resampled one at the word."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0).coughs(at_s=2.0, for_s=0.6)
    session, events, output = await hold(user, voice=voice)
    assert (times(events, vp.Paused), times(events, vp.Resumed)) == ([2.3], [3.4])
    (_, cut_s), (at_s, _) = output.spans()
    assert (cut_s, at_s) == (pytest.approx(2.3, abs=0.02), pytest.approx(3.4, abs=0.02))
    (resumed,) = [event for _, event in events if isinstance(event, vp.Resumed)]
    assert resumed.from_s == 2.2 if voice.marks else 1.85 <= resumed.from_s <= 2.05
    assert session.history[-1] == AssistantMessage.said(STORY)
    assert times(events, vp.VoiceTooSlow) == []


async def test_a_pause_in_a_pause_in_a_reply() -> None:
    """Two sounds pause the reply twice; a third one no more, because speech alone has been wrong twice in 10 s."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0)
    for at_s in (1.0, 2.8, 4.6):
        user.coughs(at_s=at_s, for_s=0.4)
    session, events, output = await hold(user)
    assert times(events, vp.Paused) == [1.3, 3.1]
    assert len(output.spans()) == 3
    assert session.history[-1] == AssistantMessage.said(STORY)


async def test_a_hum_is_neither_answered_nor_kept() -> None:
    """ "Mhm" is reported, the reply goes on within a second, and the history knows nothing of it."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0).hums("Mhm.", at_s=2.0)
    session, events, _ = await hold(user)
    assert [event.text for _, event in events if isinstance(event, vp.Backchannel)] == ["Mhm."]
    assert (times(events, vp.Paused), times(events, vp.Resumed)) == ([2.3], [3.0])
    assert [message.text for message in session.history] == ["Tell me a story.", STORY]


async def test_words_end_the_reply_at_the_word() -> None:
    """The agent is silent after 0.3 s of speech, and the first word ends its reply where it was paused."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0).interrupts("Stop it, please.", at_s=2.0)
    session, events, output = await hold(user, Says(STORY), Says("Fine."))
    assert (times(events, vp.Paused), times(events, vp.TurnInterrupted)) == ([2.3], [2.4])
    assert output.spans()[0] == (0.0, 2.3)
    assert [message.text for message in session.history] == [
        "Tell me a story.", "One two three four five six seven eight nine", "Stop it, please.", "Fine.",
    ]  # fmt: skip


async def test_a_noise_while_the_agent_thinks_withholds_the_reply() -> None:
    """The reply is prepared meanwhile, and is heard half a second after the noise; its timeline says why."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0).coughs(at_s=0.15, for_s=0.55)
    session, events, output = await hold(user, Says(STORY, after_s=0.5))
    assert (times(events, vp.Withheld), times(events, vp.Released)) == ([0.15], [1.2])
    assert output.spans()[0][0] == 1.2
    (ended,) = [event for _, event in events if isinstance(event, vp.TurnEnded)]
    assert isinstance(ended, vp.TurnCompleted)
    spent = ended.timeline.contributions_us
    lead_in = spent["lead_in"]  # the samples of the counting voice are too quiet to be heard at first
    assert (spent["withheld"], sum(spent.values()) - lead_in) == (700_000, 1_200_000)
    assert session.history[-1] == AssistantMessage.said(STORY)


async def test_a_caller_who_goes_on_is_answered_once() -> None:
    """Words that come before the answer is heard are joined to the question: one message, no sound in between."""
    user = ScriptedUser().says("I want to cancel.", at_s=1.0)
    user.interrupts("My subscription.", at_s=1.25, for_s=0.9)
    session, events, output = await hold(user, Says("Sorry to hear.", after_s=0.6), Says("Done."))
    assert output.spans()[0][0] == 2.45
    assert [message.text for message in session.history] == ["I want to cancel. My subscription.", "Done."]
    (taken_back, answered) = [event for _, event in events if isinstance(event, vp.TurnEnded)]
    assert isinstance(taken_back, vp.TurnInterrupted)
    assert (taken_back.joined, taken_back.heard) == (True, "")
    assert answered.user_text == "I want to cancel. My subscription."


async def test_a_number_in_two_breaths_is_one_request() -> None:
    """The agent waits for the rest of a number, and has its answer ready when the caller has said it."""
    user = (
        ScriptedUser()
        .says("the code is seven eight", at_s=1.78, speech_s=1.3, silence_s=0.28)
        .says("nine one six", at_s=3.4, speech_s=0.8, silence_s=0.3)
    )
    session, events, output = await hold(user, Says("No."), Says("Got 78916.", after_s=0.5))
    assert output.spans()[0][0] == 4.5  # 1.4 s after the last word; the draft was ready before that
    assert [message.text for message in session.history] == ["the code is seven eight nine one six", "Got 78916."]
    (ended,) = [event for _, event in events if isinstance(event, vp.TurnEnded)]
    assert ended.timeline.contributions_us == {
        "silence": 300_000, "stt": 0, "turn": 0, "request": 0, "llm": 500_000, "sentence": 0, "tts": 0,
        "patience": 600_000, "output": 0,
    }  # fmt: skip


async def test_a_protected_notice_is_heard_whole() -> None:
    """Words over protected speech wait, and are answered as one message after it."""
    user = ScriptedUser().says("Hello?", at_s=1.0, speech_s=0.4).says("Who is there?", at_s=2.0, speech_s=0.4)
    output = RecordingOutput(RATE)
    row = vp.Pipeline(user, ScriptedModel([Says("Me.")]), vp.SentenceChunker(), CountingVoice(), output=output)
    async with row.session() as session:
        said = session.say(STORY, protected=True)
        assert (await said).is_whole
        await anyio.sleep(1)
    events = [event async for event in session]
    assert output.spans() == [(0.0, round(STORY_S + 0.15, 6))]  # "Me." follows at once
    assert [message.text for message in session.history] == [STORY, "Hello? Who is there?", "Me."]
    assert not any(isinstance(event, vp.Paused) for event in events)


async def test_a_silent_caller_hears_from_the_agent_and_then_the_end() -> None:
    """After the times of `idle` the agent asks, asks again, says goodbye, and hangs up."""
    turns = vp.TurnRules(idle=(3.0, 6.0), idle_texts=("Are you there?", "Goodbye."))
    output = RecordingOutput(RATE)
    row = vp.Pipeline(
        ScriptedUser(), ScriptedModel([]), vp.SentenceChunker(), CountingVoice(),
        output=output, turns=turns,
    )  # fmt: skip
    async with row.session(greeting="Hello.") as session:
        await session.ended.wait()
    # "Hello." takes 0.3 s, "Are you there?" 0.7 s; between them and after it there are 3 s of silence.
    assert output.spans() == [(0.0, 0.3), (3.3, 4.0), (7.0, 7.4)]
    events = [event async for event in session]
    idles = [(event.step, event.is_last) for event in events if isinstance(event, vp.Idle)]
    assert idles == [(1, False), (2, True)]


async def test_a_call_ends_at_its_limit() -> None:
    """The limit is reported half of the time before, and at the limit the agent says goodbye and hangs up."""
    turns = vp.TurnRules(max_call_s=4.0, max_call_text="Goodbye.")
    output = RecordingOutput(RATE)
    row = vp.Pipeline(
        ScriptedUser(), ScriptedModel([]), vp.SentenceChunker(), CountingVoice(), output=output, turns=turns
    )
    async with row.session() as session:
        await session.ended.wait()
    assert output.spans() == [(4.0, 4.4)]
    assert [event.left_s async for event in session if isinstance(event, vp.CallLimit)] == [2.0, 0.0]


async def test_keys_stop_the_agent_and_are_a_message() -> None:
    """The first key ends the reply, and the keys up to "#" are what the caller said."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0).presses("12#", at_s=2.0)
    session, events, output = await hold(user, Says(STORY), Says("Twelve."))
    assert output.spans()[0] == (0.0, 2.0)
    assert [message.text for message in session.history][-2:] == ["12", "Twelve."]
    assert [event.key for _, event in events if isinstance(event, vp.Digit)] == ["1", "2", "#"]


@pytest.mark.parametrize(("drafts", "heard_s"), [(True, 1.6), (False, 1.85)])
async def test_a_draft_saves_what_the_model_takes(drafts: bool, heard_s: float) -> None:
    """An unfinished sentence is answered 0.6 s after its last word, if the reply was prepared during the wait."""
    user = ScriptedUser().says("a table for tonight", at_s=1.3, speech_s=1.0, silence_s=0.3)
    _, _, output = await hold(user, Says("Yes.", after_s=0.25), turns=vp.TurnRules(drafts=drafts))
    assert output.spans()[0][0] == heard_s


@pytest.mark.parametrize("rate", [RATE, 16_000])
async def test_a_writing_tool_goes_on_in_a_pause(rate: int) -> None:
    """A pause touches no tool: it runs once, and its reply follows what was said before it, resampled or not."""
    ran: list[float] = []

    @vp.tool
    async def book() -> str:
        """Book."""
        await anyio.sleep(3)
        ran.append(anyio.current_time())
        return "booked"

    words = "Let me see whether there is a table free for you tonight."
    user = ScriptedUser().says("Book it.", at_s=0.0).coughs(at_s=1.0, for_s=0.6)
    output, voice = RecordingOutput(RATE), CountingVoice(rate=rate)
    model = ScriptedModel([Calls("book", {}, say=words), Says("It is booked.")])
    row = vp.Pipeline(user, model, vp.ToolRouter([book]), vp.SentenceChunker(), voice, output=output)
    async with row.session() as session:
        await anyio.sleep(8)
    assert ran == [3.0]
    assert [message.text for message in session.history] == ["Book it.", words, "It is booked."]
    assert len(output.spans()) == 2


async def test_a_draft_that_is_committed_and_interrupted_in_one_step_is_not_heard() -> None:
    """The sentence that waits for the commit must not be played before the cancellation reaches it."""
    user = ScriptedUser().guesses("Tell me", at_s=0.0).says("Tell me.", at_s=1.0)
    output = RecordingOutput(RATE)
    row = vp.Pipeline(
        user, ScriptedModel([Says(STORY)]), vp.SentenceChunker(), CountingVoice(), output=output, fallback=""
    )
    async with row.session() as session:
        async for event in session:
            if isinstance(event, vp.TurnStarted):
                break
        # The event is emitted in the step of the commit; the playback task has not run yet.
        session.interrupt()
        await anyio.sleep(1)
    assert output.written == []


async def test_last_words_are_not_paused_and_not_repeated() -> None:
    """A cough over the words that end a call changes nothing: they are heard once, in one go."""
    user = ScriptedUser().coughs(at_s=1.0, for_s=0.6)
    output = RecordingOutput(RATE)
    row = vp.Pipeline(user, ScriptedModel([]), vp.SentenceChunker(), CountingVoice(), output=output)
    async with row.session(greeting=STORY) as session:
        session.end(after_reply=True)
        await session.ended.wait()
    assert heard_places(output) == [(0.0, 0.0, 5.05)]
    assert session.history[-1] == AssistantMessage.said(STORY)


async def test_a_reply_that_is_paused_when_the_call_is_to_end_is_finished() -> None:
    """`end(after_reply=True)` during a pause: the reply goes on, and then the call ends."""
    user = ScriptedUser().coughs(at_s=1.0, for_s=0.6)
    output = RecordingOutput(RATE)
    row = vp.Pipeline(user, ScriptedModel([]), vp.SentenceChunker(), CountingVoice(), output=output)
    async with row.session(greeting=STORY) as session:
        await anyio.sleep(1.5)
        session.end(after_reply=True)
        await session.ended.wait()
    assert len(output.spans()) == 2
    assert session.history[-1] == AssistantMessage.said(STORY)


async def test_words_after_the_call_is_to_end_do_not_keep_a_paused_reply_for_ever() -> None:
    """The caller's words explain the sound that paused the reply, but it is the last one: it goes on, and ends."""
    user = ScriptedUser().interrupts("Stop it, please.", at_s=1.0)
    output = RecordingOutput(RATE)
    row = vp.Pipeline(user, ScriptedModel([]), vp.SentenceChunker(), CountingVoice(), output=output)
    async with row.session(greeting=STORY) as session:
        await anyio.sleep(1.35)  # paused at 1.3 s, and the first word comes at 1.4 s
        session.end(after_reply=True)
        await session.ended.wait()
    assert output.spans() == [(0.0, 1.3), (1.35, pytest.approx(STORY_S + 1.35 - 1.15, abs=0.02))]
    assert session.history[-1] == AssistantMessage.said(STORY)


async def test_a_reply_that_goes_on_when_the_call_is_to_end_goes_on_once() -> None:
    """`end(after_reply=True)` while what was not heard is said again: nothing of it is said a third time."""
    user, output = ScriptedUser().coughs(at_s=1.0, for_s=0.6), RecordingOutput(RATE)
    row = vp.Pipeline(user, ScriptedModel([]), vp.SentenceChunker(), CountingVoice(), output=output)
    async with row.session(greeting=STORY) as session:
        await anyio.sleep(2.45)  # it goes on at 2.4 s, with what had been written
        session.end(after_reply=True)
        await session.ended.wait()
    assert heard_places(output) == [(0.0, 0.0, 1.3), (2.4, 1.15, 5.05)]


async def test_a_reply_that_failed_is_not_taken_back() -> None:
    """It ends as failed, so the caller's words stay its own, and what they go on with is the next message alone."""
    user = ScriptedUser().says("I want to cancel.", at_s=0.0).says("My subscription.", at_s=0.5)
    session, events, _ = await hold(user, Says("Sorry to hear that.", finish_reason="length"), Says("Done."))
    failed, answered = [event for _, event in events if isinstance(event, vp.TurnEnded)]
    assert isinstance(failed, vp.TurnFailed)
    assert (failed.user_text, answered.user_text) == ("I want to cancel.", "My subscription.")
    assert [message.text for message in session.history] == [
        "I want to cancel.", "Sorry to", "My subscription.", "Done.",
    ]  # fmt: skip


async def test_without_marks_a_reply_goes_on_no_earlier_than_at_its_sentence() -> None:
    """The sentences before the one that was cut were heard whole, and are not said again."""
    user = ScriptedUser().says("Tell me a story.", at_s=0.0).coughs(at_s=0.45, for_s=0.6)
    first, second = "One two three.", " Four five six seven eight nine ten eleven twelve."
    _, events, _ = await hold(user, Says(first + second), voice=CountingVoice(marks=False))
    (paused,) = [event for _, event in events if isinstance(event, vp.Paused)]
    (resumed,) = [event for _, event in events if isinstance(event, vp.Resumed)]
    assert (paused.heard_s, resumed.from_s) == (0.75, round(len(first) * CHARACTER_S, 6))


@pytest.mark.parametrize(
    ("protected", "spans", "said"),
    [
        (False, [(0.0, 1.3), (2.0, 2.25)], ["One two three four five", "Stop it, please.", "Fine."]),
        (True, [(0.0, round(STORY_S + 0.25, 6))], [STORY, "Stop it, please.", "Fine."]),
    ],
    ids=["f1", "f2"],
)
async def test_words_over_the_greeting(protected: bool, spans: list[tuple[float, float]], said: list[str]) -> None:
    """A greeting yields to the caller; a protected one is heard whole, and the words over it are answered after it."""
    user, output = ScriptedUser().interrupts("Stop it, please.", at_s=1.0, for_s=0.7), RecordingOutput(RATE)
    row = vp.Pipeline(user, ScriptedModel([Says("Fine.")]), vp.SentenceChunker(), CountingVoice(), output=output)
    async with row.session(greeting=STORY, protected_greeting=protected) as session:
        await anyio.sleep(8)
    assert output.spans() == spans
    assert [message.text for message in session.history] == said
