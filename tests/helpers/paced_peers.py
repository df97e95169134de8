"""Peers of a paced output, and a session in which only the test writes."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

import voicepipe as vp
from voicepipe.testing import ScriptedModel, ScriptedVoice

RATE = 8_000
FRAME = 160  # samples of 20 ms


def frame(sample: int, samples: int = FRAME) -> bytes:
    return sample.to_bytes(2, "little") * samples


def shown(pcm: bytes) -> str:
    """Return audio as text: its values in order, e.g. "1" or "1 2" or "1 0"."""
    values = [int.from_bytes(pcm[at : at + 2], "little") for at in range(0, len(pcm), 2)]
    return " ".join(str(value) for at, value in enumerate(values) if at == 0 or values[at - 1] != value)


class Line(vp.PacedOutput):
    """A peer that takes everything immediately, and notes when it arrived.

    Attributes:
        log: (time in ms, what came): frames as their samples' values, "clear", and marks as "mark 1".
        sends_s: How long each message takes; 0 is not even a step of the loop.
    """

    sample_rate = RATE
    peer_buffer_s = 0.0  # it plays what it gets at once

    def __init__(self) -> None:  # without super().__init__(): a subclass need not know that there is one
        self.log: list[tuple[float, str]] = []
        self.sends_s = 0.0

    def note(self, what: str) -> None:
        self.log.append((round(anyio.current_time() * 1_000, 3), what))

    async def send(self, pcm: bytes) -> None:
        assert len(pcm) == self.sample_rate // 50 * 2
        self.note(shown(pcm))
        if self.sends_s:
            await anyio.sleep(self.sends_s)


class ClearingLine(Line):
    async def clear(self) -> None:
        self.note("clear")


class MarkingLine(ClearingLine):
    """Also asks for reports; the test gives them."""

    async def mark(self, name: str) -> None:
        self.note(f"mark {name}")


@asynccontextmanager
async def playing(output: vp.Output) -> AsyncGenerator[vp.Session]:
    """Attach an output to a session in which only the test writes."""
    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(sample_rate=output.sample_rate))
    async with row.session(output=output) as session:
        yield session


class Telephone(Line):
    """A peer that plays what it is sent 0.2 s later, and keeps what was heard."""

    peer_buffer_s = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[float, bytes]] = []  # when each begins to be heard
        self.until_s = 0.0

    async def send(self, pcm: bytes) -> None:
        begins_s = max(self.until_s, round(anyio.current_time() + 0.2, 6))
        self.frames.append((begins_s, pcm))
        self.until_s = round(begins_s + 0.02, 6)

    async def report(self) -> None:
        """Report what was played, where the peer does that."""

    def heard(self) -> bytes:
        """Return what was heard since the beginning of the call, with silence where there was some."""
        sound = bytearray()
        for begins_s, pcm in self.frames:
            sound = sound.ljust(round(begins_s * self.sample_rate) * 2, b"\0") + pcm
        return bytes(sound)


class ClearingTelephone(Telephone):
    """Drops what it has not played when it is asked to."""

    async def clear(self) -> None:
        now = anyio.current_time()
        self.frames = [(begins_s, pcm) for begins_s, pcm in self.frames if begins_s <= now]
        self.until_s = 0.0


class MarkingTelephone(ClearingTelephone):
    """Reports marks when it has played what was before them, and those that it drops at once, as Twilio does."""

    peer_buffer_s = 0.0  # its reports say how much it has played

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[tuple[float, str]] = []  # when each is due

    async def mark(self, name: str) -> None:
        self.marks.append((self.until_s, name))

    async def clear(self) -> None:
        await super().clear()
        self._report_until(math.inf)

    async def report(self) -> None:
        """Report marks as they are played; never returns."""
        while True:
            await anyio.sleep(0.005)
            self._report_until(anyio.current_time())

    def _report_until(self, now: float) -> None:
        while self.marks and self.marks[0][0] <= now:
            self.marked(self.marks.pop(0)[1])
