"""When the audio of one connection was spoken.

Rule 1: pure: no await, no clock. Times come in with the audio.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voicepipe.vendors.line.audio_backlog import Piece

__all__ = ["AudioClock"]

SLIP_S: Final = 0.01
"""A new stretch of audio begins where samples and times differ by this much."""


class AudioClock:
    """Maps positions in one connection's audio to the loop's clock.

    Args:
        sample_rate: Of the audio.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._samples = 0
        self._next_s = 0.0
        # Where a stretch of audio begins, which is rare: 256 are more than enough for an hour.
        self._positions: deque[float] = deque(maxlen=256)
        self._times: deque[float] = deque(maxlen=256)

    def add(self, piece: Piece) -> None:
        """Record a piece that was sent."""
        if not self._times or abs(piece.start_s - self._times[-1] - self.sent_s + self._positions[-1]) > SLIP_S:
            self._positions.append(self.sent_s)
            self._times.append(piece.start_s)
        self._samples += len(piece.pcm) // 2
        self._next_s = piece.end_s

    @property
    def sent_s(self) -> float:
        """Seconds of audio that were sent."""
        return self._samples / self._rate

    def at(self, position_s: float) -> float:
        """Return the time of the sample at a position; beyond the end, that of the last one."""
        if not self._times:
            return 0.0
        index = max(0, bisect_right(self._positions, position_s) - 1)
        return min(self._times[index] + position_s - self._positions[index], self._next_s)
