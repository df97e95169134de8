"""One call's way to a hosted agent, on as many connections as needed.

Rule 1: a lost connection is replaced: the service's session is resumed if it can be, else a new one is given the
        conversation so far. The application learns of both.
Rule 2: one task sends, one receives, and `Conversation` decides; audio never waits behind a request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import anyio

from voicepipe.errors import VendorError
from voicepipe.history import UserMessage
from voicepipe.hosted.messages import AgentSetup, CallerAudio
from voicepipe.listening_events import AgentLost, AgentRestored, AudioDropped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from anyio.abc import TaskGroup

    from voicepipe.core.context import SessionContext
    from voicepipe.history import Message
    from voicepipe.hosted.conversation import Conversation
    from voicepipe.hosted.messages import AgentEvent, AgentRequest
    from voicepipe.tools.toolbox import Toolset
    from voicepipe.turntaking.agent_yielded import Report

__all__ = ["AgentConnection", "AgentLine"]

PIECE_S: Final = 0.05
"""How much of the caller's audio is sent at a time: AssemblyAI's advice, and fine for others."""

WAITING_S: Final = 1.0
"""How much of it waits for a service that takes none; older audio is dropped, because late words answer nothing."""

SEND_S: Final = 4.0
"""A service that takes nothing for this long is gone."""

PAUSES_S: Final = (0.0, 0.5, 1.5, 4.0)
"""The pauses before attempts to restore a connection; the session ends with the error of the last one."""

STABLE_S: Final = 15.0
"""A connection that is lost sooner counts as a failed attempt: a service that accepts and hangs up would otherwise be
called again without a pause and without an end."""


class AgentConnection(ABC):
    """An open connection to a service; made by `SpeechToSpeech.connect`.

    Attributes:
        name: The service's id of the session, with which it can be resumed; "" if it cannot.
        was_resumed: Whether it goes on with a session that was lost.
    """

    name: str = ""
    was_resumed: bool = False

    @abstractmethod
    async def send(self, request: AgentRequest) -> None:
        """Send a request; one that the service has no message for is left out.

        Raises:
            VendorError: The connection is over.
        """

    @abstractmethod
    async def receive(self) -> list[AgentEvent]:
        """Return what the service reports next.

        Raises:
            VendorError: The connection is over.
        """

    async def keep(self) -> None:
        """Do what the connection needs besides, such as to show that the client is there; cancelled at its end.

        Raises:
            VendorError: The connection is over.
        """
        await anyio.sleep_forever()

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection; `receive` raises. Never waits."""

    @abstractmethod
    async def aclose(self) -> None:
        """End the session with the service, within 1 s."""


class AgentLine:
    """One call's way to the service, on as many connections as needed.

    Args:
        name: The agent's name, for messages.
        instructions: The system prompt.
        sample_rate: Samples per second of the caller's audio.
        conversation: Decides what comes of the service's messages.
        session: The call.
        connect: Makes a connection.
    """

    def __init__(
        self,
        name: str,
        instructions: str,
        sample_rate: int,
        conversation: Conversation,
        session: SessionContext[Any],
        connect: Callable[[AgentSetup], Awaitable[AgentConnection]],
    ) -> None:
        self._name = name
        self._instructions = instructions
        self._session = session
        self._conversation = conversation
        self._connect = connect
        self._piece_bytes = 2 * round(PIECE_S * sample_rate)
        self._piece = bytearray()
        self._pieces = deque[bytes]()
        self._dropped_s = 0.0
        self._report: Report | None = None
        self._is_ready = anyio.Event()
        self._connection: AgentConnection
        self._began_s = 0.0
        self._attempts = 0

    async def open(self, *, greets: bool) -> None:
        """Connect for the first time.

        Args:
            greets: Whether the service begins with its greeting.
        """
        self._connection = await self._connected(self._setup(greets=greets))

    async def close(self) -> None:
        """End the session with the service."""
        await self._connection.aclose()

    def report_to(self, report: Report) -> None:
        """Begin to act on what comes."""
        self._report = report
        self._is_ready.set()

    def _setup(self, *, greets: bool = False, resumes: str = "") -> AgentSetup:
        tools = cast("Toolset", self._session.tools).definitions
        return AgentSetup(
            instructions=self._instructions,
            tools=tools,
            history=tuple(_as_spoken(message) for message in self._session.history.snapshot()),
            greets=greets,
            resumes=resumes,
        )

    async def _connected(self, setup: AgentSetup) -> AgentConnection:
        connection = await self._connect(setup)
        self._conversation.connected(setup)
        self._began_s = anyio.current_time()
        return connection

    async def run(self, tasks: TaskGroup) -> None:
        """Talk with the service until the call ends.

        Raises:
            VendorError: The connection is lost, and another would not help or cannot be made.
        """
        await self._is_ready.wait()
        assert self._report is not None  # noqa: S101 - `report_to` has set it

        def later(delay_s: float, act: Callable[[], None]) -> None:
            async def wait() -> None:
                await anyio.sleep(delay_s)
                act()

            tasks.start_soon(wait)

        self._conversation.begin(self._session, self._report, later)
        while True:
            error = await self._converse(self._connection)
            self._session.emit(AgentLost(error=error))
            self._conversation.lost(error)
            await self._restore(error)

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _converse(self, connection: AgentConnection) -> VendorError:
        """Send and receive until the connection is over, and return why."""
        errors = list[VendorError]()
        async with anyio.create_task_group() as both:

            async def abort_after(work: Callable[[], Awaitable[None]]) -> None:
                try:
                    await work()
                except VendorError as error:
                    errors.append(error)
                    connection.abort()  # what has come already is still read, and may say why

            both.start_soon(abort_after, lambda: self._send(connection))
            both.start_soon(abort_after, connection.keep)
            try:
                await self._receive(connection)
            except VendorError as error:
                errors.append(error)
            both.cancel_scope.cancel()
        return errors[-1]

    async def _receive(self, connection: AgentConnection) -> None:
        while True:
            for event in await connection.receive():
                self._conversation.receive(event)

    async def _send(self, connection: AgentConnection) -> None:
        conversation = self._conversation
        while True:
            conversation.offer(cast("Toolset", self._session.tools).definitions)
            request: AgentRequest
            if conversation.requests:
                request = conversation.requests.popleft()
            elif self._pieces:
                request = CallerAudio(self._pieces.popleft())
            else:
                conversation.has_requests = anyio.Event()
                await conversation.has_requests.wait()
                continue
            with anyio.move_on_after(SEND_S) as limit:
                await connection.send(request)
            if limit.cancelled_caught:
                raise VendorError(f"{self._name} takes nothing for {SEND_S:g} s", vendor=self._name, retryable=True)

    # --- audio --------------------------------------------------------------------------------------------------------

    def hear(self, pcm: bytes) -> None:
        """Take audio of the caller; if the service takes none, the oldest is dropped."""
        self._piece += pcm
        while len(self._piece) >= self._piece_bytes:
            self._pieces.append(bytes(self._piece[: self._piece_bytes]))
            del self._piece[: self._piece_bytes]
            self._conversation.has_requests.set()
        while len(self._pieces) * PIECE_S > WAITING_S:
            self._pieces.popleft()
            self._dropped_s += PIECE_S
        if self._dropped_s >= WAITING_S:
            self._report_dropped()

    def _report_dropped(self) -> None:
        if self._dropped_s:
            self._session.emit(AudioDropped(seconds=round(self._dropped_s, 6)))
            self._dropped_s = 0.0

    # --- after a loss -------------------------------------------------------------------------------------------------

    async def _restore(self, error: VendorError) -> None:
        """Make the connection that takes the place of a lost one.

        Raises:
            VendorError: None can be made, or none would help.
        """
        lost_s, resumes = anyio.current_time(), self._connection.name
        if lost_s - self._began_s >= STABLE_S:
            self._attempts = 0
        await self._connection.aclose()
        while error.retryable and self._attempts < len(PAUSES_S):
            self._attempts += 1
            await anyio.sleep(PAUSES_S[self._attempts - 1])
            try:
                self._connection = await self._connected(self._setup(resumes=resumes))
            except VendorError as failure:
                error, resumes = failure, ""
                continue
            self._dropped_s += len(self._pieces) * PIECE_S
            self._pieces.clear()  # sent all at once, it would break the service's rule of real time
            self._report_dropped()
            after_s = round(anyio.current_time() - lost_s, 6)
            self._session.emit(AgentRestored(was_resumed=self._connection.was_resumed, after_s=after_s))
            return
        raise error


def _as_spoken(message: Message) -> Message:
    """Return a message as far as it was spoken: what the present turn is about to say, the service must not know."""
    if isinstance(message, UserMessage) or message.is_settled:
        return message
    return replace(message, generated=message.synthesised)
