"""The conversation as the model may know it.

Rule 1: an assistant message holds what was generated, what was synthesised and what was heard. Once its turn has ended,
        the model sees what was heard.
Rule 2: a tool call is stored with its result, so that every call has one, even if it is only "still running".
Rule 3: nothing that was said is ever removed. Which messages a request holds is decided when it is written.
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Self

    from pydantic import TypeAdapter

__all__ = [
    "AssistantMessage",
    "CallStatus",
    "History",
    "Message",
    "ServiceState",
    "ToolCall",
    "UserMessage",
    "check_calls",
]

CallStatus: TypeAlias = Literal["pending", "done", "failed", "unknown", "unconfirmed"]

PENDING_RESULT = "still running"
"""What the model is shown as the result of a call that is still running."""

JSON_VERSION: Final = 1
"""The form of a message in `History.to_json`; a form that an older program would misread gets another number."""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the caller said."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What a service wants back with a message or a call of its own, such as a signature. Nobody else can read it.

    Attributes:
        service: The service that it came from; it is sent to no other.
        fields: The fields and their JSON values, as they came.
    """

    service: str
    fields: dict[str, Any]


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
        state: What the service wants back with the call.
    """

    call_id: str
    name: str
    arguments: str
    status: CallStatus = "pending"
    result: str = PENDING_RESULT
    state: ServiceState | None = field(default=None, repr=False)

    def settle(self, status: CallStatus, result: str) -> bool:
        """Set the result and return True; return False if the call has a result already, other than "unknown"."""
        if self.status not in ("pending", "unknown"):
            return False
        self.status, self.result = status, result
        return True


@dataclass(slots=True)
class AssistantMessage:
    """What the agent said, or asked a tool to do.

    `AssistantMessage("Hello!")` does for a history that a session begins with, as does `AssistantMessage.said`.

    Attributes:
        generated: The text as the model wrote it.
        synthesised: The part that was handed to TTS, in the words of the model.
        heard: The part that the caller heard.
        calls: Tool calls, in the model's order.
        is_settled: Whether its turn has ended, so that `heard` no longer grows.
        was_interrupted: Whether it was cut short: by the caller, by an error, or at the model's limit of tokens.
        state: What the service wants back with a message that calls tools.
    """

    generated: str = ""
    _: KW_ONLY
    synthesised: str = ""
    heard: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    is_settled: bool = False
    was_interrupted: bool = False
    state: ServiceState | None = field(default=None, repr=False)

    @classmethod
    def said(cls, text: str) -> Self:
        """Return a message that was heard completely, e.g. for the history that a session begins with."""
        return cls(generated=text, synthesised=text, heard=text, is_settled=True)

    @property
    def text(self) -> str:
        """What the model may know: what was heard, or what was generated while the turn has not ended yet."""
        return self.heard if self.is_settled else self.generated or self.heard


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
        """Return the messages as plain data, for logs and files; `from_json` reads it.

        Each message is a dict with its `version`, the `role` "user" or "assistant", and its attributes. A tool call
        that is still running stays "still running" in what is read back: nothing brings its result there.
        """
        return [_as_json(message) for message in self._messages]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> Self:
        """Return the history that `to_json` wrote: a model is sent the same messages.

        Raises:
            ConfigurationError: The data is not of this form; the message names the place, and no words.
        """
        return cls([_from_json(entry, index) for index, entry in enumerate(data)])

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
        return {"version": JSON_VERSION, "role": "user", "text": message.text}
    return {
        "version": JSON_VERSION,
        "role": "assistant",
        "generated": message.generated,
        "synthesised": message.synthesised,
        "heard": message.heard,
        "calls": [_call_as_json(call) for call in message.calls],
        "is_settled": message.is_settled,
        "was_interrupted": message.was_interrupted,
        **_state_as_json(message.state),
    }


def _call_as_json(call: ToolCall) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "name": call.name,
        "arguments": call.arguments,
        "status": call.status,
        "result": call.result,
        **_state_as_json(call.state),
    }


def _state_as_json(state: ServiceState | None) -> dict[str, Any]:
    """Return the field of a message or call with a state; most have none, and an older program reads what has none."""
    return {} if state is None else {"state": asdict(state)}


def _from_json(entry: object, index: int) -> Message:
    from pydantic import ValidationError  # noqa: PLC0415 - half of the import time, and rarely needed

    if not isinstance(entry, dict):
        raise ConfigurationError(f"history: message {index} must be a dict from to_json, not {type(entry).__name__}")
    fields = dict(cast("dict[str, Any]", entry))
    version, role = fields.pop("version", None), fields.pop("role", None)
    if version != JSON_VERSION:
        raise ConfigurationError(
            f"history: message {index} has the version {version!r}, and this voicepipe reads {JSON_VERSION}; "
            "read it with the voicepipe that wrote it"
        )
    if role not in ("user", "assistant"):
        raise ConfigurationError(f'history: the role of message {index} must be "user" or "assistant", not {role!r}')
    try:
        # As JSON text, from which pydantic makes dataclasses strictly; from dicts it does not.
        return _adapter(role).validate_json(json.dumps(fields), strict=True, extra="forbid")
    except TypeError as error:
        raise ConfigurationError(f"history: message {index} holds something that is not JSON") from error
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"])) or "the text"
        raise ConfigurationError(f"history: {place} of message {index}: {wrong['msg']}") from None


@cache
def _adapter(role: str) -> TypeAdapter[Message]:
    """Return what reads the messages of a role: making one takes longer than reading a hundred messages with it."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    kind: Any = UserMessage if role == "user" else AssistantMessage
    return TypeAdapter(kind)
