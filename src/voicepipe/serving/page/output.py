"""The agent's voice in a page: audio, and what happens to it, in the order of the audio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from voicepipe.audio.remote.paced import PacedOutput
from voicepipe.serving.page import protocol
from voicepipe.serving.resumption import NEW_CALL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.context import AnySession
    from voicepipe.events import Event
    from voicepipe.serving.transport import Line, Peer

__all__ = ["PageOutput"]


class PageOutput(PacedOutput):
    """An output whose peer is a page.

    Args:
        peer: The page.
        sample_rate: Samples per second of what it plays.
        has_echo: Whether its microphone picks the agent up, because its browser cancels no echo.

    Attributes:
        line: The call's line, which says whether the call goes on; None for an output without one.
        resume_s: For how long the page may come back after its connection has broken.
    """

    reports_position = True
    lead_s = 0.1  # fills the page's buffer at once, so that a reply begins without waiting for it

    def __init__(self, peer: Peer, *, sample_rate: int, has_echo: bool) -> None:
        self.sample_rate = sample_rate
        self.has_echo = has_echo
        self.line: Line | None = None
        self.resume_s = 0.0
        self._peer = peer
        self._clears = 0

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Answer the page's hello before anything else is sent. See `PacedOutput.attach`."""
        resumed = self.line.resumed if self.line is not None else NEW_CALL
        ready = protocol.ready(
            session.id,
            rate_out=self.sample_rate,
            resume=resumed.key,
            resume_s=self.resume_s,
            resumed=resumed.is_resumed,
            why=resumed.why_not,
        )
        await self._peer.send(ready)
        async with super().attach(session):
            yield

    async def send(self, pcm: bytes) -> None:
        """Send 20 ms of audio. See `PacedOutput.send`."""
        await self._peer.send(pcm)

    async def clear(self) -> None:
        """Ask the page to be silent. See `PacedOutput.clear`."""
        self._clears += 1
        await self._peer.send(protocol.clear(self._clears))

    async def tell(self, event: Event) -> None:
        """Report an event to the page, if a caller may know of it. See `PacedOutput.tell`."""
        if (message := protocol.report(event)) is not None:
            await self._peer.send(message)
