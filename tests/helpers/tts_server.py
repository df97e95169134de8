"""A text-to-speech websocket that does what a script says, so that every end of a connection can be had.

async with SpeechServer(good, broken).serve() as url: ...
"""

from __future__ import annotations

import base64
import json
import logging
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, TypeAlias

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SESSION_ID = "t"
"""What it calls each session."""

FRAME = b"\1\0" * 1920
"""80 ms at 24 kHz."""


class Peer:
    """The service's end of one connection.

    Attributes:
        at_s: When it was made.
        kinds: What the client has sent: the text of each Generate, and the types of all else.
        headers: Of the handshake.
    """

    def __init__(self, connection: ServerConnection) -> None:
        self.at_s = anyio.current_time()
        self.kinds: list[str] = []
        self.connection = connection
        assert connection.request is not None
        self.headers = connection.request.headers
        self.path = connection.request.path

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def begin(self, **configuration: Any) -> None:
        await self.send("Begin", id=SESSION_ID, expires_at=1, configuration=configuration)

    async def read(self) -> str:
        """Return the client's next message."""
        message = json.loads(await self.connection.recv())
        self.kinds.append(message.get("text", message["type"]))
        return self.kinds[-1]

    async def read_until(self, kind: str) -> None:
        while await self.read() != kind:
            pass

    async def audio(self, number: int, frames: int = 1) -> None:
        for _ in range(frames):
            await self.send("Audio", flush_id=number, audio=base64.b64encode(FRAME).decode())

    async def done(self, number: int) -> None:
        await self.send("FlushDone", flush_id=number, audio_duration_ms=80)

    async def error(self, code: int, **fields: Any) -> None:
        await self.send("Error", error_code=code, **fields)
        await self.connection.close(code, "session error")

    async def serve(self, *, number: int = 0, frames: int = 1) -> None:
        """Speak whatever is asked for, from this number on."""
        while True:
            match await self.read():
                case "Flush":
                    await self.audio(number, frames)
                    await self.done(number)
                    number += 1
                case "Cancel":
                    number += 1
                    await self.send("Cancelled", audio_duration_seconds=0.0)
                case "Terminate":
                    await self.send("Termination", session_duration_seconds=1)
                    await self.connection.close()


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


async def good(peer: Peer) -> None:
    """A service that does what it should."""
    await peer.begin()
    await peer.serve()


class SpeechServer:
    """Serves the n-th connection with the n-th script, and the last script to all that follow.

    An integer instead of a script is an HTTP status that answers the handshake.

    Attributes:
        peers: The connections that were made, in order.
        refused: How many handshakes were answered with a status.
    """

    def __init__(self, *scripts: Script | int, headers: dict[str, str] | None = None) -> None:
        self.peers: list[Peer] = []
        self.refused = 0
        self._scripts = scripts
        self._headers = headers or {}

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncGenerator[str]:
        server = await serve(
            self._converse,
            "127.0.0.1",
            0,
            ssl=tls,
            process_request=self._handshake,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            logger=logging.Logger("silent", logging.CRITICAL + 1),  # noqa: LOG001 - pytest must not capture it
        )
        try:
            yield f"{'wss' if tls else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await server.wait_closed()

    def _next(self) -> Script | int:
        return self._scripts[min(len(self.peers) + self.refused, len(self._scripts) - 1)]

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        script = self._next()
        if callable(script):
            return None
        self.refused += 1
        return Response(script, HTTPStatus(script).phrase, Headers(self._headers), b"")

    async def _converse(self, connection: ServerConnection) -> None:
        script = self._next()
        peer = Peer(connection)
        self.peers.append(peer)
        assert callable(script)
        with suppress(ConnectionClosed):
            await script(peer)
            if connection.close_code is None:
                await connection.wait_closed()
