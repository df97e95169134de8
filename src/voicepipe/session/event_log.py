"""Events on their way to the application.

Rule 1: reporting an event never waits, and reading them is optional: the newest are kept, dropped ones are counted.
Rule 2: each reader gets every event. It begins with the oldest one that no reader has taken, so that readers who begin
        together get the same, and the next reader goes on where the last one stopped.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint

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
    """Keeps events until every reader has taken them, and drops the oldest one when it is full.

    Attributes:
        dropped: Events that were dropped before every reader had taken them; without a reader, before anyone had.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._kept: deque[Event] = deque()
        self._put = 0  # events so far; an event's number is how many came before it
        self._taken = 0  # the number of the oldest event that no reader has taken
        self._readers: WeakSet[Reader] = WeakSet()  # one that is left with `break` has disappeared
        self._news: anyio.Event | None = None  # of the readers that wait for the next event
        self._reader_ended = anyio.Event()
        self._is_closed = False

    def put(self, event: Event) -> None:
        """Add an event."""
        self._kept.append(event)
        self._put += 1
        self._forget()
        if len(self._kept) > EVENTS_KEPT:
            self._kept.popleft()
            self.dropped += 1
        self._wake()

    def close(self) -> None:
        """End the log: readers finish what is kept, then end."""
        self._is_closed = True
        self._wake()

    async def wait_read(self) -> None:
        """Wait, after `close`, until every reader has come to the end, for at most `LAST_EVENTS_S`."""
        with anyio.move_on_after(LAST_EVENTS_S):
            while any(not reader.has_ended for reader in self._readers):
                await self._reader_ended.wait()

    def __aiter__(self) -> AsyncIterator[Event]:
        """Begin a reader with the oldest kept event that no reader has taken; it ends after `close`."""
        reader = Reader(self, self._taken)
        self._readers.add(reader)
        return reader

    def reader_ended(self) -> None:
        """Note that a reader has come to the end."""
        ended, self._reader_ended = self._reader_ended, anyio.Event()
        ended.set()

    async def take(self, number: int) -> tuple[Event, int]:
        """Return an event, or the oldest kept one if it was dropped, and the number of the next one.

        Raises:
            StopAsyncIteration: The log is closed, and there is no such event.
        """
        while number >= self._put:
            if self._is_closed:
                raise StopAsyncIteration
            self._news = self._news or anyio.Event()
            await self._news.wait()
        number = max(number, self._oldest)
        event = self._kept[number - self._oldest]
        self._taken = max(self._taken, number + 1)
        return event, number + 1

    @property
    def _oldest(self) -> int:
        """The number of the oldest kept event."""
        return self._put - len(self._kept)

    def _forget(self) -> None:
        """Forget what every reader has taken."""
        needed = min([reader.at for reader in self._readers], default=self._taken)
        while self._oldest < needed:
            self._kept.popleft()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None


class Reader:
    """One `async for` over the events.

    Attributes:
        at: The number of the event that it takes next.
        has_ended: Whether it has come to the end.
    """

    def __init__(self, log: EventLog, at: int) -> None:
        self.at = at
        self.has_ended = False
        self._log = log
        self._has_begun = False

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Event:
        if not self._has_begun:
            self._has_begun = True
            await checkpoint()  # a reader that begins at the same moment gets the same first event
        try:
            event, self.at = await self._log.take(self.at)
        except StopAsyncIteration:
            self.has_ended = True
            self._log.reader_ended()
            raise
        return event
