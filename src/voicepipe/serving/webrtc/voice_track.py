"""The agent's voice as a track of WebRTC.

Rule 1: the track keeps its own pace, 20 ms of sound every 20 ms, and is silent while it has none. Browsers expect
        packets without a gap.
Rule 2: what waits here can be dropped at once. What has left is beyond reach, in the browser's jitter buffer.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Final

import anyio
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from voicepipe.audio.pcm import FRAME_S

__all__ = ["VoiceTrack"]

MOST_WAITING: Final = 10
"""Frames that may wait: 200 ms. The output sends at the pace of speech, so more would mean that this track does not."""

CATCH_UP_S: Final = 0.1
"""Packets that a busy event loop owes are sent at once; after a longer standstill the track begins again instead."""


class VoiceTrack(MediaStreamTrack):
    """Sends what it is given, 20 ms at a time.

    Args:
        sample_rate: Samples per second of the sound, a multiple of 50.
    """

    kind = "audio"

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self._sample_rate = sample_rate
        self._samples = sample_rate // 50
        self._frames: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._due_s: float | None = None
        self._position = 0

    def put(self, pcm: bytes) -> None:
        """Take 20 ms of little-endian signed 16-bit mono PCM."""
        self._frames.append(pcm)

    def clear(self) -> None:
        """Drop what has not left."""
        self._frames.clear()

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms when they are due; aiortc calls this.

        Raises:
            MediaStreamError: The track was stopped.
        """
        now = anyio.current_time()
        if self._due_s is None or self._due_s < now - CATCH_UP_S:
            self._due_s = now
        await anyio.sleep_until(self._due_s)
        self._due_s += FRAME_S
        if self.readyState != "live":
            raise MediaStreamError
        frame = AudioFrame(format="s16", layout="mono", samples=self._samples, align=True)
        frame.planes[0].update(self._frames.popleft() if self._frames else bytes(2 * self._samples))
        frame.sample_rate = self._sample_rate
        frame.time_base = Fraction(1, self._sample_rate)
        frame.pts = self._position
        self._position += self._samples
        return frame
