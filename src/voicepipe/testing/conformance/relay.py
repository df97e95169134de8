"""A network between a part and its service that can go wrong: late bytes, small pieces, silence, a broken connection.

Rule 1: it knows no protocol, so that every service can be cut anywhere without any help of its simulator.
Rule 2: only what the service sends is harmed; what the part sends passes.
"""

from __future__ import annotations

import math
import socket
import struct
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

import anyio
import anyio.abc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["Harm", "Relay"]

ANSWER_S: Final = 3.0
"""How long a service may take to answer the end of what a client sends."""

GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What the network does to the bytes of the service.

    Attributes:
        late_s: Each byte comes this much later.
        piece_bytes: The bytes come in pieces of this size, 1 ms apart; 0 leaves them as they are.
        mute_at: Nothing more comes after so many bytes; the connection stays.
        cut_at: The connection is reset after so many bytes.
        connections: How many connections are harmed, the first ones.
    """

    late_s: float = 0.0
    piece_bytes: int = 0
    mute_at: float = math.inf
    cut_at: float = math.inf
    connections: float = math.inf


class Relay:
    """Passes bytes on between clients and one service.

    Args:
        url: The service's URL.
        harm: What goes wrong.
        on_sent: Takes the first bytes that a client sends on each connection.

    Attributes:
        url: The service's URL.
        connections: How many connections there were.
        open: How many of them the client has not closed.
        received_bytes: Bytes that the service has sent on each connection.
    """

    def __init__(self, url: str, harm: Harm, on_sent: Callable[[bytes], None]) -> None:
        self.connections = 0
        self.open = 0
        self.received_bytes: list[int] = []
        self.url = url
        self._url = urlsplit(url)
        self._harm = harm
        self._on_sent = on_sent
        self._has_closed: set[int] = set()

    @property
    def breaks_again(self) -> bool:
        """Whether each connection breaks, and not only the first."""
        return self._harm.connections == math.inf

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """Listen while the block runs, and yield the URL that leads through here."""
        listening = socket.create_server(("127.0.0.1", 0))
        raised: Exception | None = None
        async with (
            await anyio.abc.SocketListener.from_socket(listening) as listener,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, self._pass_on, tasks)
            try:
                yield urlunsplit(self._url._replace(netloc=f"127.0.0.1:{listening.getsockname()[1]}"))
            except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                raised = error
            tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def _pass_on(self, client: anyio.abc.SocketStream) -> None:
        number = self.connections
        self.connections += 1
        self.open += 1
        self.received_bytes.append(0)
        harm = self._harm if number < self._harm.connections else Harm()
        try:
            with suppress(*GONE, OSError):
                async with await anyio.connect_tcp(self._url.hostname or "", self._url.port or 0) as service:
                    await self._exchange(client, service, harm, number)
        finally:
            self._closed(number)
            with anyio.CancelScope(shield=True):
                await client.aclose()

    def _closed(self, number: int) -> None:
        """Count a connection that the client has closed, once."""
        if number not in self._has_closed:
            self._has_closed.add(number)
            self.open -= 1

    async def _exchange(
        self, client: anyio.abc.SocketStream, service: anyio.abc.SocketStream, harm: Harm, number: int
    ) -> None:
        async with anyio.create_task_group() as tasks:

            async def up() -> None:
                with suppress(*GONE):
                    sent = await client.receive()
                    self._on_sent(sent)
                    while True:
                        await service.send(sent)
                        sent = await client.receive()
                # It has gone, or only ended what it sends, as a caller who hangs up: the service may still answer that.
                self._closed(number)
                with suppress(*GONE):
                    await service.send_eof()
                await anyio.sleep(ANSWER_S)
                tasks.cancel_scope.cancel()

            tasks.start_soon(up)
            way = _Way(client, harm)
            tasks.start_soon(way.deliver)
            try:
                while True:
                    came = await service.receive()
                    self.received_bytes[number] += len(came)
                    way.put(came)
            except GONE:
                way.put(None)  # the end follows what is still on its way


class _Way:
    """The way of the bytes from the service to one client."""

    def __init__(self, client: anyio.abc.SocketStream, harm: Harm) -> None:
        self._client = client
        self._harm = harm
        self._left = min(harm.mute_at, harm.cut_at)
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._news = anyio.Event()

    def put(self, data: bytes | None) -> None:
        self._waiting.append((anyio.current_time() + self._harm.late_s, data))
        self._news.set()

    async def deliver(self) -> None:
        if self._left <= 0 and self._harm.cut_at <= 0:
            self._reset()
            return
        with suppress(*GONE):
            while True:
                while not self._waiting:
                    self._news = anyio.Event()
                    await self._news.wait()
                due_s, data = self._waiting.popleft()
                await anyio.sleep_until(due_s)
                if data is None:
                    if self._left > 0:  # a connection that has fallen silent does not end either
                        await self._client.send_eof()
                    return
                passing = data if len(data) <= self._left else data[: int(self._left)]
                self._left -= len(passing)
                await self._send(passing)
                if self._left <= 0 and self._harm.cut_at < self._harm.mute_at:
                    self._reset()
                    return

    async def _send(self, data: bytes) -> None:
        size = self._harm.piece_bytes or max(1, len(data))
        for at in range(0, len(data), size):
            await self._client.send(data[at : at + size])
            if self._harm.piece_bytes:
                await anyio.sleep(0.001)

    def _reset(self) -> None:
        """Break the connection, so that the client sees a reset and not an end."""
        raw = self._client.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        cast("Any", self._client)._transport.abort()
