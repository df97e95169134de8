"""One connection to the service: how it is made, its state, how it ends.

Rule 1: a connection counts from `Begin` on: the handshake accepts any credentials, and the refusal comes after it.
Rule 2: every session is ended with `Terminate` if time allows: one that is not is billed for hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import anyio

from voicepipe.errors import VendorError
from voicepipe.http.refusals import excerpt
from voicepipe.vendors.assemblyai.key import VENDOR
from voicepipe.vendors.assemblyai.parameters import URL_CHARACTERS, query
from voicepipe.vendors.assemblyai.stt_audio import AudioClock
from voicepipe.vendors.assemblyai.stt_messages import MessageReader
from voicepipe.vendors.assemblyai.stt_protocol import TERMINATE
from voicepipe.vendors.assemblyai.stt_refusals import refusal
from voicepipe.vendors.credentials import without_key
from voicepipe.vendors.line.json_values import number
from voicepipe.vendors.line.socket import Endpoint, Socket, SocketClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assemblyai.streaming.v3.models import BeginEvent, ErrorEvent, EventMessage
    from pydantic import JsonValue, SecretStr

    from voicepipe.http.network import Route

__all__ = ["Link", "connect"]

BEGIN_S: Final = 4.5
"""How long connecting may take, up to `Begin`; a failure is then reported within 5 s."""

CODE_S: Final = 0.5
"""How long to wait for a close frame after an error without a code; the frame may have one."""

CATCH_UP: Final = 2.0
"""How much faster than speech waiting audio is sent. The service was seen to take ten times, but too fast is an error
that ends the session for good."""

BEHIND_S: Final = 0.3
"""The service is behind when it was sent this much more audio than time has passed: it hears in real time."""

ABREAST_S: Final = 0.05
"""It has caught up when only this much is left; audio that waits then may be sent without falling behind again."""

CLOSE_S: Final = 0.6
"""How long `Terminate` may take at the end of a call, besides the close frame; see `core.lifetimes.CLOSE_S`."""

RENEW_S: Final = 3 * 3600.0 - 900.0
"""From this age on, 15 minutes before the service ends a session, it is renewed when nobody speaks, ..."""


class Link:
    """One connection, from `Begin` on.

    Args:
        socket: The connection.
        messages: Reads the service's messages.
        key: Kept out of error messages.
        clock: Maps positions in its audio to times.
        known: The settings that the service has received, by its names.
        now: When it began.
        name: The service's id of the session.

    Attributes:
        loss: Why it was given up; None if it was not.
        is_ending: Whether `Terminate` was sent.
        successor: The connection that takes its place, once there is one.
        renew_s: When it is renewed.
        next_s: When the next piece of audio may be sent.
        is_up_to_date: Whether the service has received the present settings.
        is_waiting: Whether an event waits to be taken, so that no message is read meanwhile.
    """

    def __init__(
        self,
        socket: Socket,
        messages: MessageReader,
        key: SecretStr,
        clock: AudioClock,
        known: dict[str, JsonValue],
        now: float,
        name: str,
    ) -> None:
        self.socket = socket
        self._messages = messages
        self.name = name
        self.clock = clock
        self._key = key
        self.known = known
        self.loss: VendorError | None = None
        self.is_ending = False
        self.successor: Link | None = None
        self.began_s = self.heard_s = self.next_s = now
        self.is_behind = False
        self.renew_s = now + RENEW_S
        self.is_up_to_date = False
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

    async def terminate(self, limit_s: float) -> None:
        """Send `Terminate`, and cut the connection if it has not ended within the limit."""
        self.is_ending = True
        try:
            with anyio.move_on_after(limit_s):
                await self.socket.send(TERMINATE)
                await anyio.sleep(limit_s)
        except SocketClosed:
            return
        self.socket.abort()

    async def receive(self) -> EventMessage | None:
        """Return the next message; None for one that cannot be read.

        Raises:
            SocketClosed: The connection is over.
        """
        return self._messages.read(await self.socket.receive())

    async def end(self) -> None:
        """Terminate and close it, without reading further events. Shielded, takes a second at most."""
        try:
            if not self.is_ending:
                self.is_ending = True
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await self.socket.send(TERMINATE)
                    while (message := await self.receive()) is None or message.type != "Termination":
                        pass
        except SocketClosed:
            pass
        finally:
            await self.socket.aclose()

    async def refusal(self, message: ErrorEvent) -> VendorError:
        """Return the error that a message reports."""
        return await _refusal(self.socket, self._key, message)

    def closed(self, closed: SocketClosed) -> VendorError:
        """Return why the connection is over."""
        return self.loss or _refused(self._key, closed.code, closed.reason)


async def connect(url: str, key: SecretStr, route: Route, asked: Mapping[str, JsonValue], sample_rate: int) -> Link:
    """Connect, and wait until the service is ready.

    Args:
        url: Of the service, without its query.
        key: Of the service.
        route: How to get there.
        asked: The settings, by the service's names. The agent's last words, and what is too long for a URL, are left to
            be sent as a change.
        sample_rate: Of the audio.

    Raises:
        VendorError: The service cannot be reached, or refuses.
    """
    known = {name: value for name, value in asked.items() if name != "agent_context"}
    if len(urlencode(query(known))) > URL_CHARACTERS:
        known = {name: value for name, value in known.items() if name not in ("prompt", "keyterms_prompt")}
    with anyio.move_on_after(BEGIN_S):
        socket = await Socket.open(
            Endpoint(vendor=VENDOR, url=f"{url}?{urlencode(query(known))}", key=key, route=route)
        )
        try:
            messages = MessageReader()
            name = (await _wait_begin(socket, messages, key)).id
            return Link(socket, messages, key, AudioClock(sample_rate), known, anyio.current_time(), name)
        except BaseException:
            socket.abort()
            raise
    raise VendorError(
        f"{VENDOR} did not begin a session within {BEGIN_S:g} s; is the network up, is the service?",
        vendor=VENDOR,
        retryable=True,
    )


async def _wait_begin(socket: Socket, messages: MessageReader, key: SecretStr) -> BeginEvent:
    try:
        while (message := messages.read(await socket.receive())) is None or message.type != "Begin":
            if message is not None and message.type == "Error":
                raise await _refusal(socket, key, message)
        return message  # noqa: TRY300 - the loop ends with it
    except SocketClosed as closed:
        raise _refused(key, closed.code, closed.reason) from None


async def _refusal(socket: Socket, key: SecretStr, message: ErrorEvent) -> VendorError:
    """Return the error that the service reports; if it has no code, the close frame may have one."""
    code = message.error_code if number(message.error_code) is not None else None
    if code is None:
        with anyio.move_on_after(CODE_S):
            try:
                while True:
                    await socket.receive()
            except SocketClosed as closed:
                code = closed.code
    return _refused(key, code, message.error)


def _refused(key: SecretStr, code: int | None, said: str) -> VendorError:
    return refusal(code, excerpt(without_key(said, key)))
