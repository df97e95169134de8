"""The outcome of a tool call that nobody knew, as the application learns it elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from voicepipe.errors import ConfigurationError
from voicepipe.events import ToolFinished
from voicepipe.history import AssistantMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.core.context import SessionContext
    from voicepipe.history import Message, ToolCall

__all__ = ["Outcome", "report", "shown_result", "unknown_call"]

Outcome: TypeAlias = Literal["done", "failed"]


def unknown_call(messages: Iterable[Message], call_id: str) -> ToolCall:
    """Return the call of that id, whose outcome is unknown.

    Raises:
        ConfigurationError: There is no such call, or its outcome is known.
    """
    calls = [call for message in messages if isinstance(message, AssistantMessage) for call in message.calls]
    call = next((one for one in calls if one.call_id == call_id), None)
    if call is None:
        raise ConfigurationError(f"report_outcome: this call has no tool call {call_id!r}; see CallResumed")
    if call.status != "unknown":
        raise ConfigurationError(
            f"report_outcome: the outcome of the tool call {call_id!r} is known, it is {call.status!r}"
        )
    return call


def shown_result(result: object) -> str:
    """Return what the model is shown of a result: text as it is, anything else as JSON.

    Raises:
        ConfigurationError: It cannot be written as JSON.
    """
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(
            f"report_outcome: the result must be a text or JSON values, not {type(result).__name__}"
        ) from None


def report(session: SessionContext[Any], call: ToolCall, status: Outcome, result: str) -> None:
    """Give a call its result, unless it has one by now, and let the model tell the caller."""
    if not session.ended.is_set() and call.status == "unknown" and call.settle(status, result):
        session.emit(ToolFinished(turn_id=0, call_id=call.call_id, name=call.name, status=status))
        session.late_result(call)
