"""The conversation as the model may know it."""

from __future__ import annotations

import json
from typing import Any, get_args

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.errors import ConfigurationError
from voicepipe.history import (
    PENDING_RESULT,
    AssistantMessage,
    CallStatus,
    History,
    Message,
    ServiceState,
    ToolCall,
    UserMessage,
)
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.vendors.openai.conversation_json import messages_json

pytestmark = pytest.mark.anyio

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
        {"version": 1, "role": "user", "text": "Book it"},
        {
            "version": 1,
            "role": "assistant",
            "generated": "One moment.",
            "synthesised": "One moment.",
            "heard": "One",
            "calls": [
                {"call_id": "call_1", "name": "book", "arguments": "{}", "status": "done", "result": "booked"},
            ],
            "is_settled": True,
            "was_interrupted": True,
        },
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text() | st.just("state"), inner, max_size=2),
    max_leaves=5,
)
states = st.none() | st.builds(
    ServiceState, service=st.text(), fields=st.dictionaries(st.text(), json_values, max_size=2)
)
calls_made = st.builds(
    ToolCall,
    call_id=st.uuids().map(str),
    name=st.text(),
    arguments=st.text(),
    status=st.sampled_from(get_args(CallStatus)),
    result=st.text(),
    state=states,
)
messages_made = st.one_of(
    st.builds(UserMessage, st.text()),
    st.builds(
        AssistantMessage,
        st.text(),
        synthesised=st.text(),
        heard=st.text(),
        calls=st.lists(calls_made, max_size=3),
        is_settled=st.booleans(),
        was_interrupted=st.booleans(),
        state=states,
    ),
)


@given(st.lists(messages_made, max_size=6))
def test_it_survives_a_round_trip(messages: list[Message]) -> None:
    """What `from_json` reads is what `to_json` wrote, through a file too: a model is sent the same messages."""
    history = History(messages)
    back = History.from_json(json.loads(json.dumps(history.to_json())))
    assert list(back) == list(history)
    assert messages_json("", list(back)) == messages_json("", list(history))
    assert History.from_json(back.to_json()).to_json() == history.to_json()


async def test_a_conversation_goes_on_in_another_session() -> None:
    """A session that begins with what an interrupted one wrote down sends the model what the caller heard, no more."""
    model = ScriptedModel([Says("It is 22 degrees in Lyon."), Says("In Lyon.")])
    agent = vp.Pipeline(model, vp.SentenceChunker(), ScriptedVoice(character_s=0.1), output=RecordingOutput())
    async with agent.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Weather?")
        await anyio.sleep(0.85)
        session.interrupt()
    written = json.dumps(session.history.to_json())
    async with agent.session(history=History.from_json(json.loads(written))) as session:
        await session.user_says("Where?")

    assert [message.content for message in model.requests[-1].messages] == ["Weather?", "It is 22 —", "Where?"]


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("Hi", "message 1 must be a dict from to_json, not str"),
        ({"role": "user", "text": "secret"}, "message 1 has the version None, and this voicepipe reads 1"),
        ({"version": 2, "role": "user", "text": "secret"}, "message 1 has the version 2"),
        ({"version": 1, "role": "tool", "text": "secret"}, "the role of message 1 must be"),
        ({"version": 1, "role": "user", "text": ["secret"]}, "text of message 1: Input should be a valid string"),
        ({"version": 1, "role": "user", "words": "secret"}, "of message 1: "),
        ({"version": 1, "role": "assistant", "is_settled": "secret"}, "is_settled of message 1: "),
        ({"version": 1, "role": "assistant", "calls": [{"call_id": "a"}]}, "calls.0.name of message 1: "),
        ({"version": 1, "role": "user", "text": b"secret"}, "message 1 holds something that is not JSON"),
    ],
)
def test_other_data_is_refused(entry: Any, named: str) -> None:
    """Data that `to_json` did not write is refused: the error says where, and quotes nobody."""
    with pytest.raises(ConfigurationError) as found:
        History.from_json([{"version": 1, "role": "user", "text": "Hi"}, entry])
    assert named in str(found.value)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("message", [AssistantMessage("Hello!"), AssistantMessage(heard="Hello!")])
def test_a_message_is_made_of_one_text(message: AssistantMessage) -> None:
    """A message that an application makes of its text, or of what was heard, is sent to the model."""
    assert message.text == "Hello!"
    assert messages_json("", [message]) == [{"role": "assistant", "content": "Hello!"}]


def test_it_shows_its_length_and_no_words() -> None:
    """The repr holds no words of the conversation."""
    assert repr(History([UserMessage("secret")])) == "<History 1 messages>"
