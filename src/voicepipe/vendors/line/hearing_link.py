"""One connection to a streaming recogniser: how it is made, its state, how it ends.

Rule 1: a connection counts from the beginning that the service reports: a refusal may come after the handshake.
Rule 2: every session is ended by its closing message if time allows: one that is not may be billed for hours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio

from voicepipe.errors import VendorError
from voicepipe.vendors.line.hearing_watch import Sign
from voicepipe.vendors.line.socket import Endpoint, Socket, SocketClosed

if TYPE_CHECKING:
    from voicepipe.vendors.line.hearing_protocol import HearingProtocol, HearingSession, Reading

__all__ = ["HearingLink", "connect"]

M = TypeVar("M")

BEGIN_S: Final = 4.5
"""How long connecting may take, until the service is ready; a failure is then reported within 5 s."""

CODE_S: Final = 0.5
"""How long to wait for a close frame after an error without a code; the frame may have one."""

CATCH_UP: Final = 2.0
"""How much faster than speech waiting audio is sent. Services were seen to take ten times, but too fast is an error
that ends the session for good."""

BEHIND_S: Final = 0.3
"""The service is behind when it was sent this much more audio than time has passed: it hears in real time."""

ABREAST_S: Final = 0.05
"""It has caught up when only this much is left; audio that waits then may be sent without falling behind again."""

CLOSE_S: Final = 0.6
"""How long the service may take to end a session at the end of a call, besides the close frame; see
`core.lifetimes.CLOSE_S`."""


class HearingLink(Generic[M]):
    """One connection that has begun.

    Args:
        socket: The connection.
        protocol: The call's.
        session: The connection's own.
        endpoint: Where it leads.
        now: When it began.

    Attributes:
        loss: Why it was given up; None if it was not.
        is_ending: Whether the closing message was sent.
        successor: The connection that takes its place, once there is one.
        renew_s: When it is renewed.
        next_s: When the next piece of audio may be sent.
        is_waiting: Whether an event waits to be taken, so that no message is read meanwhile.
    """

    def __init__(
        self,
        socket: Socket,
        protocol: HearingProtocol[M],
        session: HearingSession[M],
        endpoint: Endpoint,
        now: float,
    ) -> None:
        self.socket = socket
        self.session = session
        self._protocol = protocol
        self._endpoint = endpoint
        self.loss: VendorError | None = None
        self.is_ending = False
        self.successor: HearingLink[M] | None = None
        self.began_s = self.heard_s = self.next_s = now
        self.is_behind = False
        self.renew_s = now + protocol.renew_s
        self.is_waiting = False

    def has_to_catch_up(self, now: float) -> bool:
        """Whether the service still has much audio to hear."""
        self.is_behind = self.heard_s - now > (ABREAST_S if self.is_behind else BEHIND_S)
        return self.is_behind

    def sent(self, duration_s: float, now: float) -> None:
        """Record that a piece of audio was sent."""
        self.heard_s = max(now, self.heard_s) + duration_s
        self.next_s = max(now, self.next_s) + duration_s / CATCH_UP

    def lose(self, error: VendorError) -> None:
        """Give it up."""
        self.loss = error
        self.socket.abort()

    async def receive(self) -> Reading[M]:
        """Return the next message.

        Raises:
            SocketClosed: The connection is over.
        """
        return self.session.read(await self.socket.receive())

    async def terminate(self, limit_s: float) -> None:
        """Send the closing message, and cut the connection if it has not ended within the limit."""
        self.is_ending = True
        try:
            with anyio.move_on_after(limit_s):
                await self.socket.send(self._protocol.closing)
                await anyio.sleep(limit_s)
        except SocketClosed:
            return
        self.socket.abort()

    async def end(self) -> None:
        """End and close it, without reading further events. Shielded, takes a second at most."""
        try:
            if not self.is_ending:
                self.is_ending = True
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await self.socket.send(self._protocol.closing)
                    while (await self.receive()).sign is not Sign.ENDED:
                        pass
        except SocketClosed:
            pass
        finally:
            await self.socket.aclose()

    async def refusal(self, reading: Reading[M]) -> VendorError:
        """Return the error that a message reports."""
        return await _refusal(self.socket, self._protocol, self._endpoint, reading)

    def closed(self, closed: SocketClosed) -> VendorError:
        """Return why the connection is over."""
        return self.loss or self._protocol.refusal(closed.code, self._endpoint.clean(closed.reason))


async def connect(protocol: HearingProtocol[M], endpoint: Endpoint) -> HearingLink[M]:
    """Connect, and wait until the service is ready.

    Args:
        protocol: The call's.
        endpoint: Where the service is, without the query.

    Raises:
        VendorError: The service cannot be reached, or refuses.
    """
    session = protocol.dial()
    session.clean = endpoint.clean
    with anyio.move_on_after(BEGIN_S):
        socket = await Socket.open(replace(endpoint, url=f"{endpoint.url}?{session.query}"))
        try:
            await _wait_begin(socket, protocol, session, endpoint)
            return HearingLink(socket, protocol, session, endpoint, anyio.current_time())
        except BaseException:
            socket.abort()
            raise
    raise VendorError(
        f"{protocol.vendor} did not begin a session within {BEGIN_S:g} s; is the network up, is the service?",
        vendor=protocol.vendor,
        retryable=True,
    )


async def _wait_begin(
    socket: Socket, protocol: HearingProtocol[M], session: HearingSession[M], endpoint: Endpoint
) -> None:
    try:
        while not session.has_begun:
            reading = session.read(await socket.receive())
            if reading.sign is Sign.REFUSED:
                raise await _refusal(socket, protocol, endpoint, reading)
    except SocketClosed as closed:
        raise protocol.refusal(closed.code, endpoint.clean(closed.reason)) from None


async def _refusal(
    socket: Socket, protocol: HearingProtocol[M], endpoint: Endpoint, reading: Reading[M]
) -> VendorError:
    """Return the error that the service reports; if it has no code, the close frame may have one."""
    code = reading.code
    if code is None:
        with anyio.move_on_after(CODE_S):
            try:
                while True:
                    await socket.receive()
            except SocketClosed as closed:
                code = closed.code
    return protocol.refusal(code, endpoint.clean(reading.said))
