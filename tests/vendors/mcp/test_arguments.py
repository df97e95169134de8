"""Arguments against a schema that somebody else wrote."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.helpers.mcp_server import needs_mcp
from voicepipe.errors import ToolError

pytestmark = needs_mcp


def read(schema: dict[str, Any], arguments: str) -> Any:
    from voicepipe.vendors.mcp.arguments import ArgumentSchema

    try:
        return ArgumentSchema({"type": "object", **schema}).read(arguments)
    except ToolError as error:
        return str(error)


EVIL = "(a+)+$"
DOUBLED = {  # each definition is checked twice as often as the one before
    "properties": {"a": {"$ref": "#/$defs/d0"}},
    "$defs": {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)} | {"d40": {"type": "string"}},
}
REMOTE = {"properties": {"x": {"$ref": "http://127.0.0.1:1/schema.json"}}}


@pytest.mark.parametrize(
    ("schema", "arguments", "found"),
    [
        ({"properties": {}}, "", {}),
        ({"properties": {"a": {"type": "integer"}}}, '{"a": true}', "a: must be of the type integer"),
        ({"properties": {"a": {"type": ["string", "null"]}}}, '{"a": null}', {"a": None}),
        ({"properties": {"a": {"const": 1}}}, '{"a": 2}', "a: must be 1"),
        ({"properties": {"a": {"anyOf": [{"type": "string"}]}}}, '{"a": 2}', "a: does not fit the schema (anyOf)"),
        ({"properties": {"a": {"items": {"maxLength": 1}}}}, '{"a": ["xy"]}', "a.0: does not fit maxLength 1"),
        ({"additionalProperties": {"type": "string"}}, '{"any": "x"}', {"any": "x"}),
        (
            {"properties": {"a": {"properties": {}, "additionalProperties": False}}},
            '{"a": {"z": 1}}',
            "a: there is no such field: z",
        ),
        (REMOTE, '{"x": 1}', "the arguments cannot be checked: the schema refers to what it does not hold"),
        (
            {"properties": {"a": {"pattern": f"^{EVIL}"}}},
            f'{{"a": "{"a" * 5000}!"}}',
            f'a: does not fit pattern "^{EVIL}"',
        ),
        (
            DOUBLED,
            '{"a": 1}',
            "the arguments cannot be checked: the schema needs more than 2000 references for them; write shorter ones",
        ),
        ({"patternProperties": {f"^{EVIL}": {}}, "additionalProperties": False}, f'{{"{"a" * 5000}!": 1}}', None),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, '{"a": "y"}', {"a": "y"}),  # the server checks it
        ({"properties": {"a": {"$ref": "#"}}}, '{"a":' * 2000 + "{}" + "}" * 2000, None),
    ],
)
def test_a_schema_from_outside_is_obeyed_and_does_no_harm(
    schema: dict[str, Any], arguments: str, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a schema wants is checked without its network, without patterns that never end, and without values."""
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("it was fetched"))
    result = read(schema, arguments)
    assert result == found if found is not None else isinstance(result, (dict, str))
