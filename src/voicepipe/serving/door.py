"""Who is let in, in general: a further call, or none because the server is draining, full, slow or too busy opening.

Rule 1: pure. Times, and how late the loop's ticks are, are arguments.
Rule 2: the order is draining, full, loop lag, rate. Then the transport looks at origin or signature, and at a token;
        only a peer that passes all of it counts towards the rate, so that a stranger cannot use it up.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from voicepipe.serving.bucket import Bucket
from voicepipe.serving.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Generator

    from voicepipe.serving.limits import Limits

__all__ = ["Door", "Lag"]

WINDOW_S: Final = 10.0
TICKS: Final = 500
"""The ticks of 20 ms of 10 s. Ticks of a time in which the server did not run yet count as punctual."""

STALL_KEPT_S: Final = 2.0
"""For how long after a stall no further call is let in."""

RETRY_S: Final = 1.0


class Lag:
    """How late the event loop was in the last 10 s.

    Attributes:
        late: Ticks so far that were more than 10 ms late.
        worst_s: How late the latest one of all was.
        at_s: When the newest tick came.
    """

    def __init__(self) -> None:
        self.late = 0
        self.worst_s = self.at_s = 0.0
        self._ticks: deque[tuple[float, float]] = deque()

    def note(self, now: float, late_s: float) -> None:
        """Note that a tick of 20 ms came so late."""
        self.at_s = now
        self.late += late_s > 0.01
        self.worst_s = max(self.worst_s, late_s)
        self._ticks.append((now, late_s))
        while self._ticks[0][0] <= now - WINDOW_S:
            self._ticks.popleft()

    def p99_s(self, now: float) -> float:
        """Return what 99 of 100 ticks of the last 10 s stayed below."""
        recent = sorted((late_s for at_s, late_s in self._ticks if at_s > now - WINDOW_S), reverse=True)
        above = TICKS // 100
        return recent[above] if len(recent) > above else 0.0

    def stall_s(self, now: float) -> float:
        """Return for how long the loop stood still at most within the last 2 s."""
        longest_s = 0.0
        for at_s, late_s in reversed(self._ticks):
            if at_s <= now - STALL_KEPT_S:
                break
            longest_s = max(longest_s, late_s)
        return longest_s


class Door:
    """Counts calls, and says why a further one cannot begin.

    Args:
        limits: The limits.
        now: The present time, in seconds.

    Attributes:
        calls: Calls at present.
        is_draining: Whether no further call is let in, because the server will stop.
        lag: How late the event loop is.
    """

    def __init__(self, limits: Limits, now: float = 0.0) -> None:
        self.calls = 0
        self.is_draining = False
        self.lag = Lag()
        self._limits = limits
        self._openings = Bucket(limits.opening_per_s, max(1.0, limits.opening_per_s), now)
        self._subjects: Counter[str] = Counter()

    def why_not_ready(self, now: float) -> Refused | None:
        """Return why no call could begin for a while; None if one could."""
        limits, lag = self._limits, self.lag
        if self.is_draining:
            return Refused("draining", "the server is stopping", status=503, code=1012, retry_s=RETRY_S)
        if self.calls >= limits.sessions:
            return Refused("full", f"all {limits.sessions} lines are busy", status=503, code=1013, retry_s=RETRY_S)
        if lag.p99_s(now) > limits.lag_s or lag.stall_s(now) > limits.stall_s:
            return Refused("lag", "the server is overloaded", status=503, code=1013, retry_s=RETRY_S)
        return None

    def why_closed(self, now: float) -> Refused | None:
        """Return why no call can begin right now; None if one can."""
        if refused := self.why_not_ready(now):
            return refused
        if self._openings.has(1, now):
            return None
        retry_s = math.ceil(self._openings.wait_s(1, now) * 10) / 10
        return Refused("rate", "too many calls begin at once", status=429, code=1013, retry_s=retry_s)

    @contextmanager
    def admitted(self, subject: str, now: float) -> Generator[None]:
        """Count a call for as long as the block lasts.

        Args:
            subject: Who calls; "" if that is unknown.
            now: The present time.

        Raises:
            Refused: The call cannot begin.
        """
        if refused := self.why_closed(now):
            raise refused
        most = self._limits.per_subject
        if subject and most is not None and self._subjects[subject] >= most:
            raise Refused("subject", "this caller has too many calls already", status=429, code=1013, retry_s=RETRY_S)
        self._openings.take(1, now)
        self.calls += 1
        self._subjects[subject] += 1
        try:
            yield
        finally:
            self.calls -= 1
            self._subjects[subject] -= 1
            if not self._subjects[subject]:
                del self._subjects[subject]
