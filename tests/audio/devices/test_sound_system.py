"""Microphone and loudspeaker with a real sound server: speech is recognised, and replies are audible.

The devices are PulseAudio's null sinks, so nothing here says anything about a real card's buffers.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import anyio
import pytest

from tests.helpers.pulse import PulseDaemon, daemon, with_sound_server, words
from voicepipe import (
    AssemblyAIRecogniser,
    AssemblyAITTS,
    AudioDeviceError,
    AudioDeviceLost,
    EspeakTTS,
    Event,
    LLMStreamStage,
    MicrophoneLost,
    MicSource,
    Pipeline,
    PocketsphinxRecogniser,
    Sentence,
    SentenceChunker,
    SentenceStarted,
    Session,
    Speaker,
    STTStage,
    ToolRouter,
    Transcript,
    TTSSink,
    TurnCompleted,
    TurnEnded,
    devices,
    tool,
    write_wav,
)
from voicepipe.audio.devices import portaudio
from voicepipe.audio.resample import Resampler
from voicepipe.testing import (
    Calls,
    ChatRequest,
    RecordingOutput,
    Reply,
    Says,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedVoice,
)
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.stt import STTSimulator
from voicepipe.testing.simulators.tts import TTSSimulator

pytestmark = [pytest.mark.anyio, *with_sound_server]

GRAMMAR = """
#JSGF V1.0;
grammar shop;
public <request> = what time do you open | where is my order | we open at nine | it is on its way;
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # a sound server has a clock of its own


@pytest.fixture
def pulse() -> Iterator[PulseDaemon]:
    with daemon() as server:
        yield server


async def spoken(text: str, path: Path, voice: str = "en-us+f2") -> Path:
    """Write a text as a caller would say it, after one second for the microphone to wake."""
    tts = EspeakTTS(voice)
    async with tts.open():
        pcm = b"".join([piece async for piece in tts.synthesize(Sentence(text)) if isinstance(piece, bytes)])
    resampler = Resampler(tts.sample_rate, 16_000)
    write_wav(path, bytes(32_000) + resampler.feed(pcm) + resampler.flush() + bytes(32_000), 16_000)
    return path


def answering(device: str | None = None, *, reopens: bool = False) -> Pipeline:
    """An agent at the sound card, with a scripted model, a real recogniser and a real voice."""
    answers = {"what time do you open": "We open at nine.", "where is my order": "It is on its way."}
    return Pipeline(
        MicSource(device, reopens=reopens),
        STTStage(PocketsphinxRecogniser(GRAMMAR)),
        ScriptedModel(lambda request: Says(answers.get(request.last_user_text, "Pardon?"))),
        SentenceChunker(),
        EspeakTTS("en-us"),
        output=Speaker(device),
    )


def silent(**settings: bool) -> Pipeline:
    """An agent that recognises nothing and says nothing."""
    return Pipeline(
        MicSource(**settings), STTStage(ScriptedRecogniser()), ScriptedModel([]), SentenceChunker(), ScriptedVoice()
    )


async def test_a_spoken_question_gets_a_spoken_answer(pulse: PulseDaemon, tmp_path: Path) -> None:
    """Speech played into the microphone is recognised, and the loudspeaker plays the answer."""
    question = await spoken("what time do you open", tmp_path / "question.wav")
    heard: list[Event] = []
    with pulse.recording() as recording:
        async with answering().session() as session:
            player = pulse.play(question)
            async for event in session:
                heard.append(event)
                if isinstance(event, TurnEnded):
                    break
        player.wait()
    assert [event.text for event in heard if isinstance(event, Transcript)] == ["what time do you open"]
    assert isinstance(heard[-1], TurnCompleted)
    assert heard[-1].heard == "We open at nine."
    assert words(recording.pcm, GRAMMAR) == "we open at nine"


async def test_who_speaks_into_the_microphone_hears_the_loudspeaker(pulse: PulseDaemon) -> None:
    """A row that begins with `MicSource` needs no output: the agent speaks through the default loudspeaker."""
    agent = Pipeline(
        MicSource(), STTStage(ScriptedRecogniser()), ScriptedModel([]), SentenceChunker(), EspeakTTS("en-us")
    )
    with pulse.recording() as recording:
        async with agent.session(greeting="We open at nine.") as session:
            session.end(after_reply=True)
            await session.ended.wait()
            await anyio.sleep(0.3)  # what the recorder still holds
    assert words(recording.pcm, GRAMMAR) == "we open at nine"


async def test_assemblyai_s_stack_at_a_sound_card(pulse: PulseDaemon, tmp_path: Path) -> None:
    """Microphone, streaming recognition, gateway, tool, streaming speech, loudspeaker: spoken to, and read back.

    The services are simulators: behind the real protocols are the embedded recogniser and voice, and a scripted model.
    """
    question = await spoken("where is my order", tmp_path / "question.wav")

    @tool(effect="read")
    async def get_order_status() -> str:
        """Look up the caller's order."""
        return "on its way"

    def reply(request: ChatRequest) -> Reply:
        return Says("It is on its way.") if request.tool_results else Calls("get_order_status", {})

    stt, gateway = STTSimulator(PocketsphinxRecogniser(GRAMMAR)), GatewaySimulator(reply)
    voice = TTSSimulator(EspeakTTS("en-us"))
    async with stt.serve() as stt_url, gateway.serve() as llm_url, voice.serve() as tts_url:
        agent = Pipeline(
            MicSource(),
            STTStage(AssemblyAIRecogniser(url=stt_url)),
            LLMStreamStage("Keep replies short.", base_url=llm_url),
            ToolRouter([get_order_status]),
            SentenceChunker(),
            AssemblyAITTS(url=tts_url),
        )
        with pulse.recording() as recording:
            async with agent.session() as session:
                player = pulse.play(question)
                async for event in session:
                    if isinstance(event, TurnEnded):
                        break
                player.wait()
                await anyio.sleep(0.3)  # what the recorder still holds
    assert isinstance(event, TurnCompleted)
    assert event.user_text.lower().strip(".") == "where is my order"
    assert event.heard == "It is on its way."
    assert words(recording.pcm, GRAMMAR) == "it is on its way"


async def test_two_calls_on_two_devices_do_not_mix(pulse: PulseDaemon, tmp_path: Path) -> None:
    """Two sessions in one process each use their own microphone and loudspeaker at the same time."""
    lines = [("line_one", "", "what time do you open"), ("line_two", "2", "where is my order")]
    answers: dict[str, str] = {}

    async def call(device: str, sink: str, question: str) -> None:
        wav = await spoken(question, tmp_path / f"{device}.wav")
        async with answering(device).session() as session:
            player = pulse.play(wav, f"micfeed{sink}")
            async for event in session:
                if isinstance(event, TurnEnded):
                    answers[device] = event.heard
                    break
        player.wait()

    with pulse.recording("speaker") as first, pulse.recording("speaker2") as second:
        async with anyio.create_task_group() as tasks:
            for line in lines:
                tasks.start_soon(call, *line)
    assert answers == {"line_one": "We open at nine.", "line_two": "It is on its way."}
    assert words(first.pcm, GRAMMAR) == "we open at nine"
    assert words(second.pcm, GRAMMAR) == "it is on its way"


async def running(session: Session) -> None:
    """Wait until the microphone of a session gives audio."""
    mic = session._source
    assert isinstance(mic, MicSource)
    with anyio.fail_after(10):
        await mic._watch.wait_begun()


@pytest.mark.parametrize("how", ["unplugged", "killed", "suspended"])
async def test_a_microphone_that_goes_away_is_told_within_a_second(pulse: PulseDaemon, how: str) -> None:
    """Unplugged, server killed, or suspended: each ends the session with `AudioDeviceLost`, in time."""
    took_s = ended_s = 0.0
    with pytest.raises(AudioDeviceLost, match="gave no sign" if how == "suspended" else "is gone"):
        async with silent().session(output=RecordingOutput()) as session:
            await running(session)
            match how:
                case "unplugged":
                    for module in ("module-remap-source", "module-null-sink"):  # all sources: else it is moved to one
                        pulse.pactl("unload-module", module)
                case "killed":
                    pulse.kill()
                case _:
                    pulse.pactl("suspend-source", "mic", "1")
            began_s = anyio.current_time()
            await session.ended.wait()
            took_s = anyio.current_time() - began_s
        ended_s = anyio.current_time() - began_s
    assert took_s <= 1.0
    assert ended_s <= 3.0


async def test_a_loudspeaker_whose_server_dies_ends_the_session(pulse: PulseDaemon) -> None:
    """When the server is killed in the middle of a sentence, there is one typed error within a second."""
    agent = Pipeline(ScriptedModel([]), SentenceChunker(), ScriptedVoice(character_s=1.0), output=Speaker())
    began_s = 0.0
    with pytest.raises(AudioDeviceLost, match="Speaker: the loudspeaker is gone"):
        async with agent.session(greeting="A long sentence.") as session:
            async for event in session:
                if isinstance(event, SentenceStarted):
                    began_s = anyio.current_time()
                    pulse.kill()
    assert anyio.current_time() - began_s <= 1.0


async def test_a_microphone_that_comes_back_is_heard_again(pulse: PulseDaemon, tmp_path: Path) -> None:
    """With `reopens` the session outlives its sound server: speech after the restart is recognised."""
    question = await spoken("where is my order", tmp_path / "question.wav")
    agent = answering(reopens=True)
    events: list[Event] = []
    async with agent.session(output=RecordingOutput()) as session, anyio.create_task_group() as tasks:

        async def listen() -> None:
            async for event in session:
                events.append(event)
                if isinstance(event, TurnEnded):
                    session.end()

        tasks.start_soon(listen)
        await anyio.sleep(0.5)
        pulse.kill()
        await anyio.sleep(0.5)
        pulse.start()
        await running(session)
        player = pulse.play(question)
        with anyio.move_on_after(15):
            await session.ended.wait()
        session.end()
        player.wait()
    assert [type(event) for event in events if isinstance(event, MicrophoneLost)] == [MicrophoneLost]
    assert [event.text for event in events if isinstance(event, Transcript)] == ["where is my order"]


class Tone(TTSSink):
    """Says anything as ten seconds of a loud square wave."""

    sample_rate = 24_000

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes]:
        wave = (b"\x00\x20" * 24 + b"\x00\xe0" * 24) * 10  # 20 ms at 500 Hz
        for _ in range(500):
            yield wave


async def test_an_interruption_is_silence_at_the_loudspeaker(
    pulse: PulseDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """After `interrupt` the sink is silent within 100 ms, all buffers included."""
    agent = Pipeline(ScriptedModel([]), SentenceChunker(), Tone(), output=Speaker())
    silent_after_s: list[float] = []
    loud_s, loud = 0.0, anyio.Event()

    async with (
        await anyio.open_process(pulse.recorder(), env=pulse.env) as parec,
        agent.session() as session,
        anyio.create_task_group() as tasks,
    ):

        async def listen() -> None:
            nonlocal loud_s
            assert parec.stdout is not None
            odd = b""
            async for piece in parec.stdout:
                pcm = odd + piece
                odd = pcm[len(pcm) & ~1 :]
                if any(abs(sample) > 1_000 for sample in memoryview(pcm[: len(pcm) & ~1]).cast("h")):
                    loud_s = anyio.current_time()
                    loud.set()

        tasks.start_soon(listen)
        for _ in range(5):
            loud = anyio.Event()
            session.say("Anything.")
            with anyio.fail_after(5):
                await loud.wait()
            await anyio.sleep(0.5)
            session.interrupt()
            interrupted_s = anyio.current_time()
            await anyio.sleep(0.6)
            silent_after_s.append(loud_s - interrupted_s)
        tasks.cancel_scope.cancel()
        parec.terminate()
    median_ms, most_ms = 1e3 * statistics.median(silent_after_s), 1e3 * max(silent_after_s)
    with capsys.disabled():
        sys.stdout.write(
            f"\nsilent {median_ms:.0f} ms after interrupt(), {most_ms:.0f} at most (5 times, at the monitor)\n"
        )
    assert max(silent_after_s) <= 0.1


async def test_devices_are_listed_and_chosen_by_name(pulse: PulseDaemon) -> None:
    """The list has the server's devices; an unknown name gets an error with what there is."""
    names = [device.name for device in await devices()]
    assert {"line_one", "line_two", "default"} <= set(names)
    with pytest.raises(AudioDeviceError, match=r"'line_tree': no such device; did you mean . 'line_"):
        async with silent().session(source=MicSource("line_tree"), output=RecordingOutput()):
            raise AssertionError("a session began")


async def test_a_server_that_is_gone_is_told_in_words(pulse: PulseDaemon) -> None:
    """Opening a device whose server has died raises an error that says so, and what to do."""
    pulse.kill()
    with pytest.raises(AudioDeviceError, match=r"it cannot be opened .*; plug it in again, or choose another device"):
        async with silent().session(source=MicSource("line_one"), output=RecordingOutput()):
            raise AssertionError("a session began")


async def test_a_server_that_hangs_is_waited_for_five_seconds(pulse: PulseDaemon) -> None:
    """A hanging opening raises an error; a stream that opens after all is closed again."""
    pulse.hang()
    began_s = anyio.current_time()
    with pytest.raises(AudioDeviceError, match="the sound system did not answer within 5 s; restart the sound server"):
        async with silent().session(source=MicSource("line_one"), output=RecordingOutput()):
            raise AssertionError("a session began")
    assert anyio.current_time() - began_s < 6.0
    pulse.go_on()
    async with silent().session(source=MicSource("line_one"), output=RecordingOutput()) as session:
        await running(session)
        assert portaudio._open_streams == 1
    assert portaudio._open_streams == 0


async def test_a_microphone_whose_server_hangs_is_lost_within_a_second(pulse: PulseDaemon) -> None:
    """A server that hangs during a session delays neither the error nor the end of the session."""
    began_s = 0.0
    with pytest.raises(AudioDeviceLost, match="gave no sign"):
        async with silent().session(output=RecordingOutput()) as session:
            await running(session)
            pulse.hang()
            began_s = anyio.current_time()
            await session.ended.wait()
    assert anyio.current_time() - began_s < 3.0
    pulse.go_on()
