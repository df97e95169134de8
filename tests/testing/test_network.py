"""Distance to a service on this machine."""

from __future__ import annotations

import math
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import pytest

from voicepipe.errors import ConfigurationError
from voicepipe.testing.simulators.network import distant

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def echoing() -> AsyncGenerator[str]:
    """Serve an echo that hangs up after an "!"."""

    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for piece in stream:
                await stream.send(piece)
                if piece.endswith(b"!"):
                    return

    server = socket.create_server(("127.0.0.1", 0))
    async with await anyio.abc.SocketListener.from_socket(server) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        yield f"ws://127.0.0.1:{server.getsockname()[1]}"
        tasks.cancel_scope.cancel()


async def dialled(url: str) -> anyio.abc.SocketStream:
    return await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2]))


async def test_each_way_takes_its_time() -> None:
    """Data comes back after both ways, and pieces on their way do not wait for each other."""
    came: list[tuple[float, bytes]] = []
    async with echoing() as near, distant(near, one_way_s=0.25) as url, await dialled(url) as stream:

        async def read() -> None:
            async for piece in stream:
                came.append((round(anyio.current_time(), 6), piece))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for letter in (b"a", b"b", b"!"):
                await stream.send(letter)
                await anyio.sleep(0.1)
    assert came == [(0.5, b"a"), (0.6, b"b"), (0.7, b"!")]


async def test_a_service_that_is_gone_hangs_up() -> None:
    """A client that connects after the service has gone is cut off, as by the service itself."""
    async with echoing() as near:
        pass
    async with distant(near, one_way_s=0.25) as url, await dialled(url) as stream:
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


async def test_what_goes_wrong_is_raised_as_it_is() -> None:
    """An error of the block comes out as itself."""
    with pytest.raises(KeyError):
        async with distant("ws://127.0.0.1:1", one_way_s=0.25):
            raise KeyError


@pytest.mark.parametrize(
    ("url", "one_way_s"), [("ws://127.0.0.1", 0.1), ("ws://127.0.0.1:1", -1.0), ("ws://h:1", math.inf)]
)
async def test_what_cannot_be_meant_is_refused(url: str, one_way_s: float) -> None:
    """A URL without a port, or an invalid time, is an error."""
    with pytest.raises(ConfigurationError, match="expected a URL with a port and a time"):
        async with distant(url, one_way_s=one_way_s):
            pass
