"""The websocket of a hosted agent: messages of a vendor's protocol over one connection.

Rule 1: the protocol is pure: requests in, frames out, frames in, events out. Here is the socket, and its deadlines.
Rule 2: a connection counts once the service says that it is ready: handshakes accept any key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.log import log
from voicepipe.errors import VendorError, VoicepipeError
from voicepipe.hosted.line import AgentConnection
from voicepipe.vendors.line.socket import Endpoint, Socket, SocketClosed

if TYPE_CHECKING:
    from voicepipe.hosted.messages import AgentEvent, AgentRequest, AgentSetup

__all__ = ["AgentProtocol", "AgentSocket"]

READY_S: Final = 5.0
"""How long connecting may take, until the service is ready; a part has 10 s to be attached."""

PING_S: Final = 5.0
"""How often a sign of life is asked for, and how long it may take: a dead connection takes audio for minutes."""

MAX_UNKNOWN: Final = 20
MAX_KIND_CHARACTERS: Final = 60
"""What is kept of the kinds of messages that a protocol does not know."""

FAREWELL_S: Final = 0.3
"""How long the goodbye may take, besides the close frame; a part has 1 s to close."""


class UnknownKinds:
    """Kinds of messages that a protocol does not know, each once; a service may send kinds without end.

    Attributes:
        kinds: Their names.
    """

    def __init__(self) -> None:
        self.kinds: set[str] = set()

    def add(self, kind: str) -> None:
        """Note a kind, unless there are enough."""
        if len(self.kinds) < MAX_UNKNOWN:
            self.kinds.add(kind[:MAX_KIND_CHARACTERS])

    def __len__(self) -> int:
        return len(self.kinds)


class AgentProtocol(ABC):
    """A vendor's messages of one session.

    Attributes:
        is_ready: Whether the service has accepted the session.
        session_id: The service's id of the session, with which it can be resumed; "" for none.
        was_resumed: Whether it goes on with a session that was lost.
        failure: Why the service has refused to go on; None if it has not.
        unknown: Kinds of messages that the protocol does not know.
    """

    def __init__(self) -> None:
        self.is_ready = False
        self.session_id = ""
        self.was_resumed = False
        self.failure: VoicepipeError | None = None
        self.unknown = UnknownKinds()

    @abstractmethod
    def opening(self, setup: AgentSetup) -> list[str]:
        """Return the messages that a session begins with; more may follow with `write` before it is ready."""

    def settling(self) -> list[str]:
        """Return what is sent once the service is ready."""
        return []

    @abstractmethod
    def write(self, request: AgentRequest) -> list[str]:
        """Return the messages for a request; none if the service has no message for it."""

    @abstractmethod
    def read(self, data: bytes) -> list[AgentEvent]:
        """Return what a message of the service reports; nothing for one that cannot be read."""

    @abstractmethod
    def closed(self, code: int, reason: str) -> VoicepipeError:
        """Return the error for a connection that the service has closed."""

    def farewell(self) -> list[str]:
        """Return the messages that end a session."""
        return []


class AgentSocket(AgentConnection):
    """An open connection.

    Args:
        socket: The websocket.
        protocol: The vendor's.
        endpoint: Keeps the key out of what the service says.
    """

    def __init__(self, socket: Socket, protocol: AgentProtocol, endpoint: Endpoint) -> None:
        self._socket = socket
        self._protocol = protocol
        self._endpoint = endpoint
        self._early: list[AgentEvent] = []

    @classmethod
    async def open(cls, endpoint: Endpoint, protocol: AgentProtocol, setup: AgentSetup) -> AgentSocket:
        """Connect, and return when the service is ready; cancelling closes what was opened.

        Raises:
            VoicepipeError: The service cannot be reached, or refuses.
        """
        connection: AgentSocket | None = None
        try:
            with anyio.move_on_after(READY_S) as limit:
                connection = cls(await Socket.open(endpoint), protocol, endpoint)
                await connection._begin(setup)
        except BaseException:
            if connection is not None:
                connection.abort()
            raise
        if not limit.cancelled_caught and connection is not None:
            return connection
        if connection is not None:
            connection.abort()
        where = endpoint.url.split("/")[2]
        raise VendorError(f"{where} was not ready within {READY_S:g} s", vendor=endpoint.vendor, retryable=True)

    async def _begin(self, setup: AgentSetup) -> None:
        with suppress(VoicepipeError):  # it may have been closed already, after a message that says why
            await self._write(self._protocol.opening(setup))
        while not self._protocol.is_ready:
            self._early += await self.receive()
            if self._protocol.failure is not None:
                raise self._protocol.failure
        await self._write(self._protocol.settling())
        self.name, self.was_resumed = self._protocol.session_id, self._protocol.was_resumed

    async def send(self, request: AgentRequest) -> None:
        """Send a request. See `AgentConnection.send`."""
        await self._write(self._protocol.write(request))

    async def _write(self, messages: list[str]) -> None:
        try:
            for message in messages:
                await self._socket.send(message)
        except SocketClosed as closed:
            raise self._over(closed) from None

    async def receive(self) -> list[AgentEvent]:
        """Return what the next message reports. See `AgentConnection.receive`."""
        if self._early and self._protocol.is_ready:
            early, self._early = self._early, []
            return early
        try:
            data = await self._socket.receive()
        except SocketClosed as closed:
            raise self._over(closed) from None
        known = len(self._protocol.unknown)
        events = self._protocol.read(data)
        if len(self._protocol.unknown) > known:
            kinds = self._endpoint.clean(", ".join(sorted(self._protocol.unknown.kinds)))
            log.debug("%s sends messages that are not known: %s", self._endpoint.vendor, kinds)
        return events

    async def keep(self) -> None:
        """Ask for signs of life. See `AgentConnection.keep`."""
        vendor = self._endpoint.vendor
        while True:
            await anyio.sleep(PING_S)
            with anyio.move_on_after(PING_S) as limit:
                try:
                    await self._socket.ping()
                except SocketClosed as closed:
                    raise self._over(closed) from None
            if limit.cancelled_caught:
                raise VendorError(f"{vendor} no longer responds", vendor=vendor, retryable=True)

    def _over(self, closed: SocketClosed) -> VoicepipeError:
        if self._protocol.failure is not None:
            return self._protocol.failure
        return self._protocol.closed(closed.code, self._endpoint.clean(closed.reason))

    def abort(self) -> None:
        """Cut the connection. See `AgentConnection.abort`."""
        self._socket.abort()

    async def aclose(self) -> None:
        """End the session and close the connection. See `AgentConnection.aclose`."""
        with anyio.move_on_after(FAREWELL_S, shield=True):
            try:
                for message in self._protocol.farewell():
                    await self._socket.send(message)
            except SocketClosed:
                pass
        await self._socket.aclose()
