"""The requests to a scripted model, and the ones that a service would refuse.

Rule 1: strict where OpenAI is: each tool call has exactly one result, and a strict schema leaves nothing open.
Rule 2: fields that do not affect a reply are not checked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast

from pydantic import BaseModel, Field, JsonValue, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["ChatMessage", "ChatRequest", "ChatToolCall", "InvalidRequest", "parse_request"]


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
        content: Its text; "" if there is none.
        tool_calls: The tool calls of an assistant message.
        call_id: The call that a tool message answers; "" in other messages.
    """

    role: str
    content: str = ""
    tool_calls: tuple[ChatToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request to a model.

    Attributes:
        model: The model's name.
        messages: The conversation, oldest first.
        tools: Names of the tools that the model may call.
        must_call: The one tool that it must call; "" leaves the choice to the model.
        response_format: The format of the answer, as sent; None for plain text.
        stream: Whether the answer is to be streamed over HTTP.
        include_usage: Whether a stream must end with the tokens used.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[str, ...] = ()
    must_call: str = ""
    response_format: dict[str, JsonValue] | None = None
    stream: bool = False
    include_usage: bool = False

    @property
    def last_user_text(self) -> str:
        """What the user said last; "" if they have not said anything."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def tool_results(self) -> dict[str, str]:
        """Tool results since the user last spoke, by call id: empty in the first request of a turn.

        The mark of a result as untrusted is removed; `messages` has the results as they were sent.
        """
        last_user = max((at for at, message in enumerate(self.messages) if message.role == "user"), default=-1)
        since = (message for message in self.messages[last_user + 1 :] if message.role == "tool")
        return {message.call_id: _unmarked(message.content) for message in since}


def _unmarked(content: str) -> str:
    """Return a result as the tool gave it."""
    try:
        marked = json.loads(content)
    except ValueError:
        return content
    if not isinstance(marked, dict) or set(marked) != {"untrusted_result"}:
        return content
    result: JsonValue = marked["untrusted_result"]
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, separators=(",", ":"))


class InvalidRequest(ValueError):  # noqa: N818 - names what the request is
    """A request that an OpenAI-compatible service refuses.

    Attributes:
        param: The field at fault, e.g. "messages.2.role"; None for the whole body.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


def parse_request(body: JsonValue) -> ChatRequest:
    """Read the body of a chat completion request.

    Raises:
        InvalidRequest: A field is missing or of the wrong type; a tool call does not have exactly one result, directly
            after its message; the tool that must be called is not offered; or a schema marked strict is not strict.
    """
    try:
        wire = _Body.model_validate(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(map(str, first["loc"])) or None
        raise InvalidRequest(f"{param or 'the body'}: {first['msg']}", param=param) from None
    _check_calls(wire.messages)
    _check_schemas(wire)
    return ChatRequest(
        model=wire.model,
        messages=tuple(_message(message) for message in wire.messages),
        tools=tuple(tool.function.name for tool in wire.tools or ()),
        must_call=_must_call(wire),
        response_format=cast("dict[str, Any]", body).get("response_format"),
        stream=wire.stream,
        include_usage=wire.stream_options is not None and wire.stream_options.include_usage,
    )


_Name: TypeAlias = Annotated[str, Field(min_length=1)]


class _Function(BaseModel):
    name: _Name


class _OfferedFunction(_Function):
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class _Tool(BaseModel):
    type: Literal["function"]
    function: _OfferedFunction


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


class _Schema(BaseModel):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")]
    strict: bool | None = None
    description: str | None = None


class _Format(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Body(BaseModel):
    model: _Name
    messages: Annotated[list[_Message], Field(min_length=1)]
    tools: list[_Tool] | None = None
    tool_choice: JsonValue = None
    response_format: _Format | None = None
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


def _must_call(body: _Body) -> str:
    """Return the tool that must be called; "" if the model may choose."""
    offered = [tool.function.name for tool in body.tools or ()]
    if body.tool_choice is not None and not offered:
        raise _invalid("tool_choice", "there are no tools to choose from")
    match body.tool_choice:
        case None | "none" | "auto" | "required":
            return ""
        case {"type": "function", "function": {"name": str(name)}}:
            if name not in offered:
                raise _invalid("tool_choice", f"there is no tool {name!r}; there are: {', '.join(offered)}")
            return name
        case _:
            raise _invalid("tool_choice", "must be 'none', 'auto', 'required', or name a function")


def _check_schemas(body: _Body) -> None:
    """Check that a schema is present where one is announced, and check the schemas marked strict."""
    for at, tool in enumerate(body.tools or ()):
        if tool.function.strict:
            _check_strict(tool.function.parameters or {}, f"tools.{at}.function.parameters")
    if body.response_format is None or body.response_format.type != "json_schema":
        return
    described = body.response_format.json_schema
    if described is None:
        raise _invalid("response_format.json_schema", "Field required")
    if described.strict:
        _check_strict(described.schema_, "response_format.json_schema.schema")


def _check_strict(schema: Mapping[str, JsonValue], param: str) -> None:
    """Check that a schema is an object, and that each object in it names all of its fields and requires them.

    Source: OpenAI's guide "Structured model outputs", section "Supported schemas".
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        raise _invalid(param, "the root of a strict schema must be an object without anyOf")
    for path, inner in _objects(schema, param):
        names, required = inner.get("properties", {}), inner.get("required", [])
        if inner.get("additionalProperties") is not False:
            raise _invalid(path, "'additionalProperties' must be false in a strict schema")
        if missing := [name for name in names if name not in required]:
            raise _invalid(path, f"'required' must name every property in a strict schema; missing: {missing[0]}")


def _objects(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - any JSON
    """Yield the object schemas within a schema, including itself, each with its path."""
    if not isinstance(schema, dict):
        return
    schema = cast("dict[str, Any]", schema)
    kinds = schema.get("type")
    if kinds == "object" or "properties" in schema or (isinstance(kinds, list) and "object" in kinds):
        yield path, schema
    for key in ("properties", "$defs", "definitions"):  # names to schemas
        for name, inner in (schema.get(key) or {}).items():
            yield from _objects(inner, f"{path}.{key}.{name}")
    for at, inner in enumerate(schema.get("anyOf") or ()):
        yield from _objects(inner, f"{path}.anyOf.{at}")
    yield from _objects(schema.get("items"), f"{path}.items")


def _invalid(param: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {problem}", param=param)
