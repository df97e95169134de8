"""Where the caller's audio comes from.

A source yields 16-bit mono PCM in pieces of any size; the session stamps the time and cuts it into 20 ms frames.
The end of `frames` is a hang-up: it ends the session.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

import anyio

from voicepipe.core.part import Part
from voicepipe.errors import AudioError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import Self

__all__ = ["PushSource", "Source"]

PUSHED_S: Final = 0.5
"""Audio that may wait in a `PushSource`. Live audio must not lag, so older audio is dropped and counted."""


class Source(Part):
    """Base of sources; subclasses write `frames`.

    Attributes:
        sample_rate: Samples per second of what `frames` yields.
        dropped_s: Seconds of audio that this source itself had to drop.
    """

    sample_rate: int = 16_000
    dropped_s: float = 0.0

    @abstractmethod
    def frames(self) -> AsyncIterator[bytes]:
        """Yield little-endian signed 16-bit mono PCM as it comes, best in pieces of 20 ms.

        Called once per session, after `attach`. Cancelled with the session. Its end is a hang-up.

        Raises:
            AudioError: The device or file failed.
        """

    async def pump(self, deliver: Callable[[bytes], None]) -> None:
        """Hand over what `frames` yields, until its end; `deliver` never waits.

        A source whose audio comes by calls may write this instead, and save a task switch a frame.
        """
        async with aclosing(cast("AsyncGenerator[bytes]", self.frames())) as pieces:
            async for piece in pieces:
                deliver(piece)


class PushSource(Source):
    """A source that the application feeds, from whatever transport it has.

    Args:
        sample_rate: Samples per second of what is pushed.

    A `PushSource` belongs to one call: make one per session and give it to `host.session(source=...)`.
    """

    def __init__(self, sample_rate: int = 16_000) -> None:
        if not 8_000 <= sample_rate <= 192_000:
            raise ConfigurationError(f"PushSource: sample_rate must be 8000 to 192000, not {sample_rate}")
        self.sample_rate = sample_rate
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._deliver: Callable[[bytes], None] | None = None
        self._news = anyio.Event()
        self._is_ended = False

    def _copied(self) -> Self:
        raise ConfigurationError(
            "a PushSource belongs to one call: give it to host.session(source=...), not to the row"
        )

    def push(self, pcm: bytes) -> None:
        """Hand over audio; never waits.

        Until the session listens at most 0.5 s are kept; the oldest is dropped, and counted in `dropped_s`.

        Args:
            pcm: Little-endian signed 16-bit mono samples, any number of whole samples.

        Raises:
            AudioError: The bytes are no whole samples, or the source has been ended.
        """
        if self._is_ended:
            raise AudioError("PushSource.push after end(): the caller has hung up")
        if len(pcm) % 2:
            raise AudioError(f"PushSource.push needs whole 16-bit samples, got {len(pcm)} bytes")
        if self._deliver is not None:
            self._deliver(pcm)
            return
        self._waiting.append(pcm)
        self._waiting_bytes += len(pcm)
        while self._waiting_bytes > PUSHED_S * self.sample_rate * 2 and len(self._waiting) > 1:
            self.dropped_s += len(self._take()) / 2 / self.sample_rate
        self._news.set()

    def end(self) -> None:
        """Hang up: what was pushed is still heard, then the session ends."""
        self._is_ended = True
        self._news.set()

    async def pump(self, deliver: Callable[[bytes], None]) -> None:
        """Hand over what is pushed, in the very call of `push`. See `Source.pump`."""
        while self._waiting:
            deliver(self._take())
        self._deliver = deliver
        try:
            while not self._is_ended:
                self._news = anyio.Event()
                await self._news.wait()
        finally:
            self._deliver = None

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield what was pushed. See `Source.frames`; a session uses `pump`."""
        while True:
            while self._waiting:
                yield self._take()
            if self._is_ended:
                return
            self._news = anyio.Event()
            await self._news.wait()

    def _take(self) -> bytes:
        pcm = self._waiting.popleft()
        self._waiting_bytes -= len(pcm)
        return pcm
