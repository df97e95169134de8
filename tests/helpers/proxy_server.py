"""A proxy on loopback that really forwards, so that a test sees what went through it.

async with ProxyServer({"api.example.com:443": port}, login="ada:secret").serve() as url: ...
"""

from __future__ import annotations

import base64
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

GONE = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)


class ProxyServer:
    """An HTTP proxy: tunnels by CONNECT, and requests for whole http:// URLs.

    Args:
        hosts: The port on loopback that stands for each "host:port"; any other gets a 502.
        login: The "user:password" to demand; a client without it gets a 407.
        tls: For a proxy that is itself spoken to by https.
        status: Refuse everybody with this status instead.

    Attributes:
        asked: What it was asked for, e.g. "CONNECT api.example.com:443".
        logins: The login that came with each request; "" for none.
    """

    scheme = "http"

    def __init__(
        self, hosts: Mapping[str, int], *, login: str = "", tls: ssl.SSLContext | None = None, status: int = 0
    ) -> None:
        self.asked: list[str] = []
        self.logins: list[str] = []
        self._hosts = hosts
        self._login = login
        self._tls = tls
        self._status = status

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
        raised: Exception | None = None
        async with await anyio.abc.SocketListener.from_socket(server) as plain, anyio.create_task_group() as tasks:
            listener = TLSListener(plain, self._tls, standard_compatible=False) if self._tls else plain
            tasks.start_soon(listener.serve, self._converse, tasks)
            try:
                yield f"{'https' if self._tls else self.scheme}://127.0.0.1:{port}"
            except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                raised = error
            tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def _converse(self, client: anyio.abc.ByteStream) -> None:
        with suppress(*GONE):
            async with client:
                await self._serve(client)

    async def _serve(self, client: anyio.abc.ByteStream) -> None:
        received = BufferedByteReceiveStream(client)
        lines = (await received.receive_until(b"\r\n\r\n", 1 << 16)).decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        login = base64.b64decode(headers.get("proxy-authorization", "").removeprefix("Basic ")).decode()
        self.asked.append(f"{method} {target}")
        self.logins.append(login)
        parts = urlsplit(target)
        place = target if method == "CONNECT" else f"{parts.hostname}:{parts.port or 80}"
        if self._status or (self._login and login != self._login) or place not in self._hosts:
            status = self._status or (407 if login != self._login else 502)
            await client.send(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        async with await anyio.connect_tcp("127.0.0.1", self._hosts[place]) as server:
            if method == "CONNECT":
                await client.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                kept = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
                await server.send("\r\n".join([f"{method} {parts.path} {version}", *kept, "", ""]).encode("latin-1"))
            if received.buffer:
                await server.send(received.buffer)
            await _pass_on(client, server)


class SocksServer(ProxyServer):
    """A SOCKS5 proxy that looks names up itself. Source: RFC 1928 and, for the login, RFC 1929."""

    scheme = "socks5h"

    async def _serve(self, client: anyio.abc.ByteStream) -> None:
        received = BufferedByteReceiveStream(client)
        _, count = await received.receive_exactly(2)
        methods = await received.receive_exactly(count)
        wanted = 2 if self._login else 0
        await client.send(bytes([5, wanted if wanted in methods else 0xFF]))
        if wanted not in methods:
            return
        if self._login:
            await received.receive_exactly(1)
            words = [await received.receive_exactly((await received.receive_exactly(1))[0]) for _ in range(2)]
            self.logins.append(b":".join(words).decode())
            is_right = self.logins[-1] == self._login
            await client.send(bytes([1, 0 if is_right else 1]))
            if not is_right:
                return
        _, _, _, kind = await received.receive_exactly(4)
        assert kind == 3  # a name
        name = await received.receive_exactly((await received.receive_exactly(1))[0])
        place = f"{name.decode()}:{int.from_bytes(await received.receive_exactly(2))}"
        self.asked.append(f"CONNECT {place}")
        is_known = place in self._hosts
        await client.send(bytes([5, 0 if is_known else 4, 0, 1, 0, 0, 0, 0, 0, 0]))
        if is_known:
            async with await anyio.connect_tcp("127.0.0.1", self._hosts[place]) as server:
                await _pass_on(client, server)


async def _pass_on(one: anyio.abc.ByteStream, other: anyio.abc.ByteStream) -> None:
    """Pass on what each says, until one of them has hung up."""

    async def listen(source: anyio.abc.ByteStream, sink: anyio.abc.ByteStream) -> None:
        with suppress(*GONE):
            while True:
                await sink.send(await source.receive())
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen, one, other)
        tasks.start_soon(listen, other, one)
