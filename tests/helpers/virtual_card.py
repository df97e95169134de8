"""A sound card on the event loop's clock, for tests on virtual time: it drifts, and can be unplugged and suspended.

Stands where `voicepipe.audio.devices.portaudio.PortAudio` stands, with its methods, and calls back as that does: an
input gives a block of 20 ms when its last sample was recorded; an output fills its buffer of four blocks of 10 ms when
it is opened, and asks for the next block whenever one has been played.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio

from voicepipe import AudioDevice, AudioDeviceError, MicSource, Speaker
from voicepipe.audio.devices.portaudio import DEVICE_BLOCKS, INPUT_BLOCK_S, OUTPUT_BLOCK_S

BUILT_IN = AudioDevice(
    index=0,
    name="built-in",
    host_api="virtual",
    inputs=1,
    outputs=2,
    default_rate=48_000,
    is_default_input=True,
    is_default_output=True,
)


class VirtualCard:
    """One device.

    Args:
        ppm: How much faster than the loop's its clock runs, in millionths.
        only_rate: The one rate it runs at, or None for any.
        sound: What its microphone hears, from the number of the block; None for counted samples.
    """

    def __init__(
        self, *, ppm: float = 0.0, only_rate: int | None = None, sound: Callable[[int], bytes] | None = None
    ) -> None:
        self.listed = [BUILT_IN]
        self.ppm = ppm
        self.only_rate = only_rate
        self.sound = sound
        self.refuses: list[AudioDeviceError] = []
        self.opens_after_s = self.wakes_after_s = 0.0
        self.opened_s: list[float] = []
        self.scans = 0
        self.streams: list[VirtualStream] = []

    async def devices(self, *, rescans: bool = False) -> list[AudioDevice]:
        self.scans += rescans
        return self.listed

    async def open_input(
        self,
        device: AudioDevice,
        sample_rate: int,
        deliver: Callable[[bytes], None],
        ended: Callable[[], None],
        *,
        may_differ: bool = True,
    ) -> VirtualStream:
        rate = await self._opened(sample_rate, may_differ)
        size = round(INPUT_BLOCK_S * rate)
        stream = VirtualStream(self, rate, INPUT_BLOCK_S, ended)

        def block() -> None:
            number = stream.blocks
            deliver(self.sound(number) if self.sound else (number % 30_000).to_bytes(2, "little") * size)

        stream.start(block)
        return stream

    async def open_output(
        self,
        device: AudioDevice,
        sample_rate: int,
        fill: Callable[[int, float], bytes],
        ended: Callable[[], None],
        *,
        may_differ: bool = True,
    ) -> VirtualStream:
        rate = await self._opened(sample_rate, may_differ)
        size = 2 * round(OUTPUT_BLOCK_S * rate)
        stream = VirtualStream(self, rate, OUTPUT_BLOCK_S, ended)

        def block(ahead: int = DEVICE_BLOCKS - 1) -> None:
            latency_s = ahead * stream.block_s
            pcm = fill(size, latency_s)
            assert len(pcm) == size
            stream.played.append((stream.loop.time() + latency_s, pcm))

        for ahead in range(DEVICE_BLOCKS):
            block(ahead)
        stream.start(block)
        return stream

    @property
    def stream(self) -> VirtualStream:
        """The newest stream."""
        return self.streams[-1]

    async def _opened(self, wanted: int, may_differ: bool) -> int:
        await anyio.sleep(self.opens_after_s)
        if self.refuses:
            raise self.refuses.pop(0)
        self.opened_s.append(asyncio.get_running_loop().time())
        if self.only_rate is None or self.only_rate == wanted:
            return wanted
        assert may_differ
        return self.only_rate


class VirtualStream:
    """A running stream, with what it has played: each block, and when its first sample was audible."""

    def __init__(self, card: VirtualCard, sample_rate: int, block_s: float, ended: Callable[[], None]) -> None:
        self.sample_rate = sample_rate
        self.block_s = block_s / (1 + card.ppm * 1e-6)
        self.loop = asyncio.get_running_loop()
        self.blocks = 0
        self.played: list[tuple[float, bytes]] = []
        self.is_closed = False
        self._card = card
        self._ended = ended
        self._timer: asyncio.TimerHandle | None = None
        card.streams.append(self)

    def start(self, block: Callable[[], None]) -> None:
        self._began_s = self.loop.time() + self._card.wakes_after_s
        self._block = block
        self._arm()

    def suspend(self) -> None:
        """Stop giving or taking blocks, without reporting it."""
        if self._timer is not None:
            self._timer.cancel()

    def unplug(self) -> None:
        """End it, as the sound system does when the device is gone."""
        self.suspend()
        self._ended()

    async def close(self) -> None:
        self.is_closed = True
        self.suspend()

    @property
    def sound(self) -> bytes:
        """Everything that was played, including silence."""
        return b"".join(pcm for _, pcm in self.played)

    def _arm(self) -> None:
        self._timer = self.loop.call_at(self._began_s + (self.blocks + 1) * self.block_s, self._tick)

    def _tick(self) -> None:
        self._block()
        self.blocks += 1
        self._arm()


class CardMic(MicSource):
    """A microphone of a virtual card."""

    def __init__(self, card: VirtualCard, *, sample_rate: int = 16_000, reopens: bool = False) -> None:
        super().__init__(sample_rate=sample_rate, reopens=reopens)
        self.card = card

    def _sound_card(self) -> VirtualCard:  # type: ignore[override]
        return self.card


class CardSpeaker(Speaker):
    """A loudspeaker of a virtual card."""

    def __init__(self, card: VirtualCard, *, sample_rate: int = 24_000) -> None:
        super().__init__(sample_rate=sample_rate)
        self.card = card

    def _sound_card(self) -> VirtualCard:  # type: ignore[override]
        return self.card
