"""WebRTC's echo canceller (AEC3), from the package livekit, which needs neither a server nor a key for it.

Rule 1: the package is imported when the first canceller is created: it takes 0.3 s and 60 MB of memory.
Rule 2: only echo is cancelled. Noise suppression and gain control would change what a recogniser was trained on.

Source: `livekit.rtc.apm` of livekit 1.2, and WebRTC's modules/audio_processing/aec3.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from voicepipe.audio.echo_canceller import BLOCKS_A_SECOND, EchoCanceller
from voicepipe.errors import ConfigurationError, MissingExtra

__all__ = ["WebRTCEchoCanceller"]


class WebRTCEchoCanceller(EchoCanceller):
    """WebRTC's echo canceller, as browsers have it: with it, callers can interrupt an agent that a loudspeaker plays.

    It learns the room within a second of the agent's speech, and how late the echo comes by itself, up to 0.5 s. A
    session's 20 ms of audio take it 0.2 to 0.4 ms of the event loop.

    Needs the extra `aec`: 30 MB, for Linux, macOS and Windows on x86-64 and ARM.

    Raises:
        MissingExtra: The package livekit is not installed.
        ConfigurationError: When a session begins: a sample rate is not 8,000 to 48,000.
    """

    _module: Any

    def __init__(self) -> None:
        try:
            self._rtc: Any = import_module("livekit.rtc")
        except ImportError as error:
            raise MissingExtra(self.name, "livekit", "aec") from error

    def prepare(self, near_rate: int, far_rate: int) -> None:
        """Begin a call. See `EchoCanceller.prepare`."""
        for rate in (near_rate, far_rate):
            if not 8_000 <= rate <= 48_000:
                raise ConfigurationError(
                    f"{self.name} works at sample rates of 8000 to 48000, not {rate}; set the sample_rate of the "
                    "recogniser or the output"
                )
        self._rates = (near_rate, far_rate)
        self._module = self._rtc.AudioProcessingModule(echo_cancellation=True)

    def process(self, near: bytes, far: bytes) -> bytes:
        """Return the near block without the echo. See `EchoCanceller.process`."""
        # No set_stream_delay_ms: AEC3 finds the delay by itself, and the package does not switch to a given one.
        self._module.process_reverse_stream(self._frame(far, self._rates[1]))
        frame = self._frame(near, self._rates[0])
        self._module.process_stream(frame)
        return bytes(frame.data)

    def _frame(self, pcm: bytes, sample_rate: int) -> Any:  # noqa: ANN401 - the package's AudioFrame
        # A bytearray, because the module writes its result into it.
        return self._rtc.AudioFrame(bytearray(pcm), sample_rate, 1, sample_rate // BLOCKS_A_SECOND)
