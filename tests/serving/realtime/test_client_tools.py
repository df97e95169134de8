"""Functions of a client, as the model's tools: whatever schema comes, it is passed on and harms nobody."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.realtime_client import connected, scripted, serving
from voicepipe import ToolError
from voicepipe.serving import Realtime
from voicepipe.serving.realtime.client_events import FunctionTool
from voicepipe.serving.realtime.client_tools import ClientCalls, ClientTool
from voicepipe.testing import Calls, Says, ScriptedRecogniser

pytestmark = pytest.mark.anyio


async def no_end(turn_id: int) -> None:
    raise AssertionError(f"turn {turn_id} has no response here")


def tool(schema: Any) -> ClientTool:
    return ClientTool(FunctionTool(name="look_up", parameters=schema), ClientCalls(1.0, no_end))


def test_the_schema_is_the_clients() -> None:
    """The model is shown what the client has written; without a schema, a function without arguments."""
    schema = {"type": "object", "properties": {"number": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    assert tool(schema).definition["function"]["parameters"] == schema
    assert tool(None).definition["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize("arguments", ["", "{}", '{"number": 7}'])
def test_arguments_are_any_object(arguments: str) -> None:
    """Whether they fit, the client finds out."""
    assert tool(None).validate(arguments) in ({}, {"number": 7})


@pytest.mark.parametrize("arguments", ["[7]", "seven", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    """The model is shown what is wrong, and the client is not asked."""
    with pytest.raises(ToolError):
        tool(None).validate(arguments)


HOSTILE: list[dict[str, Any]] = [
    {"properties": [1, 2]},
    {"properties": {"a": 7}},
    {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
    {"properties": {"a": {"anyOf": [{"$ref": "#"}]}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}, "required": 3},
]


@pytest.mark.parametrize("schema", HOSTILE)
async def test_a_strange_schema_harms_nobody(schema: dict[str, Any]) -> None:
    """Schemas that lead nowhere reach the model as they are, also when it calls the function wrongly."""
    replies = [Calls("look_up", "[7]"), Calls("look_up", {"a": "aaaa"}), Says("Done.")]
    agent, model = scripted(ScriptedRecogniser(sample_rate=24_000), replies)
    given = {"type": "function", "name": "look_up", "parameters": schema}
    async with serving(agent, Realtime(allow={"tools"})) as port, connected(port) as client:
        await client.send("session.update", session={"type": "realtime", "tools": [given]})
        await client.says("Go.")
        call = await client.wait("response.function_call_arguments.done")
        item = {"type": "function_call_output", "call_id": call["call_id"], "output": "done"}
        await client.wait("response.done")
        await client.send("conversation.item.create", item=item)
        await client.send("response.create")
        await client.wait("response.done", 2)
    assert (client.status(2), len(model.requests)) == (("completed", None), 3)
