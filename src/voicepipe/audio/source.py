"""Where the caller's audio comes from.

A source yields 16-bit mono PCM in pieces of any size; the session adds the time and cuts it into 20 ms frames.
When `frames` ends, the caller has hung up and the session ends.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

import anyio

from voicepipe.core.home import Home
from voicepipe.core.part import Part
from voicepipe.errors import AudioError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import Self

__all__ = ["PushSource", "Source"]

PUSHED_S: Final = 10.0
"""How much audio may wait in a `PushSource` until the session listens: it is late then, not lost. Older
audio is dropped and counted."""


class Source(Part):
    """Base class of sources; subclasses implement `frames`.

    Attributes:
        sample_rate: Samples per second of what `frames` yields.
        dropped_s: Seconds of audio that the source itself has dropped.
    """

    sample_rate: int = 16_000
    dropped_s: float = 0.0

    @abstractmethod
    def frames(self) -> AsyncIterator[bytes]:
        """Yield little-endian signed 16-bit mono PCM as it arrives, ideally in pieces of 20 ms.

        Late audio may be yielded all at once: up to 10 s of it are recognised, faster than in real time. A gap is not
        silence: after 0.1 s without audio speech counts as ended for interruptions; after 2 s the recogniser gets
        silence and the application `AudioStopped`.

        Called once per session, after `attach`. Cancelled with the session. Returning means that the caller hung up.

        Raises:
            AudioError: The device or file failed.
        """

    async def pump(self, deliver: Callable[[bytes], None]) -> None:
        """Pass everything that `frames` yields to `deliver`, which never waits.

        A source whose audio arrives in callbacks may override this, which saves a task switch per frame.
        """
        async with aclosing(cast("AsyncGenerator[bytes]", self.frames())) as pieces:
            async for piece in pieces:
                deliver(piece)


class PushSource(Source):
    """A source that the application feeds from its own transport.

    Args:
        sample_rate: Samples per second of what is pushed.

    A `PushSource` belongs to one session: create one for each and pass it to `host.session(source=...)`.
    """

    def __init__(self, sample_rate: int = 16_000) -> None:
        if not 8_000 <= sample_rate <= 192_000:
            raise ConfigurationError(f"PushSource: sample_rate must be 8000 to 192000, not {sample_rate}")
        self.sample_rate = sample_rate
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._deliver: Callable[[bytes], None] | None = None
        self._news = anyio.Event()
        self._home: Home | None = None  # where the session listens
        self._has_hung_up = False  # by the caller of `end`
        self._is_ended = False  # in the loop, after all that was pushed before

    def _copied(self) -> Self:
        raise ConfigurationError(
            "a PushSource belongs to one session: pass it to host.session(source=...), not to the Pipeline"
        )

    def push(self, pcm: bytes) -> None:
        """Hand over audio; never waits. Any thread may call it.

        Until the session listens, at most 10 s are kept; older audio is dropped and counted in `dropped_s`. Late audio
        may be pushed all at once; see `Source.frames`.

        Args:
            pcm: Little-endian signed 16-bit mono PCM, any number of whole samples.

        Raises:
            AudioError: The bytes are not whole samples, or `end` has been called.
        """
        if self._has_hung_up:
            raise AudioError("PushSource.push after end(): the caller has hung up")
        if len(pcm) % 2:
            raise AudioError(f"PushSource.push needs whole 16-bit samples, got {len(pcm)} bytes")
        if self._home is None:
            self._take_in(pcm)
        else:
            self._home.call(self._take_in, pcm)

    def end(self) -> None:
        """Hang up: audio that was pushed before is still recognised, then the session ends. Any thread may call it."""
        self._has_hung_up = True
        if self._home is None:
            self._hang_up()
        else:
            self._home.call(self._hang_up)

    def _take_in(self, pcm: bytes) -> None:
        if self._deliver is not None:
            self._deliver(pcm)
            return
        self._waiting.append(pcm)
        self._waiting_bytes += len(pcm)
        while self._waiting_bytes > PUSHED_S * self.sample_rate * 2 and len(self._waiting) > 1:
            self.dropped_s += len(self._take()) / 2 / self.sample_rate
        self._news.set()

    def _hang_up(self) -> None:
        self._is_ended = True
        self._news.set()

    async def pump(self, deliver: Callable[[bytes], None]) -> None:
        """Deliver audio as soon as it is pushed, within `push` itself. See `Source.pump`."""
        self._home = Home()
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
        """Yield what is pushed. See `Source.frames`; a session uses `pump`."""
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
