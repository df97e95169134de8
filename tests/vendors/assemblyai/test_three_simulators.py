"""The README's agent with all three simulated services: its timeline compared with its recording."""

from __future__ import annotations

import wave
from array import array
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import anyio
import pytest
from pydantic import Field

import voicepipe as vp
from voicepipe.audio.resample import Resampler
from voicepipe.testing import Calls, RecordingOutput, Reply, Says
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.network import distant
from voicepipe.testing.simulators.stt import Spoken, STTSimulator, Timing
from voicepipe.testing.simulators.tts import TTSSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from voicepipe.testing.simulators.stt import STTScript

pytestmark = pytest.mark.anyio

KEY = "canary-3e51"

# What the tutorial takes for typical: recognition, first token, first audio, and the network in all. Each service is
# asked once for a turn without tools, so its way and the way back are a sixth each.
STT_S, LLM_S, TTS_S, NETWORK_S = 0.35, 0.275, 0.3, 0.1
ONE_WAY_S = NETWORK_S / 6

SILENCE_S = 0.1
"""What the recogniser waits for after a sentence that sounds finished; the service's default for U3 models."""

RATE = 16_000

LOUD = 200
"""Louder samples are audible: -44 dB of full scale."""


@vp.tool(effect="read")
async def get_order_status(order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")]) -> str:
    """Look up the status of a customer order."""
    return f"{order_id} has been shipped"


@asynccontextmanager
async def services(
    script: STTScript, replies: list[Reply], voice: vp.TTSSink | None
) -> AsyncGenerator[tuple[str, str, str]]:
    """Serve all three, far away, with the tutorial's delays, and yield their URLs."""
    stt = STTSimulator(script, api_key=KEY, timing=Timing(final_s=STT_S))
    gateway = GatewaySimulator(replies, api_key=KEY)
    tts = TTSSimulator(voice, api_key=KEY, first_audio_s=TTS_S)
    async with AsyncExitStack() as stack:
        near = [await stack.enter_async_context(one.serve()) for one in (stt, gateway, tts)]
        stt_url, llm_url, tts_url = [await stack.enter_async_context(distant(url, one_way_s=ONE_WAY_S)) for url in near]
        yield stt_url, llm_url, tts_url


def agent(stt: str, gateway: str, tts: str, answer: Path, tap: Tap, *, drafts: bool = True) -> vp.Pipeline:
    """The README's row with other endpoints, and a probe on the caller's audio."""
    return vp.Pipeline(
        tap,
        vp.STTStage(vp.AssemblyAIRecogniser(url=stt, api_key=KEY)),
        vp.LLMStreamStage("You are a friendly voice assistant. Keep replies short.", base_url=gateway, api_key=KEY),
        vp.ToolRouter([get_order_status]),
        vp.SentenceChunker(),
        vp.AssemblyAITTS(url=tts, api_key=KEY),
        output=vp.WavOutput(answer, RATE),
        turns=vp.TurnRules(drafts=drafts),
    )


async def held(row: vp.Pipeline, source: vp.Source) -> tuple[float, list[vp.TurnEnded]]:
    """Hold a call until it ends; return when its recording began, and its turns."""
    async with row.session(source=source) as session:
        assert isinstance(session._output, vp.WavOutput)
        began_s = session._output._began_s
        return began_s, [event async for event in session if isinstance(event, vp.TurnEnded)]


class Tap(vp.SessionStage[vp.AudioFrame, vp.AudioFrame]):
    """Passes the caller's audio on, and remembers when something audible was in it."""

    def __init__(self) -> None:
        self.loud_s: list[float] = []

    def _copied(self) -> Tap:
        return self

    async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.AudioFrame], session: vp.Session) -> None:
        async for frame in inbox:
            samples = array("h", frame.pcm)
            self.loud_s += [frame.start_s + (at + 1) / RATE for at, sample in enumerate(samples) if abs(sample) > LOUD]
            await outbox.send(frame)

    def last_sound_s(self, *, before_s: float) -> float:
        """Return the end of the last audible sample before a time, on the loop's clock."""
        return max(at_s for at_s in self.loud_s if at_s < before_s)


def samples_of(path: Path) -> array[int]:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, RATE)
        return array("h", wav.readframes(wav.getnframes()))


def first_loud_s(samples: array[int], after_s: float) -> float:
    """Return when the first audible sample is, from a time on."""
    begin = round(after_s * RATE)
    return next(at for at in range(begin, len(samples)) if abs(samples[at]) > LOUD) / RATE


class Tone(vp.Source):
    """A caller who makes a sound at given times, and hangs up."""

    sample_rate = RATE

    def __init__(self, *sounds_s: tuple[float, float], hangs_up_s: float) -> None:
        self.sounds_s = sounds_s
        self.hangs_up_s = hangs_up_s

    async def frames(self) -> AsyncGenerator[bytes]:
        due = anyio.current_time()
        for number in range(round(self.hangs_up_s / 0.02)):
            due += 0.02
            await anyio.sleep_until(due)
            is_loud = any(start_s <= number * 0.02 + 1e-9 < end_s for start_s, end_s in self.sounds_s)
            yield (b"\x00\x10\x00\xf0" if is_loud else bytes(4)) * 160


async def test_the_timeline_is_what_the_recording_shows(tmp_path: Path) -> None:
    """From the caller's last sound to the agent's first: the timeline's sum, to the sample, and the services' delays.

    Beside those there is the silence that the recogniser waits for, 10 ms because frames of 20 ms make pieces of 50,
    and 10 ms for each token of the first sentence after the first one.
    """
    source = Tone((1.0, 2.5), (6.0, 7.5), hangs_up_s=12.0)
    script = [Spoken("What time do you open?", 1.0, 2.5), Spoken("Where is order 123?", 6.0, 7.5)]
    replies: list[Reply] = [
        Says("We open at nine. See you!", after_s=LLM_S, token_s=0.01),
        Calls("get_order_status", {"order_id": "ORD-12345"}, after_s=LLM_S),
        Says("It has been shipped. Bye!", after_s=LLM_S, token_s=0.01),
    ]
    async with services(script, replies, None) as urls:
        began_s, turns = await held(agent(*urls, tmp_path / "answer.wav", tap := Tap()), source)
    samples = samples_of(tmp_path / "answer.wav")

    assert [type(turn) for turn in turns] == [vp.TurnCompleted] * 2
    for turn, before_s in zip(turns, (5.0, 10.0), strict=True):
        last_sound_s = tap.last_sound_s(before_s=before_s)
        shown = first_loud_s(samples, last_sound_s - began_s) + began_s - last_sound_s
        assert sum(turn.timeline.contributions_us.values()) / 1e6 == pytest.approx(shown, abs=1 / RATE)

    way = 2 * ONE_WAY_S
    spent = [{name: us / 1e6 for name, us in turn.timeline.contributions_us.items() if us} for turn in turns]
    assert spent == [
        {
            "silence": pytest.approx(SILENCE_S + 0.01 + STT_S + way, abs=1e-5),
            "llm": pytest.approx(asked * (LLM_S + way), abs=1e-5),
            "sentence": pytest.approx(0.04, abs=1e-5),
            "tts": pytest.approx(TTS_S + way, abs=1e-5),
        }
        for asked in (1, 2)  # the second turn calls a tool
    ]


async def test_simulators_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the same row runs against simulators when only the endpoints are changed."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    gateway = GatewaySimulator([Says("At nine.")])
    stt, tts = STTSimulator([Spoken("What time do you open?", 1.0, 2.5)]), TTSSimulator()
    async with stt.serve() as stt_url, gateway.serve() as llm_url, tts.serve() as tts_url:
        row = vp.Pipeline(
            vp.STTStage(vp.AssemblyAIRecogniser(url=stt_url)),
            vp.LLMStreamStage(base_url=llm_url),
            vp.SentenceChunker(),
            vp.AssemblyAITTS(url=tts_url),
            output=RecordingOutput(),
        )
        async with row.session(source=Tone((1.0, 2.5), hangs_up_s=6.0)) as session:
            turns = [event async for event in session if isinstance(event, vp.TurnCompleted)]
    assert [turn.heard for turn in turns] == ["At nine."]
    assert "authorization" not in stt.sessions[0].headers


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_real_speech_in_real_time_shows_the_same(tmp_path: Path) -> None:
    """With real speech in and out, in real time, the recording and the timeline's sum differ by 20 ms at most."""
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("soxr")
    question = await recorded("What time do you open?", tmp_path / "question.wav")
    last_sound_s = max(at for at, sample in enumerate(question) if abs(sample) > LOUD) / RATE
    script = [Spoken("What time do you open?", first_loud_s(question, 0.0), last_sound_s)]
    replies: list[Reply] = [Says("We open at nine. See you!", after_s=LLM_S, token_s=0.01)]
    async with services(script, replies, vp.EspeakTTS("en-us")) as urls:
        row = agent(*urls, tmp_path / "answer.wav", tap := Tap(), drafts=False)  # each delay counts for itself
        began_s, (turn,) = await held(row, vp.WavSource(tmp_path / "question.wav"))

    assert isinstance(turn, vp.TurnCompleted)
    shown = first_loud_s(samples_of(tmp_path / "answer.wav"), 0.0) + began_s - tap.last_sound_s(before_s=began_s + 60.0)
    assert turn.timeline.waited_us == sum(turn.timeline.contributions_us.values())
    assert abs((turn.timeline.waited_us or 0) / 1e6 - shown) <= 0.02
    assert shown >= SILENCE_S + STT_S + LLM_S + TTS_S + NETWORK_S


async def recorded(text: str, path: Path) -> array[int]:
    """Let the embedded voice speak into a file, with silence around."""
    voice, pcm = vp.EspeakTTS("en-us+f2"), b""
    async with voice.open():
        async for piece in voice.synthesize(vp.Sentence(text)):
            pcm += piece if isinstance(piece, bytes) else b""
    resampler = Resampler(voice.sample_rate, RATE)
    spoken = resampler.feed(pcm) + resampler.flush()
    vp.write_wav(path, bytes(RATE) + spoken + bytes(2 * RATE), RATE)
    return samples_of(path)
