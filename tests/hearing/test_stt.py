"""The stage that recognises speech, and which recogniser a session uses."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.errors import ConfigurationError, StageError, VendorError
from voicepipe.hearing.recogniser import NoRecogniser, Recogniser
from voicepipe.hearing.stt import recogniser_of
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice
from voicepipe.vendors.assemblyai.stt import AssemblyAIRecogniser

pytestmark = pytest.mark.anyio


class Listener(Recogniser):
    """Reports one transcript, and remembers the hints that it was given."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def recognise(self, inbox: Any, outbox: Any, session: vp.Session) -> None:
        await outbox.send(vp.Transcript("Hello.", 0.0, 0.0))
        async for _ in inbox:
            pass

    def agent_said(self, text: str) -> None:
        self.told.append(text)


def row(*hearing: vp.Part, reply: str = "Good morning.") -> vp.Pipeline:
    return vp.Pipeline(
        *hearing,
        ScriptedModel(lambda _request: Says(reply)),
        vp.SentenceChunker(),
        ScriptedVoice(),
        output=RecordingOutput(),
    )


def test_without_a_recogniser_it_is_the_default_one() -> None:
    """`STTStage()` uses AssemblyAI; the key is needed when the pipeline is opened, not before."""
    stage = vp.STTStage()
    assert isinstance(stage.recogniser, AssemblyAIRecogniser)
    assert repr(stage) == "<STTStage <AssemblyAIRecogniser u3-rt-pro at wss://streaming.assemblyai.com/v3/ws>>"


@pytest.mark.parametrize("given", ["u3-rt-pro", 3, AssemblyAIRecogniser])
def test_only_a_recogniser_listens(given: Any) -> None:
    """Anything but a recogniser is refused, and the message says what to write."""
    with pytest.raises(ConfigurationError, match=r"write STTStage\(PocketsphinxRecogniser\(grammar\)\)"):
        vp.STTStage(given)


async def test_the_recogniser_is_told_what_was_heard() -> None:
    """When a reply has been played, the session's own copy of the recogniser is given it; the original is not."""
    listener, source = Listener(), vp.PushSource()
    async with row(vp.STTStage(listener)).session(source=source) as session:
        own = session.recogniser
        events = session.__aiter__()
        while not isinstance(await anext(events), vp.TurnCompleted):
            pass

    assert own is not listener
    assert isinstance(own, Listener)
    assert own.told == ["Good morning."]


async def test_a_reply_that_was_not_heard_is_not_told() -> None:
    """A reply that was interrupted before its first sample is not given to the recogniser."""
    source = vp.PushSource()
    async with row(vp.STTStage(Listener())).session(source=source) as session:
        events = session.__aiter__()
        while not isinstance(await anext(events), vp.TurnStarted):
            pass
        session.interrupt()
        own = session.recogniser
    assert isinstance(own, Listener)
    assert own.told == []


async def test_where_nobody_listens_hints_have_no_effect() -> None:
    """A tool that asks the recogniser to wait longer works in a test with a scripted caller."""
    async with row(ScriptedUser().says("Hi.", at_s=0.1).hangs_up(at_s=5.0)).session() as session:
        async with session.recogniser.updated(min_turn_silence_s=1.0):
            session.recogniser.update(prompt="A bank.")
            session.recogniser.force_endpoint()
        async for event in session:
            if isinstance(event, vp.TurnCompleted):
                break
        assert isinstance(session.recogniser, NoRecogniser)


class Failing(Recogniser):
    """Fails in the middle of the call."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def recognise(self, inbox: Any, outbox: Any, session: vp.Session) -> None:
        raise self.error


async def test_an_error_names_the_recogniser() -> None:
    """What a recogniser raises ends the session under the name of its class, not of the stage that runs it."""
    with pytest.raises(StageError) as found:
        async with row(vp.STTStage(Failing(KeyError("words")))).session(source=vp.PushSource()) as session:
            await session.ended.wait()
    assert found.value.part == "Failing"
    assert str(found.value) == "Failing raised KeyError: 'words'"


async def test_a_typed_error_names_the_recogniser_too() -> None:
    """An error of our own passes as it is, with the recogniser's name as its note."""
    with pytest.raises(VendorError) as found:
        async with row(vp.STTStage(Failing(VendorError("gone", vendor="v", retryable=False)))).session(
            source=vp.PushSource()
        ) as session:
            await session.ended.wait()
    assert found.value.__notes__ == ["in Failing"]


def test_the_recogniser_of_a_row_is_its_stages() -> None:
    """The session uses the recogniser of the first `STTStage`."""
    listener = Listener()
    assert recogniser_of([ScriptedUser(), vp.STTStage(listener)]) is listener


async def test_a_recogniser_that_cannot_end_a_turn_says_so() -> None:
    """A recogniser of the application's without `force_endpoint` does not ignore the request in silence."""
    source = vp.PushSource()
    async with row(vp.STTStage(Listener())).session(source=source) as session:
        with pytest.raises(vp.ConfigurationError, match=r"Listener cannot end the caller's turn .* force_endpoint\(\)"):
            session.recogniser.force_endpoint()


async def test_a_scripted_turn_can_be_ended_by_the_application() -> None:
    """A tool that ends the caller's turn can be tested: the transcript of the turn that has begun comes at once."""
    heard = ScriptedRecogniser().says("Yes.", at_s=9.0, speech_s=8.5).says("No.", at_s=12.0, speech_s=1.0)
    source, events = vp.PushSource(), list[tuple[float, str]]()
    async with row(vp.STTStage(heard)).session(source=source) as session, anyio.create_task_group() as tasks:

        async def listen() -> None:
            events.extend([(anyio.current_time(), e.text) async for e in session if isinstance(e, vp.Transcript)])

        tasks.start_soon(listen)
        session.recogniser.force_endpoint()  # before any speech: nothing happens
        await anyio.sleep(1.0)
        source.push(bytes(2 * 16_000))
        session.recogniser.force_endpoint()  # in the very step in which the audio comes
        await anyio.sleep(1.0)
        session.end()
    assert events == [(1.0, "Yes.")]
