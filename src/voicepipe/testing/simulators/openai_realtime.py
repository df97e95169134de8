"""OpenAI's Realtime API on loopback: the events that a speech-to-speech client meets, with a tone for a voice.

    async with RealtimeSimulator(["Where is my order?"], [Says("It has shipped.")]).serve() as url: ...

Rule 1: it is honest. It refuses what the API refuses, with its codes, and `sessions` keeps what a client sent.
Rule 2: its only clock is the event loop's and it needs no thread, so it also runs on virtual time.

Source: the types of the `openai` package 3.57 and OpenAI's Realtime reference, read 2026-11-30. The tests validate each
event with those types.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from voicepipe.testing.hosted_service import HostedService, ServiceHabits
from voicepipe.testing.simulators._listening import websockets_served
from voicepipe.testing.simulators._realtime_session import RealtimeSession, RecordedRealtimeSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from voicepipe.testing.hosted_service import AgentReply, Asked

__all__ = ["REALTIME_HABITS", "RealtimeSimulator", "RecordedRealtimeSession"]

PATH: Final = "/v1/realtime"

REALTIME_HABITS: Final = ServiceHabits(
    min_silence_s=0.5,
    piece_s=0.1,
    lead_s=float("inf"),
    is_timed=False,
    words_are_late=True,
    words_s=0.3,
    stops_early=True,
    repeats_tags=True,
)
"""Audio at once and without times; the caller's words come while the reply is already being given."""


class RealtimeSimulator:
    """A server of OpenAI's Realtime websocket.

    Args:
        hears: What callers say, one text for each stretch of sound of a session; "" is a noise.
        replies: What the agent does, in order, or a function of what it is asked.
        api_key: The key that clients must send as a bearer token; None accepts any.
        habits: How the service behaves.

    Attributes:
        sessions: What each client did, in the order of arrival.
        services: The service's side of each session.
        sent: The events that were sent, audio included.
    """

    def __init__(
        self,
        hears: Sequence[str] = (),
        replies: Sequence[AgentReply] | Callable[[Asked], AgentReply] = (),
        *,
        api_key: str | None = None,
        habits: ServiceHabits = REALTIME_HABITS,
    ) -> None:
        self.sessions: list[RecordedRealtimeSession] = []
        self.services: list[HostedService] = []
        self.sent: list[dict[str, object]] = []
        self._script = hears, replies, habits
        self._api_key = api_key
        self._open: set[ServerConnection] = set()
        self._failures: list[Exception] = []

    @asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncGenerator[str]:
        """Listen on loopback while the block runs, and yield the URL, e.g. "ws://127.0.0.1:40123".

        Leaving the block closes every connection.

        Args:
            port: Where to listen; 0 takes a free one.
        """
        served = websockets_served(
            self._converse, port, connections=self._open, failures=self._failures, process_request=self._check
        )
        async with served as url:
            yield url

    def cut(self) -> None:
        """Cut every connection, as a broken network does."""
        for connection in self._open:
            connection.transport.abort()

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a wrong path, and a wrong key in the handshake."""
        path, _, query = request.path.partition("?")
        if path != PATH or "model=" not in query:
            return connection.respond(HTTPStatus.NOT_FOUND, f"there is no {path}, only {PATH}?model=\n")
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._api_key is not None and not secrets.compare_digest(key.encode(), self._api_key.encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "Incorrect API key provided\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        record = RecordedRealtimeSession(connection.request.path if connection.request else "")
        self.sessions.append(record)
        self._open.add(connection)
        hears, replies, habits = self._script
        service = HostedService(hears, replies, habits)
        self.services.append(service)
        try:
            await RealtimeSession(connection, service, record, self.sent).run()
        except Exception as error:  # noqa: BLE001 - raised by `serve`: the websocket library would only log it
            self._failures.append(error)
        finally:
            self._open.discard(connection)
            record.close_code = connection.close_code or 1006

    def __repr__(self) -> str:
        """Show how many clients there were."""
        return f"<RealtimeSimulator {len(self.sessions)} sessions>"
