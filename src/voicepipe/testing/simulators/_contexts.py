"""A simulated text-to-speech service that speaks several contexts at once; each vendor adds its messages.

Rule 1: it is honest. It refuses what the service refuses, and `sessions` keeps what a client sent.
Rule 2: its only clock is the event loop's and it needs no thread, so it also runs on virtual time.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from urllib.parse import parse_qsl

import anyio
import anyio.abc
from websockets.exceptions import ConnectionClosed

from voicepipe.testing.simulators._listening import CLOSE_S, websockets_served
from voicepipe.testing.simulators._simulated_voice import SimulatedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from voicepipe.speaking.tts_sink import TTSSink

__all__ = [
    "ContextSession",
    "ContextSimulator",
    "RecordedContext",
    "RecordedVoiceSession",
    "SessionEnded",
    "VoiceFault",
]


MAX_MESSAGE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFault:
    """How a session goes wrong.

    Attributes:
        how: "close" ends it with a close frame, "cut" breaks the connection without one, "stall" keeps it and sends
            nothing more.
        code: The close code.
        reason: The text of the close frame.
        after_chunks: Messages of audio that come before it; 0 is as soon as a text is to be spoken.
    """

    how: Literal["close", "cut", "stall"] = "close"
    code: int = 1011
    reason: str = ""
    after_chunks: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class RecordedContext:
    """A text that a client had spoken.

    Attributes:
        context_id: The client's name for it.
        text: The text, as far as it was spoken or will be.
        audio_s: Seconds of audio that were sent.
        outcome: "waiting" until it is "done", or "cancelled" by the client.
    """

    context_id: str
    text: str = ""
    audio_s: float = 0.0
    outcome: Literal["waiting", "done", "cancelled"] = "waiting"


@dataclass(slots=True, kw_only=True, eq=False)
class RecordedVoiceSession:
    """What a client did. Times are on the loop's clock.

    Attributes:
        number: Counts the sessions of a simulator, from 1.
        path: Where the client connected to.
        query: The connection's parameters.
        began_s: When the connection was made.
        messages: Each message with its time.
        contexts: What was spoken, in the order of the texts.
        chunks: Messages of audio sent.
        ended_s: When it was over.
        close_code: The first close code of either side; 1006 when the connection broke.
        error: Why the service ended it; "" when it did not.
    """

    number: int
    path: str
    query: dict[str, str]
    began_s: float
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list[tuple[float, dict[str, Any]]])
    contexts: list[RecordedContext] = field(default_factory=list[RecordedContext])
    chunks: int = 0
    ended_s: float | None = None
    close_code: int | None = None
    error: str = ""

    @property
    def spoken(self) -> list[tuple[str, str]]:
        """The texts of the contexts with their outcomes."""
        return [(context.text.strip(), context.outcome) for context in self.contexts]


class SessionEnded(Exception):  # noqa: N818 - names what became of the session
    """The service ends a session.

    Args:
        code: The close code.
        reason: Why, in the service's words.
        message: What is sent before the close.
    """

    def __init__(self, code: int, reason: str, message: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.message = message


class ContextSimulator(ABC):
    """A server of such a service; the arguments are explained at the vendors' simulators."""

    _id_header: ClassVar[str]

    def __init__(
        self,
        voice: TTSSink | None,
        *,
        api_key: str | None,
        first_audio_s: float,
        speed: float,
        chunk_s: float,
        character_s: float,
        faults: Sequence[VoiceFault | None],
        record: bool,
    ) -> None:
        self.sessions: list[RecordedVoiceSession] = []
        self._first_audio_s = first_audio_s
        self._chunk_s = chunk_s
        self._chunk_pace_s = chunk_s / speed
        self._failures: list[Exception] = []
        self._voice = SimulatedVoice(voice, character_s)
        self._api_key = api_key
        self._faults = tuple(faults)
        self._record = record
        self._came = self._named = 0
        self._open: set[ServerConnection] = set()

    @abstractmethod
    def _refusal(self, request: Request, query: dict[str, str]) -> tuple[int, str] | None:
        """Return the HTTP status and the body that refuse a handshake; None to accept it."""

    @abstractmethod
    def _session(
        self, connection: ServerConnection, record: RecordedVoiceSession, fault: VoiceFault | None
    ) -> ContextSession:
        """Return the session of a client."""

    @asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncGenerator[str]:
        """Listen on loopback while the block runs, and yield the URL, e.g. "ws://127.0.0.1:40123".

        Leaving the block closes every connection.

        Args:
            port: Where to listen; 0 takes a free one.

        Raises:
            VoicepipeError: The voice failed; raised when the block ends.
        """
        async with self._voice.open():
            served = websockets_served(
                self._converse,
                port,
                connections=self._open,
                failures=self._failures,
                process_request=self._handshake,
                process_response=self._name,
                max_size=MAX_MESSAGE_BYTES,
            )
            async with served as url:
                yield url

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        refused = self._refusal(request, _query(request))
        return None if refused is None else connection.respond(refused[0], refused[1])

    def _name(self, connection: ServerConnection, request: Request, response: Response) -> None:
        """Name a connection: the same way in each run, so that what depends on it can be repeated."""
        del connection, request
        self._named += 1
        response.headers[self._id_header] = f"simulated-{self._named}"

    async def _converse(self, connection: ServerConnection) -> None:
        if (request := connection.request) is None:
            return  # the library sets it before it calls this
        self._came += 1
        record = RecordedVoiceSession(
            number=self._came,
            path=request.path.partition("?")[0],
            query=_query(request),
            began_s=anyio.current_time(),
        )
        if self._record:
            self.sessions.append(record)
        fault = self._faults[record.number - 1] if record.number <= len(self._faults) else None
        self._open.add(connection)
        try:
            await self._session(connection, record, fault).run()
        except Exception as error:  # noqa: BLE001 - raised by `serve`: the websocket library would only log it
            self._failures.append(error)
        finally:
            self._open.discard(connection)
            record.ended_s = anyio.current_time()
            record.close_code = connection.close_code or 1006

    def __repr__(self) -> str:
        """Show the voice and how many clients there were."""
        return f"<{type(self).__name__} {self._voice!r} {self._came} sessions>"


class ContextSession(ABC):
    """One client's session: messages are read as they come, and each context is spoken in a task of its own."""

    idle_s: float

    def __init__(
        self,
        simulator: ContextSimulator,
        connection: ServerConnection,
        record: RecordedVoiceSession,
        fault: VoiceFault | None,
    ) -> None:
        self._simulator = simulator
        self._connection = connection
        self._record = record
        self._fault = fault
        self._is_stalled = False
        self._group: anyio.abc.TaskGroup

    @abstractmethod
    async def _take(self, message: dict[str, Any]) -> None:
        """Process a message of the client.

        Raises:
            SessionEnded: The service ends the session for it.
        """

    @abstractmethod
    def _idle(self) -> SessionEnded:
        """Return the end of a session that has got no message for `idle_s`."""

    async def run(self) -> None:
        """Hold the session until it ends."""
        ended: SessionEnded | None = None
        try:
            async with anyio.create_task_group() as self._group:
                await self._read()
                self._group.cancel_scope.cancel()
        except* ConnectionClosed:
            pass
        except* SessionEnded as group:
            ended = group.exceptions[0]  # type: ignore[assignment]  # the first one ends the session
        if ended is not None:
            await self._close(ended)

    async def _read(self) -> None:
        while True:
            with anyio.CancelScope(deadline=anyio.current_time() + self.idle_s):
                raw = await self._connection.recv()
                message = _parsed(raw)
                self._record.messages.append((anyio.current_time(), message))
                await self._take(message)
                continue
            raise self._idle()

    async def _close(self, ended: SessionEnded) -> None:
        self._record.error = str(ended)
        with suppress(ConnectionClosed), anyio.move_on_after(CLOSE_S) as wait:
            if ended.message is not None:
                await self._send(ended.message)
            await self._connection.close(ended.code, str(ended)[:120])
        if wait.cancelled_caught:  # it does not read, and the library would wait for it without end
            self._connection.transport.abort()

    async def _send(self, message: dict[str, Any]) -> None:
        """Send a message, unless the session has stalled."""
        if not self._is_stalled:
            await self._connection.send(json.dumps(message))

    async def _play(
        self,
        context: RecordedContext,
        pcm: bytes,
        sample_rate: int,
        messages: Callable[[bytes, float], list[dict[str, Any]]],
    ) -> None:
        """Send the audio of a text at the service's pace, and go wrong when it is due.

        Args:
            context: Whose audio it is.
            pcm: The audio.
            sample_rate: Its rate.
            messages: Makes the messages of a piece of audio, which begins this many seconds after the first.
        """
        await self._go_wrong()
        await anyio.sleep(self._simulator._first_audio_s)
        size = 2 * round(self._simulator._chunk_s * sample_rate)
        for at in range(0, len(pcm), size):
            piece = pcm[at : at + size]
            context.audio_s += len(piece) / 2 / sample_rate
            self._record.chunks += 1
            for message in messages(piece, at / 2 / sample_rate):
                await self._send(message)
            await self._go_wrong()
            if at + size < len(pcm):
                await anyio.sleep(self._simulator._chunk_pace_s)

    async def _go_wrong(self) -> None:
        fault = self._fault
        if fault is None or self._record.chunks < fault.after_chunks:
            return
        self._fault = None
        match fault.how:
            case "close":
                raise SessionEnded(fault.code, fault.reason)
            case "cut":
                self._connection.transport.abort()
                await self._connection.wait_closed()
            case "stall":
                self._is_stalled = True


def _query(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.path.partition("?")[2], keep_blank_values=True))


def _parsed(raw: str | bytes) -> dict[str, Any]:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise SessionEnded(1008, "a message is a JSON object")
    return message
