"""Runs a server by uvicorn: the first signal drains it, the second one ends it at once.

Rule 1: uvicorn closes all calls as soon as it shuts down, so they have ended before that.
Rule 2: no compression, which costs more than it saves on speech, and no access log, whose paths may hold secrets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, MissingExtra

try:
    import uvicorn

    from voicepipe.serving.uvicorn_protocols import CLOSE_S, BoundedWebSocket, TimedHTTP
except ImportError as error:
    raise MissingExtra("Serve.run", "uvicorn", "server") from error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import FrameType

    from starlette.types import ASGIApp

__all__ = [
    "SERVING_ON",
    "Held",
    "Server",
    "bound",
    "configured",
    "listening",
    "run_on",
    "run_to_end",
    "running",
    "url_of",
]

SERVING_ON: Final = "voicepipe: serving on "
"""The line that a program prints begins with this."""

PING_S: Final = 20.0
MOST_HEADER_BYTES: Final = 32_768
MOST_MESSAGE_BYTES: Final = 65_536
BACKLOG: Final = 2_048

NOISE: Final = ("ASGI callable returned without completing handshake", "Invalid UTF-8 sequence received from client")
"""What uvicorn logs as an error for each refused or malformed peer."""


class Held(Protocol):
    """What a server holds calls for: a desk, or the gateway of several."""

    @property
    def most_message_bytes(self) -> int:
        """The size of the largest message."""
        ...

    def open(self) -> AbstractAsyncContextManager[None]:
        """Be there for as long as the block lasts."""
        ...

    async def drain(self, within_s: float) -> None:
        """Let no further call in, and return when all have ended, after this time at the latest or soon after it."""
        ...

    async def cut(self) -> None:
        """End all calls at once."""
        ...


class Server(uvicorn.Server):
    """uvicorn's server, which drains before it shuts down.

    Args:
        config: uvicorn's settings.
        desk: Whose calls are drained.
        drain_s: How long calls may go on after the first signal.
        program: What a program prints once it listens; the signals that end a program then stop the server. "" if the
            server is a part of another program.

    Attributes:
        listens: Set when the server listens.
        has_ended: Set when it has ended.
    """

    def __init__(self, config: uvicorn.Config, desk: Held, drain_s: float = 0.0, *, program: str = "") -> None:
        super().__init__(config)
        self.listens = anyio.Event()
        self.has_ended = anyio.Event()
        self._desk = desk
        self._drain_s = drain_s
        self._program = program
        self._signals = 0
        self._asked = anyio.Event()
        self._wake: Any = None

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Heed signals, if the server is a program."""
        with super().capture_signals() if self._program else nullcontext():
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets=sockets)
        self.listens.set()
        if self._program:
            print(self._program, flush=True)  # noqa: T201 - here, so that a signal is heeded from this line on

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until it is stopped."""
        try:
            await super().serve(sockets)
        finally:
            self.has_ended.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        del sig, frame
        self.stop()

    def stop(self, drain_s: float | None = None) -> None:
        """Drain; when called again, stop at once. May be called by a signal's handler.

        Args:
            drain_s: How long calls may go on; None for what the server was made with.
        """
        if drain_s is not None:
            self._drain_s = drain_s
        self._signals += 1
        if self._wake is not None:
            self._wake()

    async def main_loop(self) -> None:
        """Serve until a signal has come and the calls have ended."""
        loop = asyncio.get_running_loop()

        def wake() -> None:  # in the loop: a signal may come just before `_wait_for_signals` makes another event
            self._asked.set()

        self._wake = lambda: loop.call_soon_threadsafe(wake)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_date)
            await self._wait_for_signals(1)
            await self._drain()
            tasks.cancel_scope.cancel()

    async def _keep_date(self) -> None:
        while True:
            await self.on_tick(0)
            await anyio.sleep(1.0)

    async def _wait_for_signals(self, count: int) -> None:
        while self._signals < count:
            self._asked = anyio.Event()
            await self._asked.wait()

    async def _drain(self) -> None:
        log.info("draining: no further call is let in")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cut_at_second_signal, tasks.cancel_scope)
            await self._desk.drain(self._drain_s)
            tasks.cancel_scope.cancel()
        self.should_exit = True

    async def _cut_at_second_signal(self, draining: anyio.CancelScope) -> None:
        await self._wait_for_signals(2)
        draining.cancel()
        with anyio.CancelScope(shield=True):
            await self._desk.cut()


async def run_to_end(
    app: ASGIApp,
    desk: Held,
    host: str,
    port: int,
    *,
    drain_s: float,
    certificate: str | None,
    key: str | None,
    trusted_proxies: Sequence[str],
) -> None:
    """Run a server until signals end it. See `Serve.run`."""
    with bound(host, port) as listener:
        await run_on(
            listener, app, desk, drain_s=drain_s, certificate=certificate, key=key, trusted_proxies=trusted_proxies
        )


async def run_on(
    listener: socket.socket,
    app: ASGIApp,
    desk: Held,
    *,
    drain_s: float,
    certificate: str | None,
    key: str | None,
    trusted_proxies: Sequence[str],
) -> None:
    """Run a server on a socket that listens, until signals end it."""
    config = configured(
        app,
        most_message_bytes=desk.most_message_bytes,
        certificate=certificate,
        key=key,
        trusted_proxies=trusted_proxies,
    )
    program = SERVING_ON + url_of(listener, is_secure=certificate is not None)
    async with desk.open():
        await Server(config, desk, drain_s, program=program).serve([listener])


def url_of(listener: socket.socket, *, is_secure: bool) -> str:
    """Return the address of a socket that listens, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if is_secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def listening(app: ASGIApp, desk: Held, host: str, port: int) -> AsyncGenerator[int]:
    """Run a server in this event loop for as long as the block lasts. See `Serve.listening`."""
    with bound(host, port) as listener:
        config = configured(app, most_message_bytes=desk.most_message_bytes)
        async with desk.open(), running(Server(config, desk), listener):
            yield listener.getsockname()[1]


@asynccontextmanager
async def running(server: Server, listener: socket.socket) -> AsyncGenerator[None]:
    """Run a server in this event loop for as long as the block lasts; calls that are left at the end are cut."""
    async with anyio.create_task_group() as tasks:

        async def run_to_end() -> None:
            with anyio.CancelScope(shield=True):  # it ends in order, and soon
                await server.serve([listener])

        tasks.start_soon(run_to_end)
        try:
            await server.listens.wait()
            yield
        finally:
            server.stop()
            server.stop()


def configured(
    app: ASGIApp,
    *,
    most_message_bytes: int = MOST_MESSAGE_BYTES,
    certificate: str | None = None,
    key: str | None = None,
    trusted_proxies: Sequence[str] = (),
) -> uvicorn.Config:
    """Return uvicorn's settings; of a larger message than any transport takes not even the beginning is kept.

    Raises:
        ConfigurationError: The certificate does not fit.
    """
    if certificate is None and key is not None:
        raise ConfigurationError("a key needs its certificate; name the file of the certificate, too")
    if certificate is not None:
        _check_certificate(certificate, key)
    logging.getLogger("uvicorn.error").addFilter(QUIET)
    return uvicorn.Config(
        app,
        http=TimedHTTP,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        ws=BoundedWebSocket,
        ws_per_message_deflate=False,
        ws_max_size=max(MOST_MESSAGE_BYTES, most_message_bytes),
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        timeout_graceful_shutdown=round(CLOSE_S),
        access_log=False,
        log_config=None,
        log_level="error",  # a warning says only that a peer has sent nonsense
        lifespan="off",  # it is entered here, so that its errors arrive as they are
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        server_header=False,
        backlog=BACKLOG,
    )


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ConfigurationError: The port is in use, or there is no such address here.
    """
    if not 0 <= port <= 65_535:
        raise ConfigurationError(f"the port must be 0 to 65535, not {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With its protocol named: asyncio sends without delay (TCP_NODELAY) only on a socket that knows that it is TCP.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with ExitStack() as stack:
            stack.enter_context(listener)
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
            stack.pop_all()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {reason}; choose another port, or stop what uses it"
        ) from error
    return listener


def _check_certificate(certificate: str, key: str | None) -> None:
    try:
        # With a wrong password, or OpenSSL would ask for that of an encrypted key on the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(
            f"the certificate {certificate} with the key {key or certificate} cannot be used: {reason}; "
            "both must be PEM files, and belong together"
        ) from error


class _Quiet(logging.Filter):
    """Drops what uvicorn says about each refused peer, which would fill the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        return not record.getMessage().startswith(NOISE)


QUIET: Final = _Quiet()
