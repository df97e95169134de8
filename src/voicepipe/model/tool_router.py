"""The tool loop: ask the model, run what it calls, ask again, until it has nothing left to call.

Rule 1: text is passed on at once; a call starts as soon as its arguments are complete, while later calls still stream.
Rule 2: each call gets exactly one result, and runs at most once, with arguments that validate as they are.
Rule 3: a writing tool belongs to the session: a barge-in does not touch it. A reading tool is cancelled with the turn.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.core.abandon import run_abandonably
from voicepipe.core.failures import is_fault, named, single_error
from voicepipe.core.handover import checker
from voicepipe.core.stage import Stage
from voicepipe.errors import ConfigurationError, IncompleteReply, StageError, ToolError, VoicepipeError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta, Transcript
from voicepipe.history import AssistantMessage, ToolCall
from voicepipe.model.model import Model, ReplyPart, Request
from voicepipe.model.running_call import RunningCall, TurnCalls, failure, refuse
from voicepipe.tools.confirmation import Confirmations
from voicepipe.tools.tool import MAX_ARGUMENT_BYTES, Tool
from voicepipe.tools.toolbox import Toolbox, Toolset

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from typing import Self

    from anyio.abc import TaskGroup

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import AnySession
    from voicepipe.core.part import Part

__all__ = ["ToolRouter"]

MAX_STEPS: Final = 5
"""Rounds of tool calls in one turn; then the model must answer without tools."""

MAX_CALLS: Final = 8
"""Calls of one reply that are run; the result of each further call says that there were too many."""

MAX_CALLS_READ: Final = 128
"""Calls of one reply that are read; a reply with more of them fails."""

MAX_REPLY_CHARACTERS: Final = 16 * 1024
"""Text of one reply: a quarter of an hour of speech."""

TURN_S: Final = 60.0
"""From a turn's start to its last text, tools included."""

SAY_AFTER_S: Final = 0.7
"""How long a tool may take before its `say` is spoken; people in conversation pause for about half a second."""

TO_TTS_S: Final = 0.05
"""How long the end of a text may take through the stages behind the model, until TTS counts its last sentence."""


class ToolRouter(Stage[Transcript, TextDelta]):
    """Lets the model before it call tools.

    Args:
        tools: Functions decorated with `@tool`, and `Toolbox` objects. Only these can be called.
        turn_s: Seconds from a turn's start to its last text, tools included. Then the turn fails; what was said stays
            said.
        say_after_s: Seconds that a tool may take before its `say` is spoken.

    Attributes:
        tools: The tools that can be called; a session may change its own (`Session.tools`).

    Raises:
        ConfigurationError: An element is not a tool, two tools have the same name, or a time is invalid.
    """

    _obeys = True

    def __init__(
        self, tools: Iterable[Tool[Any, Any] | Toolbox], *, turn_s: float = TURN_S, say_after_s: float = SAY_AFTER_S
    ) -> None:
        if isinstance(cast("object", tools), (Tool, Toolbox)):
            raise ConfigurationError(f"ToolRouter takes a list of tools; write ToolRouter([{tools!r}])")
        if not turn_s > 0:
            raise ConfigurationError(f"ToolRouter: turn_s must be positive seconds, not {turn_s}")
        if not 0 <= say_after_s < math.inf:
            raise ConfigurationError(f"ToolRouter: say_after_s must be seconds, 0 or more, not {say_after_s}")
        self._given = tuple(tools)
        self.tools = Toolset(self._given)
        self.turn_s = turn_s
        self.say_after_s = say_after_s
        self.model: Model | None = None
        self._confirmations: Confirmations
        self._call_ids: set[str]

    def with_model(self, model: Model) -> Self:
        """Return a router that asks this model; the pipeline gives it the model before it."""
        router = copy.copy(self)
        router.model = model
        return router

    def _copied(self) -> Self:
        """Return a copy, with copies of the toolboxes, that calls their tools."""
        twin = super()._copied()
        twin._given = tuple(one._copied() if isinstance(one, Toolbox) else one for one in self._given)
        twin.tools = Toolset(twin._given)
        return twin

    def _held(self) -> list[Part]:
        return [*super()._held(), *(one for one in self._given if isinstance(one, Toolbox))]

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Keep what this caller was asked to confirm, and the ids of all calls so far."""
        self._confirmations = Confirmations()
        replies = (message for message in session.history if isinstance(message, AssistantMessage))
        self._call_ids = {call.call_id for reply in replies for call in reply.calls}
        yield

    async def run(self, inbox: Inbox[Transcript], outbox: Outbox[TextDelta], turn: Turn) -> None:
        """Reply to the turn's transcript. If the model fails, the turn notes it, and what was said stays said."""
        model, transcript = cast("Model", self.model), None  # the pipeline puts the model there
        called: list[str] = []  # the tools that the turn waits for
        with anyio.move_on_after(self.turn_s) as limit:
            try:
                transcript = await inbox.receive()
                turn.understood(transcript.text)
                await self._answer(model, outbox, turn, called)
            except anyio.EndOfStream:
                turn.withhold()
            except VoicepipeError as error:
                turn.fail(error)
        if limit.cancelled_caught and transcript is None:
            # Raised, not noted on the turn: the stage that hangs has to be cancelled, or the turn would never end.
            part = turn.first_at_work
            waited = f"what the caller said did not reach the model within {self.turn_s:g} s"
            raise StageError(f"{waited}; {part} has not passed it on", part=part)
        if limit.cancelled_caught:
            late = f"the tools {', '.join(called)} have not ended" if called else f"{model.name} has not ended it"
            turn.fail(IncompleteReply(f"the reply was not complete after {self.turn_s:g} s; {late}", vendor=model.name))

    async def _answer(self, model: Model, outbox: Outbox[TextDelta], turn: Turn, called: list[str]) -> None:
        calls = TurnCalls()
        for step in range(MAX_STEPS + 1):
            may_call = step < MAX_STEPS and not calls.are_hopeless
            offered = self.tools.definitions if may_call else ()
            request = Request(messages=turn.messages, tools=offered, step=step)
            message = turn.add_message()
            with single_error():
                async with anyio.create_task_group() as tasks:
                    reply = _Reply(self, request, message, calls, outbox, turn, tasks)
                    try:
                        with named(model.name), turn.working(model.name):
                            await run_abandonably(
                                model.reply,
                                request,
                                reply,
                                turn,
                                name=model.name,
                                deadline=anyio.current_effective_deadline(),
                                report=turn.session.emit,
                            )
                        reply.complete()
                        called += [call.name for call in message.calls]
                    finally:
                        reply.drop_incomplete()
            called.clear()
            if not message.calls:
                return
            turn.timeline.mark_again("tools_done")


class _Reply:
    """One reply of the model as it comes: an outbox that separates text from calls, and starts the calls."""

    def __init__(
        self,
        router: ToolRouter,
        request: Request,
        message: AssistantMessage,
        turn_calls: TurnCalls,
        outbox: Outbox[TextDelta],
        turn: Turn,
        tasks: TaskGroup,
    ) -> None:
        self.message = message
        self._router = router
        self._check = checker(ReplyPart, cast("Model", router.model).name)
        self._tools = router.tools if request.tools else Toolset()
        self._turn_calls = turn_calls
        self._outbox = outbox
        self._turn = turn
        self._tasks = tasks
        self._step = request.step
        self._calls: dict[int, ToolCall] = {}
        self._started: set[int] = set()
        self._text_end: anyio.Event | None = anyio.Event()  # set when the present text ends; None without text
        self._has_ended = False

    async def send(self, item: ReplyPart, /) -> None:
        self._check(item)
        match item:
            case TextDelta():
                await self._text(item)
            case ToolCallDelta():
                await self._call(item)
            case ReplyEnd():
                self._has_ended = True
                self._turn.model_ended(item.finish_reason)
                if self._text_end:
                    # No text follows, so the chunker need not wait until the connection is closed.
                    await self._end_segment(self._text_end)

    def close(self) -> None:
        """Do nothing: the reply ends when `Model.reply` returns."""

    def complete(self) -> None:
        """Finish the reply: start the calls whose arguments could not be known to be complete before.

        Raises:
            IncompleteReply: The model sent no `ReplyEnd`.
        """
        if not self._has_ended:
            raise IncompleteReply("the model returned without a ReplyEnd, so its reply is incomplete", vendor="model")
        if self._calls:
            self._turn.timeline.mark_again("tool_called")
        for index in self._calls:
            if index not in self._started and not self._turn.is_over:
                self._start(index)

    def drop_incomplete(self) -> None:
        """Give every call that has not started a failure as its result: its arguments were cut off."""
        for index, call in self._calls.items():
            if index not in self._started:
                cut = ToolError("the call was cut off before its arguments were complete, so it was not run")
                call.settle("failed", failure(cut))

    async def _text(self, delta: TextDelta) -> None:
        if not self._text_end:
            # Text after a call is spoken as a segment of its own, but belongs to the same message.
            self._turn.add_segment(self.message)
            self._text_end = anyio.Event()
        room = MAX_REPLY_CHARACTERS - len(self.message.generated)
        text = delta.text[:room]
        self._turn.timeline.mark("llm_first_token")
        self.message.generated += text
        await self._outbox.send(TextDelta(text))
        if len(delta.text) > room:
            raise IncompleteReply(
                f"the reply is longer than {MAX_REPLY_CHARACTERS} characters; the rest is not spoken", vendor="model"
            )

    async def _end_segment(self, text_end: anyio.Event) -> None:
        self._text_end = None
        text_end.set()
        await self._outbox.send(TextDelta("", ends_segment=True))

    async def _call(self, delta: ToolCallDelta) -> None:
        if self._turn.is_over:
            return  # it came in the same step as an interruption
        if self._text_end:
            await self._end_segment(self._text_end)
        call = self._calls.get(delta.index)
        if call is None:
            if len(self._calls) == MAX_CALLS_READ:
                raise IncompleteReply(f"the reply calls tools more than {MAX_CALLS_READ} times", vendor="model")
            # An id that comes later is ignored: calls and results are both written with the id chosen here.
            call_id = self._fresh_id(delta.call_id, delta.index)
            call = self._calls[delta.index] = ToolCall(call_id=call_id, name="", arguments="")
            self.message.calls.append(call)
        if delta.index in self._started:
            return  # its object was complete: what follows does not belong to it
        call.name = call.name or delta.name
        call.arguments += delta.arguments
        if len(call.arguments) > MAX_ARGUMENT_BYTES:
            raise IncompleteReply(f"a tool call has more than {MAX_ARGUMENT_BYTES} bytes of arguments", vendor="model")
        if call.name and self._is_complete(call):
            self._start(delta.index)

    def _is_complete(self, call: ToolCall) -> bool:
        """Return whether the arguments are complete: the last brace of the object ends them.

        Some services begin with an empty object and send the arguments after it. For a tool with parameters, an empty
        object therefore counts as complete only once the reply has ended.
        """
        tool = self._tools.get(call.name)
        return _is_object(call.arguments, may_be_empty=tool is None or not tool.parameters.get("properties"))

    def _fresh_id(self, wanted: str, index: int) -> str:
        """Return an id that no other call of this session has, so that a tool can use it to act only once."""
        wanted = call_id = wanted or f"call_{self._turn.turn_id}_{self._step}_{index}"
        for number in itertools.count(2):
            if call_id not in self._router._call_ids:
                break
            call_id = f"{wanted}_{number}"
        self._router._call_ids.add(call_id)
        return call_id

    def _start(self, index: int) -> None:
        """Validate a call and run it; a call that cannot run gets the error as its result."""
        self._started.add(index)
        call, turn = self._calls[index], self._turn
        tool = self._tools.get(call.name)
        if len(self._started) > MAX_CALLS:
            return refuse(call, ToolError(f"too many calls at once; at most {MAX_CALLS} are run"), turn)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return refuse(call, ToolError(f"there is no tool {call.name!r}; there are: {known}"), turn)
        try:
            values = tool.validate(call.arguments)
        except ToolError as error:
            return refuse(call, self._turn_calls.refuse(call.name, error, self._step), turn)
        except BaseException as error:
            if not is_fault(error):
                raise
            # Not even a bug in voicepipe leaves a call without a result.
            return refuse(call, ToolError(f"the arguments cannot be checked: {type(error).__name__}"), turn)
        running = RunningCall(
            tool,
            values,
            call,
            self.message,
            turn,
            step=self._step,
            tools=self._router.tools,
            confirmations=self._router._confirmations,
            calls=self._turn_calls,
        )
        self._tasks.start_soon(running.run)
        if tool.say:
            self._tasks.start_soon(self._fill_silence, tool.say, running)
        return None

    async def _fill_silence(self, words: str, running: RunningCall) -> None:
        """Speak a tool's `say` if the tool is slow, nothing else is being said, and no other tool has spoken."""
        await running.has_started.wait()
        with anyio.move_on_after(self._router.say_after_s):
            await running.has_result.wait()
        if not running.has_result.is_set():
            await _first(running.has_result.wait, self._wait_silent)
        if running.has_result.is_set() or self._turn_calls.has_filled:
            return
        self._turn_calls.has_filled = True
        # As a segment of the calling message, so that the model knows what the caller heard.
        self._turn.add_segment(self.message)
        space = " " if self.message.generated else ""
        self.message.generated += space + words
        await self._outbox.send(TextDelta(words, ends_segment=True))

    async def _wait_silent(self) -> None:
        """Wait until the caller hears silence: the turn may speak, and what the model has said was played."""
        await self._turn.committed.wait()
        while self._text_end or not self._turn.speech.is_silent:
            if self._text_end:
                await self._text_end.wait()
                await anyio.sleep(TO_TTS_S)
            await self._turn.speech.wait_silent()


async def _first(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until one of these returns, and cancel the others."""
    async with anyio.create_task_group() as tasks:

        async def wait(until: Callable[[], Awaitable[object]]) -> None:
            await until()
            tasks.cancel_scope.cancel()

        for until in waits:
            tasks.start_soon(wait, until)


def _is_object(arguments: str, *, may_be_empty: bool) -> bool:
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and (may_be_empty or bool(cast("dict[str, Any]", found)))
