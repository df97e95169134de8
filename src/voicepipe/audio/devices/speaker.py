"""The loudspeaker of this machine.

Rule 1: at most two 20 ms frames wait here and four 10 ms blocks in the device. A flush drops the frames immediately;
        the blocks (and whatever a sound server buffers) still play, because they cannot be taken back.
Rule 2: the device's clock decides what has been played: the driver says when each block's first sample is audible, and
        the samples after it follow by the clock. Buffered audio does not count.
Rule 3: the device runs for the whole session and plays silence while the agent is silent, because starting a device
        takes up to two seconds.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from voicepipe.audio.devices.device import chosen
from voicepipe.audio.devices.played_samples import PlayedSamples
from voicepipe.audio.devices.portaudio import DEVICE_BLOCKS, PortAudio
from voicepipe.audio.devices.watch import DeviceWatch, held
from voicepipe.audio.output import BUFFERED_S, Output
from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.audio.devices.portaudio import OpenStream
    from voicepipe.core.context import AnySession

__all__ = ["Speaker"]


class Speaker(Output):
    """This machine's loudspeaker: 16-bit mono.

    Args:
        device: Its index or name (or a part of the name), as `voicepipe devices` lists them; None for the default.
        sample_rate: Samples per second. A device that refuses it runs at its own rate, and speech is resampled to that.

    Raises:
        ConfigurationError: `sample_rate` is out of range.
        AudioDeviceError: When the session begins: there is no such device, or it cannot be opened; the message says
            what to do.
        AudioDeviceLost: During the session: it was unplugged, or took no audio for 0.9 s (3 s at the beginning).

    Needs the library PortAudio, which the wheel of sounddevice includes except on Linux.

    The agent does not interrupt itself when the microphone picks it up, at the cost of coarser interruptions: see
    `TurnRules.loudspeaker`; set that to False with headphones. `Pipeline(echo_canceller=...)` avoids the cost.
    """

    has_echo = True
    _reports_played = True

    def __init__(self, device: int | str | None = None, *, sample_rate: int = 24_000) -> None:
        if not 8_000 <= sample_rate <= 192_000:
            raise ConfigurationError(f"Speaker: sample_rate must be 8000 to 192000, not {sample_rate}")
        self.device = device
        self.sample_rate = sample_rate
        self._played = PlayedSamples()
        self._lock = threading.Lock()  # held for microseconds, by the event loop and by the sound system's thread

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Open the loudspeaker for a session, and wait until it runs. See `Part.attach`."""
        del session
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # copies of a part must not share a lock
        self._played = PlayedSamples()
        self._waiting = bytearray()
        self._blocks = 0
        self._flushes = 0
        self._room: anyio.Event | None = None
        named = "" if self.device is None else f" {self.device!r}"
        self._watch = DeviceWatch(f"{self.name}: the loudspeaker{named}", self._loop)
        async with anyio.create_task_group() as tasks:
            await tasks.start(held, self._open, self._watch, None)
            await self._watch.wait_begun()
            yield
            tasks.cancel_scope.cancel()

    async def write(self, pcm: bytes) -> None:
        """Take a frame. See `Output.write`."""
        flushes = self._flushes
        while self._flushes == flushes:
            with self._lock:
                if not self._waiting or len(self._waiting) + len(pcm) <= BUFFERED_S * self.sample_rate * 2:
                    self._waiting += pcm
                    return
                self._room = room = anyio.Event()
            await room.wait()

    def flush(self) -> None:
        """Drop what the device has not taken yet. See `Output.flush`."""
        with self._lock:
            self._flushes += 1
            self._waiting.clear()
            self._played.forget(self._loop.time(), self.sample_rate)
        self._announce_room()

    @property
    def played_s(self) -> float:
        """Seconds that have been played, by the device's own clock."""
        with self._lock:
            if not self._played.is_used:
                return 0.0
            return self._played.until(self._loop.time(), self.sample_rate) / self.sample_rate

    def _sound_card(self) -> PortAudio:
        return PortAudio()

    async def _open(self) -> OpenStream:
        card = self._sound_card()
        device = chosen(self.device, "output", await card.devices())
        stream = await card.open_output(device, self.sample_rate, self._fill, self._watch.ended())
        self.sample_rate = stream.sample_rate
        log.info("the loudspeaker %r is open at %d Hz", device.name, stream.sample_rate)
        return stream

    def _fill(self, size_bytes: int, latency_s: float) -> bytes:
        """Return the block that the device plays next. Runs on the sound system's thread."""
        with self._lock:
            pcm = bytes(self._waiting[:size_bytes])
            del self._waiting[:size_bytes]
            audible_s = self._loop.time() + latency_s
            if pcm:
                self._played.add(audible_s, len(pcm) // 2)
            is_awaited = self._room is not None
        pcm = pcm.ljust(size_bytes, b"\0")
        if self._on_played is not None:
            self._on_played(pcm, audible_s)
        self._blocks += 1
        if self._blocks > DEVICE_BLOCKS:  # the first blocks only fill the device's buffer before it runs
            self._watch.sign()
        if is_awaited:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._announce_room)
        return pcm

    def _announce_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    def __repr__(self) -> str:
        """Show which device was asked for."""
        return f"<Speaker {'default device' if self.device is None else repr(self.device)} {self.sample_rate} Hz>"
