"""Events of the chat-completions format, and what a parser makes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from voicepipe.vendors.openai.completion import CompletionParser

if TYPE_CHECKING:
    from voicepipe.vendors.openai.completion import Part


def read(*events: Any) -> list[Part]:
    """Feed events, given as objects or as text, to a parser."""
    parser = CompletionParser("vendor")
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [part for text in texts for part in parser.feed(text)]


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def call(index: object, *, call_id: str | None = None, name: str | None = None, arguments: Any = "") -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}, "id": call_id, "index": index}
    return chunk(tool_calls=[piece])
