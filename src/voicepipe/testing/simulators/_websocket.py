"""One client's websocket, seen from a simulated service: messages in and out, and every way a connection can end.

Rule 1: it answers pings and closes as the standard requires, except in `reset` and while nothing reads from it.
Rule 2: it has no task, and no timer but the wait for a client's close frame, so it runs on virtual time too.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import anyio
import anyio.abc
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["ClientGone", "ServerSocket"]

CLOSE_S: Final = 1.0
"""How long a client may take to answer a close frame before its connection is cut."""

SILENT: Final = logging.Logger("voicepipe.simulators", logging.CRITICAL + 1)  # noqa: LOG001 - of no hierarchy
"""At DEBUG the protocol's own logger would print the headers, and with them the key."""


class ClientGone(Exception):  # noqa: N818 - names what happened
    """The connection is closed, by either side."""


class ServerSocket:
    """The server's end of one websocket.

    Args:
        stream: The accepted connection; the caller closes it.
        max_bytes: The longest message a client may send; a longer one is answered with close code 1009.

    Attributes:
        request: The client's HTTP request; set by `receive_request`.
    """

    request: Request

    def __init__(self, stream: anyio.abc.SocketStream, *, max_bytes: int) -> None:
        self._stream = stream
        self._protocol = ServerProtocol(max_size=max_bytes, logger=SILENT)
        self._sending = anyio.Lock()  # two tasks of a session may send
        self._messages: deque[str | bytes] = deque()
        self._parts: list[bytes] = []
        self._is_text = False
        self._requested = False

    @property
    def path(self) -> str:
        """The path of the client's request, without the query."""
        return urlsplit(self.request.path).path

    @property
    def query(self) -> str:
        """The query of the client's request, as it was sent."""
        return urlsplit(self.request.path).query

    @property
    def closed(self) -> tuple[int, str] | None:
        """Code and reason of the first close frame of either side; None while there is none."""
        protocol = self._protocol
        close = protocol.close_rcvd if protocol.close_rcvd_then_sent else protocol.close_sent or protocol.close_rcvd
        return (close.code, close.reason) if close is not None else None

    async def receive_request(self) -> None:
        """Read the client's HTTP request.

        Raises:
            ClientGone: It hung up, or sent something else.
        """
        while not self._requested:
            await self._read()

    async def accept(self) -> None:
        """Answer the handshake; another request gets an HTTP error.

        Raises:
            ClientGone: The client hung up, or its request was no handshake.
        """
        self._protocol.send_response(self._protocol.accept(self.request))
        await self._flush()
        if self._protocol.state is not State.OPEN:
            raise ClientGone

    async def reject(self, status: int, text: str) -> None:
        """Answer the handshake with an HTTP error."""
        self._protocol.send_response(self._protocol.reject(status, text))
        await self._flush()

    async def answer(self, status: int, body: JsonValue) -> None:
        """Answer a request that is no handshake with JSON, and end the connection."""
        response = self._protocol.reject(status, json.dumps(body))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        self._protocol.send_response(response)
        await self._flush()

    async def receive(self) -> str | bytes:
        """Return the next message.

        Raises:
            ClientGone: The connection is closed.
        """
        while not self._messages:
            await self._read()
        return self._messages.popleft()

    async def send(self, text: str) -> None:
        """Send a text message.

        Raises:
            ClientGone: The connection is closed.
        """
        if self._protocol.state is not State.OPEN:
            raise ClientGone
        self._protocol.send_text(text.encode())
        await self._flush()

    async def close(self, code: int | None, reason: str = "") -> None:
        """Send a close frame, without a code if it is None; wait for the client's answer, for `CLOSE_S` at most."""
        with suppress(ClientGone), anyio.move_on_after(CLOSE_S):
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, reason)
                await self._flush()
            while True:
                await self._read()

    def reset(self) -> None:
        """Cut the connection with a TCP reset. Closing the stream ends it without one."""
        raw = self._stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - anyio's
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closing the stream would send an end of stream first, and a client might see only that.
        cast("Any", self._stream)._transport.abort()

    async def _read(self) -> None:
        try:
            data = await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._protocol.receive_eof()
            raise ClientGone from None
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self.request, self._requested = event, True
            elif isinstance(event, Frame):
                self._take(event)
        await self._flush()
        protocol = self._protocol
        if (protocol.close_rcvd or protocol.parser_exc or protocol.handshake_exc) and not self._messages:
            raise ClientGone

    def _take(self, frame: Frame) -> None:
        """Keep a data frame, and join the frames of one message."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
            self._parts = []
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._parts)
            # Invalid UTF-8 is invalid JSON too, and is refused as such.
            self._messages.append(whole.decode(errors="replace") if self._is_text else whole)

    async def _flush(self) -> None:
        async with self._sending:
            try:
                for data in self._protocol.data_to_send():
                    if data:
                        await self._stream.send(data)
                    else:
                        await self._stream.send_eof()
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                raise ClientGone from None
