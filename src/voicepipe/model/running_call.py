"""One tool call while it runs.

Rule 1: a tool runs outside of the turns, so that it cannot hold one up; the turn that called it waits for it.
Rule 2: whatever happens, a call runs at most once and gets exactly one result. If a tool exceeds its timeout, the
        result "unknown" is replaced by the true one when that comes, and the replacement is reported as well.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.conversation.turn import TurnState
from voicepipe.core.abandon import run_abandonably
from voicepipe.core.failures import is_fault
from voicepipe.errors import ToolError, ToolRetry
from voicepipe.events import ToolFinished, ToolStarted
from voicepipe.tools.tool import Tool, ToolContext, describe_failure

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.history import AssistantMessage, CallStatus, ToolCall
    from voicepipe.tools.confirmation import Confirmations
    from voicepipe.tools.toolbox import Toolset

__all__ = ["FINISH_CALLS_S", "RunningCall", "TurnCalls", "failure", "refuse"]

log = logging.getLogger("voicepipe")

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


def refuse(call: ToolCall, error: ToolError, turn: Turn) -> None:
    """Give a call its result without running it."""
    settle(call, "failed", failure(error), turn)


def settle(call: ToolCall, status: CallStatus, result: str, turn: Turn) -> None:
    """Set the result of a call and report it; the first result counts, unless it was "unknown"."""
    if call.settle(status, result):
        turn.emit(ToolFinished(turn_id=turn.turn_id, call_id=call.call_id, name=call.name, status=call.status))


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
        tools: The tools that may be called.
        confirmations: What the caller has been asked.
        calls: What it has in common with the turn's other calls.

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
        tools: Toolset,
        confirmations: Confirmations,
        calls: TurnCalls,
    ) -> None:
        self.has_started = anyio.Event()
        self.has_result = anyio.Event()
        self._tool = tool
        self._values = values
        self._call = call
        self._message = message
        self._turn = turn
        self._step = step
        self._tools = tools
        self._confirmations = confirmations
        self._calls = calls
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Start the tool and wait for it, up to its timeout or the end of the turn."""
        try:
            if self._tool.confirm or self._tool.effect == "write":
                await self._wait_committed()
            if self._tools.get(self._tool.name) is not self._tool:
                self._settle("failed", failure(ToolError("the tool was removed before it was run")))
            elif self._tool.confirm and not self._caller_agreed():
                self._settle("unconfirmed", ASK_FIRST)
            else:
                self.has_started.set()
                await self._run()
        finally:
            self.has_started.set()
            self.has_result.set()

    async def _run(self) -> None:
        writes = self._tool.effect == "write"
        self._turn.session.start_call(self._execute)
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
        return self._confirmations.agreed(
            self._tool,
            self._tool.with_defaults(self._values),
            message=self._message,
            messages=turn.messages,
            ended_well=lambda: turn.failure is None and turn.state is not TurnState.EMPTY,
        )

    def _give_up(self, reason: str) -> None:
        """Cancel a reading tool and set its result at once: the tool may end slowly."""
        self._settle("failed", failure(ToolError(reason)))
        self._scope.cancel()

    async def _execute(self) -> None:
        call, turn = self._call, self._turn
        if call.status != "pending":
            return  # given up before it began
        context = ToolContext(deps=turn.session.deps, session=turn.session, turn_id=turn.turn_id, call_id=call.call_id)
        with self._scope:
            turn.emit(ToolStarted(turn_id=turn.turn_id, call_id=call.call_id, name=call.name))
            try:
                await run_abandonably(
                    self._call_tool, context, name=call.name, finish_s=FINISH_CALLS_S, report=turn.session.emit
                )
            except anyio.get_cancelled_exc_class():
                self._settle("unknown", failure(ToolError("the call ended before the tool did; it may have happened")))
                raise
            self.has_result.set()

    async def _call_tool(self, context: ToolContext[Any]) -> None:
        """Call the tool and settle the call in the step in which it returns: it may have ended its own turn."""
        try:
            result = self._tool.render(await self._tool.call(self._values, context))
        except ToolRetry as error:
            self._settle("failed", failure(self._calls.refuse(self._call.name, error, self._step)))
        except BaseException as error:
            if not is_fault(error):
                raise
            if not isinstance(error, ToolError):  # a ToolError is for the model, anything else for a developer
                log.warning("the tool %s raised %s", self._call.name, type(error).__name__, exc_info=error)
            self._settle("failed", failure(error))
        else:
            self._settle("done", result)

    def _settle(self, status: CallStatus, result: str) -> None:
        settle(self._call, status, result, self._turn)
