"""The bounded queue between two stages.

Rule 1: every channel has a capacity, chosen where it is made, with the reason.
Rule 2: closing the sending end lets the reader finish what is queued; closing the reading end stops the writer.

The queue itself is anyio's memory object stream, which loses no item when a reader is cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import anyio

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Channel", "ChannelStatistics", "Inbox", "Outbox"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Inbox(Protocol[T_co]):
    """The reading end."""

    async def receive(self) -> T_co:
        """Return the next item, waiting for it if need be.

        Raises:
            anyio.EndOfStream: The sender closed its end and everything has been read.
        """
        ...

    def __aiter__(self) -> AsyncIterator[T_co]:
        """Iterate until the sender closes its end."""
        ...


class Outbox(Protocol[T_contra]):
    """The sending end."""

    async def send(self, item: T_contra, /) -> None:
        """Hand over an item, waiting for room if need be.

        Raises:
            anyio.BrokenResourceError: The reader closed its end.
        """
        ...

    def close(self) -> None:
        """Say that nothing follows. Closing twice does nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """A channel at one moment.

    Attributes:
        capacity: Items it can hold.
        queued: Items it holds.
        dropped: Items that `send_latest` threw away since the beginning.
        waiting_to_send: Senders that wait for room.
        waiting_to_receive: Readers that wait for an item.
    """

    capacity: int
    queued: int
    dropped: int
    waiting_to_send: int
    waiting_to_receive: int


class Channel(Generic[T]):
    """A bounded queue with one reader, an `Inbox` and an `Outbox` at once.

    Args:
        capacity: Items it can hold, at least 1. Capacity 1 costs three times the switches of capacity 8.

    Attributes:
        dropped: Items that `send_latest` threw away.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ConfigurationError(f"a channel's capacity must be at least 1, not {capacity}")
        self._sender, self._receiver = anyio.create_memory_object_stream[T](capacity)
        self._capacity = capacity
        self.dropped = 0

    async def send(self, item: T, /) -> None:
        """Hand over an item, waiting for room. See `Outbox.send`."""
        await self._sender.send(item)

    def send_latest(self, item: T, /) -> None:
        """Hand over an item without waiting: when full, the oldest item is dropped and counted in `statistics`.

        For live audio, where waiting would make everything after it late.
        """
        try:
            self._sender.send_nowait(item)
        except anyio.WouldBlock:
            self._receiver.receive_nowait()
            self.dropped += 1
            self._sender.send_nowait(item)

    async def receive(self) -> T:
        """Return the next item. See `Inbox.receive`."""
        return await self._receiver.receive()

    def receive_nowait(self) -> T:
        """Return the next item.

        Raises:
            anyio.WouldBlock: There is none at the moment.
            anyio.EndOfStream: There will be none.
        """
        return self._receiver.receive_nowait()

    async def __aiter__(self) -> AsyncIterator[T]:
        """Iterate until the sender closes its end."""
        async for item in self._receiver:
            yield item

    def close(self) -> None:
        """Close the sending end: the reader finishes what is queued."""
        self._sender.close()

    def close_receiver(self) -> None:
        """Close the reading end: what is queued is gone, and a sender gets `anyio.BrokenResourceError`."""
        self._receiver.close()

    def __del__(self) -> None:
        # A channel lives and dies as a whole: when nobody holds it, no end of it can be waiting.
        if hasattr(self, "_sender"):  # not if its capacity was refused
            self._sender.close()
            self._receiver.close()

    def statistics(self) -> ChannelStatistics:
        """Return how full the channel is and what it dropped."""
        inner = self._receiver.statistics()
        return ChannelStatistics(
            capacity=self._capacity,
            queued=inner.current_buffer_used,
            dropped=self.dropped,
            waiting_to_send=inner.tasks_waiting_send,
            waiting_to_receive=inner.tasks_waiting_receive,
        )

    def __repr__(self) -> str:
        """Show how full it is."""
        now = self.statistics()
        dropped = f" dropped={now.dropped}" if now.dropped else ""
        return f"<Channel {now.queued}/{now.capacity}{dropped}>"
