"""One reply of the model as it comes: its text is passed on, and its tool calls are started.

Rule 1: text is passed on at once; a call starts as soon as its arguments are complete, while later calls still stream.
Rule 2: a call whose arguments are not known to be whole never runs, and every call gets a result.
"""

from __future__ import annotations

import itertools
import json
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import is_fault, single_error
from voicepipe.core.handover import checker
from voicepipe.core.waits import wait_any
from voicepipe.errors import IncompleteReply, ToolError, VoicepipeError
from voicepipe.flow import CUT_REASONS, ReplyEnd, ReplyState, TextDelta, ToolCallDelta
from voicepipe.history import AssistantMessage, ToolCall
from voicepipe.model.model import ReplyPart
from voicepipe.model.running_call import RunningCall, SessionCalls, TurnCalls, failure, refuse
from voicepipe.model_events import ReplyCut
from voicepipe.observed import ModelAsked, ModelEnded, ModelGave
from voicepipe.tools.lacking import lacked_by
from voicepipe.tools.tool import MAX_ARGUMENT_BYTES
from voicepipe.tools.toolbox import Toolset

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from anyio.abc import TaskGroup

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.model.model import Model, Request
    from voicepipe.tools.tool import Tool

__all__ = ["CallingReply"]

MAX_CALLS: Final = 8
"""Calls of one reply that are run; the result of each further call says that there were too many."""

MAX_CALLS_READ: Final = 128
"""Calls of one reply that are read; a reply with more of them fails."""

MAX_REPLY_CHARACTERS: Final = 16 * 1024
"""Text of one reply: a quarter of an hour of speech."""

TO_TTS_S: Final = 0.05
"""How long the end of a text may take through the stages behind the model, until TTS counts its last sentence."""


class CallingReply:
    """One reply of the model as it comes: an outbox that separates text from calls, and starts the calls.

    Args:
        request: What the model was asked.
        message: Takes the text and the calls.
        session_calls: What the session's calls have in common.
        turn_calls: What the turn's calls have in common.
        outbox: Takes the text.
        turn: The turn that the reply belongs to.
        model: Writes it.

    Attributes:
        end: How the model ended it; None as long as it has not.
    """

    def __init__(
        self,
        request: Request,
        message: AssistantMessage,
        session_calls: SessionCalls,
        turn_calls: TurnCalls,
        outbox: Outbox[TextDelta],
        turn: Turn,
        model: Model,
    ) -> None:
        self._check = checker(ReplyPart, model.name)
        self._model_label = model.label
        self.end: ReplyEnd | None = None
        self._message = message
        self._session_calls = session_calls
        self._tools = session_calls.tools if request.tools else Toolset()
        self._turn_calls = turn_calls
        self._outbox = outbox
        self._turn = turn
        self._request = request
        self._watch = turn.session.watch
        self._request_id = self._watch.next_request() if self._watch is not None else 0
        self._calls: dict[int, ToolCall] = {}
        self._started: set[int] = set()
        self._tasks: TaskGroup
        self._ran: list[tuple[ToolCall, Tool[Any, Any]]] = []
        self._text_end: anyio.Event | None = anyio.Event()  # set when the present text ends; None without text

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Take the reply in, and leave when each of its calls has a result, or the turn no longer waits for one."""
        with single_error():
            async with anyio.create_task_group() as self._tasks:
                try:
                    yield
                finally:
                    self._drop_incomplete()

    @contextmanager
    def shown(self) -> Generator[None]:
        """Show observers what the model is asked in the block, and how it ends."""
        watch, request = self._watch, self._request
        if watch is None:
            yield
            return
        self._session_calls.show(watch, request.tools)
        watch.exchange(
            ModelAsked(
                at_s=loop_time(),
                request_id=self._request_id,
                turn_id=self._turn.turn_id,
                step=request.step,
                model=self._model_label,
                system=request.system,
                messages=request.messages,
                tools=tuple(tool["function"]["name"] for tool in request.tools),
            )
        )
        try:
            yield
        except VoicepipeError as error:
            watch.exchange(ModelEnded(at_s=loop_time(), request_id=self._request_id, error=error))
            raise
        watch.exchange(ModelEnded(at_s=loop_time(), request_id=self._request_id))

    async def send(self, item: ReplyPart, /) -> None:
        """Take a piece of the reply. See `Outbox.send`."""
        self._check(item)
        if self._watch is not None:
            self._watch.exchange(ModelGave(at_s=loop_time(), request_id=self._request_id, part=item))
        match item:
            case TextDelta():
                await self._text(item)
            case ToolCallDelta():
                await self._call(item)
            case ReplyState(state=state):
                self._message.state = state
            case ReplyEnd():
                self.end = item
                self._turn.model_ended(item.finish_reason, is_cut=item.is_cut)
                # No text follows, so the chunker need not wait until the connection is closed.
                await self.end_text()

    def close(self) -> None:
        """Do nothing: the reply ends when `Model.reply` returns."""

    @property
    def has_called(self) -> bool:
        """Whether a tool was started, or the model ended a reply with calls: the turn has something to go on with."""
        return bool(self._ran) or (self.end is not None and bool(self._calls))

    @property
    def wants_reply(self) -> bool:
        """Whether the model has to see the results of the calls; read it once they are there."""
        succeeded = len(self._ran) == len(self._calls) and all(call.status == "done" for call, _ in self._ran)
        return bool(self._calls) and not (succeeded and not any(tool.reply for _, tool in self._ran))

    def complete(self) -> None:
        """Finish the reply: start the calls whose arguments could not be known to be complete before.

        Raises:
            IncompleteReply: The model sent no `ReplyEnd`, or was stopped in the middle of its reply.
        """
        if self.end is None:
            raise IncompleteReply("the model returned without a ReplyEnd, so its reply is incomplete", vendor="model")
        if self._calls:
            self._turn.timeline.mark_again("tool_called")
        if self.end.is_cut and (self._calls or self._message.generated.strip()):
            # Calls that have not started are not started: nobody knows whether their arguments are whole.
            reason = self.end.finish_reason
            raise IncompleteReply(f"the reply was cut short ({reason}): {CUT_REASONS[reason]}", vendor="model")
        for index in self._calls:
            if index not in self._started and not self._turn.is_over:
                self._start(index)

    async def cut(self, error: VoicepipeError) -> None:
        """Report that the reply is not whole, although the turn goes on with its calls."""
        if self.end is None:
            self._turn.model_ended(self._turn.finish_reason, is_cut=True)
            self._turn.timeline.mark_again("tool_called")
        self._turn.emit(ReplyCut(turn_id=self._turn.turn_id, error=error))
        await self.end_text()

    def _drop_incomplete(self) -> None:
        """Give every call that has not started a failure as its result: its arguments were cut off."""
        for index, call in self._calls.items():
            if index not in self._started:
                cut = ToolError("the call was cut off before its arguments were complete, so it was not run")
                if self._turn.is_over:
                    call.settle("failed", failure(cut))
                else:
                    refuse(call, cut, self._turn)

    async def end_text(self) -> None:
        """End the text that the model is writing, if it is."""
        if text_end := self._text_end:
            self._text_end = None
            text_end.set()
            await self._outbox.send(TextDelta("", ends_segment=True))

    async def _text(self, delta: TextDelta) -> None:
        if not delta.text and delta.ends_segment:
            await self.end_text()
            return
        if not self._text_end:
            # Text after a call is spoken as a segment of its own, but belongs to the same message.
            self._turn.add_segment(self._message)
            self._text_end = anyio.Event()
        room = MAX_REPLY_CHARACTERS - len(self._message.generated)
        is_too_long = len(delta.text) > room
        ends_segment = delta.ends_segment
        if is_too_long or ends_segment:
            delta = TextDelta(delta.text[:room])
        self._turn.timeline.mark("llm_first_token")
        self._message.generated += delta.text
        await self._outbox.send(delta)
        if is_too_long:
            raise IncompleteReply(
                f"the reply is longer than {MAX_REPLY_CHARACTERS} characters; the rest is not spoken", vendor="model"
            )
        if ends_segment:
            await self.end_text()

    async def _call(self, delta: ToolCallDelta) -> None:
        if self._turn.is_over:
            return  # it came in the same step as an interruption
        await self.end_text()
        call = self._calls.get(delta.index)
        if call is None:
            if len(self._calls) == MAX_CALLS_READ:
                raise IncompleteReply(f"the reply calls tools more than {MAX_CALLS_READ} times", vendor="model")
            # An id that comes later is ignored: calls and results are both written with the id chosen here.
            call_id = self._fresh_id(delta.call_id, delta.index)
            call = self._calls[delta.index] = ToolCall(call_id=call_id, name="", arguments="")
            self._message.calls.append(call)
        call.state = delta.state or call.state
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
        found = _object_in(call.arguments)
        if found != {}:
            return found is not None
        tool = self._tools.get(call.name)
        return tool is None or not tool.parameters.get("properties")

    def _fresh_id(self, wanted: str, index: int) -> str:
        """Return an id that no other call of this session has, so that a tool can use it to act only once."""
        wanted = call_id = wanted or f"call_{self._turn.turn_id}_{self._request.step}_{index}"
        for number in itertools.count(2):
            if call_id not in self._session_calls.call_ids:
                break
            call_id = f"{wanted}_{number}"
        self._session_calls.call_ids.add(call_id)
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
            turn.lacks(tool.name, lacked_by(call.arguments, tool.parameters))  # the model will ask the caller for it
            return refuse(call, self._turn_calls.refuse(call.name, error, self._request.step), turn)
        except BaseException as error:
            if not is_fault(error):
                raise
            # Not even a bug in voicepipe leaves a call without a result.
            return refuse(call, ToolError(f"the arguments cannot be checked: {type(error).__name__}"), turn)
        turn.lacks(tool.name, None)
        running = RunningCall(
            tool,
            values,
            call,
            self._message,
            turn,
            step=self._request.step,
            session_calls=self._session_calls,
            turn_calls=self._turn_calls,
        )
        self._ran.append((call, tool))
        self._tasks.start_soon(running.run)
        if tool.say:
            self._tasks.start_soon(self._fill_silence, tool.say, running)
        return None

    async def _fill_silence(self, words: str, running: RunningCall) -> None:
        """Speak a tool's `say` if the tool is slow, nothing else is being said, and no other tool has spoken."""
        await running.has_started.wait()
        with anyio.move_on_after(self._session_calls.say_after_s):
            await running.has_result.wait()
        if not running.has_result.is_set():
            await wait_any(running.has_result.wait, self._wait_silent)
        if running.has_result.is_set() or self._turn_calls.has_filled:
            return
        self._turn_calls.has_filled = True
        self._turn.timeline.mark("filler_due")
        # As a segment of the calling message, so that the model knows what the caller heard.
        self._turn.add_segment(self._message, is_filler=True)
        space = " " if self._message.generated else ""
        self._message.generated += space + words
        await self._outbox.send(TextDelta(words, ends_segment=True))

    async def _wait_silent(self) -> None:
        """Wait until the caller hears silence: the turn may speak, and what the model has said was played."""
        await self._turn.committed.wait()
        while self._text_end or not self._turn.speech.is_silent:
            if self._text_end:
                await self._text_end.wait()
                await anyio.sleep(TO_TTS_S)
            await self._turn.speech.wait_silent()


def _object_in(arguments: str) -> dict[str, Any] | None:
    """Return the object that a text is; None as long as it is not a whole one."""
    if not arguments.rstrip().endswith("}"):
        return None
    try:
        found: Any = json.loads(arguments)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
