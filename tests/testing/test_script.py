"""The vocabulary of scripted models: tokens, timetables, scripts, and valid requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.testing.script import (
    Breaks,
    Calls,
    ChatMessage,
    ChatRequest,
    ChatToolCall,
    InvalidRequest,
    Refuses,
    Says,
    Script,
    parse_request,
    schedule,
    tokens,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

ASKED = ChatRequest(model="m", messages=(ChatMessage(role="user", content="Where is it?"),))
USER: JsonValue = {"role": "user", "content": "Where is it?"}


def call(call_id: str) -> JsonValue:
    return {"id": call_id, "type": "function", "function": {"name": "find", "arguments": "{}"}}


def asks(*call_ids: str) -> JsonValue:
    return {"role": "assistant", "content": None, "tool_calls": [call(call_id) for call_id in call_ids]}


def answers(call_id: str) -> JsonValue:
    return {"role": "tool", "tool_call_id": call_id, "content": f"result of {call_id}"}


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("It is 22 degrees.", ["It", " is", " 22", " degrees", "."]),
        ("Well... no!", ["Well", ".", ".", ".", " no", "!"]),
        ('{"city": "Lyon"}', ["{", '"', "city", '"', ":", ' "', "Lyon", '"', "}"]),
        (" Straße\n\nnaïve ", [" Straße", "\n\nnaïve", " "]),
    ],
)
def test_words_take_the_space_before_them_and_punctuation_stands_alone(text: str, expected: list[str]) -> None:
    """A token is a word or one punctuation mark, with the space before it."""
    assert tokens(text) == expected


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    """Nothing is lost or changed by splitting, whatever the text."""
    assert "".join(tokens(text)) == text


@given(st.text())
def test_no_token_is_longer_than_a_word(text: str) -> None:
    """No token holds two words, or a word and a punctuation mark."""
    assert all(re.fullmatch(r"\s*(\w+|[^\w\s])?", token) and token for token in tokens(text))


# --- schedule ---------------------------------------------------------------------------------------------------------


def test_token_k_is_due_k_paces_after_the_first() -> None:
    """Words are due at `after_s + k * token_s`, and the end with the last of them."""
    assert schedule(Says("One two.", after_s=0.5, token_s=0.25, finish_reason="length")) == [
        (0.5, TextDelta("One")),
        (0.75, TextDelta(" two")),
        (1.0, TextDelta(".")),
        (1.0, ReplyEnd(finish_reason="length")),
    ]


def test_defaults_fill_in_only_what_a_reply_leaves_open() -> None:
    """A reply's own delays win over the defaults, one by one."""
    due = [
        [due_s for due_s, _ in schedule(reply, first_token_s=1.0, token_s=0.5)]
        for reply in (Says("a b"), Says("a b", after_s=3.0), Says("a b", token_s=2.0))
    ]
    assert due == [[1.0, 1.5, 1.5], [3.0, 3.5, 3.5], [1.0, 3.0, 3.0]]


def test_a_call_opens_with_its_name_and_arguments_follow_in_pieces() -> None:
    """Words come first, then a delta with id and name and no arguments, then the arguments."""
    assert schedule(Calls("find", {"n": 1}, call_id="c7", say="Hm.", token_s=0.25)) == [
        (0.0, TextDelta("Hm")),
        (0.25, TextDelta(".")),
        (0.5, ToolCallDelta(index=0, call_id="c7", name="find")),
        (0.75, ToolCallDelta(index=0, arguments="{")),
        (1.0, ToolCallDelta(index=0, arguments='"')),
        (1.25, ToolCallDelta(index=0, arguments="n")),
        (1.5, ToolCallDelta(index=0, arguments='"')),
        (1.75, ToolCallDelta(index=0, arguments=":")),
        (2.0, ToolCallDelta(index=0, arguments=" 1")),
        (2.25, ToolCallDelta(index=0, arguments="}")),
        (2.25, ReplyEnd(finish_reason="tool_calls")),
    ]


def test_several_calls_follow_one_another() -> None:
    """The second call of a reply has the next index, and starts its own `after_s` after the first."""
    assert schedule((Calls("a", "x", call_id="1", token_s=0.5), Calls("b", "y", call_id="2", after_s=2.0))) == [
        (0.0, ToolCallDelta(index=0, call_id="1", name="a")),
        (0.5, ToolCallDelta(index=0, arguments="x")),
        (3.0, ToolCallDelta(index=1, call_id="2", name="b")),
        (3.0, ToolCallDelta(index=1, arguments="y")),
        (3.0, ReplyEnd(finish_reason="tool_calls")),
    ]


def test_arguments_given_as_text_are_not_mended() -> None:
    """A string is sent unchanged, even if it is not JSON."""
    pieces = [piece for _, piece in schedule(Calls("find", '{"n": ')) if isinstance(piece, ToolCallDelta)]
    assert "".join(piece.arguments for piece in pieces) == '{"n": '


@pytest.mark.parametrize(
    ("text", "expected"), [("", [(2.0, None)]), ("Half a", [(2.0, "Half"), (2.5, " a"), (2.5, None)])]
)
def test_a_broken_reply_ends_with_the_break(text: str, expected: list[tuple[float, str | None]]) -> None:
    """The last piece of a broken reply is the `Breaks`, never a `ReplyEnd`."""
    reply = Breaks(text, after_s=2.0, token_s=0.5)
    shown = [(due_s, None if piece is reply else getattr(piece, "text", "?")) for due_s, piece in schedule(reply)]
    assert shown == expected


def test_a_reply_without_words_ends_when_its_first_token_was_due() -> None:
    """An empty reply takes as long as a first token."""
    assert schedule(Says("", after_s=0.5)) == [(0.5, ReplyEnd(finish_reason="stop"))]


# --- Script -----------------------------------------------------------------------------------------------------------


def test_replies_are_used_up_in_order() -> None:
    """Each request takes the next reply, and `unused` has the rest."""
    script = Script([Says("one"), Refuses(500, "two"), Says("three")])
    assert [script.answer(ASKED), script.answer(ASKED)] == [Says("one"), Refuses(500, "two")]
    assert script.unused == (Says("three"),)


def test_an_exhausted_script_is_an_error_that_names_it() -> None:
    """The error for one request too many names the script, its number of replies, and the user's last words."""
    script = Script([Says("one")], name="booking")
    script.answer(ASKED)
    with pytest.raises(AssertionError, match=r"booking holds 1 replies .*'Where is it\?'.* add a reply"):
        script.answer(ASKED)


def test_a_function_answers_what_it_is_asked() -> None:
    """A script may be a function of the request; it has no unused replies."""
    script = Script(lambda request: Says(f"{request.last_user_text} Here."))
    assert script.answer(ASKED) == Says("Where is it? Here.")
    assert script.unused == ()


def test_calls_without_an_id_are_numbered_through_the_script() -> None:
    """Ids are never repeated within a script, and ids given by the test are kept."""
    script = Script([(Calls("a", {}), Calls("b", {}, call_id="mine")), Calls("c", {})])
    assert script.answer(ASKED) == (Calls("a", {}, call_id="call_1"), Calls("b", {}, call_id="mine"))
    assert script.answer(ASKED) == Calls("c", {}, call_id="call_2")


def test_a_script_shows_how_far_it_has_come() -> None:
    """The repr counts what was answered and what is left."""
    script = Script([Says("one"), Says("two")], name="booking")
    script.answer(ASKED)
    assert repr(script) == "<Script booking answered=1 1 left>"
    assert repr(Script(lambda _: Says("one"))) == "<Script script answered=0 by a function>"


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_a_request_is_read_into_plain_values() -> None:
    """Messages, calls, tool names, format and streaming options are parsed into types; text in parts is joined."""
    tool: JsonValue = {"type": "function", "function": {"name": "find", "parameters": {}}}
    parts: JsonValue = [{"type": "text", "text": "Where "}, {"type": "text", "text": "is it?"}]
    assert parse_request(
        {
            "model": "m",
            "messages": [{"role": "user", "content": parts}, asks("c1"), answers("c1")],
            "tools": [tool],
            "response_format": {"type": "json_object"},
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.5,
        }
    ) == ChatRequest(
        model="m",
        messages=(
            ChatMessage(role="user", content="Where is it?"),
            ChatMessage(role="assistant", tool_calls=(ChatToolCall(call_id="c1", name="find", arguments="{}"),)),
            ChatMessage(role="tool", content="result of c1", call_id="c1"),
        ),
        tools=("find",),
        response_format={"type": "json_object"},
        stream=True,
        include_usage=True,
    )


def test_tool_results_are_those_since_the_user_spoke() -> None:
    """A result of an earlier turn does not count as one of this turn."""
    earlier: list[JsonValue] = [USER, asks("c1"), answers("c1"), {"role": "assistant", "content": "There."}, USER]
    assert parse_request({"model": "m", "messages": earlier}).tool_results == {}
    now = parse_request({"model": "m", "messages": [*earlier, asks("c2", "c3"), answers("c3"), answers("c2")]})
    assert now.tool_results == {"c3": "result of c3", "c2": "result of c2"}


def test_before_the_user_spoke_there_is_no_user_text() -> None:
    """A request with a system message alone has an empty `last_user_text`, and no results."""
    request = parse_request({"model": "m", "messages": [{"role": "system", "content": "Be brief."}]})
    assert (request.last_user_text, request.tool_results) == ("", {})


REFUSED: dict[str, tuple[JsonValue, str | None]] = {
    "no object": ([], None),
    "no model": ({"messages": [USER]}, "model"),
    "empty model": ({"model": "", "messages": [USER]}, "model"),
    "no messages": ({"model": "m"}, "messages"),
    "messages no list": ({"model": "m", "messages": "hi"}, "messages"),
    "no message": ({"model": "m", "messages": []}, "messages"),
    "message no object": ({"model": "m", "messages": ["hi"]}, "messages.0"),
    "unknown role": ({"model": "m", "messages": [{"role": "bot", "content": "hi"}]}, "messages.0.role"),
    "no role": ({"model": "m", "messages": [{"content": "hi"}]}, "messages.0.role"),
    "no content": ({"model": "m", "messages": [{"role": "user"}]}, "messages.0.content"),
    "tool without name": ({"model": "m", "messages": [USER], "tools": [{"type": "function", "function": {}}]},
                          "tools.0.function.name"),
    "tool with empty name": ({"model": "m", "messages": [USER], "tools": [{"type": "function", "function":
                             {"name": ""}}]}, "tools.0.function.name"),
    "stream no boolean": ({"model": "m", "messages": [USER], "stream": "yes"}, "stream"),
    "result of nothing": ({"model": "m", "messages": [USER, answers("c1")]}, "messages.1"),
    "result of another call": ({"model": "m", "messages": [USER, asks("c1"), answers("c2")]}, "messages.2"),
    "result twice": ({"model": "m", "messages": [USER, asks("c1"), answers("c1"), answers("c1")]}, "messages.3"),
    "result after other words": ({"model": "m", "messages": [USER, asks("c1"), USER, answers("c1")]}, "messages.2"),
    "call unanswered": ({"model": "m", "messages": [USER, asks("c1")]}, "messages"),
    "one of two unanswered": ({"model": "m", "messages": [USER, asks("c1", "c2"), answers("c2"), USER]}, "messages.3"),
    "two calls of one id": ({"model": "m", "messages": [USER, asks("c1", "c1"), answers("c1")]},
                            "messages.1.tool_calls"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_a_service_refuses_is_refused(body: JsonValue, param: str | None) -> None:
    """The error names the field at fault, in `param` and in its text."""
    with pytest.raises(InvalidRequest) as raised:
        parse_request(body)
    assert raised.value.param == param
    assert str(raised.value).startswith(f"{param or 'the body'}: ")


def test_calls_with_all_their_results_are_accepted_in_any_order() -> None:
    """Several calls of one message may be answered in any order, directly after it."""
    request = parse_request({"model": "m", "messages": [USER, asks("c1", "c2"), answers("c2"), answers("c1"), USER]})
    assert [message.role for message in request.messages] == ["user", "assistant", "tool", "tool", "user"]
