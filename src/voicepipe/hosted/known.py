"""What the service knows of the call: its prompt, its tools, and the results of its calls.

Rule 1: pure. What the service lacks comes out as requests, once.
Rule 2: a call belongs to the connection that it came over; no other connection is shown its result.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from voicepipe.conversation.tool_result import result_of
from voicepipe.history import AssistantMessage, ServiceState
from voicepipe.hosted.messages import CallResult, SetInstructions, SetInterruptible, SetTools
from voicepipe.hosted.retelling import retold_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.history import Message, ToolCall
    from voicepipe.hosted.messages import AgentRequest, ReplyCalls

__all__ = ["Known", "calls_of", "not_called"]

NOT_CALLED: Final = "the caller interrupted, so the tool was not called"


class Known:
    """What the service knows.

    Args:
        agent: The agent's name, under which a call keeps the service's id of it.

    Attributes:
        connections: Counts the connections of the call, in whichever worker.
    """

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self.connections = 0
        self._instructions = ""
        self._tools: tuple[dict[str, Any], ...] = ()
        self._is_interruptible = True
        self._shown: dict[tuple[int, str], str] = {}

    def connected(self, instructions: str, tools: tuple[dict[str, Any], ...]) -> None:
        """Note that a connection begins with these settings."""
        self.connections += 1
        self._instructions, self._tools, self._is_interruptible = instructions, tools, True
        self._shown.clear()

    def instruct(self, text: str | None) -> list[AgentRequest]:
        """Return what makes this the system prompt; None is the agent's own, which it began with."""
        if text is None or text == self._instructions:
            return []
        self._instructions = text
        return [SetInstructions(text)]

    def offer(self, tools: tuple[dict[str, Any], ...]) -> list[AgentRequest]:
        """Return what makes these the tools."""
        if tools is self._tools or tools == self._tools:
            return []
        self._tools = tools
        return [SetTools(tools)]

    def let_interrupt(self, is_interruptible: bool) -> list[AgentRequest]:
        """Return what lets the caller's words interrupt, or not."""
        if is_interruptible == self._is_interruptible:
            return []
        self._is_interruptible = is_interruptible
        return [SetInterruptible(is_interruptible)]

    def call_state(self, call_id: str) -> ServiceState:
        """Return what a call has to keep, so that its result finds the way back."""
        return ServiceState(service=self._agent, fields={"connection": self.connections, "call_id": call_id})

    def results(self, calls: Iterable[ToolCall], *, with_running: bool = False) -> tuple[CallResult, ...]:
        """Return the results that the service has not been shown; for one that still runs, if wanted, that it does."""
        found = list[CallResult]()
        for call in calls:
            call_id = self._call_id(call)
            if call_id is None or (call.status == "pending" and not with_running):
                continue
            key = (self.connections, call_id)
            result = result_of(call)
            if self._shown.get(key) != result:
                self._shown[key] = result
                is_error = call.status in ("failed", "unknown")
                found.append(CallResult(call_id, call.name, result, is_error=is_error))
        return tuple(found)

    def with_late(self, note: str, calls: Iterable[ToolCall]) -> str:
        """Return a note of the application, with the late results of calls that this connection knows nothing of."""
        return "\n".join([note, *(retold_call(call) for call in calls if self._call_id(call) is None)])

    def _call_id(self, call: ToolCall) -> str | None:
        state = call.state
        if state is None or state.service != self._agent or state.fields.get("connection") != self.connections:
            return None
        return str(state.fields.get("call_id", ""))


def calls_of(messages: Iterable[Message]) -> list[ToolCall]:
    """Return the calls of these messages, oldest first."""
    return [call for message in messages if isinstance(message, AssistantMessage) for call in message.calls]


def not_called(call: ReplyCalls) -> CallResult:
    """Return the result of a call that belongs to a reply which was interrupted."""
    return CallResult(call.call_id, call.name, json.dumps({"error": NOT_CALLED}), is_error=True)
