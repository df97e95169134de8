"""Calls over AudioSocket: Asterisk connects to a port of this server, one connection for each call.

Rule 1: only the named addresses may connect, because the protocol has no proof of who calls.
Rule 2: audio goes out at the pace of speech, because Asterisk can neither clear it nor say what it has played.
"""

from __future__ import annotations

import inspect
import ipaddress
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import anyio
import anyio.abc

from voicepipe.audio.source import PushSource
from voicepipe.core.failures import single_error
from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError
from voicepipe.serving.audiosocket.protocol import AudioSocketProtocol, take_message
from voicepipe.serving.telephony import (
    AudioIn,
    Ended,
    LineEvent,
    TelephoneLine,
    TelephoneOutput,
    TelephoneTransport,
    begin,
)
from voicepipe.serving.transport import Line, Peer, PeerLeft, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping

    from anyio.abc import TaskGroup

    from voicepipe.core.context import Fact
    from voicepipe.serving.desk import Desk
    from voicepipe.session.session import Session

__all__ = ["AudioSocket", "AudioSocketPeer"]

FIRST_AUDIO_S: Final = 1.0
"""How long the first audio, which names the rate, is waited for; a line that sends none has 8,000 samples a second."""

ACCEPT_AGAIN_S: Final = 0.1
"""How long a connection waits that could not be accepted."""

MOST_MESSAGE_BYTES: Final = 8_192
"""20 ms at the highest rate are 7,680 bytes."""

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class AudioSocket(TelephoneTransport):
    """Telephone calls from an Asterisk of your own, whose dial plan has `AudioSocket(uuid,host:port)`.

    The call's facts are `uuid` and what `lookup` returns for it, such as the caller's number. When the agent ends the
    call, once its last words have been heard, the dial plan goes on behind `AudioSocket(...)`. Keys reach the session
    if Asterisk sends them, as 22.7 and later do.

    Args:
        host: The address to listen on. The protocol is not encrypted: take one of a private network.
        port: The port; 0 takes a free one.
        peers: The addresses or networks that may connect, e.g. "10.0.3.7" or "10.0.3.0/24".
        lookup: Gets a call's UUID and returns its facts, or None if there is no such call: it is refused then. May be
            async. Without it any UUID is taken.
        after: Gets a call's UUID and `Session.result` before the dial plan goes on, e.g. to write where a `vp.Transfer`
            leads into Asterisk's database. Has 2 s. May be async.

    Raises:
        ConfigurationError: The port or an address is invalid.
    """

    name = "audiosocket"
    proof = "the named addresses of its peers"
    most_message_bytes = MOST_MESSAGE_BYTES

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 9092,
        *,
        peers: Iterable[str] = ("127.0.0.1", "::1"),
        lookup: Callable[[str], Mapping[str, Fact] | None]
        | Callable[[str], Awaitable[Mapping[str, Fact] | None]]
        | None = None,
        after: Callable[[str, Any], object] | None = None,
    ) -> None:
        if not 0 <= port <= 65_535:
            raise ConfigurationError(f"AudioSocket: port must be 0 to 65535, not {port}")
        self._host = host
        self._wanted_port = port
        self._peers = _networks(peers)
        self._lookup = lookup
        self._after = after
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port on which the server listens; the one that was asked for while it does not."""
        return self._wanted_port if self._port is None else self._port

    @asynccontextmanager
    async def open(self, desk: Desk) -> AsyncGenerator[None]:
        """Listen for as long as the server runs. See `Transport.open`.

        Raises:
            ConfigurationError: The port is in use, or the address is not one of this machine.
        """
        try:
            listener = await anyio.create_tcp_listener(local_host=self._host, local_port=self._wanted_port)
        except OSError as error:
            raise ConfigurationError(
                f"AudioSocket cannot listen on {self._host}:{self._wanted_port}: {error.strerror or error}; "
                "choose another port or address"
            ) from None
        self._port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio's
        try:
            with single_error():
                async with listener, anyio.create_task_group() as tasks:
                    for one in listener.listeners:
                        tasks.start_soon(self._accept, cast("anyio.abc.SocketListener", one), desk, tasks)
                    yield
                    tasks.cancel_scope.cancel()
        finally:
            self._port = None

    async def _accept(self, listener: anyio.abc.SocketListener, desk: Desk, tasks: TaskGroup) -> None:
        """Take connections. One that cannot be accepted, for want of descriptors, ends neither the server nor a call.

        anyio's `serve` would end with it.
        """
        has_failed = False
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if not has_failed:
                    log.error("%s cannot accept a connection: %s", self.name, error.strerror or error)
                has_failed = True
                await anyio.sleep(ACCEPT_AGAIN_S)
            else:
                has_failed = False
                tasks.start_soon(self._take, stream, desk)

    async def _take(self, stream: anyio.abc.SocketStream, desk: Desk) -> None:
        async with stream:
            address = stream.extra(anyio.abc.SocketAttribute.remote_address, None)  # noqa: S610 - anyio's
            if address is None:
                return  # it was reset before it was looked at
            peer = AudioSocketPeer(stream, f"{address[0]}:{address[1]}")
            if not self._may_connect(str(address[0])):
                desk.note_refusal(self, Refused("peer", "this address is not among the peers"), peer.address)
                return
            try:
                await desk.hold(self, peer)
            except Exception:  # noqa: BLE001 - a fault of the server, which no other call may pay for
                log.exception("a call by %s failed", self.name)

    async def start(self, peer: Peer, desk: Desk) -> Line:
        """Wait for the call's UUID and its first audio. See `Transport.start`."""
        del desk
        protocol = AudioSocketProtocol()
        started = await begin(peer, protocol)
        facts = await self._facts_of(started.call_id)
        early: list[LineEvent] = []
        with anyio.move_on_after(FIRST_AUDIO_S):
            while not any(isinstance(event, AudioIn) for event in early):
                early += protocol.feed(await peer.receive())
                if any(isinstance(event, Ended) for event in early):
                    raise PeerLeft
        protocol.settle()
        return TelephoneLine(
            source=PushSource(protocol.sample_rate),
            output=TelephoneOutput(peer, protocol),
            facts={**facts, "uuid": started.call_id},
            id=started.call_id,
            protocol=protocol,
            early=early,
        )

    async def finish(self, peer: Peer, line: Line, session: Session) -> None:
        """Tell the application how the call ended, then Asterisk. See `Transport.finish`."""
        if not isinstance(line, TelephoneLine) or not isinstance(line.protocol, AudioSocketProtocol):
            return
        if self._after is not None:
            running = self._after(session.id, session.result)
            if inspect.isawaitable(running):
                await running
        await peer.send(line.protocol.hang_up())

    async def _facts_of(self, uuid: str) -> Mapping[str, Fact]:
        if self._lookup is None:
            return {}
        found: Any = self._lookup(uuid)
        facts: Mapping[str, Fact] | None = await found if inspect.isawaitable(found) else found
        if facts is None:
            raise Refused("token", "there is no call with this UUID", code=4401)
        return facts

    def _may_connect(self, address: str) -> bool:
        own = ipaddress.ip_address(address.partition("%")[0])
        plain = own.ipv4_mapped if isinstance(own, ipaddress.IPv6Address) and own.ipv4_mapped else own
        return any(plain in network for network in self._peers)

    def __repr__(self) -> str:
        """Show where it listens."""
        return f"<AudioSocket {self._host}:{self.port}>"


class AudioSocketPeer(Peer):
    """One connection of Asterisk. Its messages are whole, with their headers.

    Args:
        stream: The connection.
        address: Where it comes from.
    """

    def __init__(self, stream: anyio.abc.ByteStream, address: str) -> None:
        self.facts: Mapping[str, Fact] = {}
        self.address = address
        self._stream = stream
        self._received = bytearray()

    async def receive(self) -> bytes:
        """Return the next message. See `Peer.receive`."""
        while (message := take_message(self._received, MOST_MESSAGE_BYTES)) is None:
            try:
                self._received += await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise PeerLeft from None
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message. See `Peer.send`."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # `receive` notices
            await self._stream.send(message.encode() if isinstance(message, str) else message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, which has no codes. See `Peer.close`."""
        del code, reason
        await self._stream.aclose()

    def takes_audio(self, seconds: float) -> None:
        """Count nothing: the desk does."""


def _networks(peers: Iterable[str]) -> list[Network]:
    if isinstance(peers, str):
        raise ConfigurationError(f"AudioSocket: peers must be a list of addresses, not {peers!r}")
    try:
        networks = [ipaddress.ip_network(peer) for peer in peers]
    except ValueError as error:
        raise ConfigurationError(
            f'AudioSocket: peers are addresses such as "10.0.3.7" or "10.0.3.0/24": {error}'
        ) from None
    if not networks:
        raise ConfigurationError("AudioSocket: name the addresses that may connect, e.g. peers=['10.0.3.7']")
    return networks
