"""How a simulated service listens: a URL while a block runs, and at its end no connection and no error is left.

Rule 1: what goes wrong while a client is served is raised when the block ends, so that a test cannot miss it.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.abc
from websockets.asyncio.server import serve

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection

    from websockets.asyncio.server import ServerConnection

__all__ = ["CLOSE_S", "streams_served", "websockets_served"]

CLOSE_S: Final = 1.0
"""How long a client may take to answer a close frame before its connection is cut."""

# At DEBUG the library's own logger would print the headers, and with them the key.
SILENT: Final = logging.Logger("voicepipe.testing.simulators", logging.CRITICAL + 1)  # noqa: LOG001 - of no hierarchy


@asynccontextmanager
async def websockets_served(
    converse: Callable[[ServerConnection], Awaitable[None]],
    port: int,
    *,
    connections: Collection[ServerConnection],
    failures: list[Exception],
    **options: Any,  # noqa: ANN401 - of the library's `serve`
) -> AsyncGenerator[str]:
    """Serve websockets on loopback while the block runs, and yield the URL, e.g. "ws://127.0.0.1:40123".

    Args:
        converse: Serves one client.
        port: Where to listen; 0 takes a free one.
        connections: Those that are open; cut if they do not close at the end.
        failures: What went wrong; the first one is raised when the block ends.
        options: Further ones of `websockets.asyncio.server.serve`.
    """
    # No compression, which no service offers; and no pings: they would be a second clock.
    server = await serve(
        converse,
        "127.0.0.1",
        port,
        compression=None,
        ping_interval=None,
        close_timeout=CLOSE_S,
        logger=SILENT,
        **options,
    )
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        with anyio.CancelScope(shield=True):
            server.close()
            with anyio.move_on_after(2 * CLOSE_S):
                await server.wait_closed()
            for connection in connections:  # they do not read, and the library would wait for them without end
                connection.transport.abort()
            await server.wait_closed()
    if failures:
        raise failures.pop(0)


@asynccontextmanager
async def streams_served(
    converse: Callable[[anyio.abc.SocketStream], Awaitable[None]],
    host: str,
    port: int,
    *,
    failures: list[Exception],
) -> AsyncGenerator[str]:
    """Serve connections while the block runs, and yield the URL, e.g. "ws://127.0.0.1:40123"; its end cuts them.

    Args:
        converse: Serves one client.
        host: Where to listen.
        port: Where to listen; 0 takes a free one.
        failures: What went wrong; the first one is raised when the block ends, unless the block raises.

    Raises:
        ConfigurationError: The address is not available.
    """
    # Made here, because `anyio.create_tcp_listener` looks addresses up in a thread, and virtual time has none.
    try:
        server = socket.create_server((host, port), backlog=1024)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {why}; choose another port, or 0 for a free one"
        ) from error
    raised: Exception | None = None
    async with await anyio.abc.SocketListener.from_socket(server) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, converse, group)
        name, bound = server.getsockname()[:2]
        try:
            yield f"ws://{name}:{bound}"
        except Exception as error:  # noqa: BLE001 - raised again below: the group would wrap it in an ExceptionGroup
            raised = error
        group.cancel_scope.cancel()
    raised = raised or next(iter(failures), None)
    failures.clear()
    if raised is not None:
        raise raised
