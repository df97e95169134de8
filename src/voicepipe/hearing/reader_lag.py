"""How far the reader of a queue of live audio falls behind."""

from __future__ import annotations

import math
from typing import Final

from voicepipe.audio.pcm import FRAME_S

__all__ = ["WAITING_FRAMES", "ReaderLag"]

WAITING_FRAMES: Final = 25
"""How far a reader may fall behind: 0.5 s in frames of 20 ms. Live audio must not lag."""

EXACT_S: Final = 1e-6
"""Times within this are the same: they are sums of frame lengths."""


class ReaderLag:
    """How far the reader of a queue falls behind the clock, in frames; pure.

    A queue may be long because much came at once: then its reader is not behind, as long as it reads no slower than
    people speak.
    """

    def __init__(self) -> None:
        self._behind = 0.0
        self._waiting = 0
        self._since_s = -math.inf

    def excess(self, waiting: int, now: float) -> int:
        """Return how many frames are to be dropped when so many wait."""
        was_read = self._waiting - waiting
        behind = max(0.0, self._behind + (now - self._since_s) / FRAME_S - was_read)
        self._behind, self._since_s = min(behind, waiting), now
        dropped = max(0, int(self._behind + EXACT_S) - WAITING_FRAMES)
        self._behind -= dropped
        return dropped

    def has_read(self, now: float) -> None:
        """Take note that nothing waits, and that one frame comes."""
        self._behind, self._waiting, self._since_s = 0.0, 1, now

    def left(self, waiting: int) -> None:
        """Take note of how many frames wait now."""
        self._waiting = waiting
