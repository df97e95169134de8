"""Measures how far a microphone's audio lags, by counting its samples against the clock.

Rule 1: pure. Each block's length goes in with the time of its arrival.
Rule 2: the smallest distance between samples and clock within a window is zero lag; it follows the device's drift. Any
        further delay of a block is lag; a lag that outlasts a window means that audio was lost.

The sound system's own flags do not help: PulseAudio queues, and reported no overflow in 3 s of unread audio.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Lag"]

WINDOW_S: Final = 2.0
"""Longer than any stall that the sound system recovers from; the drift in this time is 0.4 ms at 200 ppm."""

LOST_S: Final = 0.1
"""A smaller step is only the sound system changing the size of its buffer."""


class Lag:
    """Watches one stream.

    Attributes:
        lag_s: How much later than usual the newest block arrived, in seconds.
        lost_s: Seconds of audio that never arrived.
    """

    def __init__(self) -> None:
        self.lag_s = 0.0
        self.lost_s = 0.0
        self.restart()

    def restart(self) -> None:
        """Start over with a new stream."""
        self.lag_s = 0.0
        self._received_s = 0.0
        self._zero_s: float | None = None
        self._least_s = 0.0
        self._window_ends_s = 0.0

    def feed(self, now: float, duration_s: float) -> None:
        """Take the length of a block that arrived at `now`."""
        self._received_s += duration_s
        behind_s = now - self._received_s
        if self._zero_s is None:
            self._zero_s = self._least_s = behind_s
            self._window_ends_s = now + WINDOW_S
        self._zero_s = min(self._zero_s, behind_s)
        self._least_s = min(self._least_s, behind_s)
        if now >= self._window_ends_s:
            if self._least_s - self._zero_s > LOST_S:
                self.lost_s += self._least_s - self._zero_s
            self._zero_s, self._least_s = self._least_s, behind_s
            self._window_ends_s = now + WINDOW_S
        self.lag_s = behind_s - self._zero_s
