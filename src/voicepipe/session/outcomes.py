"""The outcome of a tool call that nobody knew, as the application learns it elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from voicepipe.errors import ConfigurationError
from voicepipe.events import ToolFinished
from voicepipe.history import AssistantMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voicepipe.core.context import SessionContext
    from voicepipe.history import Message, ToolCall

__all__ = ["Outcome", "outcome"]

Outcome: TypeAlias = Literal["done", "failed"]


def outcome(
    session: SessionContext[Any], call_id: str, status: Outcome, result: object, *, follows_up: bool
) -> Callable[[], None]:
    """Return what gives a call its result, unless it has one by then, and lets the model tell the caller.

    Args:
        session: The session that the call belongs to.
        call_id: The call.
        status: What became of it.
        result: What the model is shown: text as it is, anything else as JSON.
        follows_up: Whether the model is asked about results that come after their turn.

    Raises:
        ConfigurationError: There is no such call, its outcome is known, or the result is not JSON.
    """
    call, shown = _unknown_call(session.history, call_id), _shown(result)

    def report() -> None:
        if not session.ended.is_set() and call.status == "unknown" and call.settle(status, shown):
            session.emit(ToolFinished(turn_id=0, call_id=call.call_id, name=call.name, status=status))
            if follows_up:
                session.late_result(call)

    return report


def _unknown_call(messages: Iterable[Message], call_id: str) -> ToolCall:
    calls = [call for message in messages if isinstance(message, AssistantMessage) for call in message.calls]
    call = next((one for one in calls if one.call_id == call_id), None)
    if call is None:
        raise ConfigurationError(f"report_outcome: this call has no tool call {call_id!r}; see CallResumed")
    if call.status != "unknown":
        raise ConfigurationError(
            f"report_outcome: the outcome of the tool call {call_id!r} is known, it is {call.status!r}"
        )
    return call


def _shown(result: object) -> str:
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(
            f"report_outcome: the result must be a text or JSON values, not {type(result).__name__}"
        ) from None
