"""What a client says when it wants to: push to talk, typed words, and replies in text."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.realtime_client import RATE, STORY, connected, ears, scripted, serving, typed
from voicepipe.testing import Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio


PUSH_TO_TALK = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


async def test_push_to_talk_answers_what_was_committed() -> None:
    """Without turn detection the commit ends the turn, and `response.create` brings no second reply."""
    agent, model = scripted(ears().says("Weather?", at_s=2.0, speech_s=0.5), [Says("Sunny.")])
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session=PUSH_TO_TALK)
        await client.speak(1.0)
        await client.send("input_audio_buffer.clear")
        await client.wait("input_audio_buffer.cleared")
        await client.speak(1.8)
        assert model.requests == []
        await client.send("input_audio_buffer.commit")
        await client.send("response.create", response={"metadata": {"button": "left"}})
        done = await client.wait("response.done")
        await anyio.sleep(5)
    assert done["response"]["metadata"] == {"button": "left"}
    kinds = client.kinds()
    assert kinds[2:6] == [
        "input_audio_buffer.cleared",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert kinds[6] == "conversation.item.input_audio_transcription.completed"
    assert not client.of("input_audio_buffer.speech_started")
    assert (kinds.count("response.created"), len(model.requests), client.of("error")) == (1, 1, [])


async def test_a_commit_without_words_is_answered() -> None:
    """A client that commits silence learns so after 5 s, and gets the response that it asked for, without content."""
    agent, _ = scripted(ears(), [])
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session=PUSH_TO_TALK)
        await client.speak(1.0)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        await client.wait("conversation.item.input_audio_transcription.failed")
        done = await client.wait("response.done")
    assert (done["response"]["status"], done["response"]["output"]) == ("completed", [])
    assert client.time_of("response.done") == 6.0


async def test_a_commit_with_detection_and_without_words_is_answered() -> None:
    """A client that asks for a reply to silence gets a response without content, and is not left waiting."""
    agent, _ = scripted(ears(), [])
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session={"type": "realtime"})
        await client.speak(1.0)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        done = await client.wait("response.done")
    assert (done["response"]["status"], done["response"]["output"]) == ("completed", [])


async def test_an_empty_commit_is_an_error() -> None:
    """A commit needs audio; the error quotes the client's id."""
    agent, _ = scripted(ears(), [])
    async with serving(agent) as port, connected(port) as client:
        await client.send("input_audio_buffer.commit", event_id="mine")
        error = (await client.wait("error"))["error"]
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")


async def test_a_commit_with_detection_ends_the_turn_now() -> None:
    """A client that knows that the caller is done does not wait for the recogniser."""
    agent, model = scripted(ears().says("Weather?", at_s=9.0, speech_s=0.5, silence_s=8.0), [Says("Sunny.")])
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session={"type": "realtime"})
        await client.speak(1.0)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        await client.wait("response.done")
    assert client.time_of("input_audio_buffer.committed") == 1.0
    assert (len(model.requests), client.of("error")) == (1, [])


async def test_the_first_settings_may_be_wrong() -> None:
    """Settings that cannot hold are an error that quotes the client's id; the call begins with the server's."""
    agent, _ = scripted(ears(), [Says("Sunny.")])
    wrong = {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm", "rate": 8_000}}}}
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", event_id="mine", session=wrong)
        await client.says("Weather?")
        await client.wait("response.done")
    error = client.of("error")[0]["error"]
    assert (error["event_id"], error["param"]) == ("mine", "session.audio.output.format.rate")
    assert client.audio_s("item_2") == 0.3


async def test_audio_that_is_recognised_cannot_be_cleared() -> None:
    """With turn detection there is no buffer to clear, and the client learns that."""
    agent, _ = scripted(ears(), [])
    async with serving(agent) as port, connected(port) as client:
        await client.send("input_audio_buffer.clear")
        assert (await client.wait("error"))["error"]["code"] == "nothing_to_clear"


async def test_push_to_talk_has_an_end() -> None:
    """More than 30 s are refused until they are committed or cleared."""
    agent, _ = scripted(ears(), [])
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session=PUSH_TO_TALK)
        second = base64.b64encode(bytes(2 * RATE)).decode()
        for _ in range(31):
            await client.send("input_audio_buffer.append", audio=second)
            await anyio.sleep(1.0)
        await client.send("input_audio_buffer.clear")
        await client.wait("input_audio_buffer.cleared")
        await client.speak(1.0)
    assert [event["error"]["code"] for event in client.of("error")] == ["input_audio_buffer_full"]


async def test_one_commit_after_another() -> None:
    """What is committed while the last one is being recognised is an error, and stays in the buffer."""
    agent, model = scripted(
        ears().says("One.", at_s=9.0, speech_s=8.5).says("Two.", at_s=12.0), [Says("Yes."), Says("No.")]
    )
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session=PUSH_TO_TALK)
        await client.speak(9.0)
        await client.send("input_audio_buffer.commit")
        await client.speak(0.04)
        await client.send("input_audio_buffer.commit")
        assert (await client.wait("error"))["error"]["code"] == "input_audio_buffer_busy"
        await client.wait("response.done")
        await client.speak(3.0)
        await client.send("input_audio_buffer.commit")
        await client.wait("response.done", 2)
    assert [request.last_user_text for request in model.requests] == ["One.", "Two."]


class Patient(vp.Recogniser):
    """A recogniser that takes a second of silence for the end of a turn, and cannot be asked for it."""

    sample_rate = RATE

    async def recognise(self, inbox: Any, outbox: Any, session: Any) -> None:
        silent_s, has_speech = 0.0, False
        async for frame in inbox:
            silent_s = 0.0 if any(frame.pcm) else silent_s + frame.duration_s
            has_speech = has_speech or any(frame.pcm)
            if has_speech and silent_s >= 0.99:
                has_speech, now = False, anyio.current_time()
                await outbox.send(vp.Transcript("Weather?", now, now))


async def test_a_recogniser_that_cannot_be_asked_hears_silence() -> None:
    """Push to talk works with every recogniser: one without `force_endpoint` is given the silence that it waits for."""
    model = ScriptedModel([Says("Sunny.")])
    agent = vp.Pipeline(vp.STTStage(Patient()), model, vp.SentenceChunker(), ScriptedVoice(), detector=None)
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session=PUSH_TO_TALK)
        await client.speak(1.0)
        await client.send("input_audio_buffer.commit")
        await client.wait("response.done")
    assert client.time_of("response.created") == 1.0
    assert model.requests[0].last_user_text == "Weather?"


async def test_typed_words_are_answered_when_the_client_asks() -> None:
    """Text items wait for `response.create`; together they are one turn."""
    agent, model = scripted(ears(), [Says("Sunny.")])
    async with serving(agent) as port, connected(port) as client:
        await client.send("conversation.item.create", item=typed("Hello.", id="first"))
        await client.send("conversation.item.create", item=typed("Weather?"))
        await client.wait("conversation.item.done", 2)
        await anyio.sleep(5)
        assert model.requests == []
        await client.send("response.create")
        await client.wait("response.done")
    assert model.requests[0].last_user_text == "Hello.\nWeather?"
    assert client.of("conversation.item.added")[0]["item"]["id"] == "first"
    assert client.kinds().count("conversation.item.added") == 3


async def test_the_agent_speaks_when_asked_to() -> None:
    """`response.create` without anything new lets the agent go on."""
    agent, model = scripted(ears(), [Says("Are you still there?")])
    async with serving(agent) as port, connected(port) as client:
        await client.send("response.create")
        await client.wait("response.done")
    assert len(model.requests) == 1
    assert client.audio_s("item_1") == 1.0


async def test_typed_text_that_was_never_asked_about_is_known_to_the_agent() -> None:
    """What was typed before the caller speaks comes before their words."""
    agent, model = scripted(ears().says("What did I type?", at_s=1.0), [Says("Hello.")])
    async with serving(agent) as port, connected(port) as client:
        await client.send("conversation.item.create", item=typed("My name is Ada."))
        await client.speak(1.2)
        await client.wait("response.done")
    assert model.requests[0].last_user_text == "My name is Ada.\nWhat did I type?"


async def test_typed_text_does_not_pile_up() -> None:
    """A client that types without end is stopped by an error; its next response takes what has been typed."""
    agent, model = scripted(ears(), [Says("Hello.")])
    async with serving(agent) as port, connected(port) as client:
        for number in range(40):
            await client.send("conversation.item.create", item=typed(f"line {number}"))
        await client.wait("error", 8)
        await client.send("response.create")
        await client.wait("response.done")
    assert {event["error"]["code"] for event in client.of("error")} == {"too_many_items"}
    assert model.requests[0].last_user_text.count("line") == 32


async def test_a_text_session_speaks_no_word() -> None:
    """With the modality "text" replies are text, at the pace of the model, and the voice is not asked."""
    agent, _ = scripted(ears(), [Says(STORY)])
    voice = agent.parts[-1]
    assert isinstance(voice, ScriptedVoice)
    async with serving(agent) as port, connected(port) as client:
        await client.send("session.update", session={"type": "realtime", "output_modalities": ["text"]})
        await client.says("A story!")
        await client.wait("response.done")
    assert client.time_of("response.done") < 0.1
    assert voice.sentences == []
    assert client.of("response.output_text.done")[0]["text"] == STORY
    assert not client.of("response.output_audio.delta")
