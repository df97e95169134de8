"""How much of a long conversation a request holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.errors import ConfigurationError
from voicepipe.history import AssistantMessage, Message, ToolCall, UserMessage
from voicepipe.model.window import Window, estimated_tokens, surplus
from voicepipe.vendors.openai.conversation_json import messages_json


def conversation(shape: str) -> list[Message]:
    """A conversation by letters: u the caller, a the agent, 0 a reply that nobody heard, 2 a reply with two calls."""
    made: list[Message] = []
    for at, letter in enumerate(shape):
        calls = [
            ToolCall(call_id=f"{at}.{number}", name="look", arguments="{}", status="done", result="It is there.")
            for number in range(int(letter) if letter.isdigit() else 0)
        ]
        if letter == "u":
            made.append(UserMessage(f"Question {at}"))
        else:
            heard = f"Answer {at}" if letter == "a" else ""
            made.append(AssistantMessage(generated="Well", heard=heard, is_settled=True, calls=calls))
    return made


SHAPES = st.text("ua02", min_size=1, max_size=60).map(lambda shape: shape + "u")


@pytest.mark.parametrize(
    ("limit", "shape", "since", "sent"),
    [
        pytest.param(8, "uaua", 0, "uaua", id="all fits"),
        pytest.param(8, "auauauau", 0, "auauauau", id="all fits, a greeting first"),
        pytest.param(8, "uauauauau", 0, "uauau", id="too many: three quarters are left, from the caller on"),
        pytest.param(8, "uauauauau", 2, "uauauau", id="since then all fits: it begins there again"),
        pytest.param(8, "uauauauauau", 2, "uauau", id="since then too many"),
        pytest.param(8, "u2u2u2u", 0, "u2u", id="calls and results count, and stay together"),
        pytest.param(8, "u0u0u0u0u", 0, "u0u0u0u0u", id="what nobody heard is not sent, so it does not count"),
        pytest.param(2, "uau222", 0, "u222", id="the newest words and what follows them are kept, whatever it is"),
        pytest.param(1, "uau", 0, "u", id="the smallest window"),
        pytest.param(1, "aaaa", 0, "aaaa", id="a caller who said nothing yet"),
    ],
)
def test_what_is_sent(limit: int, shape: str, since: int, sent: str) -> None:
    """A window of messages is counted from the end, and begins with words of the caller."""
    assert shape[Window(messages=limit).start(conversation(shape), since) :] == sent


@pytest.mark.parametrize(
    ("limit", "sent"),
    [(48, "u2uau"), (47, "uau"), (27, "uau"), (26, "u"), (1, "u")],
)
def test_tokens_can_be_the_limit(limit: int, sent: str) -> None:
    """A window of tokens sends no more than its limit, except for the caller's newest words."""
    shape = "u2uau"
    assert [estimated_tokens(message) for message in conversation(shape)] == [7, 21, 7, 6, 7]  # 48 together
    assert shape[Window(messages=None, tokens=limit).start(conversation(shape)) :] == sent


def test_both_limits_hold() -> None:
    """The limit that is reached first counts."""
    shape = "uauauauau"
    assert shape[Window(messages=8, tokens=1000).start(conversation(shape)) :] == "uauau"
    assert shape[Window(messages=1000, tokens=8).start(conversation(shape)) :] == "u"


@pytest.mark.parametrize(("text", "tokens"), [("", 4), ("word", 5), ("words", 6), ("\u4f60\u597d\u5417\u5462", 7)])
def test_tokens_are_estimated_by_bytes(text: str, tokens: int) -> None:
    """A token is four bytes of text, and a message costs four tokens in addition to its text."""
    assert estimated_tokens(UserMessage(text)) == tokens


@given(SHAPES, st.integers(1, 20), st.none() | st.integers(1, 200))
def test_a_window_holds(shape: str, messages: int, tokens: int | None) -> None:
    """A request is within its limits or holds only the newest turn; if it was cut, it begins with the caller."""
    whole = conversation(shape)
    start = Window(messages=messages, tokens=tokens).start(whole)
    sent = whole[start:]

    assert any(message is whole[shape.rindex("u")] for message in sent)
    assert start == 0 or isinstance(sent[0], UserMessage)
    if start < shape.rindex("u"):
        assert len(messages_json("", sent)) <= messages
        assert tokens is None or sum(map(estimated_tokens, sent)) <= tokens


@given(SHAPES, st.integers(1, 20))
def test_it_moves_only_when_it_must(shape: str, limit: int) -> None:
    """Each request begins where the previous one did, until the limit is reached; the beginning never moves back."""
    whole, window, since = conversation(shape), Window(messages=limit), 0
    for end in [at + 1 for at, letter in enumerate(shape) if letter == "u"]:
        start = window.start(whole[:end], since)
        assert start >= since
        if start > since:
            counted = sum(1 if letter in "ua" else int(letter) + (letter != "0") for letter in shape[since:end])
            assert counted > limit
        since = start


@pytest.mark.parametrize(
    ("limit", "shape", "settled", "left"),
    [
        pytest.param(8, "uauaua", 0, "uauaua", id="three quarters are not exceeded"),
        pytest.param(8, "uauauaua", 0, "uaua", id="half is left, from the caller on"),
        pytest.param(8, "u2u2ua", 0, "ua", id="calls and results count, and go together"),
        pytest.param(8, "uau*uauaua", 0, "u*uauaua", id="a call that still runs stays, with the words before it"),
        pytest.param(8, "u*uauauaua", 0, "u*uauauaua", id="nothing is summarised before it"),
        pytest.param(8, "?auauauau", 9, "uau", id="a greeting from before the session cannot change"),
        pytest.param(8, "?auauauau", 0, "?auauauau", id="a greeting that is still being said can"),
        pytest.param(2, "uau222", 0, "u222", id="the newest words and what follows them are never summarised"),
        pytest.param(1, "aaaa", 0, "aaaa", id="a caller who said nothing yet"),
    ],
)
def test_what_is_summarised(limit: int, shape: str, settled: int, left: str) -> None:
    """All but the newest half, once three quarters are exceeded, as far as it can no longer change."""
    whole = conversation(shape.replace("*", "2").replace("?", "a"))
    for at, letter in enumerate(shape):
        message = whole[at]
        if isinstance(message, AssistantMessage):
            message.is_settled = letter != "?"
            for call in message.calls[:1] if letter == "*" else ():
                call.status = "pending"
    assert shape[surplus(Window(messages=limit), whole, settled) :] == left


@given(SHAPES, st.integers(1, 20), st.none() | st.integers(1, 200))
def test_a_summary_leaves_whole_turns(shape: str, messages: int, tokens: int | None) -> None:
    """What is left begins with the caller, holds their newest words, and has room for more."""
    whole, window = conversation(shape), Window(messages=messages, tokens=tokens)
    count = surplus(window, whole)
    assert count == 0 or isinstance(whole[count], UserMessage)
    assert count <= shape.rindex("u")
    assert surplus(window, whole[count:]) == 0 or count == 0
    assert count >= window.start(whole) or count == shape.rindex("u")


def test_it_drops_in_blocks() -> None:
    """In a long call the beginning of the requests changes only once in many turns."""
    whole, window, since, moved = conversation("ua" * 500), Window(), 0, 0
    for end in range(1, 1000, 2):
        start = window.start(whole[:end], since)
        moved += start != since
        since = start
    assert moved == 35  # 13 turns apart, once the window is full


def test_it_looks_only_at_what_it_may_send() -> None:
    """The cost does not grow with the call: messages before the window are not read."""

    class Watched(list[Message]):
        looked = 0

        def __getitem__(self, index: Any) -> Any:
            self.looked += 1
            return super().__getitem__(index)

    watched = Watched(conversation("ua" * 2000 + "u"))
    Window(messages=100).start(watched)
    assert watched.looked == 101


@pytest.mark.parametrize(
    "limits",
    [{"messages": 0}, {"messages": 1.5}, {"messages": True}, {"tokens": -1}, {"tokens": "9"}, {"messages": None}],
    ids=str,
)
def test_what_is_no_limit_is_refused(limits: dict[str, Any]) -> None:
    """A limit is a whole number above 0, and a window has at least one limit."""
    with pytest.raises(ConfigurationError, match="Window"):
        Window(**limits)
