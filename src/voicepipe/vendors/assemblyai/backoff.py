"""When to come back after a loss: each client by another little later, so that a fleet does not return in one step.

Rule 1: chance is seeded by the name that the service gave the session. No two clients share one, and a simulated
        service gives the same one each time, so that a call on virtual time can be replayed to the microsecond.
"""

from __future__ import annotations

from random import Random
from typing import Final

__all__ = ["Backoff"]

SPREAD_S: Final = 0.5
"""Clients that lose their sessions together come back within this, or within a quarter of a pause that is longer."""


class Backoff:
    """Spreads pauses."""

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311 - nobody gains by guessing it

    def began(self, session_id: object) -> None:
        """Take note of what the service calls the session; what is no name leaves the seed as it is."""
        if isinstance(session_id, str) and session_id:
            self._random.seed(session_id)

    def spread(self, pause_s: float) -> float:
        """Return a pause that is a little longer, in whole milliseconds, which every clock can tell apart."""
        return round(pause_s + self._random.random() * max(SPREAD_S, pause_s / 4), 3)
