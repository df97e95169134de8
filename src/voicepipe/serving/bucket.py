"""A store that refills: how often something may happen, with a burst now and then."""

from __future__ import annotations

__all__ = ["Bucket"]


class Bucket:
    """A store that refills at a steady rate. Pure: time is an argument.

    Args:
        per_s: What flows in per second.
        most: What it holds; it is full at first.
        now: The present time, in seconds.
    """

    def __init__(self, per_s: float, most: float, now: float) -> None:
        self._per_s = per_s
        self._most = most
        self._has = most
        self._at_s = now

    def has(self, amount: float, now: float) -> bool:
        """Return whether so much could be taken now."""
        self._refill(now)
        return self._has >= amount - 1e-9  # a sum of times is not exact

    def take(self, amount: float, now: float) -> bool:
        """Take so much if it is there, and return whether it was."""
        if not self.has(amount, now):
            return False
        self._has -= amount
        return True

    def wait_s(self, amount: float, now: float) -> float:
        """Return in how many seconds so much will be there, if nobody takes any."""
        self._refill(now)
        return max(0.0, (amount - self._has) / self._per_s)

    def _refill(self, now: float) -> None:
        self._has = min(self._most, self._has + (now - self._at_s) * self._per_s)
        self._at_s = now
