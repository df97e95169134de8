"""A store in Redis, or in what speaks its protocol, such as Valkey: for all workers of a service.

Rule 1: an operation is one script or one command on one key, by the server's clock, so it is atomic for all workers.
Rule 2: an operation ends within `timeout_s`, whatever the server does, and a connection in doubt is closed.
Rule 3: no error shows the password, nor what a server quotes of a command, because that may be what a caller said.

What lies there, with the prefix "voicepipe:":

    voicepipe:call:<id>     a hash: data, late, worker, lease, before, revision, first; of a forgotten call the last two
    voicepipe:value:<key>   a string that is good once: what a token stands for, a telephone call's result
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

import anyio

from voicepipe.core.log import log
from voicepipe.core.threads import run_in_daemon_thread
from voicepipe.errors import ConfigurationError, StoreError
from voicepipe.keeping.redis_scripts import CLAIM, CREATE, FORGET, GET, PUT
from voicepipe.keeping.store import Kept, Store, check_data, check_name, check_times
from voicepipe.vendors.loading import loaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["TIMEOUT_S", "RedisStore"]

TIMEOUT_S: Final = 1.0
"""How long an operation may take; one takes 0.2 ms where the server is near."""

CONNECTIONS: Final = 16
"""How many operations may be on their way at a time; further ones wait, within their time."""

PLAIN: Final = "-_.~+@=,/"
"""What stands in a key as it is; any other character is written as %3A, so that keys can be read and typed."""

SCHEMES: Final = ("redis", "rediss", "unix")

PARTS: Final = 8
"""How many values the script for reading returns."""

COMMANDS: Final = "+evalsha +script|load +time +hset +hget +hmget +hdel +hexists +pexpire +set +getdel"
"""What a user of the server has to be allowed to run."""

REMEDIES: Final = (
    ("AuthenticationError", "refuses the user or the password; correct them in the URL"),
    ("AuthorizationError", "refuses the user or the password; correct them in the URL"),
    (
        "NoPermissionError",
        f"does not let this user do what is needed; run ACL SETUSER <user> ~<prefix>* {COMMANDS}",
    ),
    ("OutOfMemoryError", "has no memory left (maxmemory); give it more"),
    ("ReadOnlyError", "is a replica, which cannot be written; use the address of its primary"),
    ("BusyLoadingError", "has just started, and still loads its data"),
    ("AskError", "is one of a cluster's nodes; RedisStore needs a single server"),  # MovedError derives from it
    ("ClusterError", "is one of a cluster's nodes; RedisStore needs a single server"),
    ("InvalidResponse", "does not answer as a Redis server does; check the address"),
)
"""What the client's errors mean; the first that fits counts."""


class RedisStore(Store):
    """Keeps records in Redis 6.2 or newer, or in Valkey. It is installed with `voicepipe[redis]`.

    It may be open in one event loop at a time. A server that is away when it opens, or later, is no reason to stop:
    each operation then raises `StoreError`, and works again when the server is back.

    Args:
        url: As in redis://user:password@host:6379/0, rediss://... for TLS, unix:///path?db=0. With TLS, options such as
            `ssl_ca_certs=/path.pem` may follow after "?".
        prefix: What its keys begin with, so that services share a server.
        timeout_s: How long an operation may take, and the attempt to connect within it.

    Raises:
        ConfigurationError: The URL, the prefix or the time is invalid.
    """

    def __init__(self, url: str, *, prefix: str = "voicepipe:", timeout_s: float = TIMEOUT_S) -> None:
        self._where, self._password = _checked(url)
        if not prefix or not prefix.isascii() or not prefix.isprintable():
            raise ConfigurationError(f"RedisStore: prefix must be printable ASCII, not {prefix!r}")
        if not 0.01 <= timeout_s <= 60:
            raise ConfigurationError(f"RedisStore: timeout_s must be from 0.01 to 60 seconds, not {timeout_s!r}")
        self._url = url
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._client: Any = None
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: anyio.Lock
        self._scripts: dict[str, Any] = {}
        self._errors: Any = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Hold connections, which are made when they are needed. See `Store.open`.

        Several servers of one event loop may open the same store. One that cannot be used is logged as an error.

        Raises:
            MissingExtra: The package redis is not installed.
            ConfigurationError: It is open in another event loop, the URL has an option that there is not, or
                certificates cannot be read.
        """
        loop = asyncio.get_running_loop()
        if not self._users:
            self._loop, self._opening = loop, anyio.Lock()
        elif self._loop is not loop:
            raise ConfigurationError("RedisStore is open in another event loop; make a store for each loop")
        self._users += 1
        try:
            async with self._opening:
                if self._client is None:
                    await self._begin()
            yield
        finally:
            self._users -= 1
            if not self._users and self._client is not None:
                pool, self._client = self._client.connection_pool, None
                with anyio.move_on_after(self._timeout_s, shield=True):
                    await pool.disconnect()

    async def _begin(self) -> None:
        redis, self._errors = loaded("RedisStore", "redis", "redis.asyncio", "redis.exceptions")
        client = redis.Redis(connection_pool=await self._pool(redis))
        self._scripts = {text: client.register_script(text) for text in (CREATE, PUT, GET, CLAIM, FORGET)}
        self._client = client
        try:
            await self.get("-")  # needs what every operation needs
        except StoreError as error:
            log.error("no call can be resumed elsewhere until this is mended: %s", error)

    async def create(self, call_id: str, worker: str, expires_s: float) -> int:
        """See `Store.create`."""
        check_name("name of the worker", worker)
        check_times(expires_s)
        return _number(self._where, await self._run(CREATE, call_id, _encoded(worker), _milliseconds(expires_s)))

    async def put(self, call_id: str, data: bytes, *, revision: int, lease_s: float, expires_s: float) -> bool:
        """See `Store.put`."""
        check_data(data)
        check_times(expires_s, lease_s)
        lease = round(lease_s * 1e6)
        is_mine = await self._run(PUT, call_id, revision, bytes(data), lease, _milliseconds(expires_s))
        return _number(self._where, is_mine) == 1

    async def get(self, call_id: str) -> Kept | None:
        """See `Store.get`."""
        return _kept(self._where, await self._run(GET, call_id))

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        """See `Store.claim`."""
        check_name("name of the worker", worker)
        return _kept(self._where, await self._run(CLAIM, call_id, _encoded(worker)))

    async def forget(self, call_id: str) -> None:
        """See `Store.forget`."""
        await self._run(FORGET, call_id)

    async def keep(self, key: str, value: bytes, *, expires_s: float) -> None:
        """See `Store.keep`."""
        check_data(value)
        check_times(expires_s)
        name, held_ms = self._key("value", "key", key), _milliseconds(expires_s)
        await self._within(lambda: self._opened().set(name, bytes(value), px=held_ms))

    async def take(self, key: str) -> bytes | None:
        """See `Store.take`."""
        name = self._key("value", "key", key)
        value = await self._within(lambda: self._opened().getdel(name))
        if value is not None and not isinstance(value, bytes):
            raise _nonsense(self._where)
        return value

    async def _run(self, script: str, call_id: str, *arguments: bytes | int) -> object:
        name = self._key("call", "id of the call", call_id)
        return await self._within(lambda: self._scripts[script](keys=[name], args=arguments))

    async def _within(self, operation: Callable[[], Awaitable[object]]) -> object:
        """Do something with the server in the time that there is, and raise no error but our own."""
        self._opened()
        try:
            with anyio.fail_after(self._timeout_s):
                return await operation()
        except TimeoutError:
            raise StoreError(f"{self._where} did not answer within {self._timeout_s:g} s") from None
        except (self._errors.RedisError, OSError, ValueError) as error:
            raise self._translated(error) from None  # what it quotes may be personal

    def _translated(self, error: Exception) -> StoreError:
        for name, meaning in REMEDIES:
            if isinstance(error, getattr(self._errors, name, ())):
                return StoreError(f"{self._where} {meaning.replace('<prefix>', self._prefix)}")
        if isinstance(error, self._errors.ResponseError):
            if "script" in str(error) or "WRONGTYPE" in str(error):
                return _nonsense(self._where)
            return StoreError(f"{self._where} refused: {_unquoted(str(error))}")
        return StoreError(f"{self._where} cannot be reached: {self._hidden(str(error) or type(error).__name__)}")

    def _hidden(self, text: str) -> str:
        return text.replace(self._password, "***") if self._password else text

    def _opened(self) -> Any:  # noqa: ANN401 - of a package that may be absent
        if self._client is None:
            raise ConfigurationError("RedisStore is not open; use it within `async with store.open():`")
        return self._client

    def _key(self, kind: str, what: str, name: str) -> str:
        check_name(what, name)
        return f"{self._prefix}{kind}:{quote(name, safe=PLAIN, errors='surrogatepass')}"

    async def _pool(self, redis: Any) -> Any:  # noqa: ANN401 - of a package that may be absent
        """Return the pool of connections. No wait in it has a limit of its own: `_within` limits all of them."""
        (backoff,) = loaded("RedisStore", "redis", "redis.backoff")
        (retry,) = loaded("RedisStore", "redis", "redis.asyncio.retry")
        try:
            pool = redis.BlockingConnectionPool.from_url(
                self._url,
                max_connections=CONNECTIONS,
                timeout=None,
                socket_timeout=None,
                socket_connect_timeout=None,
                retry=retry.Retry(backoff.NoBackoff(), 1),  # of connections that a restart has closed
                protocol=2,
            )
            one = pool.make_connection()  # not connected yet; refuses options that there are not
        except (TypeError, ValueError, self._errors.RedisError) as error:
            raise ConfigurationError(f"RedisStore: the URL is invalid: {self._hidden(str(error))}") from None
        if (trust := getattr(one, "ssl_context", None)) is not None:
            pool.connection_class = await _trusting(pool.connection_class, trust)
        return pool

    def __repr__(self) -> str:
        """Show where it is, without the password."""
        return f"<RedisStore {self._where} {self._prefix}>"


async def _trusting(connection_class: Any, trust: Any) -> Any:  # noqa: ANN401 - of a package that may be absent
    """Return a class of connections that share what they trust: each would read the authorities again, on the loop.

    Raises:
        ConfigurationError: The authorities cannot be read.
    """
    try:
        await run_in_daemon_thread(trust.get, name="voicepipe reads the CA store", warns=False)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"RedisStore: the certificates of the URL cannot be read ({error})") from None

    class Trusting(connection_class):  # type: ignore[misc]  # it is not known before
        def __init__(self, **options: Any) -> None:  # noqa: ANN401
            super().__init__(**options)
            self.ssl_context = trust

    return Trusting


def _checked(url: str) -> tuple[str, str]:
    """Return where a server is, for messages, and its password.

    Raises:
        ConfigurationError: The URL is invalid.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_socket = parts.scheme == "unix"
    if parts.scheme not in SCHEMES or not (parts.path if is_socket else parts.hostname):
        raise ConfigurationError(
            "RedisStore: the URL must be like redis://host:6379/0, rediss://user:password@host:6379/0 or unix:///path"
        )
    query = parse_qs(parts.query)
    password = unquote(parts.password or "") or (query.get("password") or [""])[0]
    if is_socket:
        return f"unix://{parts.path}", password
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}", password


def _unquoted(text: str) -> str:
    """Return what a server says up to where it quotes something."""
    return re.split(r"['\"`,:]", text, maxsplit=1)[0][:100].strip()


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogatepass")


def _nonsense(where: str) -> StoreError:
    return StoreError(f"{where} holds under one of our keys what voicepipe did not write; choose another prefix")


def _number(where: str, answer: object) -> int:
    try:
        return int(cast("Any", answer))
    except (TypeError, ValueError):
        raise _nonsense(where) from None


def _kept(where: str, answer: object) -> Kept | None:
    """Return what the script for reading has found."""
    if answer is None:
        return None
    if not isinstance(answer, Sequence) or len(answer) != PARTS:
        raise _nonsense(where)
    data, revision, worker, lease, before, late, second, microsecond = answer
    now = _number(where, second) * 1_000_000 + _number(where, microsecond)
    left = max(_number(where, lease), _number(where, before)) - now
    if not isinstance(data, bytes) or not isinstance(worker, bytes) or not isinstance(late, bytes | None):
        raise _nonsense(where)
    name = worker.decode(errors="surrogatepass")
    return Kept(data, _number(where, revision), name, max(0.0, left / 1e6), late)
