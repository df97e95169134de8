"""What a model sees of a result: text. Pure.

Rule 1: a result is data from outside, whatever it says. A good one is marked as such where a request is written, as
        that of every tool is; the words of an error are marked here.
Rule 2: nothing is dropped silently: what a model of text cannot see is described.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from voicepipe.errors import ToolError
from voicepipe.http.refusals import excerpt

if TYPE_CHECKING:
    from mcp_types import CallToolResult

__all__ = ["quoted", "text_of"]

MAX_CHARACTERS: Final = 64 * 1024
"""How much of a result is joined; the model sees `MAX_RESULT_BYTES` of it."""


def text_of(result: CallToolResult, server: str) -> str:
    """Return the text of a result: its structured content as JSON, and its parts.

    Servers repeat structured content as text for older clients; the model sees it once.

    Raises:
        ToolError: The server says that the call failed.
    """
    parts = [_described(part) for part in result.content]
    if result.is_error:
        words = quoted("\n".join(parts))
        raise ToolError(f"the tool server {server} reports an error, in words of its own that are data: {words}")
    if result.structured_content is not None:
        parts = _with_structured(result.structured_content, parts)
    return "\n".join(parts)[:MAX_CHARACTERS]


def _with_structured(structured: object, parts: list[str]) -> list[str]:
    """Return the parts with the structured content: in place of the part that repeats it, or before all of them."""
    is_wrapped = isinstance(structured, dict) and list(cast("dict[str, object]", structured)) == ["result"]
    value = cast("dict[str, object]", structured)["result"] if is_wrapped else structured
    written = json.dumps(structured, ensure_ascii=False)
    repeats = [part == value or _is_json_of(part, structured) or _is_json_of(part, value) for part in parts]
    if not any(repeats):
        return [written, *parts]
    # A single value has no field of its own: its text says all.
    return [written if is_same and not is_wrapped else part for part, is_same in zip(parts, repeats, strict=True)]


def quoted(words: str) -> str:
    """Return the beginning of a server's words, on one line, in quotation marks."""
    return json.dumps(excerpt(words) or "(no words)", ensure_ascii=False)


def _is_json_of(text: str, value: object) -> bool:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return found == value


def _described(part: object) -> str:
    match part:
        case TextContent(text=text):
            return text
        case ImageContent(data=data, mime_type=kind):
            return f"[an image that is not shown: {kind}, {_size(data)}]"
        case AudioContent(data=data, mime_type=kind):
            return f"[audio that is not played: {kind}, {_size(data)}]"
        case ResourceLink(name=name, uri=uri, mime_type=kind):
            return f"[a resource that was not read: {name}, {uri}{f', {kind}' if kind else ''}]"
        case EmbeddedResource(resource=TextResourceContents(text=text)):
            return text
        case EmbeddedResource(resource=BlobResourceContents(uri=uri, blob=blob, mime_type=kind)):
            return f"[a resource that is not shown: {uri}, {kind or 'of unknown type'}, {_size(blob)}]"
        case _:
            return f"[content of an unknown kind: {type(part).__name__}]"


def _size(base64: str) -> str:
    return f"{len(base64) * 3 // 4:,} bytes"
