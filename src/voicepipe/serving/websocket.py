"""A call over a websocket of an ASGI server, from the upgrade to the close.

Rule 1: a peer is refused before the upgrade, with a status of HTTP and a time to try again where that helps.
Rule 2: messages go straight to the server's own functions: a call sends and receives a hundred of them a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from voicepipe.core.log import log
from voicepipe.serving.refusal import PeerLeft, Refused
from voicepipe.serving.transport import Peer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from voicepipe.core.context import Fact
    from voicepipe.serving.desk import FrontDesk
    from voicepipe.serving.transport import Transport

__all__ = ["WebSocketEntry", "WebSocketPeer", "address_of"]

REASON_BYTES: Final = 123
"""The longest reason that fits into a close frame."""

HUNG_UP: Final = 1000
"""The code of a peer that is done. A page that is reloaded sends 1001, and of a broken connection uvicorn says 1005."""


class WebSocketPeer(Peer):
    """The peer at the other end of an accepted websocket.

    Args:
        scope: What the ASGI server knows about the connection.
        receive: Its function for the next event.
        send: Its function for what is sent.
        facts: What is known for certain about the peer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, facts: Mapping[str, Fact]) -> None:
        self.facts = facts
        self.address = address_of(scope)
        asked = HTTPConnection(scope)
        self.resume = asked.headers.get("voicepipe-resume", "") or asked.query_params.get("resume", "")
        self._receive = receive
        self._send = send
        self._is_open = True

    async def receive(self) -> str | bytes:
        """Return the next message. See `Peer.receive`."""
        if not self._is_open:
            raise PeerLeft
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self._is_open = False
            raise PeerLeft(is_orderly=event.get("code") == HUNG_UP)
        pcm: bytes | None = event.get("bytes")
        return event["text"] if pcm is None else pcm

    async def send(self, message: str | bytes) -> None:
        """Send a message. See `Peer.send`."""
        if self._is_open:
            kind = "text" if isinstance(message, str) else "bytes"
            await self._pass_on({"type": "websocket.send", kind: message})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. See `Peer.close`."""
        if self._is_open:
            self._is_open = False
            shortened = reason.encode()[:REASON_BYTES].decode(errors="ignore")
            await self._pass_on({"type": "websocket.close", "code": code, "reason": shortened})

    async def _pass_on(self, event: dict[str, object]) -> None:
        try:
            await self._send(event)
        except (OSError, RuntimeError):  # how servers report a peer that is gone, and one that they have closed
            self._is_open = False

    def takes_audio(self, seconds: float) -> None:
        """Count nothing: `MeteredPeer` does."""


class WebSocketEntry:
    """The ASGI application behind a transport's path.

    Args:
        transport: The transport.
        desk: Takes the calls.
    """

    def __init__(self, transport: Transport, desk: FrontDesk) -> None:
        self._transport = transport
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold a call, or refuse it."""
        socket, desk, transport = WebSocket(scope, receive, send), self._desk, self._transport
        try:
            facts = await desk.let_in(transport, socket)
            with desk.place_for(transport, facts):
                offered = transport.subprotocol in scope.get("subprotocols", ())
                try:
                    await socket.accept(subprotocol=transport.subprotocol if offered else None)
                except (OSError, WebSocketDisconnect):  # the peer has left meanwhile
                    return
                await desk.converse(transport, WebSocketPeer(scope, receive, send, facts))
        except Refused as refused:
            desk.note_refusal(transport, refused, address_of(scope))
            await _deny(socket, refused)
        except Exception:  # a fault of the transport, or of the application's authenticator
            if desk.is_open:
                log.exception("a call could not be let in by %s", transport.name)
                await _deny(socket, Refused("error", "the server failed", status=500, code=1011))
            else:
                raise


async def _deny(socket: WebSocket, refused: Refused) -> None:
    """Refuse before the upgrade. Without the extension for a status, servers answer with 403."""
    with anyio.CancelScope(shield=True):
        try:
            if refused.status == 403 or "websocket.http.response" not in socket.scope.get("extensions", {}):
                await socket.close(refused.code)
                return
            again = {} if refused.retry_s is None else {"Retry-After": f"{max(1, round(refused.retry_s + 0.49))}"}
            await socket.send_denial_response(PlainTextResponse(refused.message, refused.status, again))
        except (OSError, RuntimeError, WebSocketDisconnect):  # the peer has left
            log.debug("a refused peer had left")


def address_of(scope: Scope) -> str:
    """Return where a peer connects from, e.g. "192.0.2.7:4711"; "" if the server does not know."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""
