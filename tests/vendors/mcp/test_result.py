"""What a model sees of a server's result."""

from __future__ import annotations

from typing import Any

from tests.helpers.mcp_server import needs_mcp

pytestmark = needs_mcp


def test_nothing_of_a_result_is_dropped_silently() -> None:
    """Structured content is shown once, text as it is, and anything else is described with its kind and size."""
    from mcp_types import (
        AudioContent,
        BlobResourceContents,
        CallToolResult,
        EmbeddedResource,
        ImageContent,
        ResourceLink,
        TextContent,
        TextResourceContents,
    )

    from voicepipe.vendors.mcp.result import text_of

    def text(words: str) -> Any:
        return TextContent(type="text", text=words)

    page = TextResourceContents(uri="file:///a", text="page")
    blob = BlobResourceContents(uri="file:///b", blob="AAAA")
    table: list[tuple[Any, Any, str]] = [
        ([text("one"), text("two")], None, "one\ntwo"),
        ([], None, ""),
        ([text('{\n  "seats": 2\n}')], {"seats": 2}, '{"seats": 2}'),
        ([text("Two seats.")], {"seats": 2}, '{"seats": 2}\nTwo seats.'),
        ([text("h\u00e9")], {"result": "h\u00e9"}, "h\u00e9"),
        ([text("3")], {"result": 3}, "3"),
        ([], {"result": 3}, '{"result": 3}'),
        (
            [ImageContent(type="image", data="AAAA", mime_type="image/png")],
            None,
            "[an image that is not shown: image/png, 3 bytes]",
        ),
        (
            [AudioContent(type="audio", data="AAAA", mime_type="audio/wav")],
            None,
            "[audio that is not played: audio/wav, 3 bytes]",
        ),
        (
            [ResourceLink(type="resource_link", name="n", uri="file:///n")],
            None,
            "[a resource that was not read: n, file:///n]",
        ),
        ([EmbeddedResource(type="resource", resource=page)], None, "page"),
        (
            [EmbeddedResource(type="resource", resource=blob)],
            None,
            "[a resource that is not shown: file:///b, of unknown type, 3 bytes]",
        ),
    ]
    for content, structured, shown in table:
        result = CallToolResult(content=content, structured_content=structured)
        assert text_of(result, "shop") == shown
