"""The store in Redis where something else answers, on virtual time; and what its URL may be."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import anyio.abc
import pytest

from tests.helpers.redis_server import needs_redis
from voicepipe import ConfigurationError, RedisStore, StoreError

pytestmark = [pytest.mark.anyio, pytest.mark.scale, needs_redis]


@asynccontextmanager
async def answering(serve: Callable[[anyio.abc.SocketStream], Awaitable[None]]) -> AsyncGenerator[str]:
    """Answer connections while the block lasts."""

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.EndOfStream):
                await serve(stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield f"redis://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def a_web_server(stream: anyio.abc.SocketStream) -> None:
    await stream.receive()
    await stream.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nno\n")
    await anyio.sleep_forever()


async def a_shell(stream: anyio.abc.SocketStream) -> None:
    await stream.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    await anyio.sleep_forever()


async def other_answers(stream: anyio.abc.SocketStream) -> None:
    while True:
        commands = len(re.findall(rb"\*\d+\r\n\$", await stream.receive()))
        await stream.send(b"*3\r\n:1\r\n$2\r\nhm\r\n$-1\r\n" * commands)


async def a_closed_door(stream: anyio.abc.SocketStream) -> None:
    await stream.receive()


async def silence(stream: anyio.abc.SocketStream) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        (a_web_server, "does not answer as a Redis server does; check the address"),
        (a_shell, "does not answer as a Redis server does; check the address"),
        (other_answers, "holds under one of our keys what voicepipe did not write"),
        (a_closed_door, "cannot be reached: Connection closed by server."),
        (silence, "did not answer within 1 s"),
    ],
)
async def test_something_else_answers(
    peer: Callable[[anyio.abc.SocketStream], Awaitable[None]], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in one sentence, within a second."""
    async with answering(peer) as url:
        store = RedisStore(url)
        async with store.open():
            (record,) = caplog.records
            assert f"{url} {said}" in record.getMessage()
            began_s = anyio.current_time()
            with pytest.raises(StoreError, match=said):
                await store.claim("call", "two")
            assert anyio.current_time() - began_s <= 1.0


async def test_cancelling_returns_at_once() -> None:
    """An operation that waits for a server does not hold up who cancels it."""
    async with answering(silence) as url:
        store = RedisStore(url, timeout_s=60.0)
        with anyio.move_on_after(60.5):  # opening waits as long as any operation
            async with store.open():
                began_s = anyio.current_time()
                with anyio.move_on_after(0.25):
                    await store.put("call", b"", revision=1, lease_s=0.0, expires_s=1.0)
                assert anyio.current_time() - began_s == 0.25


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://localhost", "redis://localhost"),
        ("redis://user:secret@redis.example:6380/3?socket_keepalive=yes", "redis://redis.example:6380/3"),
        ("rediss://:secret@[::1]:6379", "rediss://[::1]:6379"),
        ("unix:///run/redis.sock?db=2&password=secret", "unix:///run/redis.sock"),
        ("unix://user:secret@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_what_a_url_may_be(url: str, where: str) -> None:
    """The three forms of the client are taken, and no password is shown."""
    assert repr(RedisStore(url)) == f"<RedisStore {where} voicepipe:>"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:6379", "http://user:secret@host", "redis://", "redis://host:secret", "unix://", "rediss:///0"],
)
def test_what_no_url_is(url: str) -> None:
    """Others are refused where the store is made; the message shows the forms, and not what was given."""
    with pytest.raises(ConfigurationError, match="the URL must be like redis://host:6379/0") as caught:
        RedisStore(url)
    assert "secret" not in str(caught.value)


async def test_what_cannot_be_set() -> None:
    """Options that there are not, and times and prefixes that make no sense, are refused."""
    with pytest.raises(ConfigurationError, match=r"timeout_s must be from 0\.01 to 60 seconds, not 0"):
        RedisStore("redis://localhost", timeout_s=0)
    with pytest.raises(ConfigurationError, match="prefix must be printable ASCII, not ''"):
        RedisStore("redis://localhost", prefix="")
    for query in ("retries=3", "db=secret"):
        with pytest.raises(ConfigurationError, match="RedisStore: the URL is invalid: ") as caught:
            async with RedisStore(f"redis://:secret@localhost?{query}").open():
                pass
        assert "secret" not in str(caught.value)


async def test_it_has_to_be_open() -> None:
    """Before and after it says so. Two servers of one loop may open the same store, and the last one closes it."""
    async with answering(a_closed_door) as url:
        store = RedisStore(url)
        with pytest.raises(ConfigurationError, match="is not open"):
            await store.get("call")
        for _ in range(2):
            async with store.open():
                async with store.open():
                    pass
                with pytest.raises(StoreError, match="Connection closed by server"):
                    await store.get("call")
            with pytest.raises(ConfigurationError, match="is not open"):
                await store.take("token")
