"""OpenAI's chat completions as bytes, for the scripted gateway.

Rule 1: pure: no socket, no clock. A schedule goes in, HTTP messages come out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, TypeAlias

import h11

from voicepipe.flow import TextDelta, ToolCallDelta
from voicepipe.testing.script import ChatRequest, Piece, Refuses, tokens

if TYPE_CHECKING:
    from pydantic import JsonValue

    from voicepipe.testing._record import RecordedRequest

__all__ = ["Refused", "Timetable", "completion", "delta", "envelope", "message", "refusal", "response", "sse", "usage"]

ERROR_CODES: Final = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}
COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

Timetable: TypeAlias = list[tuple[float, Piece]]
"""What `schedule` returns."""


class Refused(Exception):  # noqa: N818 - names the outcome of the request
    """The request is answered with an error."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers


def response(status: int, body: JsonValue, **headers: str) -> tuple[h11.Response, h11.Data, h11.EndOfMessage]:
    """Return a whole response with a JSON body."""
    data = json.dumps(body).encode()
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    named += [("content-type", "application/json"), ("content-length", str(len(data)))]
    return h11.Response(status_code=status, headers=named), h11.Data(data), h11.EndOfMessage()


def refusal(reply: Refuses) -> Refused:
    """Return the error that a script asks for."""
    wait = {} if reply.retry_after_s is None else {"retry_after": f"{reply.retry_after_s:g}"}
    return Refused(reply.status, reply.message, **wait)


def envelope(refused: Refused) -> JsonValue:
    """Return the body of an error, in OpenAI's envelope."""
    kind = "invalid_request_error" if refused.status < 500 else "server_error"
    code = refused.code or ERROR_CODES.get(refused.status)
    return {"error": {"message": str(refused), "type": kind, "param": refused.param, "code": code}}


def sse(body: JsonValue) -> h11.Data:
    """Return one server-sent event."""
    # Half a surrogate pair is sent as the escape that real services send.
    return h11.Data(f"data: {COMPACT.encode(body)}\n\n".encode("utf-8", "backslashreplace"))


def completion(request: RecordedRequest, chat: ChatRequest, kind: str, *choices: JsonValue) -> dict[str, JsonValue]:
    """Return the fields that a completion and its chunks have in common."""
    # "created" is on the loop's clock like every other time here.
    created = int(request.received_s)
    name = f"chatcmpl-{request.number}"
    return {"id": name, "object": kind, "created": created, "model": chat.model, "choices": list(choices)}


def delta(piece: TextDelta | ToolCallDelta) -> JsonValue:
    """Return a piece of a streamed reply."""
    if isinstance(piece, TextDelta):
        return {"content": piece.text}
    if not piece.name:
        return {"tool_calls": [{"index": piece.index, "function": {"arguments": piece.arguments}}]}
    return {"tool_calls": [{"index": piece.index, **call(piece, piece.arguments)}]}


def call(opening: ToolCallDelta, arguments: str) -> dict[str, JsonValue]:
    """Return a tool call."""
    function: JsonValue = {"name": opening.name, "arguments": arguments}
    return {"id": opening.call_id, "type": "function", "function": function}


def message(timetable: Timetable) -> JsonValue:
    """Return a whole reply."""
    text = "".join(piece.text for _, piece in timetable if isinstance(piece, TextDelta))
    deltas = [piece for _, piece in timetable if isinstance(piece, ToolCallDelta)]
    calls: list[JsonValue] = [
        call(opening, "".join(delta.arguments for delta in deltas if delta.index == opening.index))
        for opening in deltas
        if opening.name
    ]
    message: dict[str, JsonValue] = {"role": "assistant", "content": text or (None if calls else "")}
    return {**message, "tool_calls": calls} if calls else message


def usage(chat: ChatRequest, timetable: Timetable) -> JsonValue:
    """Return the tokens used, counted by `tokens`."""
    read = sum(len(tokens(message.content)) for message in chat.messages)
    written = len(timetable) - 1
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
