"""What a scripted model is asked, and what it answers.

    Script([Calls("get_weather", {"city": "Lyon"}), Says("Sunny, 22 degrees.", after_s=0.2)])
    Script(lambda request: Says(f"You said: {request.last_user_text}"))

Rule 1: one vocabulary, whether the model is asked over HTTP (`ScriptedGateway`) or within the process.
Rule 2: this module knows neither clock nor network: `schedule` says what is due when, counted from the request.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, JsonValue, ValidationError

from voicepipe.events import ReplyEnd, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "Breaks",
    "Calls",
    "ChatMessage",
    "ChatRequest",
    "ChatToolCall",
    "InvalidRequest",
    "Piece",
    "Refuses",
    "Reply",
    "Says",
    "Script",
    "parse_request",
    "schedule",
    "tokens",
]

# --- answered ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Says:
    """A reply in words.

    Attributes:
        text: The whole reply; it is sent in `tokens`.
        after_s: Seconds from the request to the first token; 0 takes the default of whoever plays the script.
        token_s: Seconds from one token to the next; 0 likewise.
        finish_reason: Why the model stopped, e.g. "length".
    """

    text: str
    after_s: float = 0.0
    token_s: float = 0.0
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Calls:
    """A reply that calls a tool. A tuple of these is one reply with several calls, one after the other.

    Attributes:
        name: The tool.
        arguments: A mapping is sent as JSON; a string is sent as it stands, also when it is no JSON.
        call_id: The call's id; None numbers the calls of a script: "call_1", "call_2", ...
        after_s: As in `Says`; in a tuple, the pause after the call before it.
        token_s: As in `Says`. The call's opening (id and name) is one token, each piece of its arguments is another.
        say: Words before the call.
    """

    name: str
    arguments: Mapping[str, object] | str
    call_id: str | None = None
    after_s: float = 0.0
    token_s: float = 0.0
    say: str = ""


@dataclass(frozen=True, slots=True)
class Refuses:
    """An HTTP error instead of a reply.

    Attributes:
        status: The HTTP status, e.g. 429.
        message: What the error says.
        retry_after_s: Sent as `Retry-After` unless None.
        after_s: Seconds from the request to the error; 0 is at once.
    """

    status: int
    message: str
    retry_after_s: float | None = None
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Breaks:
    """A reply that ends without a finish reason.

    Attributes:
        after_text: What is said before.
        cleanly: Whether the response ends as HTTP wants it; otherwise the connection is closed in the middle.
        after_s: As in `Says`.
        token_s: As in `Says`.
    """

    after_text: str = ""
    cleanly: bool = False
    after_s: float = 0.0
    token_s: float = 0.0


Reply: TypeAlias = Says | Calls | tuple[Calls, ...] | Breaks | Refuses
"""What a model can answer."""

Piece: TypeAlias = TextDelta | ToolCallDelta | ReplyEnd | Breaks
"""What a reply is sent in; the last one is a `ReplyEnd`, or the `Breaks` itself where the reply is cut."""


class Script:
    """The answers of a model: a sequence that is used up in order, or a function of the request.

    Args:
        replies: The answers.
        name: How errors call this script.
    """

    def __init__(self, replies: Sequence[Reply] | Callable[[ChatRequest], Reply], *, name: str = "script") -> None:
        self._waiting: deque[Reply] = deque() if callable(replies) else deque(replies)
        self._function = replies if callable(replies) else None
        self._answered = 0
        self._calls = 0
        self.name = name

    def answer(self, request: ChatRequest) -> Reply:
        """Return the next reply; calls without an id have got one.

        Raises:
            AssertionError: All replies are used up.
        """
        if self._function is None and not self._waiting:
            raise AssertionError(
                f"{self.name} holds {self._answered} replies and was asked once more, after the user said "
                f"{request.last_user_text!r}; add a reply, or find out who asks"
            )
        reply = self._function(request) if self._function else self._waiting.popleft()
        self._answered += 1
        if isinstance(reply, tuple):
            return tuple(self._numbered(call) for call in reply)
        return self._numbered(reply) if isinstance(reply, Calls) else reply

    @property
    def unused(self) -> tuple[Reply, ...]:
        """The replies nobody has asked for yet; always empty for a function."""
        return tuple(self._waiting)

    def _numbered(self, call: Calls) -> Calls:
        if call.call_id is not None:
            return call
        self._calls += 1
        return replace(call, call_id=f"call_{self._calls}")

    def __repr__(self) -> str:
        """Show how far it has come."""
        left = "by a function" if self._function else f"{len(self._waiting)} left"
        return f"<Script {self.name} answered={self._answered} {left}>"


def tokens(text: str) -> list[str]:
    """Split text the way models send it: words with the space before them, punctuation alone.

    Joining the tokens gives the text back.
    """
    return re.findall(r"\s*\w+|\s*[^\w\s]|\s+", text)


def schedule(
    reply: Says | Calls | tuple[Calls, ...] | Breaks, *, first_token_s: float = 0.0, token_s: float = 0.0
) -> list[tuple[float, Piece]]:
    """Return the pieces of a reply, each with the seconds from the request to when it is due.

    Token k is due at `after_s + k * token_s`; the end is due with the last token.

    Args:
        reply: What to send.
        first_token_s: Used where the reply has no `after_s` of its own.
        token_s: Used where the reply has no `token_s` of its own.
    """
    steps = reply if isinstance(reply, tuple) else (reply,)
    due: list[tuple[float, Piece]] = []
    start_s = first_token_s if steps and not steps[0].after_s else 0.0
    for index, step in enumerate(steps):
        start_s += step.after_s
        pace_s = step.token_s or token_s
        pieces = list(_pieces(step, index))
        due += [(start_s + k * pace_s, piece) for k, piece in enumerate(pieces)]
        start_s += len(pieces) * pace_s
    end_s = due[-1][0] if due else start_s
    if isinstance(reply, Breaks):
        return [*due, (end_s, reply)]
    return [*due, (end_s, ReplyEnd(finish_reason=reply.finish_reason if isinstance(reply, Says) else "tool_calls"))]


def _pieces(step: Says | Calls | Breaks, index: int) -> Iterable[Piece]:
    match step:
        case Says(text=text) | Breaks(after_text=text) | Calls(say=text):
            yield from map(TextDelta, tokens(text))
    if isinstance(step, Calls):
        yield ToolCallDelta(index=index, call_id=step.call_id or "", name=step.name)
        arguments = step.arguments
        for piece in tokens(arguments if isinstance(arguments, str) else json.dumps(dict(arguments))):
            yield ToolCallDelta(index=index, arguments=piece)


# --- asked ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatToolCall:
    """A tool call that the assistant made earlier; `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of the conversation.

    Attributes:
        role: "system", "developer", "user", "assistant" or "tool".
        content: Its text; "" when there is none.
        tool_calls: What an assistant message calls.
        call_id: Which call a tool message answers; "" in other messages.
    """

    role: str
    content: str = ""
    tool_calls: tuple[ChatToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a model is asked.

    Attributes:
        model: The model's name.
        messages: The conversation, oldest first.
        tools: Names of the tools it may call.
        response_format: The format the answer must have, as sent; None for plain text.
        stream: Whether the answer is wanted in pieces, over HTTP.
        include_usage: Whether a stream must end with the tokens used.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[str, ...] = ()
    response_format: dict[str, JsonValue] | None = None
    stream: bool = False
    include_usage: bool = False

    @property
    def last_user_text(self) -> str:
        """What the user said last; "" before they said anything."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def tool_results(self) -> dict[str, str]:
        """Results that came since the user spoke, by call id: empty when the model is asked for the first time."""
        spoken = max((at for at, message in enumerate(self.messages) if message.role == "user"), default=-1)
        return {message.call_id: message.content for message in self.messages[spoken + 1 :] if message.role == "tool"}


class InvalidRequest(ValueError):  # noqa: N818 - names what the request is
    """A request that an OpenAI-compatible service refuses.

    Attributes:
        param: The field at fault, e.g. "messages.2.role"; None when it is the whole body.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def parse_request(body: JsonValue) -> ChatRequest:
    """Read the body of a chat completion request.

    Raises:
        InvalidRequest: A field is missing or of the wrong type, or a tool call does not have exactly one result,
            directly after the message that made it.
    """
    try:
        wire = _Body.model_validate(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        raise InvalidRequest(f"{param or 'the body'}: {first['msg']}", param=param) from None
    _check_calls(wire.messages)
    return ChatRequest(
        model=wire.model,
        messages=tuple(_message(message) for message in wire.messages),
        tools=tuple(tool.function.name for tool in wire.tools or ()),
        response_format=wire.response_format,
        stream=wire.stream,
        include_usage=wire.stream_options is not None and wire.stream_options.include_usage,
    )


_Name: TypeAlias = Annotated[str, Field(min_length=1)]


class _Function(BaseModel):
    name: _Name


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Function


class _CalledFunction(_Function):
    arguments: str


class _ToolCall(BaseModel):
    id: _Name
    type: Literal["function"] = "function"
    function: _CalledFunction


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str = ""


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    model: _Name
    messages: Annotated[list[_Message], Field(min_length=1)]
    tools: list[_Tool] | None = None
    response_format: dict[str, JsonValue] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None


def _message(wire: _Message) -> ChatMessage:
    content = wire.content or ""
    return ChatMessage(
        role=wire.role,
        content=content if isinstance(content, str) else "".join(part.text for part in content),
        tool_calls=tuple(
            ChatToolCall(call_id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in wire.tool_calls or ()
        ),
        call_id=wire.tool_call_id,
    )


def _check_calls(messages: Sequence[_Message]) -> None:
    """Check that the results of an assistant message follow it directly, exactly one for each call."""
    pending: list[str] = []
    for at, message in enumerate(messages):
        param = f"messages.{at}"
        if message.role == "tool":
            if message.tool_call_id not in pending:
                raise _invalid(param, f"no tool call {message.tool_call_id!r} directly before it lacks a result")
            pending.remove(message.tool_call_id)
            continue
        if pending:
            raise _invalid(param, f"results must come first for the tool calls {', '.join(pending)}")
        if message.content is None and not message.tool_calls:
            raise _invalid(f"{param}.content", "a message needs content, or tool calls")
        pending = [call.id for call in message.tool_calls or ()]
        if len(set(pending)) < len(pending):
            raise _invalid(f"{param}.tool_calls", "two tool calls have the same id")
    if pending:
        raise _invalid("messages", f"results are missing for the tool calls {', '.join(pending)}")


def _invalid(param: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {problem}", param=param)
