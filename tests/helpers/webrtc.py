"""Whether this machine can make WebRTC calls, and an agent that is audible through Opus."""

from __future__ import annotations

import importlib.util
import math
import os
from array import array
from collections.abc import AsyncIterator

import pytest

import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser

MISSING = [name for name in ("aiortc",) if importlib.util.find_spec(name) is None]

needs_aiortc = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
)

RATE = 24_000
FRAME_S = 0.02
CHARACTER_S = 0.05


class Tone(vp.TTSSink):
    """A voice of one tone, 50 ms for each character: what is constant, as the scripted voice is, Opus takes away."""

    sample_rate = RATE

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        samples = round(len(sentence.text) * CHARACTER_S * RATE)
        wave = array("h", (round(8_000 * math.sin(2 * math.pi * 400 * at / RATE)) for at in range(samples)))
        size = round(FRAME_S * RATE)
        for at in range(0, samples, size):
            yield wave[at : at + size].tobytes()


def agent(ears: ScriptedRecogniser | None = None, replies: list[Says] | None = None) -> vp.Pipeline[None]:
    """An agent whose ears and model follow a script, and whose voice is a tone."""
    stages = (vp.STTStage(ears or ScriptedRecogniser()), ScriptedModel(replies or []), vp.SentenceChunker(), Tone())
    return vp.Pipeline(*stages)
