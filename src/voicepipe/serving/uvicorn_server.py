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
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, MissingExtra

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
except ImportError as error:
    raise MissingExtra("Serve.run", "uvicorn", "server") from error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence
    from types import FrameType

    from starlette.types import ASGIApp

    from voicepipe.serving.desk import FrontDesk

__all__ = ["SERVING_ON", "Server", "bound", "configured", "listening", "run_to_end"]

SERVING_ON: Final = "voicepipe: serving on "
"""The line that a program prints begins with this."""

PING_S: Final = 20.0
CLOSE_S: Final = 6.0
"""How long connections may take to close at the end, before they are cut."""

HEADERS_S: Final = 5.0
"""How long the headers of a request may take."""

MOST_HEADER_BYTES: Final = 32_768
MOST_MESSAGE_BYTES: Final = 65_536
BACKLOG: Final = 2_048

NOISE: Final = ("ASGI callable returned without completing handshake", "Invalid UTF-8 sequence received from client")
"""What uvicorn logs as an error for each refused or malformed peer."""


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
    """

    def __init__(self, config: uvicorn.Config, desk: FrontDesk, drain_s: float = 0.0, *, program: str = "") -> None:
        super().__init__(config)
        self.listens = anyio.Event()
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        del sig, frame
        self.stop()

    def stop(self) -> None:
        """Drain; when called again, stop at once. May be called by a signal's handler."""
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


class TimedHTTP(H11Protocol):
    """uvicorn's protocol of HTTP, which closes a connection whose request or response does not pass in time.

    uvicorn would wait for the headers of a request for ever, and as long until a peer has read the response, so that a
    few thousand connections that do nothing would take all of the process's descriptors.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._due = self.loop.call_later(HEADERS_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        before: Any = self.cycle  # None before the first request
        if self._due is None and (before is None or before.response_complete):
            self._due = self.loop.call_later(HEADERS_S, self._give_up)
        super().data_received(data)
        if (
            self.cycle is not before or self.transport.get_protocol() is not self
        ):  # a request, or a websocket from now on
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for a while until the peer has taken the response."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(CLOSE_S, self._let_go)

    def _let_go(self) -> None:
        if self.transport.get_write_buffer_size() and self.transport.get_protocol() is self:
            self.transport.abort()

    def _give_up(self) -> None:
        self._due = None
        self.transport.close()

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol of websockets, which lets go of a peer that does not take the end of its call.

    uvicorn would wait until such a peer has read what was sent to it, which may be never, and keep the descriptor.
    """

    _due: asyncio.TimerHandle | None = None

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The call has ended."""
        super().on_task_complete(task)
        if not self.disconnected:
            self._due = self.loop.call_later(CLOSE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._due is not None:
            self._due.cancel()
        super().connection_lost(exc)


async def run_to_end(
    app: ASGIApp,
    desk: FrontDesk,
    host: str,
    port: int,
    *,
    drain_s: float,
    certificate: str | None,
    key: str | None,
    trusted_proxies: Sequence[str],
) -> None:
    """Run a server until signals end it. See `Serve.run`."""
    config = configured(
        app,
        most_message_bytes=desk.most_message_bytes,
        certificate=certificate,
        key=key,
        trusted_proxies=trusted_proxies,
    )
    with bound(host, port) as listener:
        where, taken = listener.getsockname()[:2]
        async with desk.open():
            scheme = "https" if certificate else "http"
            program = f"{SERVING_ON}{scheme}://{f'[{where}]' if ':' in where else where}:{taken}"
            await Server(config, desk, drain_s, program=program).serve([listener])


@asynccontextmanager
async def listening(app: ASGIApp, desk: FrontDesk, host: str, port: int) -> AsyncGenerator[int]:
    """Run a server in this event loop for as long as the block lasts. See `Serve.listening`."""
    config = configured(app, most_message_bytes=desk.most_message_bytes)
    with bound(host, port) as listener:
        async with desk.open(), anyio.create_task_group() as tasks:
            server = Server(config, desk)

            async def run_to_end() -> None:
                with anyio.CancelScope(shield=True):  # it ends in order, and soon
                    await server.serve([listener])

            tasks.start_soon(run_to_end)
            try:
                await server.listens.wait()
                yield listener.getsockname()[1]
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
