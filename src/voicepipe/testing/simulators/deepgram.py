"""A simulated Deepgram: a real websocket server on loopback that speaks the protocols of Nova and of Flux.

    script = [Spoken("My order number is four two.", 1.2, 2.6)]     # `Spoken` and the faults are those of `stt`
    async with DeepgramSimulator(script).serve() as url: ...        # "ws://127.0.0.1:40123"

Rule 1: it is honest. It refuses what the service refuses, with its statuses and codes, and `sessions` keeps what a
        client sent.
Rule 2: it hears on the audio clock and sends on the loop's, so it also runs on virtual time.

Source: the vendor's references, its Python SDK 7.17.0 and its users' issues, read 2026-11-30; never compared with the
live service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl

import anyio
import anyio.abc

from voicepipe.hearing.recogniser import Recogniser
from voicepipe.testing.simulators._deepgram_ears import DeepgramQuirks
from voicepipe.testing.simulators._deepgram_rules import MODELS, Asked, BadRequest, parse
from voicepipe.testing.simulators._deepgram_session import DeepgramRules, DeepgramSession, DeepgramTiming, Serving
from voicepipe.testing.simulators._listening import streams_served
from voicepipe.testing.simulators._stt_ears import hosted
from voicepipe.testing.simulators._stt_faults import Fault, Rejects, TurnsDeaf
from voicepipe.testing.simulators._stt_turns import Spoken, in_order
from voicepipe.testing.simulators._websocket import ClientGone, ServerSocket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.session.pipeline import Host

__all__ = ["DeepgramQuirks", "DeepgramScript", "DeepgramSession", "DeepgramSimulator", "DeepgramTiming"]

KEYS: Final = "/v1/auth/token"
MAX_MESSAGE_BYTES: Final = 1 << 20
SECRET_HEADERS: Final = {"authorization", "cookie", "sec-websocket-protocol"}

DeepgramScript: TypeAlias = Sequence[Spoken] | Callable[[DeepgramSession], Sequence[Spoken]] | Recogniser
"""What is said in a session: the same in each, a function of the session at its first audio, or what a recogniser
understands."""


class DeepgramSimulator:
    """A server of `/v1/listen` and `/v2/listen` that hears what a script says, and of `/v1/auth/token`.

    Args:
        script: What is said, on the audio clock of each session, which begins with its first audio. A function is
            called with the session when its first audio has come (`first_frame`), so that it can return what a later
            session of the same call hears, e.g. with `remaining`. A recogniser hears the audio itself; it must not be
            in use elsewhere.
        api_key: The key that clients must send, as `Authorization: Token KEY`; None accepts any.
        timing: How long the service takes.
        quirks: Peculiarities of the service.
        faults: How each session goes wrong, or each by its number, from 1. `at_s=None` and 0 both mean at once.
        patience_s: The service closes a connection that gets neither audio nor, with Nova, a message for so long.
        record: Whether to keep what was sent; switch it off in a server that runs for long.
        record_audio: Whether to keep the audio too.

    Attributes:
        sessions: Every session whose handshake was complete, in order.

    Raises:
        ConfigurationError: The script is not in order.
    """

    def __init__(
        self,
        script: DeepgramScript = (),
        *,
        api_key: str | None = None,
        timing: DeepgramTiming | None = None,
        quirks: DeepgramQuirks | None = None,
        faults: Fault | Mapping[int, Fault] | None = None,
        patience_s: float = 10.0,
        record: bool = True,
        record_audio: bool = False,
    ) -> None:
        self.sessions: list[DeepgramSession] = []
        self._script = script if isinstance(script, Recogniser) or callable(script) else in_order(script)
        self._host: tuple[Host, int] | None = None
        self._api_key = api_key
        self._rules = DeepgramRules(
            timing=timing or DeepgramTiming(),
            quirks=quirks or DeepgramQuirks(),
            patience_s=patience_s,
            record=record,
            record_audio=record_audio,
        )
        self._faults = faults
        self._count = 0
        self._failures: list[Exception] = []

    @asynccontextmanager
    async def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
        """Listen while the block runs, and yield the URL without the path, e.g. "ws://127.0.0.1:40123".

        Leaving the block cuts every connection.

        Args:
            host: Where to listen.
            port: Where to listen; 0 takes a free one.

        Raises:
            ConfigurationError: The address is not available.
            Exception: An error of a script function, raised when the block ends; the client received code 1011.
        """
        async with AsyncExitStack() as stack:
            if isinstance(self._script, Recogniser):
                self._host = await stack.enter_async_context(hosted(self._script)), self._script.sample_rate
            yield await stack.enter_async_context(streams_served(self._converse, host, port, failures=self._failures))

    async def _converse(self, stream: anyio.abc.SocketStream) -> None:
        """Serve one connection to its end."""
        client = ServerSocket(stream, max_bytes=MAX_MESSAGE_BYTES)
        try:
            with suppress(ClientGone):
                await client.receive_request()
                if client.path == KEYS:
                    await self._show_key(client)
                else:
                    await self._serve_session(client)
        finally:
            with anyio.CancelScope(shield=True):  # does not wait for the peer: data that it has not read is dropped
                await stream.aclose()

    def _knows(self, client: ServerSocket) -> bool:
        """Whether the client has sent the key."""
        scheme, _, key = client.request.headers.get("Authorization", "").partition(" ")
        return self._api_key is None or (scheme.lower() == "token" and key == self._api_key)

    async def _show_key(self, client: ServerSocket) -> None:
        """Answer a request about the key, which costs nothing."""
        if self._knows(client):
            await client.answer(200, {"api_key_id": "simulated", "scopes": ["usage:write"]})
        else:
            await _refuse(client, 401, "Invalid credentials.")

    async def _serve_session(self, client: ServerSocket) -> None:
        self._count += 1
        fault = self._faults.get(self._count) if isinstance(self._faults, Mapping) else self._faults
        if isinstance(fault, Rejects):
            await _refuse(client, fault.status, "The simulated service refuses this handshake.")
            return
        if client.path not in MODELS:
            await _refuse(client, 404, "Not found.")
            return
        if not self._knows(client):
            await _refuse(client, 401, "Invalid credentials.")
            return
        try:
            asked = parse(client.path, client.query)
        except BadRequest as refusal:
            await _refuse(client, 400, str(refusal))
            return
        if isinstance(fault, TurnsDeaf) and fault.at_s is None:
            await anyio.sleep_forever()
        await client.accept()
        session = self._note(client, asked)
        try:
            await Serving(client, session, self._rules, fault, lambda: self._said(session), self._host).run()
        except Exception as error:  # noqa: BLE001 - raised when the simulator ends
            self._failures.append(error)
        finally:
            session.close, session.ended_s = client.closed, anyio.current_time()

    def _said(self, session: DeepgramSession) -> Sequence[Spoken]:
        script = self._script
        if isinstance(script, Recogniser):
            return ()
        return in_order(script(session)) if callable(script) else script

    def _note(self, client: ServerSocket, asked: Asked) -> DeepgramSession:
        """Start the record of a session, without its key."""
        headers = {name.lower(): value for name, value in client.request.headers.raw_items()}
        session = DeepgramSession(
            number=self._count,
            path=client.path,
            query=dict(parse_qsl(client.query, keep_blank_values=True)),
            headers=headers | dict.fromkeys(SECRET_HEADERS & headers.keys(), "***"),
            started_s=anyio.current_time(),
            asked=asked,
        )
        if self._rules.record:
            self.sessions.append(session)
        return session

    def __repr__(self) -> str:
        """Show how many sessions there were."""
        return f"<DeepgramSimulator {self._count} sessions>"


async def _refuse(client: ServerSocket, status: int, said: str) -> None:
    """Answer the handshake with an error, as the service writes it."""
    codes = {400: "Bad Request", 401: "INVALID_AUTH", 402: "ASR_PAYMENT_REQUIRED", 429: "TOO_MANY_REQUESTS"}
    await client.answer(status, {"err_code": codes.get(status, "ERROR"), "err_msg": said, "request_id": "simulated"})
