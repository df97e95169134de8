"""The voices whose service speaks contexts on a websocket, each with its simulator, and calls that use them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

import voicepipe as vp
from voicepipe.history import AssistantMessage
from voicepipe.testing import RecordingOutput, Says, ScriptedModel
from voicepipe.testing.simulators._contexts import ContextSimulator
from voicepipe.testing.simulators.cartesia import CartesiaSimulator
from voicepipe.testing.simulators.elevenlabs import ElevenLabsSimulator
from voicepipe.vendors.line.backoff import Backoff
from voicepipe.vendors.line.voice import LineVoice

KEY = "canary-41d7"


@dataclass(frozen=True)
class Vendor:
    """A vendor's voice and the simulator of its service.

    Attributes:
        voice: Makes the voice.
        simulator: Makes the simulator.
    """

    voice: Callable[..., LineVoice]
    simulator: Callable[..., ContextSimulator]

    def __str__(self) -> str:
        return self.simulator.__name__.removesuffix("Simulator")  # type: ignore[attr-defined]  # both are classes


def pause_s(session: int = 1, pause_s: float = 0.0) -> float:
    """Return how long a client waits until it connects again when it has lost this session of a simulator."""
    backoff = Backoff()
    backoff.began(f"simulated-{session}")
    return backoff.spread(pause_s)


VENDORS = [Vendor(vp.ElevenLabsTTS, ElevenLabsSimulator), Vendor(vp.CartesiaTTS, CartesiaSimulator)]


class Call:
    """A session whose voice is a simulated service's."""

    def __init__(self, session: vp.Session, output: RecordingOutput) -> None:
        self.session = session
        self.output = output

    @property
    def heard(self) -> str:
        """What was heard of the last reply."""
        replies = [one.heard for one in self.session.history if isinstance(one, AssistantMessage)]
        return replies[-1] if replies else ""

    async def is_interrupted_after(self, seconds: float) -> str:
        """Say something, interrupt the reply, and return what was heard of it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.session.user_says, "Hello?")
            await anyio.sleep(seconds)
            self.session.interrupt()
        return self.heard


@asynccontextmanager
async def calling(vendor: Vendor, simulator: ContextSimulator, *replies: str, **settings: Any) -> AsyncGenerator[Call]:
    """Hold a call whose model gives these replies."""
    output = RecordingOutput()
    async with simulator.serve() as url:
        voice = vendor.voice(url=url, api_key=KEY, **settings)
        row = vp.Pipeline(ScriptedModel([Says(one) for one in replies]), vp.SentenceChunker(), voice, fallback="")
        async with row.session(output=output) as session:
            yield Call(session, output)


async def pieces_of(voice: LineVoice, text: str) -> list[tuple[float, bytes | vp.WordMark]]:
    """Return what a voice yields for a sentence, with the time of each piece."""
    async with voice.open(), voice.attach(None):  # type: ignore[arg-type]  # it needs nothing of a session
        return [(anyio.current_time(), piece) async for piece in voice.synthesize(vp.Sentence(text))]
