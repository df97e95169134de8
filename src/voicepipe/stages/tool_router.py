"""The tool loop: ask the model, run what it calls, ask again, until it has nothing left to call.

Rule 1: text goes on at once; a call starts as soon as its arguments are complete, while later calls still stream.
Rule 2: each call gets exactly one result, and runs at most once, with arguments that validate and nothing repaired.
Rule 3: a writing tool belongs to the session: a barge-in does not touch it. A reading tool dies with the turn.
"""

from __future__ import annotations

import copy
import itertools
import json
import logging
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe._lifetimes import named, single_error
from voicepipe.errors import ConfigurationError, IncompleteReply, ToolError, VoicepipeError
from voicepipe.events import ReplyEnd, TextDelta, ToolCallDelta, ToolFinished, ToolStarted, Transcript
from voicepipe.history import AssistantMessage, CallStatus, ToolCall
from voicepipe.stage import Stage
from voicepipe.stages.model import Model, ReplyPart, Request
from voicepipe.tools import MAX_ARGUMENT_BYTES, Tool, ToolContext, Toolset, describe_failure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

    from anyio.abc import TaskGroup

    from voicepipe.channel import Inbox, Outbox
    from voicepipe.turn import Turn

__all__ = ["ToolRouter"]

log = logging.getLogger("voicepipe")

MAX_STEPS: Final = 5
"""Rounds of tool calls in one turn; then the model must answer without tools."""

MAX_CALLS: Final = 8
"""Calls that are run of one reply; the model is told of the others that they were too many."""

MAX_CALLS_READ: Final = 128
"""Calls that are read of one reply; with more of them it is no reply."""

MAX_REPLY_CHARACTERS: Final = 16 * 1024
"""Text of one reply; a quarter of an hour of speech."""

TURN_S: Final = 60.0
"""From a turn's start to its last text, tools included."""


class ToolRouter(Stage[Transcript, TextDelta]):
    """Lets the model in front of it call tools.

    Args:
        tools: Functions decorated with `@tool`. Only these can be called.
        turn_s: From a turn's start to its last text, tools included; then what has been said stays said.

    Raises:
        ConfigurationError: One of them is no tool, two have the same name, or there is no time.
    """

    def __init__(self, tools: Iterable[Tool[Any, Any]], *, turn_s: float = TURN_S) -> None:
        if not turn_s > 0:
            raise ConfigurationError(f"ToolRouter: turn_s must be positive seconds, not {turn_s}")
        self.tools = Toolset(tools)
        self.turn_s = turn_s
        self.model: Model | None = None

    def with_model(self, model: Model) -> Self:
        """Return a router that asks this model; the pipeline does this with the model in front of it."""
        router = copy.copy(self)
        router.model = model
        return router

    async def run(self, inbox: Inbox[Transcript], outbox: Outbox[TextDelta], turn: Turn) -> None:
        """Answer the turn's transcript. A failure of the model is noted on the turn: what was said stays said."""
        assert self.model is not None  # noqa: S101 - the pipeline puts it there
        turn.understood((await inbox.receive()).text)
        with anyio.move_on_after(self.turn_s) as limit:
            try:
                await self._answer(self.model, outbox, turn)
            except VoicepipeError as error:
                turn.fail(error)
        if limit.cancelled_caught:
            turn.fail(IncompleteReply(f"the reply was not whole after {self.turn_s:g} s", vendor=self.model.name))

    async def _answer(self, model: Model, outbox: Outbox[TextDelta], turn: Turn) -> None:
        for step in range(MAX_STEPS + 1):
            offered = tuple(self.tools.definitions) if step < MAX_STEPS else ()
            request = Request(messages=turn.messages, tools=offered, step=step)
            if not await self._ask(model, request, outbox, turn):
                return
            turn.timeline.mark_again("tools_done")

    async def _ask(self, model: Model, request: Request, outbox: Outbox[TextDelta], turn: Turn) -> list[ToolCall]:
        """Return the calls of one reply, once all have their results."""
        allowed = self.tools if request.tools else Toolset([])
        message = turn.add_message()
        with single_error():
            async with anyio.create_task_group() as tasks:
                reply = _Reply(message, request.step, allowed, outbox, turn, tasks)
                try:
                    with named(model.name):
                        await model.reply(request, reply, turn)
                    reply.complete()
                finally:
                    reply.drop_incomplete()
        return message.calls


class _Reply:
    """One reply of the model as it comes: an outbox that sorts text from calls, and starts the calls."""

    def __init__(
        self,
        message: AssistantMessage,
        step: int,
        tools: Toolset,
        outbox: Outbox[TextDelta],
        turn: Turn,
        tasks: TaskGroup,
    ) -> None:
        self.message = message
        self._tools = tools
        self._outbox = outbox
        self._turn = turn
        self._tasks = tasks
        self._step = step
        self._calls: dict[int, ToolCall] = {}
        self._started: set[int] = set()
        self._text_goes_on = True
        self._has_ended = False

    async def send(self, item: ReplyPart, /) -> None:
        match item:
            case TextDelta():
                await self._text(item)
            case ToolCallDelta():
                await self._call(item)
            case ReplyEnd():
                self._has_ended = True
                self._turn.finish_reason = item.finish_reason
                if self._text_goes_on:
                    # Nothing can follow: the chunker need not wait for the connection to close.
                    await self._end_segment()

    def close(self) -> None:
        """Nothing to do: the reply ends when `Model.reply` returns."""

    def complete(self) -> None:
        """The model has finished: start the calls whose arguments are complete only now.

        Raises:
            IncompleteReply: It did not say that it had.
        """
        if not self._has_ended:
            raise IncompleteReply("the model returned without a ReplyEnd, so its reply is not whole", vendor="model")
        if self._calls:
            self._turn.timeline.mark_again("tool_called")
        for index in self._calls:
            if index not in self._started:
                self._start(index)

    def drop_incomplete(self) -> None:
        """The reply is over: what has started goes on, a call that is incomplete now must never run."""
        for index, call in self._calls.items():
            if index not in self._started:
                call.settle("failed", "the call was cut off before its arguments were complete; it was not run")

    async def _text(self, delta: TextDelta) -> None:
        if not self._text_goes_on:
            # Text after a call: it is spoken as a segment of its own, and belongs to this message all the same.
            self._turn.segments.append(self.message)
            self._text_goes_on = True
        room = MAX_REPLY_CHARACTERS - len(self.message.generated)
        text = delta.text[:room]
        self._turn.timeline.mark("llm_first_token")
        self.message.generated += text
        await self._outbox.send(TextDelta(text))
        if len(delta.text) > room:
            raise IncompleteReply(
                f"the reply is longer than {MAX_REPLY_CHARACTERS} characters; the rest is not spoken", vendor="model"
            )

    async def _end_segment(self) -> None:
        self._text_goes_on = False
        await self._outbox.send(TextDelta("", ends_segment=True))

    async def _call(self, delta: ToolCallDelta) -> None:
        if self._text_goes_on:
            await self._end_segment()
        call = self._calls.get(delta.index)
        if call is None:
            if len(self._calls) == MAX_CALLS_READ:
                raise IncompleteReply(f"the reply calls tools more than {MAX_CALLS_READ} times", vendor="model")
            # An id that comes only later is not needed: both sides of the conversation are rendered here.
            call_id = self._fresh_id(delta.call_id, delta.index)
            call = self._calls[delta.index] = ToolCall(call_id=call_id, name="", arguments="")
            self.message.calls.append(call)
        if delta.index in self._started:
            return  # its object was closed: what follows is no part of it
        call.name = call.name or delta.name
        call.arguments += delta.arguments
        if len(call.arguments) > MAX_ARGUMENT_BYTES:
            raise IncompleteReply(f"a tool call has more than {MAX_ARGUMENT_BYTES} bytes of arguments", vendor="model")
        if call.name and _is_object(call.arguments):
            self._start(delta.index)

    def _fresh_id(self, wanted: str, index: int) -> str:
        """Return an id that no other call of this session has: a tool may use it to do a thing once."""
        wanted = call_id = wanted or f"call_{self._turn.turn_id}_{self._step}_{index}"
        replies = (message for message in self._turn.messages if isinstance(message, AssistantMessage))
        taken = {call.call_id for reply in replies for call in reply.calls}
        for number in itertools.count(2):
            if call_id not in taken:
                break
            call_id = f"{wanted}_{number}"
        return call_id

    def _start(self, index: int) -> None:
        """Validate a call and run it; what cannot run gets its error as the result."""
        self._started.add(index)
        call, turn = self._calls[index], self._turn
        tool = self._tools.get(call.name)
        if len(self._started) > MAX_CALLS:
            return self._refuse(call, ToolError(f"too many calls at once; at most {MAX_CALLS} are run"))
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return self._refuse(call, ToolError(f"there is no tool {call.name!r}; there are: {known}"))
        try:
            values = tool.validate(call.arguments)
        except ToolError as error:
            return self._refuse(call, error)
        self._tasks.start_soon(_Running(tool, values, call, turn).run)
        return None

    def _refuse(self, call: ToolCall, error: ToolError) -> None:
        call.settle("failed", _failure(error))
        self._turn.tell(_finished(call, self._turn))


class _Running:
    """One call while it runs: beside the turns, so that no tool can hold one, and waited for by its own turn."""

    def __init__(self, tool: Tool[Any, Any], values: dict[str, Any], call: ToolCall, turn: Turn) -> None:
        self._tool = tool
        self._values = values
        self._call = call
        self._turn = turn
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()

    async def run(self) -> None:
        """Start the tool and wait for it, as long as it may take and the turn lives."""
        writes = self._tool.effect == "write"
        if writes:
            await self._wait_committed()
        self._turn.session.start_call(self._execute)
        try:
            with anyio.move_on_after(self._tool.timeout_s) as limit:
                await self._done.wait()
        except anyio.get_cancelled_exc_class():
            if not writes:
                self._give_up("the call was cancelled")
            raise
        if limit.cancelled_caught and writes:
            waited = f"no answer within {self._tool.timeout_s:g} s; the outcome is unknown, it may still happen"
            self._settle("unknown", _failure(ToolError(waited)))
        elif limit.cancelled_caught:
            self._give_up(f"the tool did not answer within {self._tool.timeout_s:g} s")

    async def _wait_committed(self) -> None:
        try:
            await self._turn.committed.wait()
        except anyio.get_cancelled_exc_class():
            self._settle("failed", _failure(ToolError("the turn ended before the tool was run")))
            raise

    def _give_up(self, reason: str) -> None:
        """Cancel a reading tool and have a result at once: it may be slow to end."""
        self._settle("failed", _failure(ToolError(reason)))
        self._scope.cancel()

    async def _execute(self) -> None:
        call, turn = self._call, self._turn
        context = ToolContext(deps=turn.session.deps, session=turn.session, turn_id=turn.turn_id, call_id=call.call_id)
        with self._scope:
            turn.tell(ToolStarted(turn_id=turn.turn_id, call_id=call.call_id, name=call.name))
            try:
                result = self._tool.render(await self._tool.call(self._values, context))
            except anyio.get_cancelled_exc_class():
                self._settle("unknown", _failure(ToolError("the call ended before the tool did; it may have happened")))
                raise
            except Exception as error:
                if not isinstance(error, ToolError):  # that one was meant for the model; this one is for a developer
                    log.warning("the tool %s raised %s", call.name, type(error).__name__, exc_info=error)
                self._settle("failed", _failure(error))
            else:
                self._settle("done", result)
            self._done.set()

    def _settle(self, status: CallStatus, result: str) -> None:
        if self._call.status in ("pending", "unknown"):
            self._call.settle(status, result)
            self._turn.tell(_finished(self._call, self._turn))


def _finished(call: ToolCall, turn: Turn) -> ToolFinished:
    return ToolFinished(turn_id=turn.turn_id, call_id=call.call_id, name=call.name, status=call.status)


def _failure(error: BaseException) -> str:
    return json.dumps({"error": describe_failure(error)}, ensure_ascii=False)


def _is_object(arguments: str) -> bool:
    """Return whether the arguments are complete: an object's last brace ends it, whatever may still be streaming."""
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False
