"""A simulated streaming STT service: a real websocket server on loopback that speaks AssemblyAI's protocol, version 3.

    script = [Spoken("My order number is four two.", 1.2, 2.6)]
    async with STTSimulator(script).serve() as url: ...        # "ws://127.0.0.1:40123"

Rule 1: it is honest. It refuses what the service refuses, with its codes, and `sessions` keeps what a client sent.
Rule 2: it hears on the audio clock and sends on the loop's, so it also runs on virtual time.

Source: the vendor's streaming reference, its SDK 1.8.2 and third-party measurements, read in September 2026.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from urllib.parse import parse_qsl

import anyio
import anyio.abc

from voicepipe.hearing.recogniser import Recogniser
from voicepipe.testing.simulators._listening import streams_served
from voicepipe.testing.simulators._stt_ears import RecogniserEar, ScriptedEar, hosted
from voicepipe.testing.simulators._stt_faults import Closes, Drops, Fault, HangsUp, Rejects, Stalls, TurnsDeaf
from voicepipe.testing.simulators._stt_parameters import Parameters, Refusal, parse_query
from voicepipe.testing.simulators._stt_record import SentControl, STTSession
from voicepipe.testing.simulators._stt_session import Rules, Session, Timing
from voicepipe.testing.simulators._stt_tokens import Tokens
from voicepipe.testing.simulators._stt_turns import (
    Quirks,
    Spoken,
    SpokenWord,
    TurnWriter,
    in_order,
    remaining,
)
from voicepipe.testing.simulators._websocket import ClientGone, ServerSocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.session.pipeline import Host

__all__ = [
    "Closes",
    "Drops",
    "Fault",
    "HangsUp",
    "Parameters",
    "Quirks",
    "Rejects",
    "STTScript",
    "STTSession",
    "STTSimulator",
    "SentControl",
    "Spoken",
    "SpokenWord",
    "Stalls",
    "Timing",
    "TurnsDeaf",
    "remaining",
]

PATH: Final = "/v3/ws"
TOKENS: Final = "/v3/token"
MAX_MESSAGE_BYTES: Final = 128 * 1024
SECRET_HEADERS: Final = {"authorization", "cookie"}

STTScript: TypeAlias = Sequence[Spoken] | Callable[[STTSession], Sequence[Spoken]] | Recogniser
"""What is said in a session: the same in each, a function of the session at its first audio, or what a recogniser
understands."""


class STTSimulator:
    """A server of `/v3/ws` that hears what a script says, and of `/v3/token`.

    Args:
        script: What is said, on the audio clock of each session, which begins with its first frame. A function is
            called with the session when its first audio has come (`first_frame`), so that it can return what a later
            session of the same call hears, e.g. with `remaining`. A recogniser hears the audio itself; it must not be
            in use elsewhere.
        api_key: The key that clients must send, bare, as `Authorization` or `?token=`; None accepts any. A temporary
            token takes its place, once.
        timing: How long the service takes.
        quirks: Peculiarities of the service.
        faults: How each session goes wrong, or each by its number, from 1.
        sessions_per_minute: More new sessions are refused with 3009; None is no limit.
        max_session_s: The age at which a session ends with 3008.
        max_lead_s: Audio may come this much sooner than in real time; earlier audio is refused with 3007.
        record: Whether to keep what was sent; switch it off in a server that runs for long.
        record_audio: Whether to keep the audio too.

    Attributes:
        sessions: Every session whose handshake was complete, in order.

    Raises:
        ConfigurationError: The script is not in order.
    """

    def __init__(
        self,
        script: STTScript = (),
        *,
        api_key: str | None = None,
        timing: Timing | None = None,
        quirks: Quirks | None = None,
        faults: Fault | Mapping[int, Fault] | None = None,
        sessions_per_minute: int | None = 100,
        max_session_s: float = 10_800.0,
        max_lead_s: float = 10.0,
        record: bool = True,
        record_audio: bool = False,
    ) -> None:
        self.sessions: list[STTSession] = []
        self._script = script if isinstance(script, Recogniser) or callable(script) else in_order(script)
        self._tokens = Tokens(api_key)
        self._rules = Rules(
            timing=timing or Timing(),
            quirks=quirks or Quirks(),
            max_session_s=max_session_s,
            max_lead_s=max_lead_s,
            record=record,
            record_audio=record_audio,
        )
        self._faults = faults
        self._sessions_per_minute = sessions_per_minute
        self._count = 0
        self._starts: deque[float] = deque()
        self._failures: list[Exception] = []
        self._recogniser: Host | None = None

    @asynccontextmanager
    async def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
        """Listen while the block runs, and yield the URL without the path, e.g. "ws://127.0.0.1:40123".

        Leaving the block cuts every connection.

        Args:
            host: Where to listen.
            port: Where to listen; 0 takes a free one.

        Raises:
            ConfigurationError: The address is not available.
            Exception: An error of a script function or the recogniser, raised when the block ends; the client received
                code 3005.
        """
        async with AsyncExitStack() as stack:
            if isinstance(self._script, Recogniser):
                self._recogniser = await stack.enter_async_context(hosted(self._script))
            yield await stack.enter_async_context(streams_served(self._converse, host, port, failures=self._failures))

    async def _converse(self, stream: anyio.abc.SocketStream) -> None:
        """Serve one connection to its end."""
        socket_ = ServerSocket(stream, max_bytes=MAX_MESSAGE_BYTES)
        try:
            with suppress(ClientGone):
                await socket_.receive_request()
                if socket_.path == PATH:
                    await self._serve_session(socket_)
                elif socket_.path == TOKENS:
                    key, query = socket_.request.headers.get("Authorization", ""), dict(parse_qsl(socket_.query))
                    await socket_.answer(*self._tokens.issue(key, query, anyio.current_time()))
                else:
                    await socket_.reject(404, f"there is no {socket_.path}, only {PATH} and {TOKENS}\n")
        finally:
            with anyio.CancelScope(shield=True):  # does not wait for the peer: data that it has not read is dropped
                await stream.aclose()

    async def _serve_session(self, client: ServerSocket) -> None:
        fault = self._faults.get(self._count + 1) if isinstance(self._faults, Mapping) else self._faults
        self._count += 1
        match fault:
            case Rejects(status=status):
                await client.reject(status, "The simulated service refuses this handshake.\n")
                return
            case TurnsDeaf(at_s=None):
                await anyio.sleep_forever()
            case _:
                await client.accept()
        session = self._note(client)
        try:
            await self._hold(client, session, fault)
        except Exception as error:  # noqa: BLE001 - raised when the simulator ends
            self._failures.append(error)
        finally:
            session.close = client.closed
            session._end()

    async def _hold(self, client: ServerSocket, record: STTSession, fault: Fault | None) -> None:
        """Admit a client, and hold its session."""
        session = Session(client, record, self._rules, fault)
        try:
            self._admit(client)
            session.parameters = parse_query(client.query)
        except Refusal as refusal:
            await session.refuse(refusal)
            return
        writer = TurnWriter(self._rules.quirks)
        script = self._script
        if isinstance(script, Recogniser):
            ear = RecogniserEar(cast("Host", self._recogniser), script.sample_rate, writer, session.say)
            await session.run(ear, ear.run)
        else:
            said = (lambda: in_order(script(record))) if callable(script) else (lambda: script)
            await session.run(ScriptedEar(said, writer))

    def _admit(self, client: ServerSocket) -> None:
        """Check the key or token, then the number of sessions.

        Raises:
            Refusal: 1008 or 3009.
        """
        now = anyio.current_time()
        given = client.request.headers.get("Authorization") or dict(parse_qsl(client.query)).get("token", "")
        self._tokens.admit(given, now)
        if self._sessions_per_minute is None:
            return
        while self._starts and self._starts[0] <= now - 60:
            self._starts.popleft()
        if len(self._starts) >= self._sessions_per_minute:
            raise Refusal(3009, "Too many concurrent sessions")
        self._starts.append(now)

    def _note(self, client: ServerSocket) -> STTSession:
        """Start the record of a session, without its keys."""
        headers = {name.lower(): value for name, value in client.request.headers.raw_items()}
        query = dict(parse_qsl(client.query, keep_blank_values=True))
        session = STTSession(
            number=self._count,
            query=query | dict.fromkeys({"token"} & query.keys(), "***"),
            headers=headers | dict.fromkeys(SECRET_HEADERS & headers.keys(), "***"),
            started_s=anyio.current_time(),
        )
        if self._rules.record:
            self.sessions.append(session)
        return session

    def __repr__(self) -> str:
        """Show how many sessions there were."""
        return f"<STTSimulator {self._count} sessions>"
