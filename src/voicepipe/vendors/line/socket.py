"""A websocket to a service: opened with a key, read without trust, and always closed.

Rule 1: the client library is imported when a connection is opened, and its errors become ours only here.
Rule 2: it has no timer of its own: the code that waits for the socket sets the limit.
Rule 3: it follows no redirect, takes proxy and certificates from the route, and mutes the library's log, which would
        contain the key.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio

from voicepipe.core.observer import Wire
from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.http.refusals import excerpt
from voicepipe.vendors.credentials import authorization, without_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed

    from voicepipe.http.network import Route

__all__ = ["Endpoint", "Socket", "SocketClosed"]

MAX_MESSAGE_BYTES: Final = 1 << 20
"""A turn's message has a few kilobytes, and so has a frame of audio with most services."""

CLOSE_S: Final = 0.3
"""How long the service may take to answer a close frame before the connection is cut."""

REMEDIES: Final = {
    400: "check the model and the other settings",
    402: "top up the account",
    404: "check host and url",
    422: "check the model and the other settings",
}
"""What to do about a handshake that is refused for good."""

SILENT: Final = logging.Logger("voicepipe.websocket", logging.CRITICAL + 1)  # noqa: LOG001 - see below
"""A logger outside the tree of loggers, so that no configuration can enable it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a vendor's websocket is, and how to get there.

    Attributes:
        vendor: The service, for messages.
        url: With its query, and without the key.
        key: Sent in the handshake; an empty one is not sent.
        route: How to get there.
        scheme: What precedes the key in its header, e.g. "Token ".
        header: The header that holds the key.
        headers: Further headers of the handshake.
        max_message_bytes: The longest message of the service; a longer one is a broken service.
        id_header: The header in which the service names the connection; "" if it has none.
    """

    vendor: str
    url: str
    key: SecretStr
    route: Route
    scheme: str = ""
    header: str = "Authorization"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    max_message_bytes: int = MAX_MESSAGE_BYTES
    id_header: str = ""

    def clean(self, text: str) -> str:
        """Return what the service said, short and without the key, fit to be shown."""
        return excerpt(without_key(text, self.key))


class SocketClosed(Exception):  # noqa: N818 - names what happened
    """The connection is over.

    Attributes:
        code: The service's close code; 1006 when it sent none, or broke the protocol.
        reason: The text that came with it.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Socket:
    """An open websocket, made by `open`.

    Args:
        connection: The library's.
        closed: The exception with which the library says that it is over; an import at each message costs more than
            the message.
        wire: Shows observers what is sent and received; None if nobody wants to see it.
        session_id: The service's name for the connection, if it has one.
    """

    def __init__(
        self,
        connection: ClientConnection,
        closed: type[ConnectionClosed],
        wire: Wire | None = None,
        session_id: str | None = None,
    ) -> None:
        self.session_id = session_id
        self._connection = connection
        self._wire = wire
        self._closed = closed

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Socket:
        """Connect and shake hands, without a time limit; cancelling closes what was opened.

        Raises:
            VendorError: The host cannot be reached or refuses; `AuthenticationError` and `RateLimited` among them.
        """
        from websockets import exceptions  # noqa: PLC0415 - see Rule 1
        from websockets.asyncio.client import connect  # noqa: PLC0415

        class Connect(connect):
            def process_redirect(self, exc: Exception) -> Exception:
                return exc  # the key is for this host alone

        url, key, route = endpoint.url, endpoint.key, endpoint.route
        host = url.split("/")[2]
        if (wire := Wire.begun(host, lambda text: without_key(text, key))) is not None:
            wire.sent(f"websocket {urlsplit(url).path}", urlsplit(url).query)
        # Only allowed where there is such a handshake.
        to_proxy: dict[str, Any] = {"proxy_ssl": route.proxy_tls} if route.proxy_tls else {}
        try:
            connection = await Connect(
                url,
                ssl=route.tls if url.lower().startswith("wss:") else None,
                proxy=route.proxy.url if route.proxy else None,
                **to_proxy,
                additional_headers={**endpoint.headers, **authorization(key, endpoint.scheme, endpoint.header)},
                user_agent_header="voicepipe",
                compression=None,  # audio does not get smaller, and each connection would hold 64 KiB for it
                open_timeout=None,  # one limit of the caller's covers the first message too
                ping_interval=None,  # the service's own messages show that it is there; see `Watch`
                close_timeout=CLOSE_S,
                max_size=endpoint.max_message_bytes,
                max_queue=16,  # further messages wait at the sender
                logger=SILENT,
            )
            if route.proxy is not None and route.proxy.is_socks:
                _send_at_once(connection)
            answered = connection.response.headers if connection.response is not None and endpoint.id_header else {}
            return cls(connection, exceptions.ConnectionClosed, wire, answered.get(endpoint.id_header))
        except exceptions.InvalidStatus as error:
            response = error.response
            said = endpoint.clean(bytes(response.body or b"").decode("utf-8", "replace"))
            failure = _refused(endpoint.vendor, host, response.status_code, said, response.headers.get("Retry-After"))
        except (OSError, EOFError, exceptions.WebSocketException) as error:
            cause = f": {error.__cause__}" if isinstance(error, exceptions.ProxyError) and error.__cause__ else ""
            why = f"{type(error).__name__}: {endpoint.clean(f'{error}{cause}')}"
            refused = error.response.status_code if isinstance(error, exceptions.InvalidProxyStatus) else None
            remedy = "is the host right, is the network up?"
            failure = route.failure(endpoint.vendor, host, why, remedy, refused=refused)
        raise failure  # without the library's error as its cause: that holds the response, perhaps with the key

    @property
    def has_room(self) -> bool:
        """Whether the next message is sent without waiting: nothing waits for the other side to read."""
        return self._connection.transport.get_write_buffer_size() == 0

    async def send(self, data: str | bytes) -> None:
        """Send one message, waiting while the other side does not read.

        Raises:
            SocketClosed: The connection is over.
        """
        try:
            await self._connection.send(data)
        except self._closed as closed:
            raise _closed(closed) from None
        if self._wire is not None:
            self._wire.sent(data=data)

    async def receive(self) -> bytes:
        """Return the next message, text as bytes: invalid UTF-8 then costs the message and not the connection.

        Messages that came before the connection was over are still returned.

        Raises:
            SocketClosed: The connection is over.
        """
        try:
            message = await self._connection.recv(decode=False)
        except self._closed as closed:
            over = _closed(closed)
            if self._wire is not None:
                self._wire.received(f"closed {over.code}", over.reason)
            raise over from None
        if self._wire is not None:
            self._wire.received_text(message)
        return message

    async def ping(self) -> None:
        """Return once the other side has answered a ping, without a time limit.

        Raises:
            SocketClosed: The connection is over.
        """
        try:
            await (await self._connection.ping())
        except self._closed as closed:
            raise _closed(closed) from None

    def abort(self) -> None:
        """Cut the connection; `receive` returns what has already come, and then raises."""
        self._connection.transport.abort()

    async def aclose(self) -> None:
        """Close the connection, with a close frame if the service answers it. Takes `CLOSE_S` at most."""
        try:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await self._connection.close()
        finally:
            self.abort()


def _send_at_once(connection: ClientConnection) -> None:
    """Do what asyncio leaves out for a socket that SOCKS has opened: otherwise a small message could wait 40 ms."""
    with suppress(OSError):  # the connection may be over already; reading says why
        connection.transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)


def _closed(closed: ConnectionClosed) -> SocketClosed:
    if closed.rcvd is None or closed.rcvd_then_sent is False:  # no close frame came, or the service broke the protocol
        return SocketClosed(1006, excerpt(closed.sent.reason) if closed.sent is not None else "")
    return SocketClosed(closed.rcvd.code, excerpt(closed.rcvd.reason))


def _refused(vendor: str, host: str, status: int, said: str, retry_after: str | None) -> VendorError:
    answered = f"{host} refused the connection with HTTP {status}" + (f" ({said})" if said else "")
    if status in (401, 403):
        return AuthenticationError(f"{answered}; check the key and what it may be used for", vendor=vendor)
    if status == 429:
        wait_s = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
        return RateLimited(f"{answered}; open fewer sessions a minute", vendor=vendor, retry_after_s=wait_s)
    if status >= 500:
        return VendorError(f"{answered}; try again later", vendor=vendor, retryable=True)
    remedy = REMEDIES.get(status, "there is no websocket at this address")
    return VendorError(f"{answered}; {remedy}", vendor=vendor, retryable=False)
