"""One tool call while it runs.

Rule 1: a tool runs outside of the turns, so that it cannot hold one up; the turn that called it waits for it.
Rule 2: whatever happens, a call runs at most once and gets exactly one result. If a tool exceeds its timeout, the
        result "unknown" is replaced by the true one when that comes, and the replacement is reported as well.
Rule 3: a writing call that equals one of an earlier reply, whose tool is still running, waits for that result.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.conversation.turn_state import TurnState
from voicepipe.core.abandon import run_abandonably
from voicepipe.core.failures import is_fault
from voicepipe.core.log import log
from voicepipe.errors import ToolError, ToolRetry
from voicepipe.events import ToolFinished, ToolStarted
from voicepipe.history import AssistantMessage
from voicepipe.observed import ToolAsked, ToolGave, ToolOffered
from voicepipe.tools.confirmation import Confirmations
from voicepipe.tools.tool import Tool, ToolContext, describe_failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import Watching
    from voicepipe.history import CallStatus, ToolCall
    from voicepipe.tools.toolbox import Toolset

__all__ = ["FINISH_CALLS_S", "GIVE_UP", "RunningCall", "TurnCalls", "failure", "refuse", "values_of"]

MAX_REFUSALS: Final = 2
"""Replies of one turn with arguments that a tool refuses: the first, and one that was written knowing the error."""

FINISH_CALLS_S: Final = 1.0
"""How long a writing tool may still run when the session ends, in whatever way it ends."""

ASK_FIRST: Final = json.dumps(
    {
        "needs_confirmation": "This was not run. Tell the caller exactly what it would do and ask whether to do it. "
        "Make the identical call again only in reply to their agreement."
    }
)
"""The result of a call that the caller has to agree to first."""

GIVE_UP: Final = "; do not call it again, tell the caller that it did not work"


@dataclass(slots=True)
class SessionCalls:
    """What the calls of one session have in common.

    Attributes:
        tools: The tools that may be called.
        say_after_s: Seconds that a tool may take before its `say` is spoken.
        follows_up: Whether the model is asked about results that come after their turn.
        call_ids: The ids of all calls so far.
        confirmations: What the caller has been asked.
        running: The calls whose tool is running, those that no turn waits for included.
        begun: The ids of the calls whose writing tool has begun, whatever became of it.
        doubted_turn: The turn before which a worker was lost that may have run a writing tool; 0 for none.
        shown: The tools that observers have seen, by name.
    """

    tools: Toolset
    say_after_s: float
    follows_up: bool
    call_ids: set[str]
    confirmations: Confirmations = field(default_factory=Confirmations)
    running: list[RunningCall] = field(default_factory=list["RunningCall"])
    begun: set[str] = field(default_factory=set[str])
    doubted_turn: int = 0
    shown: dict[str, Tool[Any, Any]] = field(default_factory=dict[str, Tool[Any, Any]])

    def show(self, watch: Watching, offered: Sequence[dict[str, Any]]) -> None:
        """Show observers the tools of a request that they have not seen."""
        for definition in offered:
            tool = self.tools.get(definition["function"]["name"])
            if tool is None or self.shown.get(tool.name) is tool:
                continue
            self.shown[tool.name] = tool
            watch.exchange(
                ToolOffered(
                    at_s=anyio.current_time(),
                    name=tool.name,
                    description=tool.description,
                    parameters=tool.parameters,
                    effect=tool.effect,
                    timeout_s=tool.timeout_s,
                    say=tool.say,
                    confirm=tool.confirm,
                    reply=tool.reply,
                    say_after_s=self.say_after_s,
                    follows_up=self.follows_up,
                )
            )


@dataclass(slots=True)
class TurnCalls:
    """What the calls of one turn have in common.

    Attributes:
        has_filled: Whether the `say` of a tool has filled a silence.
        refused: For each tool, the steps whose replies had arguments that it refused.
    """

    has_filled: bool = False
    refused: dict[str, set[int]] = field(default_factory=dict[str, set[int]])

    @property
    def are_hopeless(self) -> bool:
        """Whether the model must answer without tools: it was shown an error, and made it again."""
        return any(len(steps) >= MAX_REFUSALS for steps in self.refused.values())

    def refuse(self, tool_name: str, error: ToolError, step: int) -> ToolError:
        """Note a refusal, and return the error that the model is shown."""
        steps = self.refused.setdefault(tool_name, set())
        steps.add(step)
        return error if len(steps) < MAX_REFUSALS else ToolError(f"{error}{GIVE_UP}")


def values_of(tool: Tool[Any, Any], call: ToolCall) -> dict[str, Any] | None:
    """Return the arguments of a call, defaults included; None if the tool takes no such arguments."""
    try:
        return tool.with_defaults(tool.validate(call.arguments))
    except ToolError:
        return None


def refuse(call: ToolCall, error: ToolError, turn: Turn) -> None:
    """Give a call its result without running it."""
    settle(call, "failed", failure(error), turn)


def settle(call: ToolCall, status: CallStatus, result: str, turn: Turn) -> bool:
    """Set the result of a call and report it; return whether it counts: the first one does, unless it was "unknown"."""
    counts = call.settle(status, result)
    if counts:
        turn.emit(ToolFinished(turn_id=turn.turn_id, call_id=call.call_id, name=call.name, status=call.status))
    return counts


def failure(error: BaseException) -> str:
    """Return the result of a call that failed."""
    return json.dumps({"error": describe_failure(error)}, ensure_ascii=False)


class RunningCall:
    """A call with arguments that validate.

    Args:
        tool: What to run.
        values: What `Tool.validate` returned.
        call: Its place in history.
        message: The message that holds the call.
        turn: The turn that waits for it.
        step: Which of the turn's replies made it.
        session_calls: What it has in common with the session's other calls.
        turn_calls: What it has in common with the turn's other calls.

    Attributes:
        has_started: Set when the tool runs, or never will.
        has_result: Set when the call has its result, or the turn no longer waits for it.
    """

    def __init__(
        self,
        tool: Tool[Any, Any],
        values: dict[str, Any],
        call: ToolCall,
        message: AssistantMessage,
        turn: Turn,
        *,
        step: int,
        session_calls: SessionCalls,
        turn_calls: TurnCalls,
    ) -> None:
        self.has_started = anyio.Event()
        self.has_result = anyio.Event()
        self._tool = tool
        self._values = values
        self._call = call
        self._message = message
        self._turn = turn
        self._step = step
        self._session_calls = session_calls
        self._turn_calls = turn_calls
        self._scope = anyio.CancelScope()
        self._joined: list[RunningCall] = []  # equal calls of later replies, which get the result of this one

    async def run(self) -> None:
        """Start the tool and wait for it, up to its timeout or the end of the turn."""
        try:
            if self._tool.confirm or self._tool.effect == "write":
                await self._wait_committed()
            if (same := self._same_running()) is not None:
                same._joined.append(self)
                self._session_calls.begun.add(self._call.call_id)
                self.has_started.set()
                await self._wait()
            elif self._session_calls.tools.get(self._tool.name) is not self._tool:
                self._settle("failed", failure(ToolError("the tool was removed before it was run")))
            elif self._needs_agreement() and not self._caller_agreed():
                self._settle("unconfirmed", ASK_FIRST)
            else:
                self.has_started.set()
                self._session_calls.running.append(self)
                self._turn.session.start_call(self._execute)
                await self._wait()
        finally:
            self.has_started.set()
            self.has_result.set()

    def _same_running(self) -> RunningCall | None:
        """Return the call of an earlier reply that is doing just this, so that it is not done twice.

        Two equal calls of one reply are meant as two, so each joins another one.
        """
        if self._tool.effect != "write":
            return None
        values = self._all_values()
        for one in self._session_calls.running:
            messages = (one._message, *(joined._message for joined in one._joined))
            if (
                one._tool is self._tool
                and all(self._message is not other for other in messages)
                and one._all_values() == values
            ):
                return one
        return None

    def _needs_agreement(self) -> bool:
        """Return whether the caller has to agree: the tool says so, or it may have done this very thing already."""
        if self._tool.confirm or self._tool.effect == "read":
            return self._tool.confirm
        if self._turn.turn_id == self._session_calls.doubted_turn:
            return True
        values, running = self._all_values(), self._session_calls.running
        at_work = {joined._call.call_id for one in running for joined in (one, *one._joined)}
        return any(
            call.name == self._tool.name
            and call.status == "unknown"
            and call.call_id not in at_work
            and values_of(self._tool, call) == values
            for message in self._turn.messages
            if isinstance(message, AssistantMessage)
            for call in message.calls
        )

    def _all_values(self) -> dict[str, Any]:
        return self._tool.with_defaults(self._values)

    async def _wait(self) -> None:
        writes = self._tool.effect == "write"
        try:
            with anyio.move_on_after(self._tool.timeout_s) as limit:
                await self.has_result.wait()
        except anyio.get_cancelled_exc_class():
            if not writes:
                self._give_up("the call was cancelled")
            raise
        if limit.cancelled_caught and writes:
            waited = f"no answer within {self._tool.timeout_s:g} s; the outcome is unknown, it may still happen"
            self._settle("unknown", failure(ToolError(waited)))
        elif limit.cancelled_caught:
            self._give_up(f"the tool did not answer within {self._tool.timeout_s:g} s")

    async def _wait_committed(self) -> None:
        try:
            await self._turn.committed.wait()
        except anyio.get_cancelled_exc_class():
            self._settle("failed", failure(ToolError("the turn ended before the tool was run")))
            raise

    def _caller_agreed(self) -> bool:
        turn = self._turn
        return self._session_calls.confirmations.agreed(
            self._tool,
            self._all_values(),
            call_id=self._call.call_id,
            message=self._message,
            messages=turn.messages,
            ended_well=lambda: turn.failure is None and turn.state is not TurnState.EMPTY,
        )

    def _give_up(self, reason: str) -> None:
        """Cancel a reading tool and set its result at once: the tool may end slowly."""
        self._settle("failed", failure(ToolError(reason)))
        self._scope.cancel()

    async def _execute(self) -> None:
        """Run the tool in the session, and give its result to this call and to those that joined it."""
        try:
            if self._call.status == "pending" and await self._may_begin():  # else given up before it began
                await self._run_tool()
        finally:
            self._session_calls.running.remove(self)

    async def _may_begin(self) -> bool:
        """Have it written down that a writing tool begins; return whether it may."""
        call_id, record = self._call.call_id, self._turn.session.record
        if self._tool.effect == "read":
            return True
        self._session_calls.begun.add(call_id)
        if record is None:
            return True
        try:
            may_begin = await record.begins(call_id)
        except anyio.get_cancelled_exc_class():
            self._session_calls.begun.discard(call_id)
            self._not_run("failed", "the call ended before the tool was run")
            raise
        except BaseException as error:
            if not is_fault(error):
                raise
            log.warning("the record of the call raised %s; the tool %s runs", type(error).__name__, self._call.name)
            return True
        if not may_begin:
            self._not_run("unknown", "another worker has the call, so this was not run here; it may have happened")
        return may_begin

    def _not_run(self, status: CallStatus, reason: str) -> None:
        for one in (self, *self._joined):
            one._settle(status, failure(ToolError(reason)))
            one.has_result.set()

    async def _run_tool(self) -> None:
        call, turn = self._call, self._turn
        context = ToolContext(deps=turn.session.deps, session=turn.session, turn_id=turn.turn_id, call_id=call.call_id)
        with self._scope:
            turn.emit(ToolStarted(turn_id=turn.turn_id, call_id=call.call_id, name=call.name))
            around: AbstractContextManager[object] = nullcontext()
            if (watch := turn.session.watch) is not None:
                asked = ToolAsked(
                    at_s=anyio.current_time(),
                    turn_id=turn.turn_id,
                    call_id=call.call_id,
                    name=call.name,
                    arguments=call.arguments,
                )
                watch.exchange(asked)
                around = watch.around_tool(asked)
            try:
                await run_abandonably(
                    self._call_tool, context, around, name=call.name, finish_s=FINISH_CALLS_S, report=turn.session.emit
                )
            except anyio.get_cancelled_exc_class():
                self._ended("unknown", failure(ToolError("the call ended before the tool did; it may have happened")))
                raise

    async def _call_tool(self, context: ToolContext[Any], around: AbstractContextManager[object]) -> None:
        """Call the tool, and give its result in the step in which it returns: it may have ended its own turn."""
        try:
            with around:
                result = self._tool.render(await self._tool.call(self._values, context))
        except ToolRetry as error:
            self._ended("failed", failure(self._turn_calls.refuse(self._call.name, error, self._step)))
        except BaseException as error:
            if not is_fault(error):
                raise
            if not isinstance(error, ToolError):  # a ToolError is for the model, anything else for a developer
                names = (self._call.name, type(error).__name__)
                log.warning("the tool %s raised %s", *names, exc_info=error)
            self._ended("failed", failure(error))
        else:
            self._ended("done", result)

    def _ended(self, status: CallStatus, result: str) -> None:
        """Give the tool's result to this call and to those that joined it; the model hears of one that comes late."""
        if (watch := self._turn.session.watch) is not None:
            gave = ToolGave(at_s=anyio.current_time(), call_id=self._call.call_id, status=status, result=result)
            watch.exchange(gave)
        for one in (self, *self._joined):
            is_late = one.has_result.is_set() or one._turn.is_over
            counts = one._settle(status, result)
            one.has_result.set()
            if counts and is_late and self._tool.effect == "write" and self._session_calls.follows_up:
                one._turn.session.late_result(one._call)

    def _settle(self, status: CallStatus, result: str) -> bool:
        return settle(self._call, status, result, self._turn)
