"""One call of a tool while it runs.

Rule 1: it runs beside the turns, so that no tool can hold one, and its own turn waits for it.
Rule 2: whatever happens, the call gets exactly one result, at most one run, and one `ToolFinished`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.errors import ToolError, ToolRetry
from voicepipe.events import ToolFinished, ToolStarted
from voicepipe.tools import Tool, ToolContext, describe_failure

if TYPE_CHECKING:
    from voicepipe._confirmations import Confirmations
    from voicepipe.history import AssistantMessage, CallStatus, ToolCall
    from voicepipe.turn import Turn

__all__ = ["Refusals", "RunningCall", "refuse"]

log = logging.getLogger("voicepipe")

MAX_REFUSALS: Final = 2
"""Calls of one tool with arguments that it cannot take, in one turn: one, and one more that knows the error."""

ASK_FIRST: Final = json.dumps(
    {
        "needs_confirmation": "This was not run. Tell the caller exactly what it would do and ask whether to do it. "
        "Make the identical call again only in reply to their agreement."
    }
)
"""What the model is told of a call that the caller has to agree to."""

GIVE_UP: Final = "; do not call it again, tell the caller that it did not work"


@dataclass(slots=True)
class Refusals:
    """How often each tool refused its arguments in one turn."""

    counts: Counter[str] = field(default_factory=Counter[str])

    @property
    def are_too_many(self) -> bool:
        """Whether the model must answer without tools now: it was told what was wrong, and has not understood."""
        return any(count >= MAX_REFUSALS for count in self.counts.values())

    def told(self, tool_name: str, error: ToolError) -> ToolError:
        """Count a refusal, and return what to tell the model."""
        self.counts[tool_name] += 1
        return error if self.counts[tool_name] < MAX_REFUSALS else ToolError(f"{error}{GIVE_UP}")


def refuse(call: ToolCall, error: ToolError, turn: Turn) -> None:
    """Give a call that is not run its result."""
    settle(call, "failed", failure(error), turn)


def settle(call: ToolCall, status: CallStatus, result: str, turn: Turn) -> None:
    """Put a result in its place and tell the application; the first one counts."""
    if call.status in ("pending", "unknown"):
        call.settle(status, result)
        turn.tell(ToolFinished(turn_id=turn.turn_id, call_id=call.call_id, name=call.name, status=call.status))


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
        turn: Who waits for it.
        confirmations: What the caller has been asked.
        refusals: Where a `ToolRetry` is counted.

    Attributes:
        has_result: Set when the call has its result, or is left to itself.
    """

    def __init__(
        self,
        tool: Tool[Any, Any],
        values: dict[str, Any],
        call: ToolCall,
        message: AssistantMessage,
        turn: Turn,
        *,
        confirmations: Confirmations,
        refusals: Refusals,
    ) -> None:
        self.has_result = anyio.Event()
        self._tool = tool
        self._values = values
        self._call = call
        self._message = message
        self._turn = turn
        self._confirmations = confirmations
        self._refusals = refusals
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Start the tool and wait for it, as long as it may take and the turn lives."""
        try:
            if self._tool.confirm or self._tool.effect == "write":
                await self._wait_committed()
            if self._tool.confirm and not self._caller_agreed():
                settle(self._call, "unconfirmed", ASK_FIRST, self._turn)
                return
            await self._run()
        finally:
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
        turn, message = self._turn, self._message
        return self._confirmations.agreed(
            self._tool.name,
            self._call.arguments,
            turn_id=turn.turn_id,
            user_text=turn.user_text,
            was_heard=lambda: turn.was_heard_after(message),
        )

    def _give_up(self, reason: str) -> None:
        """Cancel a reading tool and have a result at once: it may be slow to end."""
        self._settle("failed", failure(ToolError(reason)))
        self._scope.cancel()

    async def _execute(self) -> None:
        call, turn = self._call, self._turn
        if call.status != "pending":
            return  # given up before it began
        context = ToolContext(deps=turn.session.deps, session=turn.session, turn_id=turn.turn_id, call_id=call.call_id)
        with self._scope:
            turn.tell(ToolStarted(turn_id=turn.turn_id, call_id=call.call_id, name=call.name))
            try:
                result = self._tool.render(await self._tool.call(self._values, context))
            except anyio.get_cancelled_exc_class():
                self._settle("unknown", failure(ToolError("the call ended before the tool did; it may have happened")))
                raise
            except ToolRetry as error:
                self._settle("failed", failure(self._refusals.told(call.name, error)))
            except Exception as error:
                if not isinstance(error, ToolError):  # that one was meant for the model; this one is for a developer
                    log.warning("the tool %s raised %s", call.name, type(error).__name__, exc_info=error)
                self._settle("failed", failure(error))
            else:
                self._settle("done", result)
            self.has_result.set()

    def _settle(self, status: CallStatus, result: str) -> None:
        settle(self._call, status, result, self._turn)
