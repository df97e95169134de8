"""Functions of a client, as the model's tools: their schemas, their calls, and outputs that come or do not."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.realtime_client import connected, ears, scripted, serving
from voicepipe.serving import Realtime, Serve
from voicepipe.serving.realtime.client_events import FunctionTool
from voicepipe.serving.realtime.client_tools import ClientCalls, ClientTool
from voicepipe.testing import Calls, Says

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
    with pytest.raises(vp.ToolError):
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
    agent, model = scripted(ears(), replies)
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


# --- in a call --------------------------------------------------------------------------------------------------------

LOOK_UP = {
    "type": "function",
    "name": "look_up",
    "description": "Look up an order.",
    "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}},
}
WITH_TOOLS = {"type": "realtime", "tools": [LOOK_UP]}


@vp.tool
async def look_up(number: int) -> str:
    """Look up an order."""
    return str(number)


async def output(client: Any, call_id: str, text: str) -> None:
    item = {"type": "function_call_output", "call_id": call_id, "output": text}
    await client.send("conversation.item.create", item=item)


async def test_a_function_of_the_client_is_called_and_answered() -> None:
    """The model sees the client's function; its output is in the conversation, and the reply is the next response."""
    replies = [Calls("look_up", {"number": 7}, say="One moment."), Says("It is on its way.")]
    agent, model = scripted(ears(), replies)
    async with serving(agent, Realtime(allow={"tools"})) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        await client.says("Where is my order?")
        call = await client.wait("response.function_call_arguments.done")
        await output(client, call["call_id"], "in Lyon")
        await client.wait("response.done")
        await client.send("response.create")
        await client.wait("response.done", 2)
    assert (call["name"], call["arguments"]) == ("look_up", '{"number": 7}')
    first, second = (event["response"] for event in client.of("response.done"))
    assert [item["type"] for item in first["output"]] == ["function_call", "message"]
    assert second["output"][0]["content"][0]["transcript"] == "It is on its way."
    assert model.requests[0].tools == ("look_up",)
    assert "in Lyon" in model.requests[1].messages[-1].content


async def test_an_output_that_nobody_waits_for_is_an_error() -> None:
    """An unknown call, a second output, and one that comes too late are errors; the model learns of the time-out."""
    agent, model = scripted(ears(), [Calls("look_up", {"number": 7}), Says("Sorry.")])
    async with serving(agent, Realtime(allow={"tools"}, tool_s=3.0)) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        await client.says("Where is my order?")
        await output(client, "call_9", "unknown")
        await client.wait("response.done", 2)
        await output(client, "call_1", "late")
        await client.wait("error", 2)
    assert [event["error"]["code"] for event in client.of("error")] == ["no_such_call", "no_such_call"]
    assert "the client gave no output within 3 s" in str(model.requests[1].messages[-1].content)


async def test_an_answered_call_is_not_answered_again() -> None:
    """The first output counts."""
    agent, model = scripted(ears(), [Calls("look_up", {"number": 7}), Says("Fine.")])
    async with serving(agent, Realtime(allow={"tools"})) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        await client.says("Where is my order?")
        await client.wait("response.done")
        await output(client, "call_1", "in Lyon")
        await output(client, "call_1", "in Nice")
        await client.send("response.create")
        await client.wait("response.done", 2)
    assert len(client.of("error")) == 1
    assert "in Lyon" in model.requests[1].messages[-1].content


async def test_a_response_may_be_asked_for_before_the_call_has_ended() -> None:
    """A client that is quicker than `response.done` still gets its reply, in a response of its own."""
    agent, _ = scripted(ears(), [Calls("look_up", {"number": 7}, say="One moment."), Says("Fine.")])
    async with serving(agent, Realtime(allow={"tools"})) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        await client.says("Where is my order?")
        await client.wait("response.function_call_arguments.done")
        await output(client, "call_1", "in Lyon")
        await client.send("response.create")
        done = await client.wait("response.done", 2)
    assert done["response"]["output"][0]["content"][0]["transcript"] == "Fine."
    assert not client.of("error")


async def test_two_calls_of_one_reply_are_one_response() -> None:
    """The response ends with the last call; the model goes on with both outputs."""
    agent, model = scripted(ears(), [(Calls("look_up", {"number": 7}), Calls("look_up", {"number": 8})), Says("Fine.")])
    async with serving(agent, Realtime(allow={"tools"})) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        await client.says("Where are my orders?")
        first = await client.wait("response.done")
        for call_id in ("call_2", "call_1"):
            await output(client, call_id, f"{call_id} is here")
        await client.send("response.create")
        await client.wait("response.done", 2)
    assert [item["call_id"] for item in first["response"]["output"]] == ["call_1", "call_2"]
    results = [message.content for message in model.requests[1].messages[-2:]]
    assert [f"call_{number} is here" in result for number, result in enumerate(results, 1)] == [True, True]


async def test_a_barge_in_leaves_a_call_of_the_client_alone() -> None:
    """The caller speaks while the client works; the output comes later, and is in the conversation."""
    heard = ears().says("Order?", at_s=1.0).says("Hello? Are you there?", at_s=3.0, speech_s=0.5)
    agent, model = scripted(heard, [Calls("look_up", {"number": 7}), Says("One moment."), Says("It is in Lyon.")])
    async with serving(agent, Realtime(allow={"tools"})) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.speak, 20.0)
            await client.wait("response.done", 2)
            await output(client, "call_1", "in Lyon")
            await client.send("response.create")
            await client.wait("response.done", 3)
            tasks.cancel_scope.cancel()
    assert "in Lyon" in str([message.content for message in model.requests[-1].messages])


async def test_a_call_that_is_cancelled_ends_with_its_response() -> None:
    """The agent still speaks before the call when the client cancels: one response ends, and no other begins."""
    agent, _ = scripted(ears(), [Calls("look_up", {"number": 7}, say="One moment, I am looking it up."), Says("Fine.")])
    async with serving(agent, Realtime(allow={"tools"}, tool_s=2.0)) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        await client.says("Where is my order?")
        await client.wait("response.function_call_arguments.done")
        await client.wait("response.output_audio.delta", 6)
        await client.send("response.cancel")
        await client.wait("response.done")
        await anyio.sleep(1.0)
        assert client.status() == ("cancelled", "client_cancelled")
        assert client.kinds().count("response.done") == 1


async def test_a_client_that_leaves_holds_nothing_up() -> None:
    """A call that waits for a client that has left is given up at once, and the session ends."""
    agent, _ = scripted(ears(), [Calls("look_up", {"number": 7}), Says("Fine.")])
    serve = Serve(agent, [Realtime(allow={"tools"})])
    async with serve.listening() as port:
        async with connected(port) as client:
            await client.send("session.update", session=WITH_TOOLS)
            await client.says("Where is my order?")
            await client.wait("response.done")
            left_s = anyio.current_time()
        await serve.desk.wait_empty()
        assert anyio.current_time() == left_s


async def test_calls_and_their_outputs_cannot_be_deleted() -> None:
    """They belong to the reply that made them."""
    agent, _ = scripted(ears(), [Calls("look_up", {"number": 7}), Says("Fine.")])
    async with serving(agent, Realtime(allow={"tools"})) as port, connected(port) as client:
        await client.send("session.update", session=WITH_TOOLS)
        await client.says("Where is my order?")
        await client.wait("response.done")
        await output(client, "call_1", "in Lyon")
        await client.send("conversation.item.retrieve", item_id="item_2")
        await client.send("conversation.item.retrieve", item_id="item_3")
        await client.wait("conversation.item.retrieved", 2)
        await client.send("conversation.item.delete", item_id="item_2")
        error = (await client.wait("error"))["error"]
    kinds = [event["item"]["type"] for event in client.of("conversation.item.retrieved")]
    assert (kinds, error["code"]) == (["function_call", "function_call_output"], "unsupported")


async def test_a_function_with_the_name_of_a_tool_is_refused() -> None:
    """The agent's own tools stay its own; what else came with them holds."""
    agent, model = scripted(ears(), [Says("Yes.")], look_up)
    async with serving(agent, Realtime(allow={"tools", "instructions"})) as port, connected(port) as client:
        await client.send("session.update", session={**WITH_TOOLS, "instructions": "Be brief."})
        await client.wait("error")
        await client.send("session.update", session=WITH_TOOLS)
        await client.wait("error", 2)
        await client.says("Hello?")
        await client.wait("response.done")
    assert model.requests[0].messages[0].content == "Be brief."
    assert [event["error"]["code"] for event in client.of("error")] == ["tool_exists", "tool_exists"]
    assert client.of("session.updated")[-1]["session"]["tools"] == []


async def test_tools_of_the_server_are_not_shown() -> None:
    """What the agent does on the server is its own business: the client sees one response."""
    agent, model = scripted(ears(), [Calls("look_up", {"number": 7}), Says("Fine.")], look_up)
    async with serving(agent) as port, connected(port) as client:
        await client.says("Order?")
        done = await client.wait("response.done")
    assert [item["type"] for item in done["response"]["output"]] == ["message"]
    assert len(model.requests) == 2
