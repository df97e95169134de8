"""A server on loopback that answers each GET after a while with the same bytes.

async with GetServer(answer("200 OK", b"{}"), after_s=0.8).serve() as base_url: ...
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import anyio.abc
from anyio.streams.tls import TLSListener

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator


class GetServer:
    """Keeps its connections open.

    Args:
        answer: The answer; "{key}" in it stands for the key that came with the request.
        after_s: How long an answer takes.
        tls: For a server that is spoken to by https.

    Attributes:
        asked: The heads of the requests.
    """

    def __init__(self, answer: bytes, *, after_s: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self._answer = answer
        self._after_s = after_s
        self._tls = tls

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
        async with await anyio.abc.SocketListener.from_socket(server) as plain, anyio.create_task_group() as tasks:
            listener = TLSListener(plain, self._tls, standard_compatible=False) if self._tls else plain
            tasks.start_soon(listener.serve, self._converse, tasks)
            yield f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
            tasks.cancel_scope.cancel()

    async def _converse(self, stream: anyio.abc.ByteStream) -> None:
        received = b""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with stream:
                while True:
                    while b"\r\n\r\n" not in received:
                        received += await stream.receive()
                    head, _, received = received.partition(b"\r\n\r\n")
                    self.asked.append(head.decode("latin-1"))
                    key = next((line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"authoriz")), b"")
                    await anyio.sleep(self._after_s)
                    await stream.send(self._answer.replace(b"{key}", key))
