"""The conversation in the messages of pydantic-ai. Pure.

Rule 1: the agent knows of its own words what the caller heard.
Rule 2: each call has its result, the agent's own calls too: they are kept with the message that they belong to.
Rule 3: data from our tools is marked as untrusted, as it is for every other model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from voicepipe.conversation.tool_result import result_of
from voicepipe.flow import ReplyState
from voicepipe.history import ServiceState, UserMessage
from voicepipe.tools.tool import MAX_RESULT_BYTES
from voicepipe.vendors.openai.message_json import call_json, content_of, state_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic_ai.messages import ModelMessage

    from voicepipe.history import AssistantMessage, Message, ToolCall

__all__ = ["OwnCalls", "messages_of", "results_of"]

SERVICE: Final = "pydantic-ai"

UNKNOWN: Final = "the reply was interrupted before this ended; the outcome is unknown, it may have happened"
"""The result of an own call that was cut."""


def messages_of(messages: Iterable[Message]) -> list[ModelMessage]:
    """Return the conversation for a run; it ends with what the agent is to answer."""
    return [written for message in messages for written in _written(message)]


def results_of(calls: Sequence[ToolCall], ids: Sequence[str]) -> ModelRequest:
    """Return the results of calls that a run has left to us, by the ids that it knows."""
    parts = [
        ToolReturnPart(call.name, result_of(call), tool_call_id=call_id)
        for call, call_id in zip(calls, ids, strict=False)
    ]
    return ModelRequest(parts=parts)


def _written(message: Message) -> Iterator[ModelMessage]:
    if isinstance(message, UserMessage):
        yield ModelRequest(parts=[UserPromptPart(message.text)])
        return
    yield from _own_calls(message)
    said: list[Any] = [TextPart(content)] if (content := content_of(message)) else []
    called = [_called(call) for call in message.calls]
    if said or called:
        yield ModelResponse(parts=[*said, *called])
    if called:
        yield results_of(message.calls, [call.call_id for call in message.calls])


def _called(call: ToolCall) -> ToolCallPart:
    function = call_json(call, "{}")["function"]
    return ToolCallPart(function["name"], function["arguments"], tool_call_id=call.call_id)


def _own_calls(message: AssistantMessage) -> Iterator[ModelMessage]:
    calls: list[dict[str, str]] = state_for(SERVICE, message.state).get("calls", [])
    if calls:
        yield ModelResponse(
            parts=[ToolCallPart(one["name"], one["arguments"], tool_call_id=one["id"]) for one in calls]
        )
        yield ModelRequest(parts=[ToolReturnPart(one["name"], one["result"], tool_call_id=one["id"]) for one in calls])


@dataclass(slots=True)
class OwnCalls:
    """The calls that an agent runs by itself within one reply, to be kept with its message.

    Attributes:
        calls: Name, arguments and result of each, by the id of the call.
        running: How many have no result yet.
    """

    calls: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    running: int = 0

    def began(self, call: ToolCallPart) -> ReplyState:
        """Note a call: until it has a result, nobody knows what became of it."""
        self.running += 1
        arguments = call.args_as_json_str()
        one = {"id": call.tool_call_id, "name": call.tool_name, "arguments": arguments, "result": UNKNOWN}
        self.calls[call.tool_call_id] = one
        return self.state

    def ended(self, result: Any) -> ReplyState:  # noqa: ANN401 - a result, or what asks the model to try again
        """Note the result of a call."""
        if (one := self.calls.get(result.tool_call_id)) is not None:
            self.running -= 1
            text = result.model_response_str() if isinstance(result, ToolReturnPart) else result.model_response()
            one["result"] = text[:MAX_RESULT_BYTES]
        return self.state

    @property
    def state(self) -> ReplyState:
        """What is kept with the message."""
        return ReplyState(ServiceState(service=SERVICE, fields={"calls": [dict(one) for one in self.calls.values()]}))
