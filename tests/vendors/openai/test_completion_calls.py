"""The chat-completions format, without a network: which piece belongs to which call, and to which reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.completions import call, chunk, read
from tests.helpers.questions import calling
from tests.helpers.raw_server import DONE, END, HEAD, RawServer, data, text
from voicepipe.errors import VendorError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.vendors.loose_json import is_object
from voicepipe.vendors.openai.completion import CompletionParser

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        pytest.param(
            [call(0, call_id="a", name="x", arguments="1"), call(0, arguments="2"), call(1, call_id="b", name="y")],
            [(0, "a", "x", "12"), (1, "b", "y", "")],
            id="indices",
        ),
        pytest.param(
            [
                call(None, call_id="a", name="x"),
                call(None, arguments="1"),
                call(None, name="y"),
                call(None, arguments="2"),
            ],
            [(0, "a", "x", "1"), (1, "", "y", "2")],
            id="no indices",
        ),
        pytest.param(
            [call(0, call_id="a", name="x", arguments="1"), call(0, call_id="b", name="y"), call(0, arguments="2")],
            [(0, "a", "x", "1"), (1, "b", "y", "2")],
            id="every index 0",
        ),
        pytest.param(
            [call(0, call_id="a", name="x", arguments="1"), call(0, call_id="a", name="x", arguments="2")],
            [(0, "a", "x", "12")],
            id="id and name in every piece",
        ),
        pytest.param(
            [
                call(3, call_id="a", name="x"),
                call(7, call_id="b", name="y"),
                call(3, arguments="1"),
                call(7, arguments="2"),
            ],
            [(3, "a", "x", "1"), (7, "b", "y", "2")],
            id="gaps, interleaved",
        ),
        pytest.param(
            [call(0, call_id="a", name="x"), call(1, call_id="a", name="y")],
            [(0, "a", "x", ""), (1, "a", "y", "")],
            id="the same id twice",
        ),
        pytest.param(
            [
                call("0", call_id="a", name="x"),
                call("1", call_id="b", name="x"),
                call("0", arguments="1"),
                call("1"),
                call("1", arguments="2"),
            ],
            [(0, "a", "x", "1"), (1, "b", "x", "2")],
            id="indices as text",
        ),
        pytest.param(
            [
                call(None, call_id="a", name="x", arguments="1"),
                call(None, call_id="b", name="x", arguments="2"),
                call(None, call_id="a", arguments="3"),
                call(None, call_id="b", arguments="4"),
            ],
            [(0, "a", "x", "13"), (1, "b", "x", "24")],
            id="ids alone, interleaved",
        ),
        pytest.param(
            [
                call(0, call_id="a", name="x", arguments="1"),
                call(0, call_id="b", name="x", arguments="2"),
                call(0, call_id="a", arguments="3"),
                call(0, call_id="b", arguments="4"),
            ],
            [(0, "a", "x", "13"), (1, "b", "x", "24")],
            id="every index 0, interleaved",
        ),
        pytest.param(
            [call(None, call_id="a", name="x", arguments='{"n":'), call(None, call_id="a", name="x", arguments="1}")],
            [(0, "a", "x", '{"n":1}')],
            id="name and id in every piece, no index",
        ),
        pytest.param(
            [call(None, call_id="a", name="x", arguments='{"n":1}'), call(None, call_id="a", name="x", arguments="{}")],
            [(0, "a", "x", '{"n":1}'), (1, "a", "x", "{}")],
            id="the same id twice, no index",
        ),
        pytest.param(
            [
                call(None, call_id="a", name="x"),
                call(None, call_id="a", name="y"),
                call(None, call_id="a", arguments="1"),
            ],
            [(0, "a", "x", ""), (1, "a", "y", "1")],
            id="the same id for two tools, no index",
        ),
        pytest.param(
            [call(None, call_id="a", name="x"), call(None, call_id="b", arguments="1")],
            [(0, "a", "x", ""), (1, "b", "", "1")],
            id="a new id without a name, no index",
        ),
        pytest.param(
            [call(None, name="x"), call(None, call_id="a", arguments="1")],
            [(0, "a", "x", "1")],
            id="a late id, no index",
        ),
        pytest.param(
            [call(0, name="x"), call(0, call_id="a", name="x"), call(0, call_id="b", name="y")],
            [(0, "a", "x", ""), (1, "b", "y", "")],
            id="a late id is the call's",
        ),
        pytest.param(
            [call(0, call_id="a", name="x", arguments="1"), call(0, name="x", arguments="2")],
            [(0, "a", "x", "12")],
            id="the name in every piece",
        ),
        pytest.param(
            [call(0, call_id="a", name="x", arguments="1"), call(0, call_id="z", arguments="2")],
            [(0, "a", "x", "12")],
            id="a new id without a name",
        ),
        pytest.param(
            [
                call(0, call_id="a", name="x"),
                call(0, call_id="b", name="x"),
                call(1, call_id="c", name="x"),
                call(1, arguments="3"),
            ],
            [(0, "a", "x", ""), (1, "b", "x", ""), (2, "c", "x", "3")],
            id="an index that was given away",
        ),
        pytest.param(
            [call(0, call_id="a", name="x"), call(0, arguments="1"), call(0, call_id="b", name="y", arguments="2")],
            [(0, "a", "x", "1"), (1, "b", "y", "2")],
            id="every index 0, after a piece without an id",
        ),
        pytest.param([call(None, arguments="1")], [(0, "", "", "1")], id="nothing to go on with"),
        pytest.param(
            [call(0, name="x", arguments='{"n":1}'), call(0, name="y", arguments='{"n":2}')],
            [(0, "", "x", '{"n":1}'), (1, "", "y", '{"n":2}')],
            id="every index 0, no ids, whole",
        ),
        pytest.param(
            [call(0, name="x", arguments='{"n":1}'), call(0, name="x", arguments='{"n":1}')],
            [(0, "", "x", '{"n":1}'), (1, "", "x", '{"n":1}')],
            id="every index 0, no ids, the same twice",
        ),
        pytest.param(
            [
                call(0, name="x", arguments='{"n":'),
                call(0, arguments="1}"),
                call(0, name="x", arguments='{"n":'),
                call(0, arguments="2}"),
            ],
            [(0, "", "x", '{"n":1}'), (1, "", "x", '{"n":2}')],
            id="every index 0, no ids, in pieces",
        ),
        pytest.param(
            [call(0, name="x"), call(0, name="y"), call(0, arguments="{}")],
            [(0, "", "x", ""), (1, "", "y", "{}")],
            id="every index 0, no ids, no arguments",
        ),
        pytest.param(
            [call(0, call_id="a", name="x", arguments='{"n":1}'), call(0, name="y", arguments='{"n":2}')],
            [(0, "a", "x", '{"n":1}'), (1, "", "y", '{"n":2}')],
            id="every index 0, one id",
        ),
        pytest.param(
            [call(0, name="x", arguments="{}"), call(0, name="x", arguments='{"n":2}')],
            [(0, "", "x", "{}"), (1, "", "x", '{"n":2}')],
            id="a named object behind an empty one",
        ),
        pytest.param(
            [call(0, name="x", arguments="{}"), call(0, arguments='{"n":2}')],
            [(0, "", "x", '{}{"n":2}')],
            id="arguments behind an empty object",
        ),
        pytest.param(
            [call(0, name="x", arguments='{"n":1}'), call(0, arguments='{"n":2}')],
            [(0, "", "x", '{"n":1}'), (1, "", "", '{"n":2}')],
            id="nobody knows whose, behind a whole call",
        ),
        pytest.param(
            [call(None, name="x", arguments='{"n":1}'), call(None, arguments='{"n":2}')],
            [(0, "", "x", '{"n":1}'), (1, "", "", '{"n":2}')],
            id="nobody knows whose, no index",
        ),
        pytest.param(
            [call(0, name="x", arguments='{"n":1}'), call(0, arguments=' {"n":1}\n')],
            [(0, "", "x", '{"n":1}')],
            id="the arguments once more at the end",
        ),
    ],
)
def test_pieces_go_to_their_own_calls(pieces: list[object], calls: list[tuple[int, str, str, str]]) -> None:
    """Each piece goes to its call, also where a service leaves out indices, repeats them, or numbers every call 0."""
    found: dict[int, tuple[int, str, str, str]] = {}
    for part in read(*pieces):
        assert isinstance(part, ToolCallDelta)
        _, call_id, name, arguments = found.get(part.index, (part.index, "", "", ""))
        found[part.index] = (part.index, call_id or part.call_id, name or part.name, arguments + part.arguments)

    assert list(found.values()) == calls


@pytest.mark.parametrize("index", [0.0, False, "x", "", "-1", "9" * 5000, "\u0661", [], {}], ids=repr)
def test_an_invalid_index_is_refused(index: object) -> None:
    """A piece that names no call is given to none."""
    with pytest.raises(VendorError, match=r"numbered a tool call with a .* that is not a whole number") as raised:
        read(call(index, call_id="a", name="look", arguments="{}"))
    assert not raised.value.retryable


def choice(index: Any, content: str | None, finish_reason: str | None = None) -> dict[str, Any]:
    call = {"index": 0, "id": content, "function": {"name": "look"}}
    delta = {"content": content, "tool_calls": [call]} if content else {}
    found = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return {name: value for name, value in found.items() if name != "index" or value is not ...}


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([[choice(0, "a"), choice(1, "b")], [choice(0, None, "stop"), choice(1, None, "length")]], "a"),
        (
            [
                [choice(0, "a")],
                [choice(1, "b")],
                [choice(1, None, "length")],
                [choice(0, "c")],
                [choice(0, None, "stop")],
            ],
            "ac",
        ),
        ([[choice(1, "b")], [choice(0, "a")], [choice(0, None, "length")], [choice(1, None, "stop")]], "b"),
        ([[choice(..., "a"), choice(..., "b")], [choice(..., None, "stop"), choice(..., None, "length")]], "a"),
        ([[choice("0", "a"), choice("1", "b")], [choice("1", None, "length"), choice("0", None, "stop")]], "a"),
        ([[choice(1, "a")], [choice(..., "b")], [choice(None, None, "stop")]], "ab"),
        ([[choice(0, "a")], [choice(None, "b")], [choice(..., None, "stop")]], "ab"),
    ],
    ids=["one event", "interleaved", "second first", "no indices", "text", "index once", "then none"],
)
def test_of_several_replies_one_is_taken(events: list[list[Any]], said: str) -> None:
    """If a service sends several replies at once, only the first one to arrive is used."""
    parts = read(*({"choices": choices} for choices in events))

    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == said
    assert "".join(part.call_id for part in parts if isinstance(part, ToolCallDelta)) == said
    assert [part.finish_reason for part in parts if isinstance(part, ReplyEnd)] == ["stop"]


@pytest.mark.parametrize("reason", ["length", "max_tokens", "content_filter"])
@pytest.mark.parametrize("arguments", ["", "{}", " { } "])
def test_a_cut_leaves_no_call_without_arguments(reason: str, arguments: str) -> None:
    """A call that was cut before its arguments arrived does not become a call with empty arguments."""
    parts = read(call(0, call_id="a", name="look", arguments=arguments), chunk(reason))
    written = "".join(part.arguments for part in parts if isinstance(part, ToolCallDelta))

    assert not is_object(written)
    assert parts[-1] == ReplyEnd(finish_reason=reason)


@pytest.mark.parametrize(("reason", "arguments"), [("length", '{"n":1}'), ("stop", ""), ("tool_calls", "{}")])
def test_a_call_that_was_not_cut_stays_as_it_is(reason: str, arguments: str) -> None:
    """Arguments that have arrived stay as they are, and so do empty ones of a reply that was not cut."""
    parts = read(call(0, call_id="a", name="look", arguments=arguments), chunk(reason))
    assert "".join(part.arguments for part in parts if isinstance(part, ToolCallDelta)) == arguments


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        (['{"_":""}'], "{}"),
        (["{", '"_"', ": ", '""', " }"], "{}"),
        (["{}"], "{}"),
        (['{"_": "x"}'], '{"_": "x"}'),
        (["{", '"city"', ': "Rome"}'], '{"city": "Rome"}'),
        (['{"_":""}', '{"_":""}'], "{}"),
        (["{"], "{"),
        ([], ""),
    ],
)
def test_a_filler_that_comes_back_means_empty_arguments(pieces: list[str], arguments: str) -> None:
    """A model that copies the filler means empty arguments; any other arguments stay as it wrote them."""
    parser = CompletionParser("vendor", filler='{"_":""}')
    events = [call(0, call_id="a", name="look"), *(call(0, arguments=piece) for piece in pieces), chunk("tool_calls")]
    parts = [part for event in events for part in parser.feed(json.dumps(event))]

    assert "".join(part.arguments for part in parts if isinstance(part, ToolCallDelta)) == arguments
    assert isinstance(parts[-1], ReplyEnd)


async def test_a_call_that_nobody_owns_is_shown_to_the_model() -> None:
    """Two whole calls run; arguments without an owner run nowhere, and their failed result shows what was written."""
    wrote: list[int] = []

    @vp.tool
    async def note(n: int) -> str:
        """Note a number."""
        wrote.append(n)
        return "noted"

    pieces = [call(0, name="note", arguments='{"n":1}'), call(0, name="note", arguments='{"n":2}')]
    server = RawServer(
        [HEAD, *map(data, [*pieces, call(0, arguments='{"n":3}'), chunk("tool_calls")]), DONE],
        [HEAD, text("Noted."), END],
    )
    async with server.serve() as base_url, calling(base_url, router=vp.ToolRouter([note])) as session:
        turn = await session.user_says("Note it.")

    assert turn.failure is None
    assert wrote == [1, 2]
    calling_message, *results = server.requests[1].body["messages"][1:]
    shown = [(one["function"]["name"], one["function"]["arguments"]) for one in calling_message["tool_calls"]]
    assert shown == [("note", '{"n":1}'), ("note", '{"n":2}'), ("unnamed", '{"n":3}')]
    assert ["error" in result["content"] for result in results] == [False, False, True]
