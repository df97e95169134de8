"""A service that neither ends the reply that calls a tool nor begins another one for what it says to the result."""

from __future__ import annotations

import anyio
import pytest

import voicepipe as vp
from voicepipe.hosted.line import AgentConnection
from voicepipe.hosted.messages import (
    AgentEvent,
    AgentRequest,
    AgentSetup,
    CallerTyped,
    ReplyAudio,
    ReplyBegan,
    ReplyCalls,
    ReplyDone,
    ReplyText,
    ShowResults,
)
from voicepipe.testing import RecordingOutput

pytestmark = pytest.mark.anyio


class Connection(AgentConnection):
    """One reply holds the call and, once its result is there, the words."""

    def __init__(self, reply_id: str) -> None:
        self._id = reply_id
        self._to_us, self._events = anyio.create_memory_object_stream[AgentEvent](16)

    async def send(self, request: AgentRequest) -> None:
        if isinstance(request, CallerTyped):
            self._give(ReplyBegan(self._id), ReplyCalls("c1", "get_order", "{}", self._id))
        elif isinstance(request, ShowResults):
            words, sound = ReplyText("It has shipped.", reply_id=self._id), ReplyAudio(bytes(48_000), self._id)
            self._give(words, sound, ReplyDone("completed", reply_id=self._id))

    def _give(self, *events: AgentEvent) -> None:
        for event in events:
            self._to_us.send_nowait(event)

    async def receive(self) -> list[AgentEvent]:
        return [await self._events.receive()]

    def abort(self) -> None:
        self._to_us.close()

    async def aclose(self) -> None:
        self._to_us.close()
        self._events.close()


class Agent(vp.SpeechToSpeech):
    """An agent at such a service.

    Args:
        reply_id: The id of its reply; "" for none.
    """

    def __init__(self, reply_id: str) -> None:
        self._reply_id = reply_id

    async def connect(self, setup: AgentSetup) -> AgentConnection:
        return Connection(self._reply_id)


@vp.tool(effect="read")
async def get_order() -> str:
    """Look up the order."""
    return "shipped"


@pytest.mark.parametrize("reply_id", ["r1", ""])
async def test_a_reply_that_waits_for_a_result_is_heard_to_its_end(reply_id: str) -> None:
    """A second after its call the result is sent, and what then comes of the same reply answers the caller."""
    began_s = anyio.current_time()
    async with vp.Pipeline(Agent(reply_id), vp.ToolRouter([get_order])).session(output=RecordingOutput()) as session:
        turn = await session.user_says("Where is my order?")

        assert turn.heard == "It has shipped."
        assert round(anyio.current_time() - began_s, 3) == 2.0
