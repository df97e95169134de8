"""Which worker gets a request: the one with the fewest calls that takes a further one.

Rule 1: pure. Times are arguments.
Rule 2: a request that leads to a call counts as one until the worker itself counts the call, or many requests that come
        at once would all go to the same worker.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.fleet.handle import Worker

__all__ = ["Choice"]

PROMISED_S: Final = 2.0
"""How long it takes from a token to a call that the worker's load shows, at most."""


class Choice:
    """Remembers which worker has just got a request."""

    def __init__(self) -> None:
        self._promised: deque[tuple[float, str]] = deque()

    def note(self, worker_id: str, now: float) -> None:
        """Note that a worker has got a request that leads to a call."""
        self._promised.append((now, worker_id))

    def order(self, workers: Sequence[Worker], now: float, *, back: int | None = None) -> list[Worker]:
        """Return the workers in the order in which they are asked.

        Args:
            workers: Those that are there.
            now: The present time, in seconds.
            back: The index of the worker that had the call before, and is asked first.

        Workers that take no call come last: they still answer what is about calls that they had, and say best
        themselves why they take none.
        """
        while self._promised and self._promised[0][0] <= now - PROMISED_S:
            self._promised.popleft()
        promised = [worker_id for _, worker_id in self._promised]

        def rank(worker: Worker) -> tuple[bool, bool, int, int]:
            calls = worker.load.calls + promised.count(worker.id)
            return worker.index != back, not worker.load.is_ready, calls, worker.index

        return sorted(workers, key=rank)
