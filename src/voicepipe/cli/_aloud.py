"""A loudspeaker alongside a recording: plays aloud what is recorded."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import voicepipe as vp
from voicepipe.audio.resample import resampler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Aloud"]


class Aloud(vp.Part):
    """Plays audio at one rate, whatever the loudspeaker's own rate is.

    Args:
        device: The loudspeaker, as `Speaker` takes it.
        sample_rate: Samples per second of what is played.
    """

    def __init__(self, device: int | str | None, sample_rate: int) -> None:
        self.loudspeaker = vp.Speaker(device, sample_rate=sample_rate)
        self._rate = sample_rate

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        """Set up the resampler, once the loudspeaker is open."""
        del session
        self._resampler = resampler(self._rate, self.loudspeaker.sample_rate, "the conversation", self.loudspeaker.name)
        yield

    async def play(self, pcm: bytes) -> None:
        """Play audio, waiting for room."""
        if self._resampler is not None:
            pcm = self._resampler.feed(pcm)
        if pcm:
            await self.loudspeaker.write(pcm)

    def flush(self) -> None:
        """Stop the sound immediately."""
        self.loudspeaker.flush()
