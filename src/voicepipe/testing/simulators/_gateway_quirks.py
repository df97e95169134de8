"""Where AssemblyAI's LLM Gateway differs from OpenAI's chat completions. Pure: messages of HTTP, no socket, no clock.

Source: AssemblyAI's reference of the LLM Gateway, its OpenAPI description, its command line client and its Python SDK
1.8.2, and notes of third parties who tried it, read 2026-11-22.
"""

from __future__ import annotations

from dataclasses import dataclass
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

Envelope: TypeAlias = Literal["by_status", "code", "status", "nested", "openai"]

CLAUDE_REASONS: Final = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}

GEMINI_REFUSES: Final = {
    "$schema", "$id", "$comment", "title", "default", "examples", "const", "additionalProperties",
    "unevaluatedProperties", "patternProperties", "minProperties", "maxProperties", "propertyNames", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "additionalItems", "contains",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayQuirks:
    """What the gateway does that OpenAI does not; each switch stands alone, and none is on unless it is set.

    Attributes:
        thoughts: How the thoughts are written with which a reply begins; None where the model does not think.
        thinking_s: How long the model thinks.
        calls_as_text: How calls are written into the text; None where the server's tool parser works.
        end_mark: A mark of the chat template that ends the text, e.g. "<|im_end|>".
        blank_tool_delta: A stream that was offered tools opens with a tool call without id, name and arguments.
        nested_call_id: The id of a streamed call is within its function.
        calls_on_choice: The calls of a whole answer are on the choice, not on its message.
        vendor_reasons: Finish reasons are Claude's: "end_turn", "tool_use", "max_tokens".
        envelope: The shape of errors: "code" as it is seen, "status" as it is seen for a bad key, "nested" as it is
            documented, "openai", or "by_status" for "status" with 401 and "code" with all others.
        null_choices: Chunks without a choice have null instead of a list, and one more of them opens the stream.
        usage: The tokens used come "asked" for, on a "last" chunk of their own, or on "every" chunk.
        sends_done: Whether a stream ends with [DONE].
        streams: Whether a stream is sent to those who ask for one; else it is a whole answer.
        unsupported: Fields of a request that the model refuses.
        refuses_parts: Content in parts is an error of the server.
        refuses_empty_arguments: A model called claude-... refuses a history with calls that have no arguments.
        refuses_keywords: A model called gemini-... refuses schemas with the keywords it does not know.
        other_model: What answers call the model; "" is what was asked for.
        falls_back: After a server error the models that a request names as `fallbacks` are asked in their turn, one
            of them, or two if its `fallback_config` says `depth` 2; the answer tells which it was.
        hidden_retry_s: After this pause a server error is tried again, unseen; None never does.
        error_in_stream: A reply that breaks ends with an error in an event of its own.
        requests_per_minute: Requests for each model in a window of a minute, told in the headers; None has no limit.
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

    def reason(self, finish_reason: str) -> str:
        """Return a finish reason in the vendor's word."""
        return CLAUDE_REASONS.get(finish_reason, finish_reason) if self.vendor_reasons else finish_reason

    def written(self, timetable: Timetable) -> Timetable:
        """Return a reply as a server without parsers sends it."""
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
        if self.nested_call_id:
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    call["function"]["id"] = call.pop("id")
        return cast("JsonValue", delta)

    def message(self, timetable: Timetable) -> dict[str, JsonValue]:
        """Return the fields of a whole answer's choice."""
        message: Any = wire.message([one for one in timetable if not isinstance(one[1], ThoughtDelta)])
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
"""What was seen of it most often."""

CONTEXT: Final = 200_000

BLANK: Final[JsonValue] = {
    "tool_calls": [{"index": 0, "type": "function", "function": {"id": "", "name": "", "arguments": ""}}]
}


def refused_for(quirks: GatewayQuirks, chat: ChatRequest, body: dict[str, JsonValue]) -> tuple[int, str] | None:
    """Return why a request is refused that OpenAI would answer, with the status; None if it is not."""
    for name in sorted(quirks.unsupported & body.keys()):
        return 400, f"model {chat.model} does not support {name}"
    messages = cast("list[dict[str, Any]]", body["messages"])
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


def _keywords(schema: object) -> Iterator[str]:
    """Return the keywords of a schema and of those within it; names of properties are no keywords."""
    if isinstance(schema, list):
        for inner in cast("list[object]", schema):
            yield from _keywords(inner)
    if not isinstance(schema, dict):
        return
    for keyword, inner in cast("dict[str, object]", schema).items():
        yield keyword
        if keyword in ("properties", "$defs", "definitions") and isinstance(inner, dict):
            yield from _keywords(list(cast("dict[str, object]", inner).values()))
        elif keyword != "enum":  # its values may be objects, too
            yield from _keywords(inner)


def wants_hidden_retry(body: dict[str, JsonValue]) -> bool:
    """Return whether a request leaves the gateway free to try again by itself."""
    config = body.get("fallback_config")
    return not body.get("fallbacks") and not (isinstance(config, dict) and config.get("retry") is False)


def fallbacks_of(body: dict[str, JsonValue]) -> list[str]:
    """Return the models that are asked when the first one fails, in their order.

    Raises:
        Refused: They are not told as the reference has it.
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
        case _:
            return wire.envelope(refused)


def model_record(model: str, quirks: GatewayQuirks) -> JsonValue:
    """Return how the catalogue describes a model."""
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
