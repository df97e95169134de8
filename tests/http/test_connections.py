"""What happens to connections, and how little is read of unwanted answers."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.abc
import pytest

from tests.helpers.raw_server import HEAD, RawServer, answer, data
from voicepipe.errors import VendorError
from voicepipe.http.client import WARM_BYTES, HTTPClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

Handler: TypeAlias = Callable[[anyio.abc.SocketStream, int], Awaitable[bool]]
"""Answers the n-th request of a connection, from 0, and returns whether the connection stays."""

CHUNKED = HEAD.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n")
WELL = answer("200 OK", b"well")


class KeptServer:
    """Keeps connections: answers request after request.

    Attributes:
        requests: The heads, each with the number of its connection, from 0.
    """

    def __init__(self, handler: Handler) -> None:
        self.requests: list[tuple[int, str]] = []
        self._handler = handler
        self._connections = 0

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[HTTPClient]:
        server = socket.create_server(("127.0.0.1", 0))
        client = HTTPClient(f"http://127.0.0.1:{server.getsockname()[1]}/v1", {})
        async with await anyio.abc.SocketListener.from_socket(server) as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._converse, tasks)
            async with client.open():
                yield client
            tasks.cancel_scope.cancel()

    async def _converse(self, stream: anyio.abc.SocketStream) -> None:
        connection, count, received = self._connections, 0, b""
        self._connections += 1
        async with stream:
            try:
                while True:
                    while not received.endswith((b"\r\n\r\n", b"{}")):
                        received += await stream.receive()
                    self.requests.append((connection, received.decode()))
                    received = b""
                    if not await self._handler(stream, count):
                        return
                    count += 1
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


async def ask(client: HTTPClient, limit_s: float = 4.0) -> bytes:
    async with client.post("/x", "{}", limit_s=limit_s) as response:
        return await response.body(100)


@pytest.mark.parametrize("is_silent", [False, True], ids=["closed", "silent"])
async def test_after_a_dead_connection_a_fresh_one_is_tried(is_silent: bool) -> None:
    """When five idle connections have died, the next try after the first failure uses none of them."""

    async def once(stream: anyio.abc.SocketStream, count: int) -> bool:
        await anyio.sleep(0.1)
        if count == 0:
            await stream.send(WELL)
        elif is_silent:
            await stream.receive()
        return count == 0

    server = KeptServer(once)
    async with server.client() as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, client)
        with pytest.raises(VendorError) as raised:
            await ask(client)
        assert raised.value.retryable
        assert await ask(client) == b"well"

    *_, failed, asked = (connection for connection, _ in server.requests)
    assert failed < 5
    assert asked == 5


async def test_a_failure_does_not_disturb_other_requests() -> None:
    """A request continues when another one fails, and its connection is closed after it."""
    release = anyio.Event()

    async def handler(stream: anyio.abc.SocketStream, _count: int) -> bool:
        if len(server.requests) != 1:
            return False
        await stream.send(CHUNKED + b"3\r\nwe-\r\n")
        await release.wait()
        await stream.send(b"2\r\nll\r\n0\r\n\r\n")
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        closed.set()
        return False

    server, closed = KeptServer(handler), anyio.Event()
    async with server.client() as client:
        async with client.post("/x", "{}", limit_s=1.0) as response:
            with pytest.raises(VendorError):
                await ask(client)
            release.set()
            assert await response.body(100) == b"we-ll"
        with anyio.fail_after(1.0):
            await closed.wait()


@pytest.mark.parametrize(
    ("pause_s", "took_s", "connections"),
    [(0.0, 0.0, [0, 0]), (0.02, 0.02, [0, 0]), (0.2, 0.05, [0, 1]), (9.0, 0.05, [0, 1])],
)
async def test_the_rest_of_a_response_is_read_while_the_turn_goes_on(
    pause_s: float, took_s: float, connections: list[int]
) -> None:
    """A response that ends within 50 ms leaves its connection to the next request; a later one is not waited for."""

    async def handler(stream: anyio.abc.SocketStream, _count: int) -> bool:
        await stream.send(CHUNKED + b"c\r\n" + data(b"last") + b"\r\n")
        await anyio.sleep(pause_s)
        await stream.send(b"0\r\n\r\n")
        return True

    server = KeptServer(handler)
    async with server.client() as client:
        for _ in connections:
            async with client.post("/x", "{}", limit_s=1.0) as response:
                events = response.events()
                assert await anext(events) == ("last", "message")
                began_s = anyio.current_time()
                await client.read_on(response, lambda events=events: exhausted(events))  # type: ignore[misc]
            assert round(anyio.current_time() - began_s, 6) == took_s
    assert [connection for connection, _ in server.requests] == connections


async def exhausted(events: AsyncGenerator[tuple[str, str]]) -> None:
    async with aclosing(events):
        assert [event async for event in events] == []


async def test_reading_on_has_an_end() -> None:
    """A response that does not end is closed half a second after the part that is needed."""
    server = RawServer([HEAD, data(b"last"), "hold"])
    async with server.serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open():
            async with client.post("/x", "{}", limit_s=1.0) as response:
                events = response.events()
                assert await anext(events) == ("last", "message")
                began_s = anyio.current_time()
                await client.read_on(response, lambda: exhausted(events))
                assert not server.gone.is_set()
            await server.gone.wait()
            assert round(anyio.current_time() - began_s, 6) == 0.5


async def test_no_cookie_is_kept() -> None:
    """A cookie that a service sets in one call is not sent in the next one, which may be another caller's."""

    async def handler(stream: anyio.abc.SocketStream, _count: int) -> bool:
        await stream.send(answer("200 OK", b"", "set-cookie: caller=ann; path=/"))
        return True

    server = KeptServer(handler)
    async with server.client() as client:
        await ask(client)
        await ask(client)
    assert "cookie" not in server.requests[1][1].lower()


async def test_a_connection_that_was_warmed_is_used() -> None:
    """The first request uses the connection that was made ahead of it, whatever the answer was."""
    for body in (b"{}", b"x" * WARM_BYTES):

        async def handler(stream: anyio.abc.SocketStream, _count: int, body: bytes = body) -> bool:
            await stream.send(answer("404 Not Found", body))
            return True

        server = KeptServer(handler)
        async with server.client() as client:
            await client.warm()
            await ask(client)
        assert [(connection, head.split()[0]) for connection, head in server.requests] == [(0, "GET"), (0, "POST")]


async def test_a_list_of_models_without_end_is_not_read() -> None:
    """Warming a connection reads a quarter of a mebibyte at most."""
    sent = 0

    async def handler(stream: anyio.abc.SocketStream, _count: int) -> bool:
        nonlocal sent
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send(b"x" * (1 << 16))
            sent += 1 << 16

    async with KeptServer(handler).client() as client:
        await client.warm()
    assert anyio.current_time() == 0.0
    assert sent < 64 << 20  # what the sockets between them hold, too


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP"])
async def test_an_unwanted_compression_is_refused(encoding: str) -> None:
    """A compressed answer is not unpacked: a small body may become a very large one."""
    for status in ("200 OK", "500 Internal Server Error"):
        packed = answer(status, gzip.compress(data(b"one")), f"content-encoding: {encoding}")
        async with RawServer([packed]).serve() as base_url:
            client = HTTPClient(base_url, {})
            async with client.open(), client.post("/x", "{}", limit_s=1.0) as response:
                if response.status == 200:
                    with pytest.raises(VendorError, match=r"compressed its answer \(\w+\)") as raised:
                        await anext(response.events())
                    assert not raised.value.retryable
                else:
                    assert await response.body(100) == b""


async def test_an_answer_with_the_encoding_identity_is_read() -> None:
    """The header may name the encoding that the request asked for."""
    async with RawServer([answer("200 OK", b"well", "content-encoding: identity")]).serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open():
            assert await ask(client) == b"well"
