"""What the framework alone costs: scripted parts without any delay, on a real event loop."""

from __future__ import annotations

from statistics import median

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.parts import Ears, Voice, called
from voicepipe.testing import Says, ScriptedModel

__all__ = ["framework"]

TURNS = 2_000
TURNS_OF_A_CALL = 20  # a longer history would measure the scripted model's reading of it
REPLY = "Your parcel left our depot. You can expect it on Thursday."


async def framework() -> list[Figure]:
    """From a final transcript to the first frame at the output, one conversation at a time."""
    waits_ms: list[float] = []
    agent = vp.Pipeline(
        Ears(), ScriptedModel(lambda _: Says(REPLY)), vp.SentenceChunker(), Voice(first_audio_s=0.0, frames=2)
    )
    async with agent.open() as host:
        while len(waits_ms) < TURNS:
            async with called(host, 1, real_time=False) as (call,):
                for number in range(TURNS_OF_A_CALL):
                    asked_s = await call.ask(f"Where is parcel {number}?")  # the same words at once are one message
                    waits_ms.append((await call.output.wait_first_frame() - asked_s) * 1e3)
                    await call.wait_done()
    return [
        Figure("framework: transcript to first frame, median", median(waits_ms), "ms", 1),
        Figure("framework: transcript to first frame, p99", percentile(waits_ms, 99), "ms", 5),
    ]
