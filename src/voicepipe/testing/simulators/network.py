"""Adds distance to a simulated service: bytes arrive later, in both directions.

    async with STTSimulator(script).serve() as near, distant(near, one_way_s=0.02) as url: ...

Rule 1: it delays bytes, knows no protocol and loses nothing; like the simulators, it also runs on virtual time.
"""

from __future__ import annotations

import math
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import anyio.abc

from voicepipe.core.failures import single_error
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

__all__ = ["distant"]

UNDER_WAY: Final = 1_000
"""Pieces that may be on their way in one direction; more wait at their sender, as on a full line."""


@asynccontextmanager
async def distant(url: str, *, one_way_s: float) -> AsyncGenerator[str]:
    """Listen on loopback while the block runs, and yield a URL at which a service of this machine is far away.

    Leaving the block cuts every connection.

    Args:
        url: The service's, e.g. "ws://127.0.0.1:40123" or "http://127.0.0.1:40123/v1".
        one_way_s: How long each byte takes, in each direction; making a connection takes no time.

    Raises:
        ConfigurationError: The time is invalid, or the URL has no port.
    """
    port = urlsplit(url).port
    if port is None or not 0 <= one_way_s < math.inf:
        raise ConfigurationError(f"distant: expected a URL with a port and a time, found {url!r} and {one_way_s}")

    async def carry(near: anyio.abc.SocketStream) -> None:
        async with near:
            try:
                far = await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                return  # the service is gone, so the client's connection ends too
            async with far, anyio.create_task_group() as tasks:
                for source, sink in ((near, far), (far, near)):
                    send, receive = anyio.create_memory_object_stream[tuple[float, bytes]](UNDER_WAY)
                    tasks.start_soon(_take, source, send, one_way_s)
                    tasks.start_soon(_give, receive, sink, tasks.cancel_scope)

    # Made here, because `anyio.create_tcp_listener` looks addresses up in a thread, and virtual time has none.
    server = socket.create_server(("127.0.0.1", 0))
    own = server.getsockname()[1]
    async with await anyio.abc.SocketListener.from_socket(server) as listener:
        with single_error():
            async with anyio.create_task_group() as group:
                group.start_soon(listener.serve, carry, group)
                try:
                    yield url.replace(f":{port}", f":{own}", 1)
                finally:
                    group.cancel_scope.cancel()


async def _take(source: anyio.abc.SocketStream, send: MemoryObjectSendStream[tuple[float, bytes]], s: float) -> None:
    """Read what is sent, and note when it must arrive."""
    async with send:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            while True:
                piece = await source.receive()
                await send.send((anyio.current_time() + s, piece))


async def _give(
    receive: MemoryObjectReceiveStream[tuple[float, bytes]], sink: anyio.abc.SocketStream, carrying: anyio.CancelScope
) -> None:
    """Deliver each piece when it is due; the connection ends when either side has ended."""
    async with receive:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for due_s, piece in receive:
                await anyio.sleep_until(due_s)
                await sink.send(piece)
    carrying.cancel()
