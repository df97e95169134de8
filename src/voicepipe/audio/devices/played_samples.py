"""Counts the samples that a device has played, from the blocks that it was given.

Rule 1: pure. The driver says when the first sample of a block will be audible; the others follow by the clock, and
        never overlap the next block.
Rule 2: the count never decreases, and dropped samples never count.
"""

from __future__ import annotations

from collections import deque

__all__ = ["PlayedSamples"]


class PlayedSamples:
    """Counts what one device has played.

    Attributes:
        is_used: Whether the device has been given any block.
    """

    def __init__(self) -> None:
        self.is_used = False
        self._blocks: deque[tuple[float, int]] = deque()
        self._whole = 0  # samples of blocks that have been played completely
        self._most = 0

    def add(self, audible_s: float, samples: int) -> None:
        """Add a block that was given to the device; its first sample is audible at `audible_s`."""
        self.is_used = True
        self._blocks.append((audible_s, samples))

    def until(self, now: float, sample_rate: int) -> int:
        """Return how many samples have been played by now."""
        while self._blocks and self._blocks[0][0] + self._blocks[0][1] / sample_rate <= now:
            self._whole += self._blocks.popleft()[1]
        partly = max(0, round((now - self._blocks[0][0]) * sample_rate)) if self._blocks else 0
        self._most = max(self._most, self._whole + partly)
        return self._most

    def forget(self, now: float, sample_rate: int) -> None:
        """Drop what has not been played by now."""
        self._whole = self.until(now, sample_rate)
        self._blocks.clear()
