"""A server that sends bytes as a script has them, so that every layer of a response can be broken.

async with RawServer([sse(text("Hello."), END)]).serve() as base_url: ...
"""

from __future__ import annotations

import json
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio
import anyio.abc
from anyio.streams.tls import TLSListener

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Sequence

Act: TypeAlias = bytes | float | Literal["hold", "reset", "repeat"]
"""Bytes are sent, a number is a pause in seconds. "hold" waits until the client leaves, "reset" breaks the connection,
"repeat" begins again with the act before the pause before it. At the end the connection is closed."""

HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
DONE: Final = b"data: [DONE]\n\n"


def data(body: object) -> bytes:
    """One event."""
    return b"data: " + (body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()) + b"\n\n"


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a streamed completion."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def text(content: str | None) -> bytes:
    """An event that carries words."""
    return data(delta(content=content))


END: Final = data(delta("stop")) + DONE


def answer(status: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A whole response that is no stream."""
    lines = (f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


@dataclass(frozen=True)
class RawRequest:
    at_s: float
    headers: str
    body: Any


class RawServer:
    """Answers the n-th POST with the n-th list of acts, and the last list to all that follow. A GET gets a 404.

    Args:
        replies: The lists of acts.
        tls: For a server that is spoken to by https.

    Attributes:
        requests: The POSTs, in order.
        gone: Set when a client has hung up.
    """

    def __init__(self, *replies: Sequence[Act], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[RawRequest] = []
        self.gone = anyio.Event()
        self._replies = replies
        self._tls = tls

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
        raised: Exception | None = None
        async with await anyio.abc.SocketListener.from_socket(server) as plain, anyio.create_task_group() as tasks:
            listener = TLSListener(plain, self._tls, standard_compatible=False) if self._tls else plain
            tasks.start_soon(listener.serve, self._converse, tasks)
            try:
                yield f"{'https' if self._tls else 'http'}://127.0.0.1:{port}/v1"
            except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                raised = error
            tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def _converse(self, stream: anyio.abc.ByteStream) -> None:
        received = b""
        try:
            while True:
                while b"\r\n\r\n" not in received:
                    received += await stream.receive()
                head, _, received = received.partition(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    await stream.send(answer("404 Not Found", b""))
                    continue
                length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-len"))
                while len(received) < length:
                    received += await stream.receive()
                body = received if b"multipart/form-data" in head else json.loads(received)
                self.requests.append(RawRequest(anyio.current_time(), head.decode("latin-1"), body))
                await self._play(self._replies[min(len(self.requests), len(self._replies)) - 1], stream)
                return
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.gone.set()
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    async def _play(self, acts: Sequence[Act], stream: anyio.abc.ByteStream) -> None:
        at = 0
        while at < len(acts):
            match acts[at]:
                case bytes() as sent:
                    await stream.send(sent)
                case "hold":
                    await stream.receive()
                case "reset":
                    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                case "repeat":
                    at -= 3
                case float() | int() as pause_s:
                    await anyio.sleep(pause_s)
            at += 1
