"""Where the agent's audio goes.

Rule 1: `write` waits for room and keeps at most two 20 ms frames, so that little is lost when the caller interrupts.
Rule 2: `flush` stops the sound immediately: it is synchronous, and a `write` that is waiting must drop its audio.
Rule 3: `played_s` counts only what has been played, because the history is built from it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from voicepipe.core.part import Part
from voicepipe.errors import AudioError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import Self

    from voicepipe.core.context import AnySession
    from voicepipe.events import Event

__all__ = ["STALLED_OUTPUT_S", "ClockedOutput", "Output", "OutputStalled", "PullOutput", "stalled"]

BUFFERED_S = 0.04
"""Two 20 ms frames: enough to hide the event loop's jitter, little enough to throw away."""

STALLED_OUTPUT_S = 2.0
"""An output has failed if it plays nothing for this long while it holds audio."""


class OutputStalled(AudioError):  # noqa: N818 - names what happened to the output
    """An output holds audio and plays none. Its turn fails; the session goes on, because it may play again."""


def stalled(output: Output) -> OutputStalled:
    """Return the error for an output that holds audio but plays none."""
    return OutputStalled(
        f"{output.name} played nothing for {STALLED_OUTPUT_S:g} s although it holds audio; "
        "check that the device is still there and that the application reads the output"
    )


class Output(Part):
    """Base class of outputs; subclasses implement `write`, `flush` and `played_s`.

    Attributes:
        sample_rate: Samples per second that `write` expects; speech at another rate is resampled before.
        has_echo: Whether the caller's microphone picks up what is played; see `TurnRules.loudspeaker`.
        shows_text: Whether it shows what the agent says and plays nothing. Replies are then not synthesised: `write`
            gets 20 ms of silence for each sentence, after its `SentenceStarted`.
    """

    sample_rate: int = 24_000
    has_echo: bool = False
    shows_text: bool = False

    _watches_itself = False  # whether `write` raises `stalled` itself, which saves the writer a timer per frame
    _reports_played = False  # whether it calls `_on_played` with all that it plays, silence included, and the time
    _on_played: Callable[[bytes, float], None] | None = None  # the session's echo path

    @abstractmethod
    async def write(self, pcm: bytes) -> None:
        """Take at most 20 ms of little-endian signed 16-bit mono PCM, waiting until there is room for it.

        Cancelled when the turn is interrupted. If `flush` is called during the wait, the audio must be dropped.

        An error raised here, by `flush` or by `played_s` ends the session under this output's name.
        """

    @abstractmethod
    def flush(self) -> None:
        """Stop the sound immediately: drop everything written but not yet played. Must not wait."""

    def on_event(self, event: Event) -> None:
        """Take note of what happens in the session, in the order of what is written. Must not wait.

        Called with each event. `SentenceStarted` comes before the sentence's first frame is written, `UtteranceEnded`
        after the last frame of a turn's speech; `Paused` and `TurnInterrupted` come after `flush`.
        """

    @property
    @abstractmethod
    def played_s(self) -> float:
        """Seconds of audio played since the session began. Never decreases; flushed audio does not count."""


class PullOutput(Output):
    """An output that the application reads at the pace of playback: audio that has been read counts as played.

    Args:
        sample_rate: Samples per second of what `read` returns.

    A `PullOutput` belongs to one session: create one for each and pass it to `host.session(output=...)`.
    """

    def __init__(self, sample_rate: int = 24_000) -> None:
        if not 8_000 <= sample_rate <= 192_000:
            raise ConfigurationError(f"PullOutput: sample_rate must be 8000 to 192000, not {sample_rate}")
        self.sample_rate = sample_rate
        self._frames: deque[bytes] = deque()
        self._held_bytes = 0
        self._read_bytes = 0
        self._flushes = 0
        self._changed = anyio.Event()

    def _copied(self) -> Self:
        raise ConfigurationError("a PullOutput belongs to one session: pass it to host.session(output=...)")

    async def write(self, pcm: bytes) -> None:
        """Take a frame. See `Output.write`."""
        flushes = self._flushes
        while self._frames and self._held_bytes + len(pcm) > BUFFERED_S * self.sample_rate * 2:
            await self._changed.wait()
            if self._flushes != flushes:
                return
        self._frames.append(pcm)
        self._held_bytes += len(pcm)
        self._notify()

    def flush(self) -> None:
        """Drop audio that has not been read. See `Output.flush`."""
        self._flushes += 1
        self._frames.clear()
        self._held_bytes = 0
        self._notify()

    @property
    def played_s(self) -> float:
        """Seconds of audio that have been read."""
        return self._read_bytes / 2 / self.sample_rate

    def read_nowait(self) -> bytes:
        """Return the next frame, or b"" if there is none; play silence then. For callbacks that must not wait."""
        if not self._frames:
            return b""
        pcm = self._frames.popleft()
        self._held_bytes -= len(pcm)
        self._read_bytes += len(pcm)
        self._notify()
        return pcm

    async def read(self) -> bytes:
        """Return the next frame (at most 20 ms), waiting until there is one."""
        while not self._frames:
            await self._changed.wait()
        return self.read_nowait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the frames. The iteration never ends by itself: break out of it or cancel it."""
        while True:
            yield await self.read()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class ClockedOutput(Output):
    """Base class of outputs without a device: plays in real time by the event loop's clock.

    Args:
        sample_rate: Samples per second that `write` expects.

    Subclasses implement `record`. Belongs to one session, which begins with `attach`.
    """

    def __init__(self, sample_rate: int = 24_000) -> None:
        if not 8_000 <= sample_rate <= 192_000:
            raise ConfigurationError(f"{type(self).__name__}: sample_rate must be 8000 to 192000, not {sample_rate}")
        self.sample_rate = sample_rate
        self._began_s = 0.0
        self._plays_until_s = 0.0
        self._accepted_s = 0.0
        self._recorded_bytes = 0
        self._pending = b""  # written but not played yet
        self._flushes = 0

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Begin playback: silence until something is written."""
        del session
        self._began_s = self._plays_until_s = anyio.current_time()
        try:
            yield
        finally:
            self._catch_up()

    def record(self, pcm: bytes) -> None:
        """Take what was played, including silence, in order and without gaps. Called while the session lives."""

    async def write(self, pcm: bytes) -> None:
        """Take a frame. See `Output.write`."""
        flushes, duration_s = self._flushes, len(pcm) / 2 / self.sample_rate
        # Two times may differ in their last bit; a frame must not wait for a nanosecond.
        while (room_at := self._plays_until_s + duration_s - BUFFERED_S) > anyio.current_time() + 1e-6:
            await anyio.sleep_until(room_at)
            if self._flushes != flushes:
                return
        self._catch_up()
        self._pending += pcm
        self._accepted_s += duration_s
        self._plays_until_s = max(self._plays_until_s, anyio.current_time()) + duration_s

    def flush(self) -> None:
        """Drop what has not been played. See `Output.flush`."""
        self._flushes += 1
        self._catch_up()
        self._accepted_s -= self._left_s
        self._pending = b""
        self._plays_until_s = anyio.current_time()

    @property
    def played_s(self) -> float:
        """Seconds played, by the loop's clock."""
        return self._accepted_s - self._left_s

    @property
    def _left_s(self) -> float:
        return max(0.0, self._plays_until_s - anyio.current_time())

    def _catch_up(self) -> None:
        """Record what has been played so far."""
        left = 2 * round(self._left_s * self.sample_rate)
        played, self._pending = self._pending[: len(self._pending) - left], self._pending[len(self._pending) - left :]
        self._record(played)
        if not self._pending:
            missing = 2 * round((anyio.current_time() - self._began_s) * self.sample_rate) - self._recorded_bytes
            second = bytes(2 * self.sample_rate)
            for at in range(0, missing, len(second)):
                self._record(second[: missing - at])

    def _record(self, pcm: bytes) -> None:
        self._recorded_bytes += len(pcm)
        if pcm:
            self.record(pcm)
