"""Calls on virtual time that are recorded: one that has everything in it, and what is needed for others."""

from __future__ import annotations

import math
import random
from array import array
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.testing import (
    Calls,
    RecordingOutput,
    Says,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedVoice,
    run_on_virtual_time,
)
from voicepipe.watching.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from voicepipe.testing import ChatRequest, Reply

__all__ = ["MARKUP", "SpeechLikeVoice", "recorded", "shop_call", "speech_like", "spoken_wav"]

MARKUP = "</script><img src=x onerror=alert(1)>"
"""What a caller may say who means no good."""

RATE = 16_000
LEAD_IN_S = 0.04


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    await anyio.sleep(0.25)
    if what == "gold":
        raise vp.ToolError("we do not sell gold")
    return f"{what}: 2 euros a bag"


def answer(request: ChatRequest) -> Reply | tuple[Reply, ...]:
    words = request.last_user_text
    if request.tool_results:
        if "gold" in words:
            return Says("I am sorry, gold is not in our shop.", after_s=0.3)
        return Says("It is two euros a bag. You can also have it in a tin of half a kilo, which is nine.", after_s=0.3)
    if "tea" in words or "gold" in words:
        return Calls("price", {"what": "gold" if "gold" in words else "tea"}, say="Let me look.", after_s=0.25)
    if "code" in words:
        return Says("Thank you, I have found **your** order. It arrives tomorrow.", after_s=0.5)
    return Says("You are very welcome. Goodbye.", after_s=0.4)


CALLER = (
    ("says", "How much is the tea?", 3.6, 1.3),
    ("hums", "Mhm.", 7.0, 0.4),
    ("interrupts", "Stop. How much is gold?", 9.4, 1.3),
    ("coughs", "", 13.4, 0.4),
    ("says", "My code is seven eight", 17.6, 1.5),
    ("says", "nine one six", 19.3, 0.8),
    ("says", f"Thanks. {MARKUP}", 26.4, 1.0),
)
"""How, what, when and for how long: a tool, a back-channel, an interruption, a cough, a number in two breaths."""


def spans() -> list[tuple[float, float]]:
    return [(at_s, at_s + for_s) for _, _, at_s, for_s in CALLER]


def listening() -> ScriptedRecogniser:
    """Return a recogniser that reports what the caller says."""
    script = ScriptedRecogniser(RATE)
    for how, words, at_s, for_s in CALLER:
        if how == "says":
            script.says(words, at_s=at_s + for_s + 0.2, speech_s=for_s, silence_s=0.2)
        elif how == "coughs":
            script.coughs(at_s=at_s, for_s=for_s)
        else:
            getattr(script, how)(words, at_s=at_s, for_s=for_s)
    return script.hangs_up(at_s=32.0)


async def shop_call(wav: Path, recorder: vp.Observer) -> None:
    """Hold the call."""
    row = vp.STTStage(listening()), ScriptedModel(answer, token_s=0.02), vp.ToolRouter([price]), vp.SentenceChunker()
    voice = SpeechLikeVoice(character_s=0.06, first_audio_s=0.15)
    pipeline = vp.Pipeline(*row, voice, detector=None, output=RecordingOutput(), observers=[recorder])
    source = vp.WavSource(wav)
    facts = {"shop": "Lyon"}
    async with pipeline.session(source=source, id="shop-1", facts=facts, greeting="Welcome to the shop.") as session:
        await session.ended.wait()


def recorded(folder: Path, hold: Callable[[Recorder], Awaitable[None]], **options: Any) -> Path:
    """Hold a call on virtual time with a `Recorder`, and return its recording."""
    run_on_virtual_time(partial(hold, Recorder(folder, **options)))
    (path,) = folder.glob("*.vprec")
    return path


def recorded_shop_call(folder: Path, **options: Any) -> Path:
    """Return the recording of the call that has everything in it."""
    folder.mkdir(exist_ok=True)
    wav = folder / "caller.wav"
    spoken_wav(wav, spans(), 34.0)
    return recorded(folder, partial(shop_call, wav), **options)


# --- sound that looks like speech -------------------------------------------------------------------------------------


@cache
def speech_like(rate: int, pitch_hz: float) -> bytes:
    """Return two seconds of syllables: harmonics that swell and fade, each a little different."""
    dice = random.Random(pitch_hz)
    syllables = [(dice.uniform(0.12, 0.28), dice.uniform(0.3, 1.0), dice.uniform(0.85, 1.2)) for _ in range(12)]
    samples = array("h")
    for length_s, loudness, lift in syllables:
        count = round(length_s * rate)
        step = 2 * math.pi * pitch_hz * lift / rate
        for at in range(count):
            swell = 0.3 + 0.7 * math.sin(math.pi * at / count)  # audible from the first sample on
            wave = math.cos(step * at) + 0.6 * math.sin(2.01 * step * at) + 0.3 * math.sin(5.02 * step * at)
            samples.append(round(6_000 * loudness * swell * wave))
    return samples.tobytes()


def spoken_wav(path: Path, speech: Iterable[tuple[float, float]], length_s: float) -> None:
    """Write the caller's side: what looks like speech from when to when, and a quiet line around it."""
    dice = random.Random(1)
    noise = array("h", [round(dice.gauss(0, 40)) for _ in range(RATE)]).tobytes()
    pcm = bytearray((noise * (int(length_s) + 1))[: 2 * round(length_s * RATE)])
    voice = speech_like(RATE, 190.0) * 4
    for start_s, end_s in speech:
        first, last = round(start_s * RATE), round(end_s * RATE)
        pcm[2 * first : 2 * last] = voice[: 2 * (last - first)]
    vp.write_wav(path, bytes(pcm), RATE)


class SpeechLikeVoice(ScriptedVoice):
    """Says what looks like speech in place of a tone, after the silence that voices begin with."""

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        voice = bytes(2 * round(LEAD_IN_S * self.sample_rate)) + speech_like(self.sample_rate, 120.0)
        at = 0
        async for piece in super().synthesize(sentence):
            if isinstance(piece, bytes):
                yield (voice[at:] + voice)[: len(piece)]
                at = (at + len(piece)) % len(voice)
            else:
                yield piece
