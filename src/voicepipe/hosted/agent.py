"""A hosted agent as a part of a row: the seam between a session and a service that hears, answers and speaks.

Rule 1: a vendor writes `connect`, which makes a connection that takes requests and gives events; nothing else of a
        session depends on the vendor.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.core.part import Part
from voicepipe.hosted.conversation import Conversation
from voicepipe.hosted.faces import AgentEar, AgentMind, AgentVoice
from voicepipe.hosted.line import AgentConnection, AgentLine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from voicepipe.core.context import AnySession
    from voicepipe.hosted.messages import AgentSetup
    from voicepipe.turntaking.agent_yielded import Report

__all__ = ["SpeechToSpeech"]


class SpeechToSpeech(Part):
    """Base of agents that a service hosts: audio in, audio out, with our tools, events and history.

    Write it where recogniser, model and voice would stand: `Pipeline(MicSource(), agent, ToolRouter([get_order]))`.

    Attributes:
        sample_rate: Samples per second of the audio in both directions.
        instructions: The system prompt.
        repeats_tags: Whether a reply names the request that asked for it.
        fills_silence: Whether the service can say a tool's `say` while it waits for the tool.
        has_greeting: Whether the service begins the call with a greeting.
    """

    sample_rate: int = 24_000
    instructions: str = ""
    repeats_tags: bool = False
    fills_silence: bool = False
    has_greeting: bool = False

    _has_greeted = False
    _conversation: Conversation | None = None
    _line: AgentLine | None = None

    @abstractmethod
    async def connect(self, setup: AgentSetup) -> AgentConnection:
        """Connect, and return when the service is ready. Cancelling closes what was opened.

        Raises:
            VendorError: The service cannot be reached, or refuses.
        """

    @property
    def _shared(self) -> Conversation:
        """What its three places in the row share; each copy of the agent has its own."""
        if self._conversation is None:
            self._conversation = Conversation(self.name, self.sample_rate, repeats_tags=self.repeats_tags)
        return self._conversation

    def _ear(self) -> AgentEar:
        """Return what takes the caller's audio."""
        return AgentEar(self.name, self.sample_rate, self._hear)

    def _mind(self) -> AgentMind:
        """Return what stands in the model's place."""
        return AgentMind(self.name, self._shared)

    def _voice(self) -> AgentVoice:
        """Return what plays."""
        return AgentVoice(self.name, self._shared, self.sample_rate, fills_silence=self.fills_silence)

    def _copied(self) -> Self:
        twin = super()._copied()
        twin._conversation = None
        twin._line = None
        return twin

    def _hear(self, pcm: bytes) -> None:
        """Take audio of the caller. Never waits."""
        if self._line is not None:
            self._line.hear(pcm)

    def _report_to(self, report: Report) -> None:
        """Begin to act on what the service reports: the session is ready for turns."""
        if self._line is not None:
            self._line.report_to(report)

    def state(self) -> object | None:
        """Return how often the call was connected, so that no call of a tool is taken for one of another connection."""
        return {"connections": self._shared.known.connections, "has_greeted": self._has_greeted}

    def restore(self, state: Any) -> None:  # noqa: ANN401 - JSON values
        """Go on with a call: the service that it had is gone, and the next one is told the conversation."""
        self._shared.known.connections = int(state["connections"])
        self._has_greeted = bool(state["has_greeted"])

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Hold the conversation with the service while the call lasts."""
        line = self._line = AgentLine(
            self.name, self.instructions, self.sample_rate, self._shared, session, self.connect
        )
        await line.open(greets=self.has_greeting and not self._has_greeted)
        self._has_greeted = True
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(line.run, tasks)
                yield
                tasks.cancel_scope.cancel()
        finally:
            await line.close()
