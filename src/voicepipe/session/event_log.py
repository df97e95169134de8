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

LAST_EVENTS_S: Final = 0.5
"""How long an application that iterates may take for the last events of a session that failed, until the failure is
raised in its block."""


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
        self._iterators = 0
        self._iterator_ended = anyio.Event()

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

    async def wait_read(self) -> None:
        """Wait, after `close`, until all who iterate have come to the end, for at most `LAST_EVENTS_S`."""
        with anyio.move_on_after(LAST_EVENTS_S):
            while self._iterators:
                await self._iterator_ended.wait()
                self._iterator_ended = anyio.Event()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate until `close`; each event goes to one iterator."""
        self._iterators += 1
        try:
            while True:
                while self._events:
                    yield self._events.popleft()
                if self._is_closed:
                    return
                if self._news.is_set():  # otherwise another iterator waits for it already
                    self._news = anyio.Event()
                await self._news.wait()
        finally:
            self._iterators -= 1
            self._iterator_ended.set()
