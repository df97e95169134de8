"""The chat-completions format, without a network: replies. Requests are in `test_conversation.py`."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.events import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.vendors.openai_compatible import (
    FILLER,
    CompletionParser,
    refusal,
)

if TYPE_CHECKING:
    from voicepipe.stages.model import ReplyPart


def read(*events: Any) -> list[ReplyPart]:
    """Feed events, given as objects or as text, to a parser."""
    parser = CompletionParser("vendor")
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [part for text in texts for part in parser.feed(text)]


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def call(
    index: int | None, *, call_id: str | None = None, name: str | None = None, arguments: Any = ""
) -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"name": name, "arguments": arguments}, "id": call_id, "index": index}
    return chunk(tool_calls=[piece])


# --- a reply in pieces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "parts"),
    [
        pytest.param(chunk(content="Hi"), [TextDelta("Hi")], id="text"),
        pytest.param(chunk(refusal="No."), [TextDelta("No.")], id="refusal"),
        pytest.param(chunk(content="Hi", refusal=None), [TextDelta("Hi")], id="no refusal"),
        pytest.param(chunk("stop", content="Hi"), [TextDelta("Hi"), ReplyEnd(finish_reason="stop")], id="text and end"),
        pytest.param(chunk("stop", content=None), [ReplyEnd(finish_reason="stop")], id="end"),
        pytest.param(chunk(content=""), [], id="empty text"),
        pytest.param(chunk(content=3), [], id="number for text"),
        pytest.param(chunk(role="assistant"), [], id="role"),
        pytest.param(chunk(tool_calls=None), [], id="null calls"),
        pytest.param(chunk(tool_calls={"0": {}}), [], id="object for calls"),
        pytest.param(chunk(tool_calls=7), [], id="number for calls"),
        pytest.param(chunk(tool_calls=[None, {}, {"index": 0}]), [], id="blank calls"),
        pytest.param({"choices": []}, [], id="no choices"),
        pytest.param({"choices": None}, [], id="null choices"),
        pytest.param({"choices": 3}, [], id="number for choices"),
        pytest.param({"choices": [None, 3]}, [], id="choices that are none"),
        pytest.param({"choices": [{}]}, [], id="empty choice"),
        pytest.param({"choices": [{"delta": None, "finish_reason": ""}]}, [], id="null delta, blank reason"),
        pytest.param({"type": "ping"}, [], id="unknown object"),
        pytest.param({"error": None, **chunk(content="Hi")}, [TextDelta("Hi")], id="null error"),
        pytest.param({"code": 0, "message": "ok", **chunk(content="Hi")}, [TextDelta("Hi")], id="code, no error"),
        pytest.param("[DONE]", [], id="done"),
        pytest.param(chunk(tool_calls=[{"index": 0, "function": "look"}]), [], id="text for a function"),
        pytest.param(
            call(0, call_id="a", name="look", arguments="{"),
            [ToolCallDelta(index=0, call_id="a", name="look", arguments="{")],
            id="call",
        ),
        pytest.param(
            chunk(tool_calls=[{"index": 1, "function": {"id": "f", "name": "look"}}]),
            [ToolCallDelta(index=1, call_id="f", name="look")],
            id="id inside the function",
        ),
        pytest.param(
            call(0, call_id="a", name="look", arguments={"city": "Rome"}),
            [ToolCallDelta(index=0, call_id="a", name="look", arguments='{"city": "Rome"}')],
            id="arguments as an object",
        ),
    ],
)
def test_an_event_becomes_our_parts(event: object, parts: list[ReplyPart]) -> None:
    """What carries meaning becomes a part of the reply; what carries none is left out."""
    assert read(event) == parts


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
    ],
)
def test_pieces_of_calls_are_told_apart(pieces: list[object], calls: list[tuple[int, str, str, str]]) -> None:
    """Each piece goes to its call, also where a service leaves out indices, repeats them, or numbers every call 0."""
    found: dict[int, tuple[int, str, str, str]] = {}
    for part in read(*pieces):
        assert isinstance(part, ToolCallDelta)
        _, call_id, name, arguments = found.get(part.index, (part.index, "", "", ""))
        found[part.index] = (part.index, call_id or part.call_id, name or part.name, arguments + part.arguments)

    assert list(found.values()) == calls


@pytest.mark.parametrize("end", ["[DONE]", chunk("stop")], ids=["done", "finish reason"])
def test_nothing_follows_the_end(end: object) -> None:
    """What comes after the finish reason or `[DONE]` is no part of the reply, not even an error."""
    parts = read(chunk(content="Hi"), end, chunk(content=" ghost"), {"error": "late"}, "no JSON", chunk("stop"))

    assert [part for part in parts if isinstance(part, TextDelta)] == [TextDelta("Hi")]
    assert sum(isinstance(part, ReplyEnd) for part in parts) == (end != "[DONE]")


def test_only_a_finish_reason_ends_a_reply() -> None:
    """`[DONE]` alone says that nothing follows, not that the reply was whole."""
    parser = CompletionParser("vendor")
    assert (list(parser.feed("[DONE]")), parser.is_over, parser.has_ended) == ([], True, False)
    parser = CompletionParser("vendor")
    assert (len(list(parser.feed(json.dumps(chunk("stop"))))), parser.is_over, parser.has_ended) == (1, True, True)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ('{"error": {"message": "on fire"}}', "reported an error"),
        ('{"error": "on fire"}', "reported an error"),
        ('{"code": 500, "message": "on fire"}', "reported an error"),
        ('{"code": "overloaded", "message": "on fire"}', "reported an error"),
        ('{"type": "error", "message": "on fire"}', "reported an error"),
        ('{"object": "error", "detail": "on fire"}', "reported an error"),
        ('{"choices": [{"del', "no JSON"),
        ("<html>", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1]", "no JSON object"),
        ("null", "no JSON object"),
    ],
)
def test_what_cannot_be_a_piece_is_an_error(data: str, told: str) -> None:
    """Errors in every shape are told in their own words; broken JSON is not quoted, it may hold the reply's text."""
    with pytest.raises(VendorError, match=told) as raised:
        read(data)
    assert (data[:20] in str(raised.value)) == (told == "reported an error")
    assert len(str(raised.value)) < 300


def test_an_error_does_not_quote_the_key() -> None:
    """What an error quotes goes through the function that blots out the key."""
    parser = CompletionParser("vendor", lambda text: text.replace("sk-1", "***"))
    with pytest.raises(VendorError, match=r"bad key \*\*\*"):
        list(parser.feed('{"error": "bad key sk-1"}'))


@given(st.text().map(lambda text: text.encode("utf-16", "surrogatepass")), st.lists(st.integers(0, 40)))
def test_characters_survive_any_cut(utf_16: bytes, cuts: list[int]) -> None:
    """Text that a service cuts between any two UTF-16 units arrives as it was."""
    units = [chr(int.from_bytes(utf_16[at : at + 2], "little")) for at in range(2, len(utf_16), 2)]
    ends = sorted({min(cut, len(units)) for cut in cuts} | {0, len(units)})
    pieces = ["".join(units[start:end]) for start, end in pairwise(ends)]

    # As JSON escapes them, each half by itself.
    parser = CompletionParser("vendor")
    parts = [part for piece in pieces for part in parser.feed(json.dumps(chunk(content=piece)))]

    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == utf_16.decode("utf-16")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "delta", "content", "tool_calls", "function", "index", "id", "name", "arguments"]
                ),
                inner,
            )
        ),
    )
)
def test_no_json_breaks_the_parser(event: object) -> None:
    """Any JSON is read or refused with a `VendorError`; nothing else is raised."""
    try:
        parts = read(event, {"choices": [event]}, {"choices": [{"delta": event}]}, chunk(tool_calls=event))
    except VendorError:
        return
    assert all(isinstance(part, TextDelta | ToolCallDelta | ReplyEnd) for part in parts)


# --- a whole reply ----------------------------------------------------------------------------------------------------


def test_a_whole_completion_is_read() -> None:
    """A completion that was not streamed gives the same parts."""
    message = {"content": "Hi", "tool_calls": [{"id": "a", "function": {"name": "look", "arguments": "{}"}}]}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]})

    assert list(CompletionParser("vendor").whole(body)) == [
        TextDelta("Hi"),
        ToolCallDelta(index=0, call_id="a", name="look", arguments="{}"),
        ReplyEnd(finish_reason="tool_calls"),
    ]


def test_json_that_is_no_completion_is_an_error() -> None:
    """A body without choices is told with its beginning."""
    with pytest.raises(VendorError, match=r"JSON that is no completion: \{\}"):
        list(CompletionParser("vendor").whole("{}"))


# --- a filler for empty arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        (['{"_":""}'], "{}"),
        (["{", '"_"', ": ", '""', " }"], "{}"),
        (["{}"], "{}"),
        (['{"_": "x"}'], '{"_": "x"}'),
        (["{", '"city"', ': "Rome"}'], '{"city": "Rome"}'),
        (['{"_":""}', '{"_":""}'], '{}{"_":""}'),
        (["{"], "{"),
        ([], ""),
    ],
)
def test_a_filler_that_comes_back_means_none(pieces: list[str], arguments: str) -> None:
    """A model that calls a tool with what stood for empty arguments calls it with none; all else is as it wrote it."""
    parser = CompletionParser("vendor", filler=FILLER)
    events = [call(0, call_id="a", name="look"), *(call(0, arguments=piece) for piece in pieces), chunk("tool_calls")]
    parts = [part for event in events for part in parser.feed(json.dumps(event))]

    assert "".join(part.arguments for part in parts if isinstance(part, ToolCallDelta)) == arguments
    assert isinstance(parts[-1], ReplyEnd)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (302, VendorError, False),
        (400, VendorError, False),
        (401, AuthenticationError, False),
        (403, AuthenticationError, False),
        (404, VendorError, False),
        (408, VendorError, True),
        (429, RateLimited, True),
        (500, VendorError, True),
        (529, VendorError, True),
    ],
)
def test_a_status_says_whether_to_try_again(status: int, kind: type[VendorError], retryable: bool) -> None:
    """A status becomes the error that fits what the caller can do."""
    error = refusal("vendor", status, "a\n  body", None)

    assert (type(error), error.retryable) == (kind, retryable)
    assert f"vendor answered HTTP {status}: a body" in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("2", 2.0), ("0.5", 0.5), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None) -> None:
    """Seconds are understood; a date or nonsense is as if there were none."""
    error = refusal("vendor", 429, "", header)

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == seconds
