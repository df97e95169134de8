"""The chat-completions format, without a network: replies."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.completions import call, chunk, read
from voicepipe.errors import VendorError
from voicepipe.flow import ReplyEnd, ReplyState, TextDelta, ToolCallDelta
from voicepipe.vendors.openai.completion import CompletionParser

if TYPE_CHECKING:
    from voicepipe.model.model import ReplyPart


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
        pytest.param("[DONE]", [ReplyEnd(finish_reason="")], id="done"),
        *(
            pytest.param(chunk(reason, content="Hi"), [TextDelta("Hi")], id=f"the reason {reason!r}")
            for reason in ("null", "None", " ", "NULL", "FINISH_REASON_UNSPECIFIED")
        ),
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
        pytest.param(chunk(role="user", content="Hi"), [], id="words of another role"),
        pytest.param(chunk(content=[{"type": "text", "text": "Hi"}]), [TextDelta("Hi")], id="a list of parts"),
        pytest.param(
            chunk(content=[{"text": "H"}, {"text": "i"}, 3, {"text": 4}]), [TextDelta("Hi")], id="plain parts"
        ),
        pytest.param(
            chunk(content=[{"type": "thinking", "text": "Hm"}, {"type": "text", "text": "Hi"}]),
            [TextDelta("Hi")],
            id="thoughts are no words",
        ),
        pytest.param({"choices": [{"message": {"content": "Hi"}}]}, [TextDelta("Hi")], id="a message for a delta"),
        pytest.param(
            {"choices": [{"delta": {}, "tool_calls": [{"index": 0, "id": "a", "function": {"name": "look"}}]}]},
            [ToolCallDelta(index=0, call_id="a", name="look")],
            id="calls next to the delta",
        ),
        pytest.param(
            call(0, call_id="a", name="look", arguments={"city": "Rome"}),
            [ToolCallDelta(index=0, call_id="a", name="look", arguments='{"city": "Rome"}')],
            id="arguments as an object",
        ),
    ],
)
def test_an_event_becomes_our_parts(event: object, parts: list[ReplyPart]) -> None:
    """JSON with a meaning becomes a part of the reply; any other is skipped."""
    assert read(event) == parts


def test_a_message_after_its_pieces_is_not_said_again() -> None:
    """Some services repeat the whole message at the end of a stream of its pieces."""
    again = {"choices": [{"delta": {}, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    assert read(chunk(content="Hi"), again) == [TextDelta("Hi"), ReplyEnd(finish_reason="stop")]


@pytest.mark.parametrize("data", ["hello", "", "3"])
def test_an_event_of_another_name_may_hold_anything(data: str) -> None:
    """An event with another name, such as a ping, is skipped unless it is JSON; without a name it is an error."""
    assert list(CompletionParser("vendor").feed(data, "ping")) == []
    assert list(CompletionParser("vendor").feed(json.dumps(chunk(content="Hi")), "chunk")) == [TextDelta("Hi")]
    with pytest.raises(VendorError, match=r"is not (JSON|a JSON object)"):
        list(CompletionParser("vendor").feed(data))


@pytest.mark.parametrize("end", ["[DONE]", chunk("stop")], ids=["done", "finish reason"])
def test_nothing_follows_the_end(end: object) -> None:
    """An event after the finish reason or `[DONE]` is not part of the reply, not even an error."""
    parts = read(chunk(content="Hi"), end, chunk(content=" ghost"), {"error": "late"}, "no JSON", chunk("stop"))

    assert [part for part in parts if isinstance(part, TextDelta)] == [TextDelta("Hi")]
    assert sum(isinstance(part, ReplyEnd) for part in parts) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"error": {"message": "on fire"}}', "reported an error"),
        ('{"error": "on fire"}', "reported an error"),
        ('{"code": 500, "message": "on fire"}', "reported an error"),
        ('{"code": "overloaded", "message": "on fire"}', "reported an error"),
        ('{"type": "error", "message": "on fire"}', "reported an error"),
        ('{"object": "error", "detail": "on fire"}', "reported an error"),
        ('{"detail": "on fire"}', "reported an error"),
        ('{"errors": ["on fire"]}', "reported an error"),
        ('{"status": 500, "message": "on fire"}', "reported an error"),
        ('[{"error": "on fire"}]', "reported an error"),
        ('{"choices": [{"del', "not JSON"),
        ("<html>", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        ("null", "not a JSON object"),
    ],
)
def test_what_cannot_be_a_piece_is_an_error(data: str, said: str) -> None:
    """Errors in every shape are quoted; broken JSON is not, because it may hold the reply's text."""
    with pytest.raises(VendorError, match=said) as raised:
        read(data)
    assert (data[:20] in str(raised.value)) == (said == "reported an error")
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("where", ["next to the choice", "in it"])
def test_an_error_is_quoted_without_the_reply(where: str) -> None:
    """Of an event that holds text and an error, only the error is quoted."""
    event = chunk(content="Your balance is 4711.")
    (event if where == "next to the choice" else event["choices"][0])["error"] = {"message": "on fire"}

    with pytest.raises(VendorError, match=r"reported an error: .*on fire") as raised:
        read(event)
    assert "4711" not in str(raised.value)


@pytest.mark.parametrize(
    "event",
    [{"status": "ok", "message": "x"}, {"status": 200, "message": "x"}, {"status": 500, **chunk()}, {"detail": ""}],
)
def test_what_only_looks_like_an_error_is_none(event: object) -> None:
    """An object with a status below 400, or with an empty error field, is not an error."""
    assert read(event) == []


def test_an_error_does_not_quote_the_key() -> None:
    """Quoted text goes through the function that takes the key out."""
    parser = CompletionParser("vendor", lambda text: text.replace("sk-1", "***"))
    with pytest.raises(VendorError, match=r"bad key \*\*\*"):
        list(parser.feed('{"error": "bad key sk-1"}'))


# Without what may begin a mark of control, which is not spoken: see test_spoken_text.py.
PLAIN = st.text(st.characters(exclude_characters="<[{`◁", exclude_categories=["Cs"]))


@given(PLAIN.map(lambda text: text.encode("utf-16", "surrogatepass")), st.lists(st.integers(0, 40)))
def test_characters_survive_any_cut(utf_16: bytes, cuts: list[int]) -> None:
    """Text that a service cuts between any two UTF-16 units arrives as it was; blanks alone are no text."""
    units = [chr(int.from_bytes(utf_16[at : at + 2], "little")) for at in range(2, len(utf_16), 2)]
    ends = sorted({min(cut, len(units)) for cut in cuts} | {0, len(units)})
    pieces = ["".join(units[start:end]) for start, end in pairwise(ends)]

    # As JSON escapes them, each half by itself.
    parser = CompletionParser("vendor")
    events = [*(chunk(content=piece) for piece in pieces), chunk("stop")]
    parts = [part for event in events for part in parser.feed(json.dumps(event))]

    whole = utf_16.decode("utf-16")
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == (whole if whole.strip() else "")


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
    """Any JSON is read, or refused with a `VendorError`, and no other exception."""
    try:
        parts = read(event, {"choices": [event]}, {"choices": [{"delta": event}]}, chunk(tool_calls=event))
    except VendorError:
        return
    assert all(isinstance(part, TextDelta | ToolCallDelta | ReplyState | ReplyEnd) for part in parts)


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


def test_a_whole_completion_may_name_its_calls_alike() -> None:
    """Each call of a whole completion stays a call of its own, without index or arguments, or with the same id."""
    calls = [{"id": "a", "function": {"name": "look"}}] * 2
    for choice in ({"message": {"tool_calls": calls}}, {"message": {}, "tool_calls": calls}):
        parts = list(CompletionParser("vendor").whole(json.dumps({"choices": [choice]})))
        assert parts[:-1] == [ToolCallDelta(index=index, call_id="a", name="look") for index in (0, 1)]


def test_json_that_is_not_a_completion_is_an_error() -> None:
    """For a body without choices the error lists the names of its fields."""
    with pytest.raises(VendorError, match="JSON that is not a completion: it holds: nothing"):
        list(CompletionParser("vendor").whole("{}"))
    with pytest.raises(VendorError, match="it holds: id, text") as raised:
        list(CompletionParser("vendor").whole('{"id": 4711, "text": "Hi"}'))
    assert "4711" not in str(raised.value)
