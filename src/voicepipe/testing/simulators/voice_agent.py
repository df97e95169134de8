"""AssemblyAI's Voice Agent API on loopback: the protocol as it is documented, with a tone for a voice.

    async with VoiceAgentSimulator(["Where is my order?"], [Says("It has shipped.")]).serve() as url: ...

Rule 1: it is honest. It refuses what the service refuses, with its codes, and `sessions` keeps what a client sent.
Rule 2: its only clock is the event loop's and it needs no thread, so it also runs on virtual time.
Rule 3: what no reference settles it does as it was seen in the field, or the other way where it is asked to.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.testing.hosted_service import HostedService, ServiceHabits
from voicepipe.testing.simulators._listening import websockets_served
from voicepipe.testing.simulators._voice_agent_session import RESUMABLE_S, AgentRefusal, Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from voicepipe.testing.hosted_service import AgentReply, Asked

__all__ = ["RecordedAgentSession", "VoiceAgentSimulator"]

PATH: Final = "/v1/ws"


@dataclass(slots=True)
class RecordedAgentSession:
    """What one client did.

    Attributes:
        session_id: The service's id of it; "" if it was refused.
        messages: What it sent, audio left out, with the time.
        audio_s: Seconds of the caller's audio.
        close_code: How the connection ended; 0 as long as it is open.
    """

    session_id: str = ""
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list[tuple[float, dict[str, Any]]])
    audio_s: float = 0.0
    close_code: int = 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a type."""
        return [message for _, message in self.messages if message.get("type") == kind]


class VoiceAgentSimulator:
    """A server of AssemblyAI's Voice Agent websocket.

    Args:
        hears: What callers say, one text for each stretch of sound of a session; "" is a noise.
        replies: What the agent does, in order, or a function of what it is asked.
        api_key: The key that clients must send, as a bearer token or bare; None accepts any.
        habits: How the service behaves.
        resumes: Whether a session that was cut can be resumed within 30 s; in the field it never could.
        names_replies: Whether audio and words name their reply.
        words_come_last: Whether the words of a reply come only after `reply.done`, all at once.
        is_messy: Whether messages have fields, and sessions messages, that are in no reference, and audio comes in odd
            pieces.

    Attributes:
        sessions: What each client did, in the order of arrival.
        services: The service's side of each session that began.
    """

    def __init__(
        self,
        hears: Sequence[str] = (),
        replies: Sequence[AgentReply] | Callable[[Asked], AgentReply] = (),
        *,
        api_key: str | None = None,
        habits: ServiceHabits = ServiceHabits(),  # noqa: B008 - frozen
        resumes: bool = False,
        names_replies: bool = True,
        words_come_last: bool = False,
        is_messy: bool = False,
    ) -> None:
        self.sessions: list[RecordedAgentSession] = []
        self.services: list[HostedService] = []
        self.names_replies = names_replies
        self.is_messy = is_messy
        self.words_come_last = words_come_last
        self._script = hears, replies, habits
        self._api_key = api_key
        self._resumes = resumes
        self._left: dict[str, tuple[float, HostedService]] = {}  # sessions whose connection was cut
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
            self._converse, port, connections=self._open, failures=self._failures, process_request=_only_path
        )
        async with served as url:
            yield url

    def cut(self) -> None:
        """Cut every connection, as a broken network does."""
        for connection in self._open:
            connection.transport.abort()

    async def _converse(self, connection: ServerConnection) -> None:
        record = RecordedAgentSession()
        self.sessions.append(record)
        self._open.add(connection)
        session = Session(self, connection, record)
        try:
            await session.run(connection.request.headers.get("authorization", "") if connection.request else "")
            if session.service is not None and not session.has_ended:
                self._left[record.session_id] = anyio.current_time(), session.service
        except Exception as error:  # noqa: BLE001 - raised by `serve`: the websocket library would only log it
            self._failures.append(error)
        finally:
            self._open.discard(connection)
            record.close_code = connection.close_code or 1006

    # --- what a session asks ------------------------------------------------------------------------------------------

    def check_key(self, authorization: str) -> None:
        """Refuse a wrong key.

        Raises:
            AgentRefusal: It is missing or wrong.
        """
        key = authorization.removeprefix("Bearer ")
        if self._api_key is not None and not secrets.compare_digest(key.encode(), self._api_key.encode()):
            raise AgentRefusal("unauthorized", "Invalid API key")

    def begin(self, sample_rate: int) -> tuple[str, HostedService]:
        """Begin a session, and return its id."""
        hears, replies, habits = self._script
        service = HostedService(hears, replies, habits, sample_rate=sample_rate)
        self.services.append(service)
        return f"session-{len(self.services)}", service

    def resume(self, session_id: str) -> HostedService:
        """Go on with a session that was cut.

        Raises:
            AgentRefusal: It is unknown, or too old.
        """
        left_s, service = self._left.pop(session_id, (0.0, None))
        if not self._resumes or service is None or anyio.current_time() - left_s > RESUMABLE_S:
            raise AgentRefusal("session_not_found", f"There is no session {session_id}", "session_id")
        return service

    def __repr__(self) -> str:
        """Show how many clients there were."""
        return f"<VoiceAgentSimulator {len(self.sessions)} sessions>"


def _only_path(connection: ServerConnection, request: Request) -> Response | None:
    path = request.path.partition("?")[0]
    return None if path == PATH else connection.respond(HTTPStatus.NOT_FOUND, f"there is no {path}, only {PATH}\n")
