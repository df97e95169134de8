"""A rate limit: an amount at once, then an amount per second. Pure: `now` is an argument."""

from __future__ import annotations

__all__ = ["Allowance"]


class Allowance:
    """A leaky bucket.

    Args:
        at_once: Its size; a larger amount has room when the bucket is empty.
        per_s: How much leaks out of it each second.
    """

    def __init__(self, at_once: float, per_s: float) -> None:
        self._at_once, self._per_s = at_once, per_s
        self._level, self._level_s = 0.0, 0.0

    def ready_at(self, amount: float, now: float) -> float:
        """Return when there is room for an amount."""
        over = self._at(now) + min(amount, self._at_once) - self._at_once
        return now if over <= 1e-9 else now + over / self._per_s

    def take(self, amount: float, now: float) -> None:
        """Add an amount, whether or not there is room."""
        self._level, self._level_s = self._at(now) + amount, now

    def _at(self, now: float) -> float:
        return max(0.0, self._level - (now - self._level_s) * self._per_s)
