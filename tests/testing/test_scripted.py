"""Parts that follow a script: real implementations, without any randomness."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from voicepipe import (
    Event,
    Pipeline,
    PushSource,
    RateLimited,
    SentenceChunker,
    SentenceStarted,
    STTStage,
    ToolRouter,
    TurnCompleted,
    TurnFailed,
    VendorError,
    tool,
)
from voicepipe.core.channel import Channel
from voicepipe.errors import StageError
from voicepipe.flow import (
    AudioFrame,
    EarlyTranscript,
    Hearing,
    Sentence,
    SpeechEnded,
    SpeechStarted,
    Transcript,
    WordMark,
)
from voicepipe.testing import (
    Breaks,
    Calls,
    RecordingOutput,
    Refuses,
    Reply,
    Says,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedUser,
    ScriptedVoice,
)

pytestmark = pytest.mark.anyio

HEARD = (SpeechStarted, SpeechEnded, EarlyTranscript, Transcript)


async def told(agent: Pipeline, **settings: Any) -> list[tuple[float, Event]]:
    """Hold a session until the caller hangs up, and return which events were emitted when."""
    async with agent.session(**{"output": RecordingOutput()} | settings) as session:
        return [(round(anyio.current_time(), 6), event) async for event in session]


def row(
    user: ScriptedUser, *replies: Reply, voice: ScriptedVoice | None = None, tools: tuple[Any, ...] = ()
) -> Pipeline:
    return Pipeline(user, ScriptedModel(replies), ToolRouter(tools), SentenceChunker(), voice or ScriptedVoice())


# --- the caller -------------------------------------------------------------------------------------------------------


async def test_a_caller_says_what_the_script_says() -> None:
    """Each line of the script takes effect at its time, even if it was not written in order."""
    user = ScriptedUser().hangs_up(at_s=6.0).says("Hello?", at_s=1.5, speech_s=0.4, silence_s=0.3)
    user.guesses("hel", at_s=1.0, stable=False).coughs(at_s=4.0, for_s=0.5)
    heard = [(at_s, event) for at_s, event in await told(row(user, Says("Yes."))) if isinstance(event, HEARD)]
    assert heard == [
        (0.8, SpeechStarted(at_s=0.8)),
        (1.0, EarlyTranscript("hel", stable=False)),
        (1.2, SpeechEnded(at_s=1.2)),
        (1.5, Transcript("Hello?", 1.2, 1.5)),
        (4.0, SpeechStarted(at_s=4.0)),
        (4.5, SpeechEnded(at_s=4.5)),
    ]


async def test_a_caller_stays_on_the_line() -> None:
    """Without a hang-up in the script the session continues until the application ends it."""
    async with row(ScriptedUser().says("Hello?", at_s=0.5), Says("Yes.")).session(output=RecordingOutput()) as session:
        await anyio.sleep(3_600.0)
        assert not session.ended.is_set()


async def test_the_script_counts_from_the_session() -> None:
    """The second session of a host plays the same script from its beginning."""
    agent = row(ScriptedUser().says("Hello?", at_s=0.5).hangs_up(at_s=2.0), Says("One."), Says("Two."))
    heard: list[float] = []
    async with agent.open() as host:
        for _ in range(2):
            async with host.session(output=RecordingOutput()) as session:
                heard += [anyio.current_time() async for event in session if isinstance(event, Transcript)]
    assert heard == [0.5, 2.5]


async def test_a_recogniser_goes_by_the_audio_it_was_given() -> None:
    """`at_s` counts audio, not time: audio that comes late is recognised late."""
    recogniser = ScriptedRecogniser(8_000).says("Hello?", at_s=0.1).hangs_up(at_s=0.2)
    source = PushSource(8_000)
    agent = Pipeline(STTStage(recogniser), ScriptedModel([Says("Yes.")]), SentenceChunker(), ScriptedVoice())
    heard: list[tuple[float, Event]] = []
    async with agent.session(source=source, output=RecordingOutput()) as session, anyio.create_task_group() as tasks:

        async def listen() -> None:
            heard.extend([(anyio.current_time(), event) async for event in session if isinstance(event, HEARD)])

        tasks.start_soon(listen)
        for seconds in (3.0, 5.0):
            await anyio.sleep_until(seconds)
            source.push(bytes(2 * 800))
        await session.ended.wait()
    assert [(at_s, type(event)) for at_s, event in heard] == [(3.0, Transcript)]
    assert anyio.current_time() == 5.0


# --- the model --------------------------------------------------------------------------------------------------------


async def test_a_recogniser_gives_the_last_words_of_a_caller_who_hangs_up() -> None:
    """A turn whose speech has begun when the audio ends gets its transcript all the same."""
    recogniser = ScriptedRecogniser(8_000).says("Hello?", at_s=1.0, speech_s=0.5, silence_s=0.2)
    recogniser.says("And then?", at_s=3.0, speech_s=0.5)
    frames, heard = Channel[AudioFrame](100), Channel[Hearing](10)
    for count in range(30):
        await frames.send(AudioFrame(pcm=bytes(320), sample_rate=8_000, start_s=count * 0.02))
    frames.close()
    await recogniser.recognise(frames, heard, cast("Any", None))
    heard.close()
    assert [event.text async for event in heard if isinstance(event, Transcript)] == ["Hello?"]


async def test_a_model_answers_at_the_times_of_its_script() -> None:
    """The first token comes after its delay, each further one a step later."""
    reply = Says("One two. Three four.", after_s=0.2, token_s=0.1)
    events = await told(row(ScriptedUser().says("Go.", at_s=1.0).hangs_up(at_s=9.0), reply))
    [(_, ended)] = [line for line in events if isinstance(line[1], TurnCompleted)]
    assert isinstance(ended, TurnCompleted)
    timeline = ended.timeline
    assert (timeline.llm_request, timeline.llm_first_token, timeline.first_sentence) == (1.0, 1.2, 1.4)


async def test_a_model_remembers_what_it_was_asked() -> None:
    """Each request is kept as a service would have received it."""

    @tool(effect="read")
    async def look(order: str) -> str:
        """Look up an order."""
        return f"{order} is on its way"

    user = ScriptedUser().says("Where is A1?", at_s=0.5).hangs_up(at_s=3.0)
    agent = row(user, Calls("look", {"order": "A1"}), Says("On its way."), tools=(look,))
    await told(agent)
    model = next(part for part in agent.parts if isinstance(part, ScriptedModel))
    assert [[message.role for message in request.messages] for request in model.requests] == [
        ["user"],
        ["user", "assistant", "tool"],
    ]
    assert [request.tools for request in model.requests] == [("look",), ("look",)]


@pytest.mark.parametrize(
    ("reply", "error", "retryable"),
    [
        (Refuses(429, "slow down", retry_after_s=2.0), RateLimited, True),
        (Refuses(503, "away"), VendorError, True),
        (Refuses(400, "no"), VendorError, False),
        (Breaks("Half a sen"), VendorError, False),
    ],
)
async def test_a_model_fails_as_a_service_does(reply: Reply, error: type[VendorError], retryable: bool) -> None:
    """A refusal and a broken reply raise the errors that a service's would."""
    events = await told(row(ScriptedUser().says("Hello?", at_s=0.5).hangs_up(at_s=9.0), reply))
    [failed] = [event for _, event in events if isinstance(event, TurnFailed)]
    assert type(failed.error) is error
    assert isinstance(failed.error, VendorError)
    assert failed.error.retryable is retryable


async def test_a_script_that_is_too_short_is_told() -> None:
    """A request without a reply in the script fails the turn, and the error says how many replies there were."""
    events = await told(row(ScriptedUser().says("Hello?", at_s=0.5).hangs_up(at_s=9.0)))
    [failed] = [event for _, event in events if isinstance(event, TurnFailed)]
    assert isinstance(failed.error, StageError)
    assert "holds 0 replies and was asked once more, after the user said 'Hello?'" in str(failed.error)


# --- the voice --------------------------------------------------------------------------------------------------------


async def spoken(voice: ScriptedVoice, text: str) -> list[tuple[float, bytes | WordMark]]:
    return [(round(anyio.current_time(), 6), piece) async for piece in voice.synthesize(Sentence(text))]


@pytest.mark.parametrize(("text", "seconds"), [("Hi.", 0.15), ("Hello you.  ", 0.5)])
async def test_speech_is_as_long_as_its_text(text: str, seconds: float) -> None:
    """Each character takes its time; white space at the end takes none."""
    pieces = [piece for _, piece in await spoken(ScriptedVoice(sample_rate=8_000), text) if isinstance(piece, bytes)]
    assert sum(map(len, pieces)) == round(2 * 8_000 * seconds)


async def test_speech_comes_in_frames_at_its_speed() -> None:
    """After the first audio, frames of 20 ms come at `speed` times real time."""
    voice = ScriptedVoice(first_audio_s=0.3, character_s=0.02, speed=2.0, marks=False, sample_rate=8_000)
    assert [(at_s, len(piece)) for at_s, piece in await spoken(voice, "abc") if isinstance(piece, bytes)] == [
        (0.3, 320),
        (0.31, 320),
        (0.32, 320),
    ]


async def test_a_voice_tells_where_words_end() -> None:
    """There is a mark for each word, at its last character, before any audio."""
    marks = [
        piece for _, piece in await spoken(ScriptedVoice(character_s=0.1), "It is 5.") if isinstance(piece, WordMark)
    ]
    assert [(mark.char_end, round(mark.end_s, 6)) for mark in marks] == [(2, 0.2), (5, 0.5), (8, 0.8)]


async def test_a_voice_remembers_what_it_was_asked() -> None:
    """Sentences are kept with the time of asking, including white space."""
    voice = ScriptedVoice()
    await told(row(ScriptedUser().says("Go.", at_s=0.5).hangs_up(at_s=9.0), Says("One is. Two is."), voice=voice))
    assert [(at_s, text.strip()) for at_s, text in voice.sentences] == [(0.5, "One is."), (0.5, "Two is.")]


# --- the loudspeaker --------------------------------------------------------------------------------------------------


async def test_a_loudspeaker_remembers_frames_and_spans() -> None:
    """After the session, the output has which frames were written when, and when there was sound."""
    output = RecordingOutput(8_000)
    user = ScriptedUser().says("Go.", at_s=0.5).guesses("stop", at_s=0.9).hangs_up(at_s=2.0)
    events = await told(row(user, Says("Ten chars."), voice=ScriptedVoice(sample_rate=8_000)), output=output)
    assert output.spans() == [(0.5, 0.9)]
    assert output.written_after(0.9) == []
    assert output.written[0] == (0.5, b"\x00\x10" * 160)
    assert [at_s for at_s, event in events if isinstance(event, SentenceStarted)] == [0.5]


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (ScriptedUser().says("Hi", at_s=1.0, speech_s=0.5), "<ScriptedUser 3 events>"),
        (ScriptedRecogniser().hangs_up(at_s=1.0), "<ScriptedRecogniser 1 events>"),
    ],
)
async def test_a_script_shows_how_long_it_is(part: object, shown: str) -> None:
    """The repr counts the events of the script."""
    assert repr(part) == shown
