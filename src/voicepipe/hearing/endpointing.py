"""The end of the caller's turn, as somebody asks for it who knows better than the recogniser.

Rule 1: what was pushed before the request belongs to the turn, although it may still be on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    from voicepipe.core.channel import Inbox
    from voicepipe.flow import AudioFrame

__all__ = ["EndpointRequests", "audio_on_its_way"]

ON_ITS_WAY: Final = 5
"""Steps of the loop in which audio comes from a source to its recogniser; each audio stage between takes one."""


async def audio_on_its_way() -> None:
    """Wait until the audio that was pushed before has reached its recogniser."""
    for _ in range(ON_ITS_WAY):
        await anyio.lowlevel.checkpoint()


class EndpointRequests:
    """Requests to end the caller's turn, in order with the audio; belongs to one call."""

    def __init__(self) -> None:
        self._is_asked = False
        self._waiting: anyio.CancelScope | None = None

    def ask(self) -> None:
        """End the turn with the audio so far. Never waits."""
        self._is_asked = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def next(self, inbox: Inbox[AudioFrame]) -> AudioFrame | None:
        """Return the next frame; None where the turn is to end.

        Raises:
            anyio.EndOfStream: The caller has hung up.
        """
        for _ in range(ON_ITS_WAY):
            with anyio.CancelScope() as self._waiting:
                if self._is_asked:
                    self._waiting.cancel()  # takes effect only once the channel has nothing left to give
                return await inbox.receive()
            await anyio.lowlevel.checkpoint()
        self._is_asked = False
        return None
