"""The connections that HTTP uses, against servers on this machine."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import pytest

from voicepipe.http.stream import HELD_BYTES, RIVAL_S, Backend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

pytestmark = pytest.mark.anyio

RECEIVED_BYTES = 1 << 18
"""The most that asyncio takes from a socket at once."""


@asynccontextmanager
async def served(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncGenerator[int]:
    """Serve connections, and give the port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def stream_to(port: int, host: str = "127.0.0.1") -> AsyncGenerator[Any]:
    stream = await Backend().connect_tcp(host, port, timeout=1.0)
    try:
        yield stream
    finally:
        await stream.aclose()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await anyio.sleep(5.0)


async def test_a_slow_reader_gets_everything_in_order() -> None:
    """All bytes arrive, and no more of them are held than one reading of the socket beyond the limit."""
    sent = b"".join(number.to_bytes(4, "big") for number in range(500_000))

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        await reader.read(1)

    async with served(send) as port, stream_to(port) as stream:
        got = bytearray()
        while len(got) < len(sent):
            got += await stream.read(10_000)
            assert stream._pieces._held <= HELD_BYTES + RECEIVED_BYTES
    assert bytes(got) == sent


async def test_what_was_echoed_comes_back_and_then_the_end() -> None:
    """A server that leaves is seen at once: what came is read, then nothing, and writing is refused."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with served(echo) as port, stream_to(port) as stream:
        assert not stream.get_extra_info("is_readable")
        await stream.write(b"hello")
        assert await stream.read(2) + await stream.read(9) == b"hello"
        assert await stream.read(9) == b""
        assert stream.get_extra_info("is_readable")
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"more")


async def test_waits_have_limits() -> None:
    """A server that neither sends nor reads ends a wait for it."""
    async with served(silence) as port, stream_to(port) as stream:
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(1, timeout=0.1)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(b"x" * 50_000_000, timeout=0.1)


async def test_a_host_is_reached_at_the_first_address_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that refuses does not hold up the next one; where all refuse, the error names each."""

    def resolve(*addresses: str) -> None:
        async def found(host: str, port: int, **_: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)

    async with served(silence) as port:
        resolve("127.0.0.2", "127.0.0.1")
        began_s = anyio.current_time()
        async with stream_to(port, "service.example.com") as stream:
            assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
        assert anyio.current_time() - began_s < RIVAL_S
        resolve("127.0.0.2", "127.0.0.3")
        with pytest.raises(httpcore.ConnectError, match=r"127\.0\.0\.2.*127\.0\.0\.3"):
            await Backend().connect_tcp("service.example.com", port, timeout=1.0)
