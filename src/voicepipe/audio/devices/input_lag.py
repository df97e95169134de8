"""How far a microphone's audio is behind: its samples against the clock.

Rule 1: pure. Each block's length goes in with the time at which it came.
Rule 2: the smallest distance between samples and clock in a window is the zero; it follows the drift of the device's
        clock. What a block came later than that is lag; a lag that outlasts a window is audio that was lost.

The sound system's own flags are of no use for this: PulseAudio raised no overflow in 3 s of unread audio, it queues.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Lag"]

WINDOW_S: Final = 2.0
"""Longer than any stall that the sound system makes up for by itself, and 0.4 ms of drift at 200 ppm."""

LOST_S: Final = 0.1
"""A smaller step is the sound system changing its mind about its buffer."""


class Lag:
    """Watches one stream.

    Attributes:
        lag_s: How much later than usual the newest block came.
        lost_s: Seconds of audio that never came, so far.
    """

    def __init__(self) -> None:
        self.lag_s = 0.0
        self.lost_s = 0.0
        self.restart()

    def restart(self) -> None:
        """The stream begins anew."""
        self.lag_s = 0.0
        self._heard_s = 0.0
        self._zero_s: float | None = None
        self._least_s = 0.0
        self._window_ends_s = 0.0

    def feed(self, now: float, duration_s: float) -> None:
        """Take a block of this length, which came at `now`."""
        self._heard_s += duration_s
        behind_s = now - self._heard_s
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
