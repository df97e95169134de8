"""What a stranger may try: each attempt costs its own connection, and no other call."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketStream
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed

from tests.helpers.plain_transport import FRAME, Plain, agent, calling
from voicepipe.serving import Limits, Page, Serve
from voicepipe.serving.guard import MOST_BODY_BYTES
from voicepipe.serving.uvicorn_server import Server, bound, configured

pytestmark = pytest.mark.anyio


async def answer(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send bytes as they are, and return what comes back until the server closes the connection."""
    stream: SocketStream
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        came = b""
        try:
            for piece in pieces:
                await stream.send(piece)
                await anyio.sleep(pause_s)
            while True:
                came += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return came


class WithForm(Plain):
    """A transport with a route that reads a body."""

    def routes(self, desk: Any) -> list[Route]:
        async def form(request: Request) -> PlainTextResponse:
            return PlainTextResponse(str(len(await request.body())))

        return [Route("/form", form, methods=["POST"])]


@asynccontextmanager
async def one_call(serve: Serve[Any]) -> AsyncGenerator[int]:
    async with serve.listening() as port:
        yield port


# --- malformed --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_ten_thousand_malformed_messages(caplog: pytest.LogCaptureFixture) -> None:
    """Each call ends by a refusal, the server is as before, and its log has no traceback."""
    caplog.set_level(logging.INFO)
    dice = random.Random(1)
    serve = Serve(agent(), [Plain()], limits=Limits(opening_per_s=10_000))
    closed: dict[int | None, int] = {}

    async def attack(port: int) -> None:
        async with calling(port) as caller:
            if dice.random() < 0.5:
                await caller.hello()
            for _ in range(50):
                size = dice.choice((0, 1, 2, 3, 640, 641, 4_096, 4_097))
                message: bytes | str = dice.randbytes(size)
                if dice.random() < 0.5:
                    message = message.decode("latin-1")
                with suppress(ConnectionClosed):
                    await caller.socket.send(message)
            code = await caller.wait_closed()
            closed[code] = closed.get(code, 0) + 1

    async with serve.listening() as port:
        for _ in range(200):
            await attack(port)
        await serve.desk.wait_empty()
        async with calling(port) as caller:
            await caller.hello()
            await caller.speak(1.0)
            await caller.socket.send("bye")
            assert await caller.wait_closed() == 1000
            assert caller.heard_s > 0.1
    assert set(closed) <= {1007, 1009}
    assert sum(closed.values()) == 200
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a port without
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
        b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"GET /plain HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_requests_that_are_none(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What is no request of HTTP is answered with a 4xx and the connection closed; nothing is logged about it."""
    async with one_call(Serve(agent(), [WithForm()])) as port:
        came = await answer(port, head)
    assert came.startswith(b"HTTP/1.1 4")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_header_that_would_forge_another() -> None:
    """What the peer sends comes back in no header."""
    async with one_call(Serve(agent(), [Plain()])) as port:
        head = (
            f"GET /plain HTTP/1.1\r\nHost: x\r\nOrigin: http://127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Protocol: plain.v1, token.x%0d%0aSet-Cookie:%20a=b\r\n\r\n"
        )
        came = await answer(port, head.encode())
    assert came.startswith(b"HTTP/1.1 4")
    assert b"cookie" not in came.partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/live/../../etc/passwd",
    ],
)
async def test_paths_that_climb(path: str) -> None:
    """A path that climbs out leads nowhere."""
    async with one_call(Serve(agent(), [Plain()])) as port:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await answer(port, head.encode())).startswith(b"HTTP/1.1 404")


# --- slow and large ---------------------------------------------------------------------------------------------------


async def test_connections_that_send_nothing() -> None:
    """A connection without a request is closed after 5 s, and so is one that sends its headers byte by byte."""
    async with one_call(Serve(agent(), [Plain()])) as port:
        began_s = anyio.current_time()
        assert await answer(port) == b""
        assert 5.0 <= anyio.current_time() - began_s < 5.2
        began_s = anyio.current_time()
        head = [bytes([byte]) for byte in b"GET /live HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100]
        assert await answer(port, *head, pause_s=0.2) == b""
        assert anyio.current_time() - began_s < 30


async def test_a_second_request_that_comes_slowly() -> None:
    """The limit holds for each request of a connection, and not for a pause between two."""
    async with one_call(Serve(agent(), [Plain()])) as port:
        whole = b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n"
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for _ in range(3):
                await stream.send(whole)
                assert (await stream.receive()).startswith(b"HTTP/1.1 200")
                await anyio.sleep(4.0)
            await stream.send(whole[:10])
            began_s = anyio.current_time()
            with pytest.raises(anyio.EndOfStream):
                while True:
                    await stream.receive()
        assert 5.0 <= anyio.current_time() - began_s < 5.2


async def test_a_body_that_comes_slowly() -> None:
    """A body that is not whole after 5 s is refused."""
    async with one_call(Serve(agent(), [WithForm()])) as port:
        head = b"POST /form HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
        assert (await answer(port, head, *[b"a"] * 4, pause_s=1.0)).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(("size", "status"), [(MOST_BODY_BYTES, 200), (MOST_BODY_BYTES + 1, 413), (10_000_000, 413)])
async def test_a_body_that_is_too_large(size: int, status: int) -> None:
    """A body beyond 64 KiB is refused, whether it says its length or not."""

    async def pieces() -> AsyncGenerator[bytes]:
        for at in range(0, size, 10_000):
            yield b"a" * min(10_000, size - at)

    async with one_call(Serve(agent(), [WithForm()])) as port, httpx.AsyncClient(trust_env=False) as client:
        for content in (b"a" * size, pieces()):
            try:
                reply = await client.post(f"http://127.0.0.1:{port}/form", content=content)
            except httpx.WriteError:  # the server did not read on
                assert status == 413
            else:
                assert reply.status_code == status


async def test_a_message_beyond_the_limit_of_the_server() -> None:
    """A message larger than any transport takes is not even collected."""
    async with one_call(Serve(agent(), [Plain()])) as port, calling(port) as caller:
        await caller.hello()
        await caller.socket.send(b"\x00" * 100_000)
        assert await caller.wait_closed() == 1009


async def test_a_flood_on_one_call() -> None:
    """A call that floods is closed; another one hears every frame of its agent at its time meanwhile."""
    serve = Serve(agent(character_s=0.2), [Plain()])
    async with one_call(serve) as port, calling(port) as good, calling(port) as bad:
        await good.hello()
        await bad.hello()
        await good.speak(0.5)
        await good.wait_audio()
        came_s: list[float] = []

        async def listen() -> None:
            while len(came_s) < 50:
                if isinstance(await good.socket.recv(), bytes):
                    came_s.append(anyio.current_time())

        async def flood() -> None:
            with suppress(ConnectionClosed):
                for _ in range(5_000):
                    await bad.socket.send(b"")  # small enough for all of them to be on their way at once
            assert await bad.wait_closed() == 4429

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            tasks.start_soon(flood)
        gaps = sorted(after - before for before, after in pairwise(came_s))
        assert gaps[-1] <= 0.0401  # the worst of all, on a clock that counts waiting alone
        await good.socket.send("bye")
        assert await good.wait_closed() == 1000


@pytest.mark.slow
async def test_a_peer_that_does_not_read() -> None:
    """A peer that takes nothing of a long greeting is given up within a minute; the other call is answered."""
    serve = Serve(agent(character_s=1.0), [Plain()], greeting="word " * 60)
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        narrow.setblocking(False)
        async with one_call(serve) as port, calling(port) as good:
            with suppress(BlockingIOError):
                narrow.connect(("127.0.0.1", port))
            async with calling(port, sock=narrow, max_queue=1, ping_interval=None) as deaf:
                await good.hello()
                await deaf.hello()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(good.wait_closed)
                    began_s = anyio.current_time()
                    while serve.desk._door.calls == 2:
                        await good.socket.send(FRAME)
                        await deaf.socket.send(FRAME)
                        await anyio.sleep(0.02)
                    assert anyio.current_time() - began_s < 60
                    await good.socket.send("bye")
    assert good.socket.close_code == 1000


@asynccontextmanager
async def narrow_server(serve: Serve[Any]) -> AsyncGenerator[tuple[Server, socket.socket]]:
    """Run a server, and yield a connection to it on which little can wait to be read."""
    with bound("127.0.0.1", 0) as listener, socket.socket() as narrow:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        narrow.connect(listener.getsockname())
        narrow.setblocking(False)
        async with serve.lifespan(), anyio.create_task_group() as tasks:
            server = Server(configured(serve.app), serve.desk)
            tasks.start_soon(server.serve, [listener])
            await server.listens.wait()
            yield server, narrow
            server.stop()
            server.stop()


async def test_a_caller_that_never_reads_keeps_no_connection() -> None:
    """When its call has ended, what waits for it is dropped: otherwise it would hold a descriptor for ever."""
    story = "A story of which nobody reads a word, and which goes on for as long as anybody lets it. " * 20
    serve = Serve(agent(character_s=1), [Plain()], greeting=story)
    async with narrow_server(serve) as (server, narrow):
        port = narrow.getpeername()[1]
        async with calling(port, sock=narrow, max_queue=1, ping_interval=None) as deaf:
            await deaf.hello()
            deaf.socket.transport.pause_reading()
            while serve.desk._door.calls:
                await deaf.socket.send(FRAME)
                await anyio.sleep(0.02)
            assert len(server.server_state.connections) == 1
            await anyio.sleep(10)
            assert len(server.server_state.connections) == 0


@pytest.mark.slow
async def test_a_caller_that_answers_no_ping(caplog: pytest.LogCaptureFixture) -> None:
    """A caller that speaks and reads nothing is closed by the server beneath; its call ends as idle, and in order."""
    serve = Serve(agent(character_s=0.05), [Plain()], greeting="word " * 6)  # little enough to wait in the server
    async with narrow_server(serve) as (_, narrow):
        port = narrow.getpeername()[1]
        async with calling(port, sock=narrow, max_queue=1, ping_interval=None) as deaf:
            await deaf.hello()
            deaf.socket.transport.pause_reading()
            while serve.desk._door.calls:
                with suppress(ConnectionClosed):
                    await deaf.socket.send(FRAME)
                await anyio.sleep(0.02)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("ends", [b"", b"Connection: close\r\n"])
async def test_a_visitor_that_never_reads_keeps_no_connection(ends: bytes) -> None:
    """A response that nobody takes is dropped after a few seconds, with its connection."""
    async with narrow_server(Serve(agent(), [Page()])) as (server, narrow):
        narrow.send(b"GET /page.js HTTP/1.1\r\nHost: a\r\n" + ends + b"\r\n")
        await anyio.sleep(1)
        assert len(server.server_state.connections) == 1
        await anyio.sleep(20)
        assert len(server.server_state.connections) == 0


@pytest.mark.slow
async def test_nothing_is_left_of_two_hundred_calls() -> None:
    """After two hundred short calls, a third of which vanish, no task and no session is left."""
    serve = Serve(agent(), [Plain()], limits=Limits(opening_per_s=1_000))
    async with one_call(serve) as port:
        await anyio.sleep(0.1)
        before = len(asyncio.all_tasks())
        for number in range(200):
            async with calling(port) as caller:
                await caller.hello()
                await caller.speak(0.06)
                if number % 3 == 0:
                    caller.socket.transport.abort()
        await serve.desk.wait_empty()
        await anyio.sleep(0.1)
        gc.collect()
        assert (len(asyncio.all_tasks()) - before, serve.desk._door.calls) == (0, 0)
