"""Connections of the HTTP library, with no more work for a piece of a reply than to hand it over.

Rule 1: the loop reads whatever comes, up to `HELD_BYTES`. The library's own streams set up a time limit for each piece,
        and ask the system before and after it to watch the connection, which costs more than to read the piece.

Source: httpcore's documentation, "Network Backends", read 2026-11-30.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections import deque
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import httpcore
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Iterable

__all__ = ["Backend"]

HELD_BYTES: Final = 1 << 16
"""How much may be there and not be read before the loop stops reading."""

RIVAL_S: Final = 0.25
"""After how long a further address of the same host is tried. Source: RFC 8305, section 5."""


class Backend(httpcore.AsyncNetworkBackend):
    """Makes connections on asyncio's event loop."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect. See httpcore."""
        local = None if local_address is None else (local_address, 0)
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
            transport, pieces = await _connected(host, port, local)
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return _Stream(transport, pieces)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


class _Pieces(asyncio.Protocol):
    """What has come on a connection and was not read, and whether it may be written to."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_over = False
        self.is_full = False  # whether what was written has not left yet
        self.pieces: deque[bytes] = deque()
        self._held = 0
        self._is_paused = False
        self._changed: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(bytes(data))
        self._held += len(data)
        if self._held > HELD_BYTES and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.is_over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error, self.is_over, self.is_full = exc, True, False
        self._wake()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._wake()

    def taken(self, most: int) -> bytes:
        piece = self.pieces.popleft()
        if len(piece) > most:
            self.pieces.appendleft(piece[most:])
            piece = piece[:most]
        self._held -= len(piece)
        if self._is_paused and self._held <= HELD_BYTES and not self.is_over:
            self._is_paused = False
            self.transport.resume_reading()
        return piece

    async def wait_changed(self) -> None:
        self._changed = asyncio.get_running_loop().create_future()
        try:
            await self._changed
        finally:
            self._changed = None

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, transport: asyncio.Transport, pieces: _Pieces) -> None:
        self._transport = transport
        self._pieces = pieces

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if timeout is not None:
            with _translated(httpcore.ReadTimeout, httpcore.ReadError), anyio.fail_after(timeout):
                return await self.read(max_bytes)
        pieces = self._pieces
        while not pieces.pieces:
            if pieces.error is not None:
                raise httpcore.ReadError(pieces.error) from pieces.error
            if pieces.is_over:
                return b""
            await pieces.wait_changed()
        return pieces.taken(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if timeout is not None:
            with _translated(httpcore.WriteTimeout, httpcore.WriteError), anyio.fail_after(timeout):
                return await self.write(buffer)
        pieces = self._pieces
        if buffer:
            if pieces.is_over or self._transport.is_closing():
                raise httpcore.WriteError("the connection is closed")
            self._transport.write(buffer)
        while pieces.is_full:
            await pieces.wait_changed()
        if pieces.error is not None:
            raise httpcore.WriteError(pieces.error) from pieces.error
        return None

    async def aclose(self) -> None:
        self._pieces.is_over = True
        self._transport.abort()
        await checkpoint()  # in which the loop closes it

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        loop, pieces = asyncio.get_running_loop(), self._pieces
        try:
            with _translated(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
                transport = await loop.start_tls(self._transport, pieces, ssl_context, server_hostname=server_hostname)
        except BaseException:
            self._transport.abort()
            raise
        if transport is None:
            raise httpcore.ConnectError("the connection broke during the TLS handshake")
        pieces.transport = transport
        return _Stream(transport, pieces)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the library's signature
        if info == "is_readable":  # asked of a connection that is not used: then it has ended
            return self._pieces.is_over or bool(self._pieces.pieces) or _is_readable(self._transport)
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return self._transport.get_extra_info(name)


async def _connected(host: str, port: int, local: tuple[str, int] | None) -> tuple[asyncio.Transport, _Pieces]:
    """Connect to the first address of a host that answers. asyncio's own race loses a connection if it is cancelled."""
    loop = asyncio.get_running_loop()
    try:
        addresses = [str(ip_address(host))]
    except ValueError:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    made: list[tuple[asyncio.Transport, _Pieces]] = []
    errors: list[OSError] = []

    async def attempt(address: str, failed: anyio.Event) -> None:
        try:
            one = await loop.create_connection(_Pieces, address, port, local_addr=local)
        except OSError as error:
            errors.append(error)
            failed.set()
            return
        made.append(one)
        attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                attempts.start_soon(attempt, address, failed := anyio.Event())
                with anyio.move_on_after(RIVAL_S):
                    await failed.wait()
    except BaseException:
        for transport, _ in made:
            transport.abort()
        raise
    if not made:
        raise OSError("; ".join(map(str, errors)) or f"{host} has no address")
    for transport, _ in made[1:]:
        transport.abort()
    return made[0]


def _is_readable(transport: asyncio.Transport) -> bool:
    """Return whether the end of a connection has come and the loop has not seen it yet."""
    number = transport.get_extra_info("socket").fileno()
    if number < 0:
        return True
    if sys.platform == "win32":
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _translated(late: type[Exception], broken: type[Exception]) -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(error) from error
    except OSError as error:  # ssl.SSLError is one
        raise broken(error) from error
