"""The conversation as the model may know it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voicepipe.errors import ConfigurationError
from voicepipe.history import PENDING_RESULT, AssistantMessage, CallStatus, History, ToolCall, UserMessage

BYTES: Any = b"ok"


def call(status: CallStatus = "pending", result: str = PENDING_RESULT) -> ToolCall:
    return ToolCall(call_id="call_1", name="book", arguments="{}", status=status, result=result)


def test_a_living_message_shows_what_was_generated() -> None:
    """Until its turn has ended, the model sees the text that it wrote."""
    assert AssistantMessage(generated="It is 22 degrees.", heard="It is").text == "It is 22 degrees."


def test_a_settled_message_shows_what_was_heard() -> None:
    """Once its turn has ended, the model sees only what the caller heard."""
    assert AssistantMessage(generated="It is 22 degrees.", heard="It is", is_settled=True).text == "It is"


def test_a_call_is_never_without_a_result() -> None:
    """A call that is still running has a result that says so."""
    assert (call().status, call().result) == ("pending", "still running")


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("done", "failed", ("done", "first")),
        ("done", "done", ("done", "first")),
        ("failed", "done", ("failed", "first")),
        ("unknown", "done", ("done", "second")),
        ("unknown", "failed", ("failed", "second")),
    ],
)
def test_a_call_has_exactly_one_result(first: CallStatus, second: CallStatus, kept: tuple[str, str]) -> None:
    """The first result stands; only an unknown outcome is replaced by the true one."""
    made = call()
    made.settle(first, "first")
    made.settle(second, "second")
    assert (made.status, made.result) == kept


def test_what_was_said_before_is_heard_whole() -> None:
    """`said` makes a message of an earlier call, settled and not interrupted."""
    message = AssistantMessage.said("Hello!")
    assert (message.text, message.heard, message.is_settled, message.was_interrupted) == (
        "Hello!",
        "Hello!",
        True,
        False,
    )


@pytest.mark.parametrize(
    ("calls", "named"),
    [
        pytest.param([call(), call()], "two tool calls have the id 'call_1'", id="doubled"),
        pytest.param([ToolCall(call_id="", name="book", arguments="{}")], "a call of 'book' has no id", id="no id"),
        pytest.param([call("done", BYTES)], "result of the tool call 'call_1' must be text, not bytes", id="no text"),
        pytest.param([{"id": "a"}], "ToolCall objects, not dict", id="no call"),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_it_begins_with_one_result_for_each_call(calls: list[ToolCall], named: str, apart: bool) -> None:
    """Calls that a service would refuse are refused here, in one message or in several, by name."""
    messages = [AssistantMessage(calls=[one]) for one in calls] if apart else [AssistantMessage(calls=calls)]
    with pytest.raises(ConfigurationError, match=named):
        History([UserMessage("Hi"), *messages])


def test_it_reads_like_a_sequence() -> None:
    """Messages are counted, indexed from both ends and iterated, oldest first."""
    first, last = UserMessage("Hi"), AssistantMessage.said("Hello!")
    history = History([first, last])
    assert (len(history), history[0], history[-1], list(history)) == (2, first, last, [first, last])


def test_a_snapshot_does_not_grow() -> None:
    """A snapshot does not hold later messages."""
    history = History([UserMessage("Hi")])
    before = history.snapshot()
    history.append(AssistantMessage.said("Hello!"))
    assert before == (UserMessage("Hi"),)


def test_iterating_bears_a_new_message() -> None:
    """A message that is added during an iteration neither breaks it nor appears in it."""
    history = History([UserMessage("Hi")])
    for _ in history:
        history.append(UserMessage("And"))
    assert len(history) == 2


def test_it_leaves_the_applications_list_alone() -> None:
    """A session that begins with earlier messages does not add to the list it was given."""
    before = [UserMessage("Hi")]
    History(before).append(UserMessage("And"))
    assert before == [UserMessage("Hi")]


def test_it_becomes_plain_data() -> None:
    """`to_json` holds everything that was said, called and heard, and can be written as JSON."""
    message = AssistantMessage(
        generated="One moment.", synthesised="One moment.", heard="One", calls=[call("done", "booked")],
        is_settled=True, was_interrupted=True,
    )  # fmt: skip
    data = History([UserMessage("Book it"), message]).to_json()
    assert json.loads(json.dumps(data)) == [
        {"role": "user", "text": "Book it"},
        {
            "role": "assistant",
            "generated": "One moment.",
            "synthesised": "One moment.",
            "heard": "One",
            "was_interrupted": True,
            "calls": [
                {"call_id": "call_1", "name": "book", "arguments": "{}", "status": "done", "result": "booked"},
            ],
        },
    ]


def test_it_shows_its_length_and_no_words() -> None:
    """The repr holds no words of the conversation."""
    assert repr(History([UserMessage("secret")])) == "<History 1 messages>"
