"""One run of an agent as the reply to one request: its events become words and calls.

Rule 1: only text is spoken. Thoughts and the agent's own calls are not.
Rule 2: a call of our tools is not run here. It comes back as the run's output, and goes to the `ToolRouter`.
Rule 3: waiting for the model has the deadlines of every model; while the agent runs a tool of its own, another one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydantic_ai import AgentRunResultEvent, DeferredToolRequests
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
)
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset

from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.model_events import ModelUsage
from voicepipe.vendors.pydantic_ai.messages import OwnCalls

if TYPE_CHECKING:
    from pydantic_ai import AgentRunResult
    from pydantic_ai.agent.abstract import AgentRunEvents
    from pydantic_ai.tools import RunContext
    from pydantic_ai.toolsets.abstract import ToolsetTool
    from pydantic_ai.usage import RunUsage

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.model.model import ReplyPart, Request
    from voicepipe.vendors.openai.deadlines import Deadlines

__all__ = ["OurTools", "Run"]

REASONS: Final = {"tool_call": "tool_calls"}
"""Their words for why a model stopped, where ours differ."""


class Run:
    """Reads one run.

    Args:
        request: What is asked.
        outbox: Takes the reply.
        turn: The turn that asks.
        vendor: The model, for messages and events.
        deadlines: How long to wait for the model.
        own_tools_s: How long to wait for the agent's own tools.

    Attributes:
        is_used: Whether the pipeline has something of the reply, or a tool of the agent's has run: then the request is
            not sent again.
    """

    def __init__(
        self,
        request: Request,
        outbox: Outbox[ReplyPart],
        turn: Turn,
        *,
        vendor: str,
        deadlines: Deadlines,
        own_tools_s: float,
    ) -> None:
        self.is_used = False
        self._request = request
        self._outbox = outbox
        self._turn = turn
        self._vendor = vendor
        self._deadlines = deadlines
        self._own_tools_s = own_tools_s
        self._own = OwnCalls()
        self._limit_s = deadlines.first_token_s
        self._in_text = False
        self._has_said = False
        self._events: AgentRunEvents[Any] | None = None
        self._is_reported = False

    async def read(self, events: AgentRunEvents[Any]) -> AgentRunResult[Any]:
        """Send what the agent says, and return the result when the run has ended.

        Raises:
            VendorError: The model, or a tool of the agent's, does not answer in time.
        """
        while True:
            event: object = None
            with anyio.move_on_after(self._limit_s) as limit:
                event = await anext(events)
            if limit.cancelled_caught:
                late = "a tool of the agent has not ended" if self._own.running else "the model has sent nothing"
                raise VendorError(
                    f"{self._vendor}: {late} for {self._limit_s:g} s", vendor=self._vendor, retryable=True
                )
            self._events = events  # before the first event there is no run
            if isinstance(event, AgentRunResultEvent):
                return event.result
            await self._take(event)

    async def finish(self, result: AgentRunResult[Any]) -> list[str]:
        """Send the calls of our tools and the end of the reply; return the ids that the run gave to the calls.

        Raises:
            ConfigurationError: The agent waits for somebody who is not there.
        """
        self.report(result)
        output: object = result.output
        if not isinstance(output, DeferredToolRequests):
            reason = result.response.finish_reason or "stop"
            await self._outbox.send(ReplyEnd(finish_reason=REASONS.get(reason, reason)))
            return []
        ours = {definition["function"]["name"] for definition in self._request.tools}
        foreign = [call.tool_name for call in (*output.approvals, *output.calls) if call.tool_name not in ours]
        if foreign:
            raise ConfigurationError(
                f"the agent's tool {foreign[0]} waits for an approval or a result from outside, which nobody gives it "
                "here; make it a tool of the ToolRouter: @vp.tool(confirm=True)"
            )
        for index, call in enumerate(output.calls):
            arguments = call.args if isinstance(call.args, str) else json.dumps(call.args or {})
            delta = ToolCallDelta(index=index, call_id=call.tool_call_id, name=call.tool_name, arguments=arguments)
            await self._outbox.send(delta)
        await self._outbox.send(ReplyEnd(finish_reason="tool_calls"))
        return [call.tool_call_id for call in output.calls]

    def report(self, result: AgentRunResult[Any] | None = None) -> None:
        """Report the tokens, once: of a run that was cut, those of its whole responses."""
        if self._is_reported or self._turn.is_over or self._events is None:
            return
        usage: RunUsage = self._events.usage if result is None else result.usage
        if result is None and not usage.requests:
            return  # nothing was counted
        self._is_reported = True
        model = (result.response.model_name if result is not None else None) or self._vendor
        self._turn.emit(
            ModelUsage(
                turn_id=self._turn.turn_id,
                model=model,
                step=self._request.step,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                is_estimated=result is None,
            )
        )

    async def _take(self, event: object) -> None:
        self._limit_s = self._deadlines.gap_s
        match event:
            case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                await self._say(text)
            case PartStartEvent(part=ToolCallPart()):
                await self._end_text()
            case FunctionToolCallEvent(part=call) if not self._is_ours(call.tool_name):
                self.is_used = True
                await self._outbox.send(self._own.began(call))
            case FunctionToolResultEvent(part=result):
                await self._outbox.send(self._own.ended(result))
                self._limit_s = self._deadlines.first_token_s  # the next request is on its way
            case _:
                pass
        if self._own.running:
            self._limit_s = self._own_tools_s

    async def _say(self, text: str) -> None:
        if not text or (not self._has_said and not text.strip()):
            return
        if self._has_said and not self._in_text and not text[0].isspace():
            text = f" {text}"  # two responses of the model are one text to the caller
        self.is_used = self._in_text = self._has_said = True
        await self._outbox.send(TextDelta(text))

    async def _end_text(self) -> None:
        """Let what was said be spoken to its end while a tool runs."""
        if self._in_text:
            self._in_text = False
            await self._outbox.send(TextDelta("", ends_segment=True))

    def _is_ours(self, name: str) -> bool:
        return any(definition["function"]["name"] == name for definition in self._request.tools)


class OurTools(ExternalToolset[Any]):
    """The tools of the `ToolRouter`, which come back from a run as calls.

    Args:
        request: What is asked; its tools are offered.
    """

    def __init__(self, request: Request) -> None:
        functions = [definition["function"] for definition in request.tools]
        super().__init__(
            [
                ToolDefinition(
                    name=function["name"],
                    description=function["description"],
                    parameters_json_schema=function["parameters"],
                )
                for function in functions
            ]
        )

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the tools; their arguments are left as they are."""
        tools = await super().get_tools(ctx)
        for tool in tools.values():
            tool.args_validator = _Unread()
        return tools


class _Unread:
    """Checks no arguments: the `ToolRouter` does, and shows the model what is wrong."""

    def validate_json(self, input: str | bytes | bytearray, **settings: Any) -> dict[str, Any]:  # noqa: A002, ANN401
        """Return no arguments, whatever was written."""
        del input, settings
        return {}

    def validate_python(self, input: Any, **settings: Any) -> dict[str, Any]:  # noqa: A002, ANN401
        """Return no arguments, whatever was written."""
        del input, settings
        return {}
