"""Events on their way to the application.

Rule 1: reporting an event never waits, and reading them is optional: the newest are kept, dropped ones are counted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voicepipe.events import Event

__all__ = ["EventLog"]

EVENTS_KEPT: Final = 1_000
"""Events that are kept for an application that does not iterate, or is slow."""


class EventLog:
    """A queue that drops the oldest event when it is full.

    Attributes:
        dropped: Events that were dropped because nobody read them in time.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._events: deque[Event] = deque()
        self._news = anyio.Event()
        self._is_closed = False

    def put(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)
        if len(self._events) > EVENTS_KEPT:
            self._events.popleft()
            self.dropped += 1
        self._news.set()

    def close(self) -> None:
        """End the log: iterators finish what is queued, then end."""
        self._is_closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate until `close`; each event goes to one iterator."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self._is_closed:
                return
            if self._news.is_set():  # otherwise another iterator waits for it already
                self._news = anyio.Event()
            await self._news.wait()
