"""What a service wants back: fields of calls and of calling messages that this library does not know."""

from __future__ import annotations

import json
from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.completions import call, chunk, read
from tests.helpers.questions import calling
from tests.helpers.raw_server import DONE, END, HEAD, Act, RawServer, answer, data, text
from voicepipe.errors import VendorError
from voicepipe.flow import ReplyState, TextDelta, ToolCallDelta
from voicepipe.history import History
from voicepipe.vendors.openai.completion import CompletionParser

pytestmark = pytest.mark.anyio

SIGNATURE = {"extra_content": {"google": {"thought_signature": "c2lnbmF0dXJl"}}}


def states(*events: Any) -> tuple[dict[str, Any] | None, dict[int, dict[str, Any]]]:
    """Return the last state of the message and of each call."""
    message, calls = None, {}
    for part in read(*events):
        if isinstance(part, ReplyState):
            message = part.state.fields
        if isinstance(part, ToolCallDelta) and part.state:
            calls[part.index] = part.state.fields
    return message, calls


def signed(index: int, **fields: Any) -> dict[str, Any]:
    piece = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    return chunk(tool_calls=[{**piece, **fields}])


@pytest.mark.parametrize(
    ("events", "message", "calls"),
    [
        pytest.param([signed(0, **SIGNATURE), signed(1)], None, {0: SIGNATURE}, id="a signature of the first call"),
        pytest.param(
            [signed(0), chunk(tool_calls=[{"index": 0, **SIGNATURE}])], None, {0: SIGNATURE}, id="a late signature"
        ),
        pytest.param(
            [chunk(tool_calls=[{"index": 0, "function": {"name": "look", "thought_signature": "x"}}])],
            None,
            {0: {"function": {"thought_signature": "x"}}},
            id="in the function",
        ),
        pytest.param(
            [chunk(reasoning_content="The caller "), chunk(reasoning_content="asks."), signed(0)],
            {"reasoning_content": "The caller asks."},
            {},
            id="thoughts in pieces",
        ),
        pytest.param(
            [chunk(reasoning_content="", content=None), signed(0)], {"reasoning_content": ""}, {}, id="empty thoughts"
        ),
        pytest.param([chunk(reasoning_content=None, content="Hi."), signed(0)], None, {}, id="null"),
        pytest.param([signed(0), chunk(reasoning="Late.")], {"reasoning": "Late."}, {}, id="thoughts behind a call"),
        pytest.param(
            [
                chunk(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "The ", "format": "f"}]),
                chunk(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "end.", "format": "f"}]),
                chunk(reasoning_details=[{"type": "reasoning.text", "index": 0, "signature": "s"}]),
                chunk(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "More."}]),
                chunk(reasoning_details=[{"type": "reasoning.encrypted", "index": 0, "data": "a", "id": "c0"}]),
                chunk(reasoning_details=[{"type": "reasoning.encrypted", "index": 0, "data": "b", "id": "c1"}]),
                signed(0),
            ],
            {
                "reasoning_details": [
                    {"type": "reasoning.text", "index": 0, "text": "The end.", "format": "f", "signature": "s"},
                    {"type": "reasoning.text", "index": 0, "text": "More."},
                    {"type": "reasoning.encrypted", "index": 0, "data": "a", "id": "c0"},
                    {"type": "reasoning.encrypted", "index": 0, "data": "b", "id": "c1"},
                ]
            },
            {},
            id="a list in pieces",
        ),
        pytest.param(
            [chunk(extra_content={"google": {"thought": True}}), chunk(extra_content={"x": 1}), signed(0)],
            {"extra_content": {"google": {"thought": True}, "x": 1}},
            {},
            id="an object in pieces",
        ),
        pytest.param([chunk(role="assistant", content="", refusal=None), signed(0)], None, {}, id="known fields"),
        pytest.param([chunk(reasoning_content="Hm."), chunk("stop", content="Hi.")], None, {}, id="no call"),
    ],
)
def test_unknown_fields_are_put_together(
    events: list[Any], message: dict[str, Any] | None, calls: dict[int, dict[str, Any]]
) -> None:
    """Pieces of a text become one, pieces of a list stay in order, and nothing that the format knows is among them."""
    assert states(*events) == (message, calls)


def test_a_message_without_calls_keeps_none() -> None:
    """Only a calling message is sent back whole, so its fields are collected and nothing is passed on."""
    parts = read(chunk(reasoning_content="Hm."), chunk("stop", content="Hi."))
    assert [type(part) for part in parts if not isinstance(part, TextDelta)][-1] is vp.ReplyEnd
    assert not any(isinstance(part, ReplyState) for part in parts)


def test_a_state_is_bounded() -> None:
    """A state that nobody could send back fails the reply."""
    with pytest.raises(VendorError, match="characters of state"):
        read(*[chunk(reasoning_content="x" * 200_000)] * 6)


@vp.tool(effect="read")
async def look() -> str:
    """Look."""
    return "sunny"


def whole(**message: Any) -> list[Act]:
    function = {"name": "look", "arguments": "{}"}
    calls = [{"id": "c0", "type": "function", "function": function, **SIGNATURE}]
    choice = {"message": {"role": "assistant", "content": None, "tool_calls": calls, **message}, "finish_reason": "x"}
    return [answer("200 OK", json.dumps({"choices": [choice]}).encode())]


STREAM: list[Act] = [
    HEAD,
    data(chunk(reasoning_content="The caller ")),
    data(chunk(reasoning_content="asks.")),
    data(signed(0, **SIGNATURE)),
    data(chunk("tool_calls")),
    DONE,
]


@pytest.mark.parametrize("first", [STREAM, whole(reasoning_content="The caller asks.")], ids=["stream", "whole"])
@pytest.mark.parametrize("order", ["free", "strict"])
async def test_it_goes_back_to_the_service_that_sent_it(first: list[Act], order: Any) -> None:
    """The next request, and each later one, holds the fields as they came, with the call and its message."""
    server = RawServer(first, [HEAD, text("Sunny."), END])
    async with (
        server.serve() as base_url,
        calling(base_url, router=vp.ToolRouter([look]), messages=order) as session,
    ):
        await session.user_says("How is it?")
        await session.user_says("Thanks.")

    for request in server.requests[1:]:
        (sent,) = (message for message in request.body["messages"] if message.get("tool_calls"))
        assert sent["reasoning_content"] == "The caller asks."
        assert sent["tool_calls"][0]["extra_content"] == SIGNATURE["extra_content"]
        assert sent["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    assert len(server.requests) == 3


async def test_it_goes_to_no_other_service() -> None:
    """A conversation that goes on elsewhere takes no opaque field along; the one that comes back has it again."""
    ours, other = RawServer(STREAM, [HEAD, text("Sunny."), END]), RawServer([HEAD, text("Well."), END])
    async with ours.serve() as base_url, other.serve() as elsewhere:
        async with calling(base_url, router=vp.ToolRouter([look])) as session:
            await session.user_says("How is it?")
        kept = json.loads(json.dumps(session.history.to_json()))
        async with calling(elsewhere, history=tuple(History.from_json(kept))) as session:
            await session.user_says("And?")
        async with calling(base_url, history=tuple(History.from_json(kept))) as session:
            await session.user_says("And?")

    (sent,) = (message for message in other.requests[0].body["messages"] if message.get("tool_calls"))
    assert sorted(sent) == ["content", "role", "tool_calls"]
    assert sorted(sent["tool_calls"][0]) == ["function", "id", "type"]
    assert "c2lnbmF0dXJl" not in json.dumps(other.requests[0].body)
    assert "c2lnbmF0dXJl" in json.dumps(ours.requests[-1].body)


def test_a_cut_reply_has_its_state_as_soon_as_it_calls() -> None:
    """The state does not wait for the end, which may never come: a call that ran is sent back all the same."""
    parts = read(chunk(reasoning_content="Hm."), signed(0, **SIGNATURE))
    assert [type(part) for part in parts][-2:] == [ToolCallDelta, ReplyState]


def test_it_is_shown_in_no_repr() -> None:
    """A state may be long and means nothing to a reader."""
    (part,) = CompletionParser("v", service="s").feed(json.dumps(signed(0, **SIGNATURE)))
    assert isinstance(part, ToolCallDelta)
    kept = vp.ToolCall(call_id="c0", name="look", arguments="{}", state=part.state)
    assert "c2lnbmF0dXJl" not in repr(kept) + repr(vp.AssistantMessage(calls=[kept], state=part.state))


def test_the_usual_pieces_have_none() -> None:
    """A reply without such fields has no state at all."""
    assert states(call(0, call_id="a", name="look", arguments="{}"), chunk("tool_calls")) == (None, {})
