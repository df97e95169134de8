"""The microphone of this machine.

Rule 1: live audio must not lag: what the event loop does not take within 0.5 s is dropped, oldest first, and counted.
Rule 2: each block is copied once, out of the sound system's buffer; the recogniser gets the same bytes.
Rule 3: the device is opened when a session begins; creating a `MicSource` does not touch it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.devices.device import chosen
from voicepipe.audio.devices.input_lag import Lag
from voicepipe.audio.devices.portaudio import INPUT_BLOCK_S, PortAudio
from voicepipe.audio.devices.watch import DeviceWatch, held
from voicepipe.audio.source import Deliver, Source
from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError
from voicepipe.listening_events import MicrophoneLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from voicepipe.audio.devices.portaudio import OpenStream
    from voicepipe.core.context import AnySession, SessionContext
    from voicepipe.errors import AudioDeviceLost

__all__ = ["MicSource"]

WAITING_BLOCKS: Final = 25
"""Blocks that may wait between the sound system's thread and the event loop: 0.5 s."""


class MicSource(Source):
    """A caller at this machine's microphone: 16-bit mono, in blocks of 20 ms.

    Args:
        device: Its index or name (or a part of the name), as `voicepipe devices` lists them; None for the default.
        sample_rate: Samples per second. A device that refuses it runs at its own rate, and its audio is resampled.
        reopens: Whether a lost device is reopened if it comes back within 10 s: `MicrophoneLost` is emitted and the
            session goes on. Otherwise losing the device ends the session.

    Attributes:
        dropped_s: Seconds of audio lost since the session began to listen: not taken by the event loop in time, or
            never delivered by the sound system.

    Raises:
        ConfigurationError: `sample_rate` is out of range.
        AudioDeviceError: When the session begins: there is no such device, or it cannot be opened; the message says
            what to do.
        AudioDeviceLost: During the session: it was unplugged, or gave no audio for 0.9 s (3 s before the first block).

    Needs the library PortAudio, which the wheel of sounddevice includes except on Linux.
    """

    def __init__(self, device: int | str | None = None, *, sample_rate: int = 16_000, reopens: bool = False) -> None:
        if not 8_000 <= sample_rate <= 192_000:
            raise ConfigurationError(f"MicSource: sample_rate must be 8000 to 192000, not {sample_rate}")
        self.device = device
        self.sample_rate = sample_rate
        self.reopens = reopens
        self._session: SessionContext

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Open the microphone for a session. See `Part.attach`."""
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # anyio needs it in a callback that another thread schedules
        self._waiting: deque[bytes] = deque()
        self._news = anyio.Event()
        self._is_drain_scheduled = False
        self._dropped_blocks = 0
        self._lost_before_s = self.dropped_s = 0.0
        self._has_run = False
        self._lag = Lag()
        self._deliver: Deliver | None = None
        self._failure: Exception | None = None
        self._card = self._sound_card()
        named = "" if self.device is None else f" {self.device!r}"
        self._watch = DeviceWatch(f"{self.name}: the microphone{named}", self._loop)
        async with anyio.create_task_group() as tasks:
            await tasks.start(held, self._open, self._watch, self._emit_lost if self.reopens else None)
            yield
            tasks.cancel_scope.cancel()

    async def pump(self, deliver: Deliver) -> None:
        """Deliver each block in the same step of the loop in which it arrives. See `Source.pump`."""
        # What was lost before the session listens does not count. At most the newest 0.5 s is delivered now.
        self._lost_before_s = self._lost_s
        self._deliver = deliver
        try:
            self._drain()
            while self._failure is None:  # a microphone does not hang up
                self._news = anyio.Event()
                await self._news.wait()
        finally:
            self._deliver = None
        raise self._failure

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield each block as it arrives. See `Source.frames`; a session uses `pump`."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            self._news = anyio.Event()
            await self._news.wait()

    @property
    def lag_s(self) -> float:
        """How much later than usual the newest block arrived, in seconds, by its samples against the clock."""
        return self._lag.lag_s

    @property
    def _lost_s(self) -> float:
        return self._dropped_blocks * INPUT_BLOCK_S + self._lag.lost_s

    def _sound_card(self) -> PortAudio:
        return PortAudio()

    async def _open(self) -> OpenStream:
        device = chosen(self.device, "input", await self._card.devices(rescans=self._has_run))
        self._lag.restart()
        stream = await self._card.open_input(
            device, self.sample_rate, self._take, self._watch.ended(), may_differ=not self._has_run
        )
        self.sample_rate = stream.sample_rate
        log.info("the microphone %r is open at %d Hz", device.name, stream.sample_rate)
        self._has_run = True  # from here on the recogniser relies on this rate
        return stream

    def _take(self, block: bytes) -> None:
        """Take a block from the sound system. Runs on its thread."""
        self._watch.sign()
        self._lag.feed(self._loop.time(), len(block) / 2 / self.sample_rate)
        self._waiting.append(block)
        if len(self._waiting) > WAITING_BLOCKS:
            with suppress(IndexError):  # the loop has just taken them all
                self._waiting.popleft()
                self._dropped_blocks += 1
        if not self._is_drain_scheduled:
            self._is_drain_scheduled = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._drain, context=self._context)

    def _drain(self) -> None:
        """Deliver the waiting blocks. Runs on the event loop."""
        self._is_drain_scheduled = False
        self.dropped_s = self._lost_s - self._lost_before_s
        if self._deliver is None:
            self._news.set()
            return
        try:
            while self._waiting:
                self._deliver(self._waiting.popleft())
        except Exception as error:  # noqa: BLE001 - raised by `pump`; raised here it would only reach the loop's log
            self._failure = error
            self._deliver = None
            self._news.set()

    def _emit_lost(self, error: AudioDeviceLost) -> None:
        self._session.emit(MicrophoneLost(error=error))

    def __repr__(self) -> str:
        """Show which device was asked for."""
        return f"<MicSource {'default device' if self.device is None else repr(self.device)} {self.sample_rate} Hz>"
