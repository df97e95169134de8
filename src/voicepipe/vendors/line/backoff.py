"""When to reconnect after a loss: each client a little later than the next, so that a fleet does not return at once.

Rule 1: the id of the service's session seeds the random numbers. No two clients share one, and a simulated service
        gives the same id each time, so that a call on virtual time can be replayed to the microsecond.
"""

from __future__ import annotations

from random import Random
from typing import Final

__all__ = ["Backoff"]

SPREAD_S: Final = 0.5
"""Clients that lose their sessions together reconnect within this, or within a quarter of a longer pause."""


class Backoff:
    """Spreads the pauses of many clients."""

    def __init__(self) -> None:
        self._seed: str | None = None
        self._random: Random | None = None  # made when it is needed: one has 2.5 KB

    def began(self, session_id: object) -> None:
        """Seed the random numbers with the session's id; anything but a text leaves the seed as it is."""
        if isinstance(session_id, str) and session_id:
            self._seed, self._random = session_id, None

    def spread(self, pause_s: float) -> float:
        """Return a slightly longer pause, in whole milliseconds, which every clock can resolve."""
        if self._random is None:
            self._random = Random(self._seed)  # noqa: S311 - there is nothing to gain by guessing it
        return round(pause_s + self._random.random() * max(SPREAD_S, pause_s / 4), 3)
