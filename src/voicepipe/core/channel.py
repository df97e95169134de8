"""The bounded queue between two stages.

Rule 1: every channel has a capacity, chosen where it is made, with the reason.
Rule 2: closing the sending end lets the reader finish what is queued; closing the reading end stops the writer.

An item leaves the queue in the step in which `receive` returns it, so a cancelled reader loses no item.

Why not anyio's memory object stream: it yields to the event loop and checks for cancellation at each item, which made
up a third of the cost of listening. Here a task that does not have to wait continues, and is cancelled at its next
wait. anyio also warns about ends that were never closed, and a cancelled turn leaves its channels like that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from typing import Self

__all__ = ["Channel", "ChannelStatistics", "Inbox", "Outbox"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Inbox(Protocol[T_co]):
    """The reading end."""

    async def receive(self) -> T_co:
        """Return the next item, waiting for it if necessary. Only one task may wait at a time.

        Raises:
            anyio.BusyResourceError: Another task is already waiting.
            anyio.EndOfStream: The sender closed its end and everything has been read.
        """
        ...

    def __aiter__(self) -> AsyncIterator[T_co]:
        """Iterate until the sender closes its end."""
        ...


class Outbox(Protocol[T_contra]):
    """The sending end."""

    async def send(self, item: T_contra, /) -> None:
        """Hand over an item, waiting for room if necessary.

        Raises:
            anyio.BrokenResourceError: The reader closed its end.
        """
        ...

    def close(self) -> None:
        """Close this end: nothing follows. Closing it again has no effect."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """A channel at one moment.

    Attributes:
        capacity: Items it can hold.
        queued: Items it holds.
        dropped: Items that `send_latest` has dropped so far.
        waiting_to_send: Senders waiting for room.
        waiting_to_receive: Readers waiting for an item.
    """

    capacity: int
    queued: int
    dropped: int
    waiting_to_send: int
    waiting_to_receive: int


class Channel(Generic[T]):
    """A bounded queue with one reader; it is both an `Inbox` and an `Outbox`.

    Args:
        capacity: Items it can hold, at least 1. Capacity 1 costs three times as many task switches as capacity 8.

    Attributes:
        dropped: Items that `send_latest` has dropped so far.
        is_abandoned: Whether the reader closed its end.
    """

    def __init__(self, capacity: int, check: Callable[[T], None] | None = None) -> None:
        if capacity < 1:
            raise ConfigurationError(f"a channel's capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._check = check
        self._items: deque[T] = deque()
        self._writers: deque[_Writer[T]] = deque()
        self._waiting_reader: asyncio.Future[None] | None = None
        self._is_closed = False
        self.is_abandoned = False
        self.dropped = 0

    async def send(self, item: T, /) -> None:
        """Hand over an item, waiting for room. See `Outbox.send`."""
        if self._is_closed or self.is_abandoned:
            self._check_open()
        if self._check is not None:
            self._check(item)
        if len(self._items) < self._capacity:
            self._items.append(item)
            if self._waiting_reader is not None:
                self._wake_reader()
            return
        await self._wait_taken([item])

    async def send_all(self, items: Sequence[T], /) -> None:
        """Hand over items in their order, waiting for room once, and not for each of them. See `Outbox.send`."""
        self._check_open()
        if self._check is not None:
            for item in items:
                self._check(item)
        room = self._capacity - len(self._items)
        if items[:room]:
            self._items.extend(items[:room])
            self._wake_reader()
        if items[room:]:
            await self._wait_taken(items[room:])

    async def _wait_taken(self, items: Sequence[T]) -> None:
        writer = _Writer(deque(items))
        self._writers.append(writer)
        try:
            await writer.is_done.wait()
        finally:
            if writer in self._writers:
                self._writers.remove(writer)
        if writer.was_refused:
            raise anyio.BrokenResourceError

    def send_latest(self, item: T, /) -> None:
        """Hand over an item without waiting. A full channel drops its oldest item and counts it in `statistics`.

        For live audio, where waiting would delay everything that follows.
        """
        self._check_open()
        while len(self._items) >= self._capacity:
            self._take()  # lets a waiting writer in: its item is older than this one, so it is dropped first
            self.dropped += 1
        self._put(item)

    def _check_open(self) -> None:
        if self._is_closed:
            raise anyio.ClosedResourceError
        if self.is_abandoned:
            raise anyio.BrokenResourceError

    def _put(self, item: T) -> None:
        self._items.append(item)
        self._wake_reader()

    async def receive(self) -> T:
        """Return the next item. See `Inbox.receive`. Does not yield to other tasks when an item is queued."""
        while not self._items:
            if self.is_abandoned:
                raise anyio.ClosedResourceError
            if self._is_closed:
                raise anyio.EndOfStream
            if self._waiting_reader is not None:
                raise anyio.BusyResourceError("receiving from")
            self._waiting_reader = asyncio.get_running_loop().create_future()
            try:
                await self._waiting_reader
            finally:
                self._waiting_reader = None
        return self._take()

    def receive_nowait(self) -> T:
        """Return the next item.

        Raises:
            anyio.WouldBlock: No item is queued at the moment.
            anyio.EndOfStream: No further item will come.
        """
        if self.is_abandoned:
            raise anyio.ClosedResourceError
        if not self._items:
            raise anyio.EndOfStream if self._is_closed else anyio.WouldBlock
        return self._take()

    def _take(self) -> T:
        item = self._items.popleft()
        if self._writers:
            writer = self._writers[0]
            self._items.append(writer.items.popleft())
            if not writer.items:
                self._writers.popleft()
                writer.is_done.set()
        return item

    def __aiter__(self) -> Self:
        """Iterate until the sender closes its end."""
        return self

    async def __anext__(self) -> T:
        if self._items:
            return self._take()
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Close the sending end: the reader finishes what is queued."""
        self._is_closed = True
        self._wake_reader()

    def close_receiver(self) -> None:
        """Close the reading end: queued items are dropped, and senders get `anyio.BrokenResourceError`."""
        self.is_abandoned = True
        self._items.clear()
        for writer in self._writers:
            writer.was_refused = True
            writer.is_done.set()
        self._writers.clear()
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._waiting_reader is not None and not self._waiting_reader.done():
            self._waiting_reader.set_result(None)

    @property
    def queued(self) -> int:
        """Items it holds."""
        return len(self._items)

    def statistics(self) -> ChannelStatistics:
        """Return how full the channel is and how much it has dropped."""
        return ChannelStatistics(
            capacity=self._capacity,
            queued=len(self._items),
            dropped=self.dropped,
            waiting_to_send=len(self._writers),
            waiting_to_receive=int(self._waiting_reader is not None),
        )

    def __repr__(self) -> str:
        """Show how full the channel is."""
        now = self.statistics()
        dropped = f" dropped={now.dropped}" if now.dropped else ""
        return f"<Channel {now.queued}/{now.capacity}{dropped}>"


class _Writer(Generic[T]):
    """A sender waiting for room for the last of its items."""

    def __init__(self, items: deque[T]) -> None:
        self.items = items
        self.is_done = anyio.Event()
        self.was_refused = False
