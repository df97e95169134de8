"""When a call may connect again after a loss.

Rule 1: pure: the time goes in, a pause comes out.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from voicepipe.errors import RateLimited
from voicepipe.vendors.line.backoff import Backoff

if TYPE_CHECKING:
    from voicepipe.errors import VendorError

__all__ = ["LOST", "Attempts"]

LOST: Final = "a new connection is made"
"""The remedy in the message of an error after which a call connects again."""

WINDOW_S: Final = 60.0
"""The service limits new sessions a minute, and so does a call, ..."""

MOST: Final = 5
"""... to what the smallest account may open in a minute."""

FIRST_DELAY_S: Final = 0.5
"""The first attempt is made at once, the second after this, each further one after twice as long; all are spread."""

PAUSE_S: Final = 4.0
"""The first pause when the service asks to slow down without a time: with its spread as long as audio is kept. The
next is twice as long."""

LONGEST_PAUSE_S: Final = 10.0
"""A caller who is not heard for longer than this has hung up, so the call ends with the error."""


class Attempts:
    """When a call may connect again: soon, then later and later, and at most `MOST` times in `WINDOW_S`.

    Attributes:
        backoff: Spreads the attempts of many calls.
    """

    def __init__(self) -> None:
        self.backoff = Backoff()
        self._times: deque[float] = deque()

    def delay_s(self, error: VendorError, now: float, *, is_alone: bool = False) -> float | None:
        """Return how long to wait before the next attempt, and count it; None if no attempt is left.

        Args:
            error: Why another attempt is needed.
            now: The time.
            is_alone: Only this call has lost its connection, so no other client reconnects at this moment.
        """
        while self._times and self._times[0] <= now - WINDOW_S:
            self._times.popleft()
        before = len(self._times)
        if not error.retryable or before >= MOST:
            return None
        delay_s = FIRST_DELAY_S * 2 ** (before - 1) if before else 0.0
        if isinstance(error, RateLimited):
            wanted_s = PAUSE_S * 2**before if error.retry_after_s is None else error.retry_after_s
            if wanted_s > LONGEST_PAUSE_S:
                return None
            delay_s = max(delay_s, wanted_s)
        delay_s = delay_s if is_alone else self.backoff.spread(delay_s)
        self._times.append(now + delay_s)
        return delay_s
