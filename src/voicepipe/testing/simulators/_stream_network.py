"""A telephone network that streams a call to a server's websocket, for protocols that differ in their messages only.

Rule 1: what a network's messages are is pure, and in its own module; when they are sent is here.
Rule 2: a mark is reported when everything before it has been played, or at once when it is cleared.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Final

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from voicepipe.testing.simulators._caller import CallEnded, PhoneCall, held

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

__all__ = ["Clear", "Mark", "NotInProtocol", "StreamCall", "StreamNetwork", "Wire"]

LINGER_S: Final = 2.0
"""How long a server may take to close the stream after the last message, before this end does."""

SILENT: Final = logging.Logger("voicepipe.testing.simulators.streams", logging.CRITICAL + 1)  # noqa: LOG001 - of no hierarchy


class Mark(str):
    """The server asks for a report once everything before this has been played."""

    __slots__ = ()


class Clear:
    """The server drops what has not been played."""


class NotInProtocol(Exception):  # noqa: N818 - names what the message is
    """The server sent a message that the network does not take."""


class Wire(ABC):
    """The messages of one call, as the network writes and reads them. Pure.

    Attributes:
        sample_rate: Samples per second of the audio, in both directions.
    """

    sample_rate: int = 8_000

    @abstractmethod
    def first(self, token: str) -> list[str]:
        """Return the messages with which the stream begins."""

    @abstractmethod
    def audio(self, pcm: bytes) -> list[str | bytes]:
        """Return the messages to send when the caller has spoken another 20 ms."""

    @abstractmethod
    def key(self, key: str) -> str:
        """Return the message of a key."""

    @abstractmethod
    def played(self, name: str) -> str:
        """Return the report of a mark."""

    def cleared(self) -> str | None:
        """Return what a clear is answered with."""
        return None

    def last(self) -> str | None:
        """Return the message that ends the stream."""
        return None

    @abstractmethod
    def read(self, message: str | bytes) -> bytes | Mark | Clear:
        """Return what the server sent: audio as samples, a mark or a clear.

        Raises:
            NotInProtocol: It is something else.
        """


class StreamNetwork(ABC):
    """A telephone network that calls one server.

    Args:
        url: The server's websocket, e.g. "ws://127.0.0.1:8000/telnyx".
        says_when_it_ends: Whether the end of a call is a message, where the protocol has one, or only the end of the
            connection.
    """

    id_form: ClassVar[str]

    def __init__(self, url: str, *, says_when_it_ends: bool = True) -> None:
        self.url = url
        self.says_when_it_ends = says_when_it_ends
        self._calls = count(1)

    @abstractmethod
    def wire(self, call_id: str = "call") -> Wire:
        """Return the messages of a new stream of a call."""

    @asynccontextmanager
    async def call(
        self,
        token: str,
        *,
        speech: bytes | str | Path = b"",
        gaps: Sequence[tuple[float, float]] = (),
        after: Callable[[str], Awaitable[str | None]] | None = None,
    ) -> AsyncGenerator[StreamCall]:
        """Stream a call to the server while the block runs, and yield the call. Leaving the block hangs up.

        Args:
            token: What the application gave the network in its answer to the webhook.
            speech: What the caller says first: 16-bit PCM at the line's rate, or a WAV file.
            gaps: When the network holds the caller's audio back, and for how long, in seconds since the stream began.
            after: What the application does when a stream has ended and the caller has not hung up: it gets the call's
                id, and returns the token for a further stream, or None to end the call.

        Raises:
            AudioError: The WAV file cannot be used.
        """
        call = StreamCall(self, self.id_form.format(next(self._calls)), token, speech, gaps, after)
        async with held(call, call._run):
            yield call

    def __repr__(self) -> str:
        """Show where the server is."""
        return f"<{type(self).__name__} {self.url}>"


class StreamCall(PhoneCall):
    """A call over a simulated network. See `PhoneCall` for what caller and test do with it.

    Attributes:
        id: The call's id.
        streams: How many streams it had.
        received: What the stream got: when, on the loop's clock, and "media", "mark 1" or "clear".
        closed_by: Who closed the stream: "server", "caller" or "network"; "" while it is open.
        close_code: The code with which the server closed it, or the status with which it refused; None if neither.
    """

    def __init__(
        self,
        network: StreamNetwork,
        call_id: str,
        token: str,
        speech: bytes | str | Path,
        gaps: Sequence[tuple[float, float]],
        after: Callable[[str], Awaitable[str | None]] | None,
    ) -> None:
        self.id = call_id
        self.streams = 0
        self._wire = network.wire(call_id)
        super().__init__(self._wire.sample_rate, speech, gaps)
        self.received: list[tuple[float, str]] = []
        self.closed_by = ""
        self.close_code: int | None = None
        self._network = network
        self._token: str | None = token
        self._after = after
        self._socket: ClientConnection | None = None
        self._hanging_up = anyio.Event()

    async def press(self, keys: str) -> None:
        """Press keys, one after another. See `PhoneCall.press`."""
        for key in keys:
            if self._socket is None:
                raise CallEnded("there is no stream to send a key to")
            await self._send(self._wire.key(key))

    async def hang_up(self) -> None:
        """End the call, and return when the stream has been closed. Does nothing once it has ended."""
        self._hanging_up.set()
        await self.wait_ended()

    def break_off(self) -> None:
        """Cut the stream's connection without a word, as a network does; the call goes on with what comes after it."""
        if self._socket is not None:
            self.closed_by = self.closed_by or "network"
            self._socket.transport.abort()

    async def send(self, message: str | bytes) -> None:
        """Send a message that no network would, to see what the server does."""
        await self._send(message)

    async def _run(self) -> None:
        try:
            while self._token is not None:
                await self._stream(self._token)
                self._token = None
                if self._after is not None and not self._hanging_up.is_set():
                    self._token = await self._after(self.id)
        finally:
            self._end()

    async def _stream(self, token: str) -> None:
        """Hold one stream to its end."""
        self.streams += 1
        self.closed_by, self.close_code = "", None
        self._wire = self._network.wire(self.id)
        try:
            self._socket = await connect(
                self._network.url, compression=None, ping_interval=None, close_timeout=1.0, proxy=None, logger=SILENT
            )
        except InvalidStatus as error:
            self.close_code = error.response.status_code
            self.errors.append((error.response.status_code, "the server refused the stream"))
        except (OSError, InvalidHandshake, TimeoutError) as error:
            self.errors.append((0, f"no connection: {type(error).__name__}"))
        else:
            await self._converse(self._socket, token)
        finally:
            self._socket = None

    async def _converse(self, socket: ClientConnection, token: str) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._receive, socket, tasks.cancel_scope)
                for message in self._wire.first(token):
                    await self._send(message)
                self.began_s = anyio.current_time()
                tasks.start_soon(self._talk)
                tasks.start_soon(self._report)
                await self._hanging_up.wait()
                if self._network.says_when_it_ends and (last := self._wire.last()) is not None:
                    await self._send(last)
                    with anyio.move_on_after(LINGER_S):
                        await anyio.sleep_forever()  # `_receive` ends all of this when the server closes
                self.closed_by = "caller"
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await socket.close()
            self.closed_by = self.closed_by or "server"
            if self.closed_by == "server":
                self.close_code = socket.close_code
            self._earpiece.clear(anyio.current_time())

    async def _send(self, message: str | bytes) -> None:
        if self._socket is not None:
            with suppress(ConnectionClosed):  # `_receive` notices, and ends the stream
                await self._socket.send(message)

    async def _send_audio(self, pcm: bytes) -> None:
        for message in self._wire.audio(pcm):
            await self._send(message)

    async def _report(self) -> None:
        """Report marks when they are due."""
        while True:
            due_s, news = self._earpiece.due_s(), self._news
            if due_s == math.inf:
                await news.wait()
                continue
            with anyio.move_on_at(due_s):
                await news.wait()
            for name in self._earpiece.take_due(anyio.current_time()):
                await self._send(self._wire.played(name))

    async def _receive(self, socket: ClientConnection, stream: anyio.CancelScope) -> None:
        try:
            async for message in socket:
                await self._take(self._wire.read(message), anyio.current_time())
        except ConnectionClosed:
            pass
        except NotInProtocol as error:
            self.errors.append((1, str(error)))
            self.closed_by = "network"
        stream.cancel()

    async def _take(self, sent: bytes | Mark | Clear, now: float) -> None:
        match sent:
            case bytes():
                self.received.append((now, "media"))
                self._play(sent)
            case Mark():
                self.received.append((now, f"mark {sent}"))
                self._earpiece.mark(str(sent), now)
                self._has_news()
            case Clear():
                self.received.append((now, "clear"))
                for name in self._earpiece.clear(now):
                    await self._send(self._wire.played(name))
                if (cleared := self._wire.cleared()) is not None:
                    await self._send(cleared)
