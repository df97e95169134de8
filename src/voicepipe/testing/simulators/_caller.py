"""The caller's end of a simulated telephone line: it speaks, hears what is played, and waits for either.

Rule 1: what the caller heard is what the line played at the pace of speech, not what arrived there.
Rule 2: the only clock is the event loop's, and no thread is needed, so it also runs on virtual time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.audio.pcm import FRAME_S
from voicepipe.audio.resample import resampler
from voicepipe.audio.wav import read_wav
from voicepipe.core.failures import single_error
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
    from pathlib import Path

__all__ = ["CallEnded", "Earpiece", "PhoneCall", "held", "samples_of"]

SILENT_S: Final = 0.3
"""After this long without sound, the agent has stopped speaking; longer than the gap between two sentences."""


ROUNDING_S: Final = 1e-6
"""A sum of lengths is not exact, and an event loop may round its clock."""


class CallEnded(Exception):  # noqa: N818 - names what happened
    """The call is over, and what was waited for did not happen."""


class Earpiece:
    """Plays what a line gets, in order and at the pace of speech. Pure: the time is an argument.

    Attributes:
        frames: What was or will be played: when each piece begins, in seconds, and its 16-bit samples.
        until_s: When the last of it will have been played.
    """

    def __init__(self, sample_rate: int) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self.until_s = -math.inf
        self._sample_rate = sample_rate
        self._marks: deque[tuple[float, str]] = deque()

    def add(self, pcm: bytes, now: float) -> None:
        """Play a piece after everything else."""
        begins_s = max(self.until_s, now)
        self.frames.append((begins_s, pcm))
        self.until_s = begins_s + len(pcm) / 2 / self._sample_rate

    def mark(self, name: str, now: float) -> None:
        """Remember a mark, which is due once everything before it has been played."""
        self._marks.append((max(self.until_s, now), name))

    def due_s(self) -> float:
        """Return when the next mark is due."""
        return self._marks[0][0] if self._marks else math.inf

    def take_due(self, now: float) -> list[str]:
        """Return the marks that are due."""
        names: list[str] = []
        while self._marks and self._marks[0][0] <= now + ROUNDING_S:
            names.append(self._marks.popleft()[1])
        return names

    def clear(self, now: float) -> list[str]:
        """Drop what has not been played, and return all marks that were waited for."""
        while self.frames and self.frames[-1][0] >= now:
            self.frames.pop()
        if self.frames and self.until_s > now:
            begins_s, pcm = self.frames.pop()
            self.frames.append((begins_s, pcm[: 2 * round((now - begins_s) * self._sample_rate)]))
        self.until_s = min(self.until_s, now)
        names = [name for _, name in self._marks]
        self._marks.clear()
        return names

    def heard(self, began_s: float, now: float) -> bytes:
        """Return what was played since the call began, with silence where there was some."""
        sound, rate = bytearray(), self._sample_rate
        for begins_s, pcm in self.frames:
            played = pcm[: 2 * max(0, round((now - begins_s) * rate))]
            sound = sound.ljust(2 * round((begins_s - began_s) * rate), b"\0") + played
        return bytes(sound)

    def played_s(self, from_s: float, to_s: float) -> float:
        """Return how many seconds of audio were played between two times."""
        pieces = ((begins_s, begins_s + len(pcm) / 2 / self._sample_rate) for begins_s, pcm in self.frames)
        return sum(max(0.0, min(end_s, to_s) - max(begin_s, from_s)) for begin_s, end_s in pieces)


class PhoneCall(ABC):
    """A call as the caller has it.

    Attributes:
        log: What the caller noticed, with the seconds since the call began.
        began_s: When the line was connected, on the loop's clock; when the call was placed, until then.
        ended_s: When the call ended; None while it lasts.
        errors: What the server did that the network refuses: the network's code, and what it was.
    """

    def __init__(self, sample_rate: int, speech: bytes | str | Path, gaps: Sequence[tuple[float, float]]) -> None:
        self.log: list[tuple[float, str]] = []
        self.began_s = anyio.current_time()
        self.ended_s: float | None = None
        self.errors: list[tuple[int, str]] = []
        self._sample_rate = sample_rate
        self._earpiece = Earpiece(sample_rate)
        self._speech = bytearray()
        self._gaps = tuple(gaps)
        self._news = anyio.Event()
        self._ended = anyio.Event()
        self.say(speech)

    # --- what the caller does -----------------------------------------------------------------------------------------

    def say(self, speech: bytes | str | Path) -> None:
        """Speak after everything that is still being said; silence follows.

        Args:
            speech: 16-bit mono PCM at the line's rate, or the path of a WAV file.

        Raises:
            AudioError: The file cannot be used, or its rate needs a resampler that is not installed.
        """
        self._speech += samples_of(speech, self._sample_rate)

    @abstractmethod
    async def press(self, keys: str) -> None:
        """Press keys, one after another."""

    @abstractmethod
    async def hang_up(self) -> None:
        """End the call. Does nothing once it has ended."""

    # --- what the caller notices --------------------------------------------------------------------------------------

    @property
    def heard(self) -> bytes:
        """What the caller has heard since the line was connected: 16-bit mono PCM at the line's rate."""
        return self._earpiece.heard(self.began_s, anyio.current_time() if self.ended_s is None else self.ended_s)

    def heard_s(self, from_s: float = 0.0, to_s: float = math.inf) -> float:
        """Return how many seconds of the agent the caller heard between two times on the loop's clock."""
        now = anyio.current_time() if self.ended_s is None else self.ended_s
        return self._earpiece.played_s(from_s, min(to_s, now))

    @property
    def is_speaking(self) -> bool:
        """Whether the caller hears the agent now."""
        return self._earpiece.until_s > anyio.current_time()

    async def wait_speaking(self) -> None:
        """Wait until the caller hears the agent.

        Raises:
            CallEnded: The call ended before that.
        """
        while not self.is_speaking:
            if self._ended.is_set():
                raise CallEnded("the call ended before the agent spoke")
            await self._news.wait()

    async def wait_silent(self, for_s: float = SILENT_S) -> None:
        """Wait until the caller has not heard the agent for so many seconds, or the call has ended."""
        while not self._ended.is_set():
            due_s = max(self._earpiece.until_s, self.began_s) + for_s
            if anyio.current_time() >= due_s - ROUNDING_S:
                return
            with anyio.move_on_at(due_s):
                await self._ended.wait()

    async def wait_ended(self) -> None:
        """Wait until the call has ended."""
        await self._ended.wait()

    def note(self, what: str) -> None:
        """Write into the log."""
        self.log.append((round(anyio.current_time() - self.began_s, 3), what))

    # --- for a network ------------------------------------------------------------------------------------------------

    def _has_news(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _play(self, pcm: bytes) -> None:
        self._earpiece.add(pcm, anyio.current_time())
        self._has_news()

    def _end(self) -> None:
        if self.ended_s is None:
            self.ended_s = anyio.current_time()
            self._earpiece.clear(self.ended_s)
            self._ended.set()
            self._has_news()

    @abstractmethod
    async def _send_audio(self, pcm: bytes) -> None:
        """Send 20 ms of the caller."""

    async def _talk(self) -> None:
        """Send what the caller says, and silence, each 20 ms. In a gap it is held back, and then sent at once."""
        size = self._sample_rate // 50 * 2
        began_s, sent = anyio.current_time(), 0
        while True:
            due_s = began_s + (sent + 1) * FRAME_S
            for at_s, for_s in self._gaps:
                if at_s <= due_s - began_s < at_s + for_s:
                    due_s = began_s + at_s + for_s
            await anyio.sleep_until(due_s)
            frame = bytes(self._speech[:size])
            del self._speech[:size]
            await self._send_audio(frame.ljust(size, b"\0"))
            sent += 1


def samples_of(speech: bytes | str | Path, sample_rate: int) -> bytes:
    """Return what is said as 16-bit samples at a rate; a file with another rate is resampled.

    Raises:
        AudioError: The file cannot be used.
        ConfigurationError: Half a sample, or a rate that needs a resampler which is not installed.
    """
    if isinstance(speech, bytes):
        if len(speech) % 2:
            raise ConfigurationError(f"a caller says whole 16-bit samples, not {len(speech)} bytes")
        return speech
    pcm, rate = read_wav(speech)
    to_rate = resampler(rate, sample_rate, str(speech), "the line")
    return to_rate.feed(pcm) + to_rate.flush() if to_rate else pcm


@asynccontextmanager
async def held(call: PhoneCall, run: Callable[..., Coroutine[Any, Any, None]], *args: object) -> AsyncGenerator[None]:
    """Run a call for as long as the block lasts, and hang up at its end."""
    with single_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, *args)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await call.hang_up()
                tasks.cancel_scope.cancel()
