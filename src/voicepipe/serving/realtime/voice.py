"""The agent's side of a call: audio in deltas, or text alone, and the events that belong between them.

Rule 1: a delta holds 60 ms: a message for each frame would cost three times as much and help nobody.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from voicepipe.audio.output import Output
from voicepipe.audio.remote.paced import PacedOutput
from voicepipe.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.context import AnySession
    from voicepipe.events import Event
    from voicepipe.serving.realtime.line import RealtimeLine

__all__ = ["RealtimeText", "RealtimeVoice"]

DELTA_S: Final = 0.06
LEAD_S: Final = 0.3
"""How far audio is ahead of the pace of speech, so that a client on a poor network does not run dry."""

ON_ITS_WAY_S: Final = 0.1
"""How long audio takes to be heard, for clients that report nothing; those that truncate an item correct it."""

MOST_EVENTS: Final = 1_000
"""Events that may wait for the client, as many as a session keeps for its readers."""

LAST_EVENTS_S: Final = 1.0
"""How long the events of a session that has ended may take to be sent."""


class RealtimeVoice(PacedOutput):
    """Sends what the agent says to one client."""

    lead_s = LEAD_S
    peer_buffer_s = ON_ITS_WAY_S

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.line: RealtimeLine
        self._piece = bytearray()
        self._piece_turn_id = 0

    async def send(self, pcm: bytes) -> None:
        """Send what has come together."""
        self._piece += pcm
        self._piece_turn_id = self.turn_id
        if len(self._piece) >= DELTA_S * self.sample_rate * 2:
            await self._send_piece()

    async def clear(self) -> None:
        """Drop what was not sent; the client drops the rest at `speech_started`."""
        self._piece.clear()

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Let the settings that came before take effect, then send until the session ends."""
        await self.line.begin(session)
        async with super().attach(session):
            yield

    def on_event(self, event: Event) -> None:
        """Note what cannot wait for its place in the audio. See `Output.on_event`."""
        self.line.noted(event)
        super().on_event(event)

    async def tell(self, event: Event) -> None:
        """Send what an event means, after the audio before it."""
        await self._send_piece()
        await self.line.happened(event)

    async def _send_piece(self) -> None:
        if self._piece:
            pcm = bytes(self._piece)
            self._piece.clear()
            await self.line.spoke(self._piece_turn_id, pcm)


class RealtimeText(Output):
    """Sends what the agent says as text, which counts as heard."""

    shows_text = True

    def __init__(self) -> None:
        self.line: RealtimeLine
        self._samples = 0
        self._events: deque[Event] = deque()
        self._news = anyio.Event()

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Let the settings that came before take effect, then send until the session ends."""
        await self.line.begin(session)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_all, name=f"voicepipe {self.name} sends")
            yield
            with anyio.move_on_after(LAST_EVENTS_S):
                await self._tell()
            tasks.cancel_scope.cancel()

    async def write(self, pcm: bytes) -> None:
        """Count silence as heard. See `Output.write`."""
        self._samples += len(pcm) // 2
        await anyio.lowlevel.checkpoint()

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    @property
    def played_s(self) -> float:
        """Seconds of speech that were sent as text."""
        return self._samples / self.sample_rate

    def on_event(self, event: Event) -> None:
        """Take an event. See `Output.on_event`.

        Raises:
            AudioError: The client has not taken 1,000 events.
        """
        self.line.noted(event)
        if len(self._events) >= MOST_EVENTS:
            raise AudioError(f"the client is {MOST_EVENTS:,} events behind; it does not read its connection")
        self._events.append(event)
        self._news.set()

    async def _tell_all(self) -> None:
        while True:
            self._news = anyio.Event()
            await self._tell()
            await self._news.wait()

    async def _tell(self) -> None:
        while self._events:
            await self.line.happened(self._events.popleft())
