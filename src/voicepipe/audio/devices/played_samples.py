"""Blocks given to a device -> samples heard.

Rule 1: pure. The driver says when the first sample of a block will be heard; the samples after it follow by the clock,
        never into the next block's time.
Rule 2: the count never falls, and what was forgotten never counts.
"""

from __future__ import annotations

from collections import deque

__all__ = ["PlayedSamples"]


class PlayedSamples:
    """Counts what one device has played.

    Attributes:
        is_used: Whether anything was ever given to it.
    """

    def __init__(self) -> None:
        self.is_used = False
        self._blocks: deque[tuple[float, int]] = deque()
        self._whole = 0  # samples of blocks that are over
        self._most = 0

    def add(self, heard_s: float, samples: int) -> None:
        """A block was given to the device, whose first sample is heard at `heard_s`."""
        self.is_used = True
        self._blocks.append((heard_s, samples))

    def until(self, now: float, sample_rate: int) -> int:
        """Return how many samples have been heard by now."""
        while self._blocks and self._blocks[0][0] + self._blocks[0][1] / sample_rate <= now:
            self._whole += self._blocks.popleft()[1]
        partly = max(0, round((now - self._blocks[0][0]) * sample_rate)) if self._blocks else 0
        self._most = max(self._most, self._whole + partly)
        return self._most

    def forget(self, now: float, sample_rate: int) -> None:
        """What was not heard by now is dropped."""
        self._whole = self.until(now, sample_rate)
        self._blocks.clear()
