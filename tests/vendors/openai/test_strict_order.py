"""Messages in strict order: what three orders of the field demand, on random conversations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from tests.helpers.questions import ask, ask_raw, calling, redirect_all
from tests.helpers.raw_server import END, HEAD, RawServer, answer, text
from voicepipe.errors import ConfigurationError
from voicepipe.history import AssistantMessage, Message, ToolCall, UserMessage
from voicepipe.testing import Calls, Says, ScriptedGateway
from voicepipe.testing.simulators._service_demands import MessageOrder, refusal_of_order
from voicepipe.vendors.openai.strict_order import SAID, folds_system, in_strict_order

pytestmark = pytest.mark.anyio

# --- what refuses a conversation --------------------------------------------------------------------------------------


ORDERS: tuple[MessageOrder, ...] = ("mistral", "gemma", "llama")


def refusals(messages: list[dict[str, Any]]) -> list[str]:
    """Say why each order refuses a conversation; "" where it does not."""
    return [refusal_of_order(order, messages) for order in ORDERS]


@pytest.mark.parametrize(
    ("messages", "refused"),
    [
        ([{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Hi."}], (True, True, True)),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], (True, True, False)),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], (True, False, False)),
        ([{"role": "user", "content": "a"}], (False, False, False)),
        ([{"role": "system", "content": "a"}], (True, False, True)),
    ],
)
def test_each_order_refuses_what_it_refuses_in_the_field(
    messages: list[dict[str, Any]], refused: tuple[bool, ...]
) -> None:
    """The three automata are not blind: each refuses its own cases."""
    assert tuple(map(bool, refusals(messages))) == refused


# --- the promise ------------------------------------------------------------------------------------------------------

words = st.sampled_from(["", " ", "One.", "Two words.", "Zwölf — ja", '{"a": "b"}'])
results = st.sampled_from(['{"error": "x"}', "{}", "text", '["a"]', ""])
statuses = st.sampled_from(["pending", "done", "failed", "unknown", "unconfirmed"])
calls = st.builds(
    ToolCall,
    call_id=st.just(""),
    name=st.sampled_from(["look", "tool.with.dots"]),
    arguments=st.sampled_from(["{}", '{"n":1}', "{broken", ""]),
    status=statuses,
    result=results,
)
replies = st.builds(
    AssistantMessage,
    generated=words,
    heard=words,
    calls=st.lists(calls, max_size=3),
    is_settled=st.booleans(),
    was_interrupted=st.booleans(),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    messages: list[Message] = draw(st.lists(st.builds(UserMessage, words) | replies, max_size=8))
    every = [call for message in messages if isinstance(message, AssistantMessage) for call in message.calls]
    for number, call in enumerate(every):
        call.call_id = f"call_{number}" if number % 2 else f"abcdefgh{number % 10}{number // 10 or ''}"
    return messages


@given(conversations(), st.sampled_from(["", "Be brief."]), st.booleans())
def test_every_conversation_is_taken_by_all_three(messages: list[Message], system: str, folds: bool) -> None:
    """Whatever was said and called, interrupted or failed, none of the three orders refuses the request."""
    sent = in_strict_order(system, messages, folds=folds)

    assert refusals(sent) == ["", "", ""]
    assert [message["role"] for message in sent].count("system") == (1 if system and not folds else 0)
    assert json.loads(json.dumps(sent)) == sent


@given(conversations())
def test_nothing_that_was_said_is_left_out(messages: list[Message]) -> None:
    """Each word of both sides and each result is in the request, in its order."""
    sent = in_strict_order("", messages)
    rest = "\n".join(
        json.loads(message["content"]).get(SAID, "")
        if message["content"].startswith(f'{{"{SAID}"')
        else message["content"]
        for message in sent
    )
    for message in messages:
        at = rest.find(message.text.strip())
        assert at >= 0
        rest = rest[at:]
    results = [message for message in sent if message["role"] == "tool"]
    assert len(results) == sum(len(message.calls) for message in messages if isinstance(message, AssistantMessage))


# --- how it reads -----------------------------------------------------------------------------------------------------


def test_a_greeting_follows_a_silent_user() -> None:
    """A greeting makes the first message the assistant's; two of them in a row become one."""
    messages = [AssistantMessage.said("Hello."), AssistantMessage.said("Still there?"), UserMessage("Yes.")]
    assert in_strict_order("Be brief.", messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "(The caller says nothing.)"},
        {"role": "assistant", "content": "Hello.\nStill there?"},
        {"role": "user", "content": "Yes."},
    ]
    first, *_ = in_strict_order("Be brief.", messages, folds=True)
    assert first == {"role": "user", "content": "Be brief.\n\n(The caller says nothing.)"}


def test_words_before_calls_are_in_the_first_result() -> None:
    """Calls come one by one, without words, and the user does not follow a result."""
    looked = [
        ToolCall(call_id="call_1", name="look", arguments='{"at":"a"}', status="done", result="sunny"),
        ToolCall(call_id="abcdefgh9", name="look", arguments="{}", status="done", result='{"n":1}'),
    ]
    calling_message = AssistantMessage("Let me look.", heard="Let me look.", calls=looked, is_settled=True)
    sent = in_strict_order("", [UserMessage("How is it?"), calling_message, UserMessage("And?")])

    assert [message["role"] for message in sent] == ["user", *["assistant", "tool"] * 2, "assistant", "user"]
    assert [message["content"] for message in sent] == [
        "How is it?",
        "",
        '{"you_said_before_this_call": "Let me look.", "untrusted_result":"sunny"}',
        "",
        '{"untrusted_result":{"n":1}}',
        "—",
        "And?",
    ]
    ids = [message["tool_calls"][0]["id"] for message in sent if "tool_calls" in message]
    assert ids[1] == "abcdefgh9"
    assert ids == [message["tool_call_id"] for message in sent if message["role"] == "tool"]


# --- chosen -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "folds"),
    [
        *[(name, True) for name in ("gemma-2-9b-it", "google/gemma-3-27b-it", "gemma2:9b", "gemma:7b", "Gemma-7b")],
        *[(name, False) for name in ("gemma-4-27b", "gemma4", "mistral-large", "llama3.2", "")],
    ],
)
def test_a_system_prompt_is_folded_where_a_template_takes_none(model: str, folds: bool) -> None:
    """Gemma's templates before the fourth know no system prompt, or fold it by themselves."""
    assert folds_system(model) is folds


@vp.tool(effect="read")
async def look() -> str:
    """Look."""
    return "sunny"


async def test_a_whole_session_with_a_strict_order() -> None:
    """After a greeting, a tool and two turns each request of a session is in the order that all three take."""
    gateway = ScriptedGateway([Calls("look", {}), Says("Sunny."), Says("Bye.")])
    async with (
        gateway.serve() as base_url,
        calling(
            base_url,
            router=vp.ToolRouter([look]),
            history=[AssistantMessage.said("Hello.")],
            messages="strict",
            system="Be brief.",
        ) as session,
    ):
        await session.user_says("How is it?")
        await session.user_says("Thanks.")

    bodies: list[Any] = [request.body for request in gateway.requests if request.method == "POST"]
    assert [refusals(body["messages"]) for body in bodies] == [["", "", ""]] * 3
    assert bodies[2]["messages"][-1] == {"role": "user", "content": "Thanks."}


async def test_it_is_chosen_where_the_service_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistral's service gets it unless the application says otherwise; any other service gets the free order."""
    monkeypatch.setenv("MISTRAL_API_KEY", "k")
    server = RawServer([HEAD, text("Very well."), END])
    async with server.serve() as base_url:
        redirect_all(monkeypatch, base_url)
        for url, options in (
            ("https://api.mistral.ai/v1", {}),
            ("https://api.mistral.ai/v1", {"messages": "free"}),
            ("https://llm.example/v1", {}),
        ):
            stage = vp.LLMStreamStage(base_url=url, model="m", **options)
            async with stage.open():
                await stage.complete(vp.Request(messages=(AssistantMessage.said("Hello."), UserMessage("Hi."))))

    roles = [[message["role"] for message in request.body["messages"]] for request in server.requests]
    assert roles == [["user", "assistant", "user"], ["assistant", "user"], ["assistant", "user"]]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("400 Bad Request", "Conversation roles must alternate user/assistant/user/assistant/..."),
        ("400 Bad Request", "Unexpected role 'user' after role 'tool'"),
        ("400 Bad Request", '{"type": "invalid_request_message_order"}'),
        ("400 Bad Request", "System role not supported"),
        ("400 Bad Request", "This model only supports single tool-calls at once!"),
        ("400 Bad Request", "Tool call id was x but must be a-z, A-Z, 0-9, with a length of 9."),
        ("400 Bad Request", "Assistant message must have either content or tool_calls, but not both."),
        ("500 Internal Server Error", "Jinja Exception: conversation roles must alternate"),
    ],
)
async def test_elsewhere_the_error_names_the_option(status: str, words: str) -> None:
    """A refusal of the order ends with the option that changes it, and is not sent again, not even after a 500."""
    asked, server = await ask_raw([answer(status, words.encode())])

    assert str(asked.end.error).endswith('; set messages="strict"')
    assert len(server.requests) == 1


def test_another_order_is_refused() -> None:
    """There are two orders."""
    with pytest.raises(ConfigurationError, match="messages must be 'free' or 'strict', not 'random'"):
        vp.LLMStreamStage(base_url="https://a.com/v1", model="m", messages="random")  # type: ignore[arg-type]


async def test_a_call_without_an_id_is_refused_in_either_order() -> None:
    """The history is checked in the same way whatever the order."""
    broken = AssistantMessage(calls=[ToolCall(call_id="a", name="x", arguments="{}")])
    broken.calls[0].call_id = ""
    gateway = ScriptedGateway([Says("Very well.")])
    async with gateway.serve() as base_url:
        asked = await ask(
            base_url,
            messages="strict",
            adjust=lambda request, _: vp.Request(messages=(broken, *request.messages), model="m", system=""),
        )
    assert "has no id" in str(asked.end.error)
