"""Where AssemblyAI's LLM Gateway and other services differ from OpenAI's first chat completions.

Pure: HTTP messages, no socket, no clock. `services` holds the switches of each service.

Source: AssemblyAI's reference of the LLM Gateway, its OpenAPI description, its command line client and its Python SDK
1.8.2, and notes of third parties who used it, read 2026-11-22.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from voicepipe.flow import ToolCallDelta
from voicepipe.testing import _completions as wire
from voicepipe.testing.simulators._gateway_text import (
    CallSpelling,
    ThoughtDelta,
    ThoughtSpelling,
    calls_as_text,
    with_end,
    with_thoughts,
)
from voicepipe.testing.simulators._service_demands import (
    MessageOrder,
    State,
    refusal_of_order,
    refusal_of_state,
    state_of_call,
    state_of_message,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from voicepipe.flow import TextDelta
    from voicepipe.testing._completions import Refused, Timetable
    from voicepipe.testing.script import ChatRequest

__all__ = [
    "ASSEMBLYAI",
    "Envelope",
    "GatewayQuirks",
    "envelope",
    "fallbacks_of",
    "model_record",
    "refused_for",
    "wants_hidden_retry",
]

Envelope: TypeAlias = Literal["by_status", "code", "status", "nested", "openai", "list"]

CLAUDE_REASONS: Final = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}

GEMINI_REFUSES: Final = {
    "$schema", "$id", "$comment", "title", "default", "examples", "const", "additionalProperties",
    "unevaluatedProperties", "patternProperties", "minProperties", "maxProperties", "propertyNames", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "additionalItems", "contains",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayQuirks:
    """How the gateway differs from OpenAI; each switch is independent, and off by default.

    Attributes:
        thoughts: How a reply writes its thoughts, which come first; None for a model that does not think.
        thinking_s: How long the model thinks.
        calls_as_text: How calls are written into the text; None if the server's tool parser is on.
        end_mark: A token of the chat template that ends the text, e.g. "<|im_end|>".
        blank_tool_delta: A stream for a request with tools opens with a tool call without id, name and arguments.
        nested_call_id: The id of a streamed tool call is inside its function.
        calls_on_choice: The tool calls of a whole answer are on the choice, not on its message.
        vendor_reasons: Finish reasons are Claude's: "end_turn", "tool_use", "max_tokens".
        envelope: The shape of errors: "code" as observed, "status" as observed for a bad key, "nested" as documented,
            "openai", "list" for that in a list, or "by_status": "status" for 401 and "code" for all others.
        null_choices: Chunks without a choice have null instead of a list, and the stream opens with one of them.
        usage: The tokens used are sent if "asked" for, always on a "last" chunk of their own, or on "every" chunk.
        sends_done: Whether a stream ends with [DONE].
        streams: Whether a request for a stream gets one; otherwise it gets a whole answer.
        unsupported: Fields of a request that the model refuses.
        refuses_parts: Content in parts causes a server error.
        refuses_empty_arguments: A model called claude-... refuses a history with tool calls without arguments.
        refuses_keywords: A model called gemini-... refuses schemas with keywords that it does not know.
        other_model: The model's name in answers; "" for the one in the request.
        falls_back: After a server error the `fallbacks` of the request are asked in order: one of them, or two if its
            `fallback_config` has `depth` 2; the answer names the model that replied.
        hidden_retry_s: After this pause a server error is retried, invisibly to the client; None for no retry.
        error_in_stream: A broken reply ends with an error event.
        requests_per_minute: Requests per model and minute, reported in the headers; None for no limit.
        order: Whose order of messages the server insists on.
        order_status: The status with which it refuses another order.
        wants_state: What the service has to get back with its calls.
        limit_field: The one field that may limit a reply; "" for either.
        needs_version: A request without the query parameter `api-version` finds nothing.
        key_header: The header that carries the key.
        refused_calls: So many of the first requests with tools fail: the model wrote a call that cannot be read.
        bare_calls: Each call of a stream comes whole, with the index 0 and without an id.
        failure_reason: A broken reply ends with this finish reason; "" for none.
        running_reason: The finish reason of each chunk before the last one.
        sends_reason: Whether a stream ends with a finish reason.
        comment: A comment that comes before each chunk; "" for none.
    """

    thoughts: ThoughtSpelling | None = None
    thinking_s: float = 0.0
    calls_as_text: CallSpelling | None = None
    end_mark: str = ""
    blank_tool_delta: bool = False
    nested_call_id: bool = False
    calls_on_choice: bool = False
    vendor_reasons: bool = False
    envelope: Envelope = "openai"
    null_choices: bool = False
    usage: Literal["asked", "last", "every"] = "asked"
    sends_done: bool = True
    streams: bool = True
    unsupported: frozenset[str] = frozenset()
    refuses_parts: bool = False
    refuses_empty_arguments: bool = False
    refuses_keywords: bool = False
    other_model: str = ""
    falls_back: bool = False
    hidden_retry_s: float | None = None
    error_in_stream: bool = False
    requests_per_minute: int | None = None
    order: MessageOrder = "any"
    order_status: int = 400
    wants_state: State | None = None
    limit_field: Literal["", "max_tokens", "max_completion_tokens"] = ""
    needs_version: bool = False
    key_header: str = "authorization"
    refused_calls: int = 0
    bare_calls: bool = False
    failure_reason: str = ""
    running_reason: str | None = None
    sends_reason: bool = True
    comment: str = ""

    def reason(self, finish_reason: str) -> str:
        """Return a finish reason in the vendor's terms."""
        return CLAUDE_REASONS.get(finish_reason, finish_reason) if self.vendor_reasons else finish_reason

    def written(self, timetable: Timetable) -> Timetable:
        """Return a reply as a server without parsers sends it."""
        if self.bare_calls:
            timetable = with_whole_calls(timetable)
        if self.calls_as_text:
            timetable = calls_as_text(timetable, self.calls_as_text)
        if self.end_mark:
            timetable = with_end(timetable, self.end_mark)
        return with_thoughts(timetable, self.thoughts, self.thinking_s) if self.thoughts else timetable

    def delta(self, piece: TextDelta | ToolCallDelta) -> JsonValue:
        """Return a piece of a streamed reply."""
        if isinstance(piece, ThoughtDelta):
            return {"content": None, "reasoning_content": piece.text}
        delta: Any = wire.delta(piece)
        if self.calls_as_text == "repeated" and isinstance(piece, ToolCallDelta):
            delta["content"] = piece.name or piece.arguments
        if isinstance(piece, ToolCallDelta):
            for call in delta["tool_calls"]:
                if piece.name:
                    call.update(state_of_call(self.wants_state, piece.index))
                if self.bare_calls:
                    call["index"] = 0
                    call.pop("id", None)
        if self.nested_call_id:
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    call["function"]["id"] = call.pop("id")
        return cast("JsonValue", delta)

    def message(self, timetable: Timetable) -> dict[str, JsonValue]:
        """Return the fields of a whole answer's choice."""
        message: Any = wire.message([one for one in timetable if not isinstance(one[1], ThoughtDelta)])
        message.update(state_of_message(self.wants_state))
        for index, call in enumerate(message.get("tool_calls", ())):
            call.update(state_of_call(self.wants_state, index))
        if not (self.calls_on_choice and "tool_calls" in message):
            return {"message": message}
        return {"tool_calls": message.pop("tool_calls"), "message": message}


ASSEMBLYAI: Final = GatewayQuirks(
    blank_tool_delta=True,
    nested_call_id=True,
    envelope="by_status",
    usage="last",
    unsupported=frozenset({"parallel_tool_calls"}),
    refuses_parts=True,
    refuses_empty_arguments=True,
    refuses_keywords=True,
    falls_back=True,
    hidden_retry_s=0.5,
    requests_per_minute=30,
)
"""The gateway's most frequently observed behaviour."""

CONTEXT: Final = 200_000

BLANK: Final[JsonValue] = {
    "tool_calls": [{"index": 0, "type": "function", "function": {"id": "", "name": "", "arguments": ""}}]
}


def refused_for(quirks: GatewayQuirks, chat: ChatRequest, body: dict[str, JsonValue]) -> tuple[int, str] | None:
    """Return status and reason if the gateway refuses a request that OpenAI would answer; otherwise None."""
    for name in sorted(quirks.unsupported & body.keys()):
        return 400, f"model {chat.model} does not support {name}"
    messages = cast("list[dict[str, Any]]", body["messages"])
    limits = {"max_tokens", "max_completion_tokens"} & body.keys()
    if quirks.limit_field and limits - {quirks.limit_field}:
        refused = limits - {quirks.limit_field}
        said = f"Unsupported parameter: '{refused.pop()}' is not supported with this model."
        return 400, f"{said} Use '{quirks.limit_field}' instead."
    if said := refusal_of_order(quirks.order, messages):
        return quirks.order_status, said
    if said := refusal_of_state(quirks.wants_state, messages):
        return 400, said
    if quirks.refuses_parts and any(isinstance(message.get("content"), list) for message in messages):
        return 500, "internal error"
    if quirks.refuses_empty_arguments and chat.model.startswith("claude"):
        for call in (call for message in chat.messages for call in message.tool_calls):
            if call.arguments.strip() in ("", "{}"):
                return 400, "messages: tool_use.input: Field required"
    if quirks.refuses_keywords and chat.model.startswith("gemini"):
        schemas = [tool["function"].get("parameters") for tool in cast("list[dict[str, Any]]", body.get("tools") or ())]
        schemas.append((chat.response_format or {}).get("json_schema"))
        for keyword in (keyword for schema in schemas for keyword in _keywords(schema) if keyword in GEMINI_REFUSES):
            return 400, f'Invalid JSON payload received. Unknown name "{keyword}": Cannot find field.'
    return None


def with_whole_calls(timetable: Timetable) -> Timetable:
    """Return a reply whose calls come whole, each when its last piece was due."""
    found: Timetable = []
    last = {piece.index: at for at, (_, piece) in enumerate(timetable) if isinstance(piece, ToolCallDelta)}
    calls: dict[int, ToolCallDelta] = {}
    for at, (due_s, piece) in enumerate(timetable):
        if not isinstance(piece, ToolCallDelta):
            found.append((due_s, piece))
            continue
        before = calls.get(piece.index, ToolCallDelta(index=piece.index))
        calls[piece.index] = replace(
            before, name=before.name + piece.name, arguments=before.arguments + piece.arguments
        )
        if at == last[piece.index]:
            found.append((due_s, calls[piece.index]))
    return found


def _keywords(schema: object) -> Iterator[str]:
    """Yield the keywords of a schema and of its inner schemas; names of properties are not keywords."""
    if isinstance(schema, list):
        for inner in cast("list[object]", schema):
            yield from _keywords(inner)
    if not isinstance(schema, dict):
        return
    for keyword, inner in cast("dict[str, object]", schema).items():
        yield keyword
        if keyword in ("properties", "$defs", "definitions") and isinstance(inner, dict):
            yield from _keywords(list(cast("dict[str, object]", inner).values()))
        elif keyword != "enum":  # the values of an enum may be objects, but they are not schemas
            yield from _keywords(inner)


def wants_hidden_retry(body: dict[str, JsonValue]) -> bool:
    """Return whether a request allows the gateway to retry by itself."""
    config = body.get("fallback_config")
    return not body.get("fallbacks") and not (isinstance(config, dict) and config.get("retry") is False)


def fallbacks_of(body: dict[str, JsonValue]) -> list[str]:
    """Return the models to ask if the first one fails, in order.

    Raises:
        Refused: The fields do not have the form of the reference.
    """
    fallbacks, config = body.get("fallbacks") or [], body.get("fallback_config") or {}
    depth = config.get("depth", 1) if isinstance(config, dict) else None
    named = [one.get("model") for one in fallbacks if isinstance(one, dict)] if isinstance(fallbacks, list) else [None]
    if not isinstance(fallbacks, list) or len(named) != len(fallbacks) or depth not in (1, 2):
        raise wire.Refused(400, "fallbacks is a list of objects with a model, fallback_config.depth is 1 or 2")
    if not all(isinstance(model, str) and model for model in named):
        raise wire.Refused(400, "each of fallbacks needs a model")
    return cast("list[str]", named)[: 2 if depth == 2 else 1]


def envelope(quirks: GatewayQuirks, refused: Refused, request_id: str) -> JsonValue:
    """Return the body of an error."""
    shape, said = quirks.envelope, str(refused)
    if shape == "by_status":
        shape = "status" if refused.status == 401 else "code"
    match shape:
        case "code":
            metadata: JsonValue = {"errors": [said]}
            return {"code": refused.status, "message": "request failed", "request_id": request_id, "metadata": metadata}
        case "status":
            return {"error": f"Authentication error: {said}", "status": "error", "request_id": request_id}
        case "nested":
            return {"error": {"code": refused.status, "message": said, "metadata": {}}}
        case "list":
            return [wire.envelope(refused)]
        case _:
            return wire.envelope(refused)


def model_record(model: str, quirks: GatewayQuirks) -> JsonValue:
    """Return the catalogue's entry for a model."""
    parameters = {"max_tokens", "temperature", "tools", "tool_choice", "response_format", "stream"} - quirks.unsupported
    supported: list[JsonValue] = [*sorted(parameters - (set() if quirks.streams else {"stream"}))]
    return {
        "id": model,
        "name": model,
        "supported_parameters": supported,
        "description": "A model that follows a script.",
        "default_parameters": {},
        "context_length": CONTEXT,
        "top_provider": {"is_moderated": False, "context_length": CONTEXT, "max_completion_tokens": 32_000},
        "pricing": {"global": {"prompt": 0.0, "completions": 0.0}},
        "creator": "voicepipe",
        "default_provider": {"id": "voicepipe", "name": "voicepipe"},
        "providers": None,
        "available_regions": None,
        "retirement_date": 0,
    }
