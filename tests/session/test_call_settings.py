"""Voice, language and key terms of one call: each part that they are meant for takes them or refuses by name."""

from __future__ import annotations

import importlib.util
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import voicepipe as vp
from tests.helpers.raw_server import RawServer
from tests.helpers.stt_server import KEY, Caller, EarServer, closing
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice
from voicepipe.testing.simulators.tts import TTSSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe.core.channel import Inbox, Outbox

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\n\r\n"
GERMAN = vp.CallSettings(language="de")
TERMS = vp.CallSettings(key_terms=["Flat white"])


class Plain(vp.TTSSink):
    """A voice of an application, which has one voice."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        yield bytes(2 * len(sentence.text))


class Ear(vp.Recogniser):
    """A recogniser of an application, which has no settings."""

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        async for _ in inbox:
            pass


class OwnEar(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
    """A stage that recognises speech without a `Recogniser`."""

    async def run(self, inbox: Inbox[vp.AudioFrame], outbox: Outbox[vp.Hearing], session: vp.Session) -> None:
        async for _ in inbox:
            pass


class Denoise(vp.SessionStage[vp.AudioFrame, vp.AudioFrame]):
    """A stage in front of the recogniser."""

    async def run(self, inbox: Inbox[vp.AudioFrame], outbox: Outbox[vp.AudioFrame], session: vp.Session) -> None:
        async for frame in inbox:
            await outbox.send(frame)


def agent(*hearing: vp.Part, voice: vp.TTSSink | None = None) -> vp.Pipeline:
    model = ScriptedModel(lambda _: Says("Wir sehen uns am 3. Oktober. Ja."))
    return vp.Pipeline(*hearing, model, vp.SentenceChunker(), voice or ScriptedVoice(), output=RecordingOutput())


# --- who takes them ---------------------------------------------------------------------------------------------------


async def test_calls_of_one_host_differ() -> None:
    """Each call has its own settings, and a call without any has the pipeline's."""

    class Polyglot(Plain):
        voices: list[str] = []  # noqa: RUF012 - shared by all copies, for the test
        voice = "anna"

        def adapt(self, settings: vp.CallSettings) -> None:
            self.voice = settings.voice or self.voice

        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
            self.voices.append(self.voice)
            async for piece in super().synthesize(sentence):
                yield piece

    async with agent(voice=Polyglot()).open() as host:
        for settings in (vp.CallSettings(voice="alice"), vp.CallSettings(voice="bob"), vp.CallSettings(), None):
            async with host.session(settings=settings) as session:
                await session.say("Hello.")
    assert Polyglot.voices == ["alice", "bob", "anna", "anna"]


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (GERMAN, ["Wir sehen uns am 3. Oktober.", " Ja."]),
        (vp.CallSettings(language="en"), ["Wir sehen uns am 3.", " Oktober.", " Ja."]),
    ],
)
async def test_the_chunker_follows_the_language(settings: vp.CallSettings, sentences: list[str]) -> None:
    """A number with a full stop is an ordinal in German, and the end of a sentence in English."""
    voice = ScriptedVoice()
    async with agent(voice=voice).session(settings=settings) as session:
        await session.user_says("Wann?")
    assert [text for _, text in voice.sentences] == sentences


async def test_scripted_parts_take_every_setting() -> None:
    """A test of an application runs with the settings that the application gives its calls."""
    settings = vp.CallSettings(voice="alice", language="de", key_terms=["Flat white"])
    async with agent(vp.STTStage(ScriptedRecogniser())).session(settings=settings, source=vp.PushSource()):
        pass
    async with agent(ScriptedUser().hangs_up(at_s=0.1)).session(settings=settings) as session:
        await session.ended.wait()


async def test_assemblyai_recognises_with_them() -> None:
    """The service is sent the language, without its region, and the key terms, in place of the pipeline's."""
    server = EarServer(closing)
    parameters = vp.StreamingParameters(keyterms_prompt=["Espresso"], prompt="A bar.")
    async with server.serve() as url:
        ear = vp.AssemblyAIRecogniser(url=url, api_key=KEY, parameters=parameters)
        settings = vp.CallSettings(language="pt-BR", key_terms=["Flat white"])
        with pytest.raises(vp.VoicepipeError):
            async with agent(vp.STTStage(ear)).session(source=Caller(hangs_up_s=1.0), settings=settings) as session:
                await session.ended.wait()
    query = server.peers[0].query
    assert json.loads(query["language_codes"]) == ["pt"]
    assert json.loads(query["keyterms_prompt"]) == ["Flat white"]
    assert query["prompt"] == "A bar."
    assert ear.parameters == parameters


async def test_assemblyai_speaks_with_them() -> None:
    """The service is asked for the voice and the language, by its own name for it."""
    simulator = TTSSimulator()
    async with simulator.serve() as url, agent(voice=vp.AssemblyAITTS(url=url, api_key=KEY)).open() as host:
        async with host.session(settings=vp.CallSettings(voice="aai-michael", language="de-AT")):
            pass
        async with host.session():
            pass
    asked = [(one.query["voice_id"], one.query.get("language")) for one in simulator.sessions]
    assert asked == [("aai-michael", "german"), ("aai-jane", None)]


async def test_openai_speaks_with_them() -> None:
    """The request has the voice of the call; the next call has the pipeline's again."""
    server = RawServer(*[[HEAD, bytes(200)]] * 4)
    async with server.serve() as base_url, agent(voice=vp.OpenAITTS(base_url=base_url)).open() as host:
        for settings in (vp.CallSettings(voice="marin", language="de"), None):
            async with host.session(settings=settings) as session:
                await session.say("Hallo.")
    bodies = [request.body for request in server.requests if request.body]
    assert [body["voice"] for body in bodies] == ["marin", "alloy"]


def adapted(part: Any, settings: vp.CallSettings) -> Any:
    """Return a copy of a part for a call."""
    twin = part._copied()
    twin.adapt(settings)
    return twin


def test_voices_that_speak_every_language_need_no_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's voices speak the language of the text; elsewhere a language needs a voice that speaks it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert adapted(vp.OpenAITTS(), GERMAN).voice == "alloy"
    other = vp.OpenAITTS(base_url="http://127.0.0.1:8880/v1")
    with pytest.raises(vp.ConfigurationError, match="OpenAITTS without another voice cannot change its language"):
        adapted(other, GERMAN)
    assert adapted(other, vp.CallSettings(language="de", voice="martin")).voice == "martin"


@pytest.mark.parametrize(
    ("voice", "settings", "expected"),
    [
        ("en-us", {"language": "de"}, "de"),
        ("en-us+f3", {"language": "pt-BR"}, "pt-br+f3"),
        ("en-us+f3", {"language": "en"}, "en-us+f3"),
        ("en-us", {"language": "en-US"}, "en-us"),
        ("en-us", {"voice": "fr+m1", "language": "de"}, "fr+m1"),
        ("en-us", {"key_terms": ["Flat white"]}, "en-us"),
    ],
)
def test_espeak_has_a_voice_for_each_language(voice: str, settings: dict[str, Any], expected: str) -> None:
    """A language is a voice, unless the present one speaks it; a voice that is given counts most."""
    assert adapted(vp.EspeakTTS(voice), vp.CallSettings(**settings)).voice == expected


@pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason="espeakng-loader is not installed (extra local)",
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the engine runs on a thread
async def test_espeak_refuses_a_voice_that_it_does_not_have() -> None:
    """Whether the engine has the voice is checked while the session opens."""
    pipeline = vp.Pipeline(
        ScriptedModel([]), vp.SentenceChunker(), vp.EspeakTTS(), output=RecordingOutput(sample_rate=22_050)
    )
    async with pipeline.open() as host:
        with pytest.raises(vp.ConfigurationError, match="eSpeak NG has no voice 'xq'"):
            async with host.session(settings=vp.CallSettings(language="xq")):
                pytest.fail("it is open")
        async with host.session(settings=GERMAN) as session:
            assert not session.is_busy


# --- who refuses them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "voice", "settings", "said"),
    [
        ([], Plain(), vp.CallSettings(voice="alice"), "Plain cannot change its voice from call to call"),
        ([], Plain(), GERMAN, "Plain cannot change its language"),
        ([vp.STTStage(Ear())], None, GERMAN, "Ear cannot change its language"),
        ([vp.STTStage(Ear())], None, TERMS, "Ear cannot change its key terms"),
        ([OwnEar()], None, TERMS, "OwnEar cannot change its key terms"),
        ([Denoise(), OwnEar()], None, GERMAN, "OwnEar cannot change its language"),
        ([], None, TERMS, "this pipeline has no recogniser for key_terms"),
    ],
)
async def test_a_part_that_cannot_honour_a_setting_is_named(
    parts: list[vp.Part], voice: vp.TTSSink | None, settings: vp.CallSettings, said: str
) -> None:
    """The session does not open, and the message names the part and the setting; other calls go on."""
    async with agent(*parts, voice=voice).open() as host:
        with pytest.raises(vp.ConfigurationError, match=said):
            async with host.session(settings=settings):
                pytest.fail("it is open")
        async with host.session(settings=vp.CallSettings()) as session:
            await session.say("Hello.")


@pytest.mark.parametrize(
    ("part", "settings", "said"),
    [
        (
            vp.AssemblyAIRecogniser(url="ws://127.0.0.1:1", speech_model="universal-streaming-english"),
            GERMAN,
            "AssemblyAIRecogniser: the model universal-streaming-english knows English only, not 'de'",
        ),
        (
            vp.AssemblyAIRecogniser(url="ws://127.0.0.1:1"),
            vp.CallSettings(key_terms=["x" * 51]),
            "AssemblyAIRecogniser: StreamingParameters: keyterms_prompt",
        ),
        (
            vp.AssemblyAITTS(url="ws://127.0.0.1:1"),
            vp.CallSettings(language="pl"),
            "AssemblyAITTS speaks en, es, de, fr, it, pt, not 'pl'",
        ),
        (vp.PocketsphinxRecogniser("grammar"), TERMS, "PocketsphinxRecogniser cannot change its key terms"),
        (vp.PocketsphinxRecogniser("grammar"), GERMAN, "PocketsphinxRecogniser knows English only, not 'de'"),
    ],
)
def test_what_a_vendor_does_not_know_is_refused(part: vp.Part, settings: vp.CallSettings, said: str) -> None:
    """A language or key terms that a service does not take are an error that names the part."""
    with pytest.raises(vp.ConfigurationError, match=said):
        adapted(part, settings)


def test_english_is_no_change_for_those_who_know_nothing_else() -> None:
    """A model for English alone takes a call in English."""
    english = vp.CallSettings(language="en-GB")
    ear = vp.AssemblyAIRecogniser(url="ws://127.0.0.1:1", speech_model="universal-streaming-english")
    assert adapted(ear, english).parameters == ear.parameters
    adapted(vp.PocketsphinxRecogniser("grammar"), english)


async def test_settings_are_settings() -> None:
    """Something else is refused at the door."""
    async with agent().open() as host:
        with pytest.raises(vp.ConfigurationError, match="settings must be of the type CallSettings, not dict"):
            async with host.session(settings={"voice": "alice"}):  # type: ignore[arg-type]
                pytest.fail("it is open")
        with pytest.raises(vp.ConfigurationError, match="CallSettings is a class"):
            async with host.session(settings=vp.CallSettings):  # type: ignore[arg-type]
                pytest.fail("it is open")


async def test_a_voice_that_holds_others_leaves_it_to_them() -> None:
    """Parts that a part holds are adapted first; one that only passes on overrides `adapt` to do nothing."""

    class Inner(Plain):
        def adapt(self, settings: vp.CallSettings) -> None:
            voices.append(settings.voice)

    class Outer(Plain):
        def __init__(self) -> None:
            self.inner = Inner()

        def adapt(self, settings: vp.CallSettings) -> None:
            voices.append(f"{settings.voice} again")

    voices: list[str | None] = []
    async with agent(voice=Outer()).session(settings=vp.CallSettings(voice="alice")):
        pass
    assert voices == ["alice", "alice again"]
