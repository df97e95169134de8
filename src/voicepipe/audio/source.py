"""Where the caller's audio comes from.

A source yields 16-bit mono PCM in pieces of any size; the session adds the time and cuts it into 20 ms frames.
When `frames` ends, the caller has hung up and the session ends.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from contextlib import aclosing
from math import isfinite
from typing import TYPE_CHECKING, Final, Protocol, cast

import anyio

from voicepipe.core.home import Home
from voicepipe.core.part import Part
from voicepipe.errors import AudioError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from typing import Self

__all__ = ["Deliver", "PushSource", "Source"]

PUSHED_S: Final = 10.0
"""How much audio may wait in a `PushSource` until the session listens: it is late then, not lost. Older
audio is dropped and counted."""


class Deliver(Protocol):
    """Takes a piece of a source's audio, and never waits."""

    def __call__(self, pcm: bytes, at_s: float | None = None) -> None:
        """Take audio; `at_s` is the time of its first sample, on the loop's clock, if that is known."""
        ...


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

    async def pump(self, deliver: Deliver) -> None:
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
        self._waiting: deque[tuple[bytes, float | None]] = deque()
        self._waiting_bytes = 0
        self._deliver: Deliver | None = None
        self._news = anyio.Event()
        self._home: Home | None = None  # where the session listens
        self._has_hung_up = False  # by the caller of `end`
        self._is_ended = False  # in the loop, after all that was pushed before

    def _copied(self) -> Self:
        raise ConfigurationError(
            "a PushSource belongs to one session: pass it to host.session(source=...), not to the Pipeline"
        )

    def push(self, pcm: bytes, at_s: float | None = None) -> None:
        """Hand over audio; never waits. Any thread may call it.

        Until the session listens, at most 10 s are kept; older audio is dropped and counted in `dropped_s`. Late audio
        may be pushed all at once; see `Source.frames`.

        Args:
            pcm: Little-endian signed 16-bit mono PCM, any number of whole samples.
            at_s: When its first sample was spoken, on the event loop's clock, if the transport knows it, e.g. by the
                stamps of its messages. What arrives late is then known to be late, and what is missing to be missing.
                None takes it to be spoken just before it is pushed. A time in the future counts as now.

        Raises:
            AudioError: The bytes are not whole samples, the time is no number, or `end` has been called.
        """
        if self._has_hung_up:
            raise AudioError("PushSource.push after end(): the caller has hung up")
        if len(pcm) % 2:
            raise AudioError(f"PushSource.push needs whole 16-bit samples, got {len(pcm)} bytes")
        if at_s is not None and not isfinite(at_s):
            raise AudioError(f"PushSource.push: at_s must be a time on the event loop's clock, not {at_s!r}")
        if self._home is None:
            self._take_in(pcm, at_s)
        else:
            self._home.call(self._take_in, pcm, at_s)

    def end(self) -> None:
        """Hang up: audio that was pushed before is still recognised, then the session ends. Any thread may call it."""
        self._has_hung_up = True
        if self._home is None:
            self._hang_up()
        else:
            self._home.call(self._hang_up)

    def _take_in(self, pcm: bytes, at_s: float | None) -> None:
        if self._deliver is not None:
            self._deliver(pcm, at_s)
            return
        self._waiting.append((pcm, at_s))
        self._waiting_bytes += len(pcm)
        while self._waiting_bytes > PUSHED_S * self.sample_rate * 2 and len(self._waiting) > 1:
            self.dropped_s += len(self._take()[0]) / 2 / self.sample_rate
        self._news.set()

    def _hang_up(self) -> None:
        self._is_ended = True
        self._news.set()

    async def pump(self, deliver: Deliver) -> None:
        """Deliver audio as soon as it is pushed, within `push` itself. See `Source.pump`."""
        self._home = Home()
        while self._waiting:
            deliver(*self._take())
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
                yield self._take()[0]
            if self._is_ended:
                return
            self._news = anyio.Event()
            await self._news.wait()

    def _take(self) -> tuple[bytes, float | None]:
        pcm, at_s = self._waiting.popleft()
        self._waiting_bytes -= len(pcm)
        return pcm, at_s
