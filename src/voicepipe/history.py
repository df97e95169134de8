"""The conversation as the model may know it.

Rule 1: an assistant message holds what was generated, what was synthesised and what was heard. Once its turn has ended,
        the model sees what was heard.
Rule 2: a tool call is stored with its result, so that every call has one, even if it is only "still running".
Rule 3: nothing that was said is ever removed. Which messages a request holds is decided when it is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

__all__ = ["AssistantMessage", "CallStatus", "History", "Message", "ToolCall", "UserMessage", "check_calls"]

CallStatus: TypeAlias = Literal["pending", "done", "failed", "unknown", "unconfirmed"]

PENDING_RESULT = "still running"
"""What the model is shown as the result of a call that is still running."""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the caller said."""

    text: str


@dataclass(slots=True, kw_only=True)
class ToolCall:
    """One call of a tool and what became of it.

    Attributes:
        call_id: Unique in the session; the model's own id, unless that was missing or already used.
        name: The tool's name as the model wrote it.
        arguments: The arguments' JSON text as the model wrote it.
        status: "failed" if the model was shown an error, "unknown" if a writing tool did not end in time,
            "unconfirmed" if the caller has to agree first.
        result: What the model is shown.
    """

    call_id: str
    name: str
    arguments: str
    status: CallStatus = "pending"
    result: str = PENDING_RESULT

    def settle(self, status: CallStatus, result: str) -> bool:
        """Set the result and return True; return False if the call has a result already, other than "unknown"."""
        if self.status not in ("pending", "unknown"):
            return False
        self.status, self.result = status, result
        return True


@dataclass(slots=True, kw_only=True)
class AssistantMessage:
    """What the agent said, or asked a tool to do.

    Attributes:
        generated: The text as the model wrote it.
        synthesised: The part that was handed to TTS, as it was spoken.
        heard: The part that the caller heard.
        calls: Tool calls, in the model's order.
        is_settled: Whether its turn has ended, so that `heard` no longer grows.
        was_interrupted: Whether it was cut short.
    """

    generated: str = ""
    synthesised: str = ""
    heard: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    is_settled: bool = False
    was_interrupted: bool = False

    @classmethod
    def said(cls, text: str) -> Self:
        """Return a message that was heard completely, e.g. for the history that a session begins with."""
        return cls(generated=text, synthesised=text, heard=text, is_settled=True)

    @property
    def text(self) -> str:
        """What the model may know: what was heard, or what was generated while the turn has not ended yet."""
        return self.heard if self.is_settled else self.generated


Message: TypeAlias = UserMessage | AssistantMessage


class History:
    """The messages of one session, oldest first; a read-only sequence.

    Args:
        messages: What was said before this session began.

    Raises:
        ConfigurationError: One of them is not a message, or a tool call lacks a unique id or a result.
    """

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages: list[Message] = list(messages)
        for message in self._messages:
            if not isinstance(cast("object", message), (UserMessage, AssistantMessage)):
                raise ConfigurationError(
                    f"history holds UserMessage and AssistantMessage, not {type(message).__name__}; "
                    "write UserMessage(...) or AssistantMessage.said(...)"
                )
        call_ids: set[str] = set()
        for message in self._messages:
            if isinstance(message, AssistantMessage):
                check_calls(message.calls, call_ids)

    def append(self, message: Message) -> None:
        """Add a message."""
        self._messages.append(message)

    def discard(self, message: Message) -> None:
        """Remove a message that stayed empty."""
        self._messages = [one for one in self._messages if one is not message]

    def exchange(self, message: Message, other: Message) -> None:
        """Replace `message` with `other`, if the history holds it."""
        self._messages = [other if one is message else one for one in self._messages]

    def snapshot(self) -> tuple[Message, ...]:
        """Return the messages as they are now."""
        return tuple(self._messages)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the messages as plain data, for logs and files."""
        return [_as_json(message) for message in self._messages]

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, index: int) -> Message:
        return self._messages[index]

    def __iter__(self) -> Iterator[Message]:
        return iter(self.snapshot())

    def __repr__(self) -> str:
        """Show the number of messages."""
        return f"<History {len(self)} messages>"


def check_calls(calls: Iterable[ToolCall], call_ids: set[str]) -> None:
    """Check that each call has a unique id and a result (Rule 2). A service refuses anything else.

    Args:
        calls: The calls of one message.
        call_ids: The ids of the calls before; the ids of `calls` are added.

    Raises:
        ConfigurationError: A call is wrong; the message names it.
    """
    for call in calls:
        if not isinstance(cast("object", call), ToolCall):
            raise ConfigurationError(f"history: the calls of a message are ToolCall objects, not {type(call).__name__}")
        call_id, result = (cast("object", value) for value in (call.call_id, call.result))
        if not isinstance(call_id, str) or not call_id:
            raise ConfigurationError(f"history: a call of {call.name!r} has no id; give each ToolCall a call_id")
        if call_id in call_ids:
            raise ConfigurationError(f"history: two tool calls have the id {call_id!r}; give each an id of its own")
        if not isinstance(result, str):
            raise ConfigurationError(
                f"history: the result of the tool call {call_id!r} must be text, not {type(result).__name__}"
            )
        call_ids.add(call_id)


def _as_json(message: Message) -> dict[str, Any]:
    if isinstance(message, UserMessage):
        return {"role": "user", "text": message.text}
    return {
        "role": "assistant",
        "generated": message.generated,
        "synthesised": message.synthesised,
        "heard": message.heard,
        "was_interrupted": message.was_interrupted,
        "calls": [
            {
                "call_id": call.call_id,
                "name": call.name,
                "arguments": call.arguments,
                "status": call.status,
                "result": call.result,
            }
            for call in message.calls
        ],
    }
