"""The store in Redis, with a real server: several workers, and everything that may be wrong with a server."""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.helpers import loopback_tls
from tests.helpers.redis_server import RedisServer, needs_redis, redis_serving
from voicepipe import ConfigurationError, Kept, RedisStore, StoreError
from voicepipe.keeping import redis_store

pytestmark = [pytest.mark.anyio, pytest.mark.scale, needs_redis]

PASSWORD = "open/se+same"
IN_URL = "open%2Fse%2Bsame"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def stored(url: str, timeout_s: float = 5.0) -> AsyncGenerator[RedisStore]:
    store = RedisStore(url, timeout_s=timeout_s)
    async with store.open():
        yield store


async def why(operation: Awaitable[object]) -> str:
    """Do something that has to fail, and return what it says."""
    with pytest.raises(StoreError) as caught:
        await operation
    said = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in said
    assert IN_URL not in said
    return str(caught.value)


def operations(store: RedisStore) -> list[Callable[[], Awaitable[object]]]:
    """Return each operation."""
    return [
        lambda: store.create("call", "one", 30.0),
        lambda: store.put("call", b"what was said", revision=1, lease_s=2.0, expires_s=30.0),
        lambda: store.get("call"),
        lambda: store.claim("call", "two"),
        lambda: store.forget("call"),
        lambda: store.keep("token", b"what was said", expires_s=30.0),
        lambda: store.take("token"),
    ]


# --- with a server that works -----------------------------------------------------------------------------------------


async def test_of_two_workers_one_has_the_call(redis_server: RedisServer) -> None:
    """Of many that claim a call at the same time exactly one can write it, and it was the last."""
    async with stored(redis_server.url) as store, stored(redis_server.url) as other:
        revision = await store.create("call", "before", 30.0)
        assert await store.put("call", b"hello", revision=revision, lease_s=30.0, expires_s=30.0)
        claimed: dict[str, Kept | None] = {}

        async def claim(worker: str, its: RedisStore) -> None:
            claimed[worker] = await its.claim("call", worker)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(claim, f"worker {number}", store if number % 2 else other)
        revisions = {worker: kept.revision for worker, kept in claimed.items() if kept is not None}
        assert len(set(revisions.values())) == 20
        assert all(kept is not None and kept.data == b"hello" and kept.lease_left_s > 20 for kept in claimed.values())
        last = max(revisions, key=lambda worker: revisions[worker])
        for worker, mine in revisions.items():
            still = await other.put("call", worker.encode(), revision=mine, lease_s=0.0, expires_s=30.0)
            assert still is (worker == last)
        kept = await store.get("call")
        assert kept is not None
        assert (kept.data, kept.worker) == (last.encode(), last)


async def test_a_token_is_taken_once(redis_server: RedisServer) -> None:
    """Of many that take a value at the same time one gets it."""
    async with stored(redis_server.url) as store:
        await store.keep("token", b"facts", expires_s=30.0)
        found: list[bytes | None] = []

        async def take() -> None:
            found.append(await store.take("token"))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(take)
        assert (found.count(b"facts"), found.count(None)) == (1, 19)


async def test_everything_expires(redis_server: RedisServer) -> None:
    """Each key has its time, also that of a call that was forgotten, and then it is gone."""
    async with stored(redis_server.url) as store:
        revision = await store.create("call", "one", 30.0)
        await store.put("call", b"hello", revision=revision, lease_s=0.0, expires_s=90.0)
        await store.create("forgotten", "one", 60.0)
        await store.forget("forgotten")
        await store.put("lost", b"hello", revision=1, lease_s=0.0, expires_s=120.0)
        await store.keep("token", b"facts", expires_s=180.0)
        ttl = {key: round(redis_server.run("TTL", key) / 30) for key in redis_server.run("KEYS", "*")}
        assert ttl == {
            b"voicepipe:call:call": 3,
            b"voicepipe:call:forgotten": 2,
            b"voicepipe:call:lost": 4,
            b"voicepipe:value:token": 6,
        }
        await store.create("short", "one", 0.001)
        await store.keep("short", b"facts", expires_s=0.001)
        await anyio.sleep(0.05)
        assert (await store.get("short"), await store.claim("short", "two"), await store.take("short")) == (None,) * 3


async def test_services_share_a_server(redis_server: RedisServer) -> None:
    """By their prefix; names of calls cannot reach out of it, and can be read."""
    async with stored(redis_server.url) as store:
        other = RedisStore(redis_server.url, prefix="shop:")
        async with other.open():
            await store.create("a b\n*{c}:é\ud800", "one", 30.0)
            await other.create("a b", "one", 30.0)
            assert await store.get("a b") is None
    keys = sorted(redis_server.run("KEYS", "*"))
    assert keys == [b"shop:call:a%20b", b"voicepipe:call:a%20b%0A%2A%7Bc%7D%3A%C3%A9%ED%A0%80"]


async def test_scripts_that_the_server_has_lost(redis_server: RedisServer) -> None:
    """A server that was started again has no script; it gets them when they are needed."""
    async with stored(redis_server.url) as store:
        redis_server.run("SCRIPT", "FLUSH")
        await store.create("call", "one", 30.0)
        assert await store.get("call") is not None


async def test_it_leaves_no_connection(redis_server: RedisServer) -> None:
    """Each operation takes one, up to sixteen at a time; when the store closes, all are closed."""
    async with stored(redis_server.url) as store, anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(store.get, f"call {number}")
    connections = [one for one in redis_server.run("CLIENT", "LIST").splitlines() if b"cmd=client" not in one]
    assert connections == []


async def test_one_event_loop(redis_server: RedisServer) -> None:
    """A store belongs to the loop in which it is open; then another one may have it."""
    store = RedisStore(redis_server.url)

    async def elsewhere() -> None:
        async with store.open():
            await store.get("call")

    async with store.open():
        with pytest.raises(ConfigurationError, match="is open in another event loop"):
            await anyio.to_thread.run_sync(anyio.run, elsewhere)
        await store.get("call")
    await anyio.to_thread.run_sync(anyio.run, elsewhere)


# --- with a server that does not --------------------------------------------------------------------------------------


async def test_a_server_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The store opens, says so in the log, and works once the server is there; it survives that it goes and comes."""
    with redis_serving() as server:
        server.stop()
        async with stored(server.url) as store:
            (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert record.getMessage().startswith(
                f"no call can be resumed elsewhere until this is mended: {server.url} cannot be reached: "
            )
            for operation in operations(store):
                assert f"{server.url} cannot be reached" in await why(operation())
            server.start()
            revision = await store.create("call", "one", 30.0)
            assert await store.put("call", b"hello", revision=revision, lease_s=0.0, expires_s=30.0)
            server.stop()
            assert "cannot be reached" in await why(store.get("call"))
            server.start()
            assert await store.claim("call", "two") is None
            assert await store.put("call", b"more", revision=revision, lease_s=0.0, expires_s=30.0)
            kept = await store.claim("call", "two")
            assert kept is not None
            assert (kept.data, kept.revision > revision) == (b"more", True)
            server.stop()
            server.start()
            assert await store.get("call") is None  # the connections of before are not noticed


async def test_a_slow_server(redis_server: RedisServer) -> None:
    """Each operation gives up in its time, the loop runs on, and no connection is used up."""
    async with stored(redis_server.url, timeout_s=0.2) as store:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0.01)
                ticks += 1

        with redis_server.frozen():
            async with anyio.create_task_group() as ticking:
                ticking.start_soon(tick)
                async with anyio.create_task_group() as tasks:
                    for operation in operations(store) * 10:  # more than there are connections
                        tasks.start_soon(expect_silence, operation)
                ticking.cancel_scope.cancel()
            assert ticks > 1
    async with stored(redis_server.url, timeout_s=20.0) as store:
        with redis_server.frozen():
            for _ in range(3):
                with anyio.move_on_after(0.01):  # cancelled in the middle
                    async with anyio.create_task_group() as tasks:
                        for number in range(50):
                            tasks.start_soon(store.get, f"call {number}")
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(store.get, f"call {number}")


async def expect_silence(operation: Callable[[], Awaitable[object]]) -> None:
    assert (await why(operation())).endswith("did not answer within 0.2 s")


async def test_a_server_without_memory() -> None:
    """What is there can be read and forgotten; what would be written says why not."""
    with redis_serving("--maxmemory-policy", "noeviction") as server:
        async with stored(server.url) as store:
            revision = await store.create("call", "one", 30.0)
            await store.keep("token", b"facts", expires_s=30.0)
            server.run("CONFIG", "SET", "maxmemory", "1")
            full = f"{server.url} has no memory left (maxmemory); give it more"
            assert await why(store.create("another", "one", 30.0)) == full
            assert await why(store.put("call", b"x", revision=revision, lease_s=0.0, expires_s=30.0)) == full
            assert await why(store.claim("call", "two")) == full
            assert await why(store.keep("another", b"facts", expires_s=30.0)) == full
            kept = await store.get("call")
            assert kept is not None
            assert (kept.data, kept.revision) == (b"", revision)
            assert await store.take("token") == b"facts"
            await store.forget("call")
            assert await store.get("call") is None


async def test_a_replica() -> None:
    """It cannot be written, and says where to turn."""
    with redis_serving() as server:
        server.run("REPLICAOF", "127.0.0.1", "1")
        async with stored(server.url) as store:
            assert "is a replica, which cannot be written" in await why(store.create("call", "one", 30.0))


async def test_what_others_wrote(redis_server: RedisServer) -> None:
    """Something else under a key of ours is named, whatever it is."""
    async with stored(redis_server.url) as store:
        redis_server.run("SET", "voicepipe:call:call", "text")
        redis_server.run("LPUSH", "voicepipe:value:token", "text")
        for operation in (lambda: store.get("call"), lambda: store.claim("call", "two"), lambda: store.take("token")):
            assert "holds under one of our keys what voicepipe did not write" in await why(operation())
        redis_server.run("DEL", "voicepipe:call:call")
        redis_server.run("HSET", "voicepipe:call:call", "data", "text")
        for operation in (lambda: store.get("call"), lambda: store.claim("call", "two")):
            assert "what voicepipe did not write" in await why(operation())


async def test_a_command_that_is_forbidden() -> None:
    """What a server quotes of a command that it does not know is not shown."""
    with redis_serving("--rename-command", "EVALSHA", "") as server:
        async with stored(server.url) as store:
            put = store.put("call", b"what was said", revision=1, lease_s=0.0, expires_s=30.0)
            assert await why(put) == f"{server.url} refused: unknown command"


# --- who may use it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("", "refuses the user or the password"),
        (":wrong@", "refuses the user or the password"),
        (f"nobody:{IN_URL}@", "refuses the user or the password"),
        (f"reader:{IN_URL}@", "does not let this user do what is needed; run ACL SETUSER <user> ~voicepipe:* +evalsha"),
        (f":{IN_URL}@", ""),
        (f"worker:{IN_URL}@", ""),
    ],
)
async def test_who_may_use_it(user: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong user or password, and a user who may do too little, are named; no password is ever shown."""
    caplog.set_level(logging.DEBUG)
    port = free_port()
    with redis_serving("--port", str(port), "--requirepass", PASSWORD) as server:
        server.run_as("default", PASSWORD, "ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+get")
        allowed = redis_store.COMMANDS.split()
        server.run_as("default", PASSWORD, "ACL", "SETUSER", "worker", "on", f">{PASSWORD}", "~voicepipe:*", *allowed)
        async with stored(f"redis://{user}127.0.0.1:{port}/0") as store:
            for operation in operations(store):
                if said:
                    assert f"redis://127.0.0.1:{port}/0 {said}" in await why(operation())
                else:
                    await operation()
            assert PASSWORD not in repr(store) + caplog.text + str(vars(store)["_where"])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's certificate is checked: by what SSL_CERT_FILE trusts, or by what the URL names."""
    port = free_port()
    certificate = str(Path(loopback_tls.__file__).with_name("loopback_server.pem"))
    own = "--tls-cert-file", certificate, "--tls-key-file", certificate
    clients = "--tls-ca-cert-file", str(loopback_tls.AUTHORITY), "--tls-auth-clients", "no"
    with redis_serving("--tls-port", str(port), *own, *clients):
        url = f"rediss://localhost:{port}"
        async with stored(url) as store:  # SSL_CERT_FILE of tests trusts another authority
            assert "certificate verify failed" in await why(store.get("call"))
        async with stored(f"{url}?ssl_ca_certs={loopback_tls.AUTHORITY}") as store:
            assert await store.get("call") is None
        monkeypatch.setenv("SSL_CERT_FILE", str(loopback_tls.AUTHORITY))
        async with stored(url) as store:
            assert await store.get("call") is None
        with pytest.raises(ConfigurationError, match="the certificates of the URL cannot be read"):
            async with stored(f"{url}?ssl_ca_certs={os.devnull}x"):
                pass
