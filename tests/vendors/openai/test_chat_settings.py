"""What the model is asked, over HTTP: a stage's own settings, a request's, and those that `adjust` sets."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest

import voicepipe as vp
from tests.helpers.questions import agent, ask, calling, redirect_all
from voicepipe.errors import ConfigurationError
from voicepipe.model.model import Request
from voicepipe.model.window import Window
from voicepipe.testing import Calls, Says, ScriptedGateway
from voicepipe.vendors.openai.conversation_json import Conversation

pytestmark = pytest.mark.anyio

WELL = "Very well."
JSON = {"type": "json_object"}


async def test_settings_arrive_in_the_body() -> None:
    """Model, limits and further fields are sent as they were given."""
    gateway = ScriptedGateway([Says(WELL)])
    async with gateway.serve() as base_url:
        await ask(base_url, max_tokens=7, temperature=0.5, extra_body={"reasoning_effort": "low"})

    assert gateway.requests[-1].body == {
        "model": "m",
        "stream": True,
        "max_tokens": 7,
        "temperature": 0.5,
        "reasoning_effort": "low",
        "messages": [{"role": "user", "content": "How are you?"}],
    }


async def test_a_system_prompt_can_follow_the_session() -> None:
    """A function as system prompt is called for each request, with the session."""
    gateway = ScriptedGateway([Says(WELL), Says(WELL)])

    def system(session: vp.Session) -> str:
        return f"The caller is {session.deps}; {len(session.history)} messages."

    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(system, base_url=base_url, model="m")
        async with agent(stage).session(deps="Ada") as session:
            await session.user_says("Hello")
            await session.user_says("Still there?")

    chats = [request.chat for request in gateway.requests if request.chat]
    prompts = [chat.messages[0].content for chat in chats]
    assert prompts == ["The caller is Ada; 2 messages.", "The caller is Ada; 4 messages."]


def greet(session: vp.Session) -> str:
    """A prompt function with a bug."""
    raise KeyError(session.deps)


def refine(request: Request, turn: vp.Turn) -> Request:
    """An `adjust` with a bug."""
    raise KeyError(turn.user_text)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        pytest.param({"system": greet}, "the prompt function greet", id="system"),
        pytest.param({"adjust": refine}, "refine, the adjust function of LLMStreamStage", id="adjust"),
        pytest.param({"system": partial(greet)}, "the prompt function partial", id="no name"),
    ],
)
async def test_an_error_of_an_applications_function_names_it(
    options: dict[str, Any], part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a prompt function or `adjust` raises fails the turn under its name; the log has its traceback, no words."""
    stage = vp.LLMStreamStage(base_url="http://127.0.0.1:9/v1", model="m", **options)
    async with agent(stage).session(deps="Ada") as session:
        turn = await session.user_says("How is Ada?")

    assert isinstance(turn.failure, vp.StageError)
    assert turn.failure.part == part
    assert isinstance(turn.failure.__cause__, KeyError)
    (warning,) = [record.getMessage() for record in caplog.records if "failed" in record.getMessage()]
    assert warning.startswith(f"session {session.id}: turn 1 failed: {part} raised KeyError at test_chat_settings.py:")
    assert "raise KeyError(" in warning.splitlines()[-1]  # the line of the source that raised
    assert "Ada" not in warning


# --- chosen for each request ------------------------------------------------------------------------------------------


@vp.tool(effect="read")
async def look(where: str = "here") -> str:
    """Look somewhere."""
    return f"nothing {where}"


def chats(gateway: ScriptedGateway) -> list[dict[str, Any]]:
    """The bodies of the chat requests."""
    return [cast("dict[str, Any]", request.body) for request in gateway.requests if request.method == "POST"]


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        pytest.param({"model": "big"}, {"model": "big"}, id="model"),
        pytest.param({"max_tokens": 7}, {"max_tokens": 7}, id="max_tokens"),
        pytest.param({"max_tokens": None}, {"max_tokens": None}, id="no max_tokens"),
        pytest.param({"temperature": 0}, {"temperature": 0}, id="temperature"),
        pytest.param({"extra_body": {"seed": 1}}, {"seed": 1, "user": None}, id="extra_body"),
        pytest.param({"extra_body": {}}, {"user": None}, id="no extra_body"),
        pytest.param({"response_format": JSON}, {"response_format": JSON}, id="response_format"),
        pytest.param({"tools": ()}, {"tools": None}, id="no tools"),
        pytest.param(
            {"must_call": "look"}, {"tool_choice": {"type": "function", "function": {"name": "look"}}}, id="must_call"
        ),
        pytest.param(
            {"system": "Be loud."},
            {"messages": [{"role": "system", "content": "Be loud."}, {"role": "user", "content": "How are you?"}]},
            id="system",
        ),
        pytest.param({"system": None}, {"messages": [{"role": "user", "content": "How are you?"}]}, id="no system"),
        pytest.param(
            {"messages": (vp.UserMessage("Hi"),), "system": ""},
            {"messages": [{"role": "user", "content": "Hi"}]},
            id="messages",
        ),
    ],
)
async def test_adjust_decides_what_is_sent(wanted: dict[str, Any], sent: dict[str, Any]) -> None:
    """Each field of the request that `adjust` returns is sent; in this table None marks a field that is not."""
    gateway, plain = ScriptedGateway([Says(WELL)]), ScriptedGateway([Says(WELL)])
    options: dict[str, Any] = {"system": "Be brief.", "temperature": 0.5, "extra_body": {"user": "ada"}}
    for each, adjust in ((plain, None), (gateway, lambda request, _turn: replace(request, **wanted))):
        async with (
            each.serve() as base_url,
            calling(base_url, router=vp.ToolRouter([look]), adjust=adjust, **options) as session,
        ):
            assert (await session.user_says("How are you?")).failure is None

    expected = {name: value for name, value in (chats(plain)[0] | sent).items() if value is not None}
    assert chats(gateway) == [expected]


async def test_adjust_sees_what_would_be_sent() -> None:
    """`adjust` is called before each request, with the stage's settings filled in, and with the turn."""
    seen: list[tuple[object, ...]] = []

    def adjust(request: vp.Request, turn: vp.Turn) -> vp.Request:
        seen.append(
            (turn.user_text, request.step, request.model, request.system, request.max_tokens, request.extra_body)
        )
        return replace(request, model="big") if request.step else request

    gateway = ScriptedGateway([Calls("look", {"where": "there"}), Says(WELL)])
    options: dict[str, Any] = {"system": lambda session: f"{len(session.history)} messages", "extra_body": {"seed": 1}}
    async with (
        gateway.serve() as base_url,
        calling(base_url, router=vp.ToolRouter([look]), adjust=adjust, **options) as session,
    ):
        await session.user_says("How are you?")

    assert seen == [
        ("How are you?", 0, "m", "2 messages", 300, {"seed": 1}),
        ("How are you?", 1, "m", "3 messages", 300, {"seed": 1}),
    ]
    assert [body["model"] for body in chats(gateway)] == ["m", "big"]


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"model": ""}, "model must name a model"),
        ({"model": 5}, "model must name a model"),
        ({"system": 5}, "system must be text, not int"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, not 0"),
        ({"max_tokens": True}, "max_tokens must be at least 1, not True"),
        ({"temperature": 2.5}, "temperature must be 0 to 2"),
        ({"temperature": "hot"}, "temperature must be 0 to 2"),
        ({"extra_body": {"stream": False}}, "extra_body may not set stream"),
        ({"extra_body": {"seed": b"bytes"}}, "extra_body must hold JSON values only"),
        ({"extra_body": {"seed": float("nan")}}, "extra_body must hold JSON values only"),
        ({"extra_body": [1]}, "extra_body must be a dict of fields, not list"),
        ({"must_call": "jump"}, "must_call names 'jump', which is not among the tools: look"),
        (None, "adjust must return a Request, not NoneType"),
    ],
    ids=str,
)
async def test_what_adjust_returns_is_checked(wanted: dict[str, Any] | None, named: str) -> None:
    """An invalid request fails its turn with an error that names the field, and nothing is sent."""
    gateway = ScriptedGateway([Says(WELL)])

    def adjust(request: vp.Request, turn: vp.Turn) -> Any:
        return request if turn.turn_id > 1 else wanted and replace(request, **wanted)

    async with gateway.serve() as base_url, calling(base_url, router=vp.ToolRouter([look]), adjust=adjust) as session:
        failed = await session.user_says("How are you?")
        assert chats(gateway) == []
        following = await session.user_says("And now?")

    assert isinstance(failed.failure, ConfigurationError)
    assert named in str(failed.failure)
    assert following.failure is None


async def test_an_exception_in_adjust_fails_its_turn() -> None:
    """An exception in `adjust` fails its turn as a `StageError`; the next turn is answered."""
    gateway = ScriptedGateway([Says(WELL)])

    def adjust(request: vp.Request, turn: vp.Turn) -> vp.Request:
        if turn.turn_id == 1:
            raise ZeroDivisionError("by accident")
        return request

    async with gateway.serve() as base_url, calling(base_url, adjust=adjust) as session:
        failed = await session.user_says("How are you?")
        following = await session.user_says("And now?")

    assert isinstance(failed.failure, vp.StageError)
    assert "LLMStreamStage raised ZeroDivisionError: by accident" in str(failed.failure)
    assert following.failure is None


async def test_schemas_are_written_as_the_service_wants_them() -> None:
    """A strict service gets strict tools, and its own check passes them."""
    gateway = ScriptedGateway([Says(WELL)])
    async with (
        gateway.serve() as base_url,
        calling(base_url, router=vp.ToolRouter([look]), schemas="strict") as session,
    ):
        assert (await session.user_says("How are you?")).failure is None

    (body,) = chats(gateway)
    assert body["tools"][0]["function"]["strict"] is True
    assert body["tools"][0]["function"]["parameters"]["required"] == ["where"]


def sent_arguments(body: dict[str, Any]) -> list[str]:
    """The arguments of the calls in a request."""
    calls = [call for message in body["messages"] for call in message.get("tool_calls", ())]
    return [call["function"]["arguments"] for call in calls]


async def test_a_claude_behind_the_gateway_never_reads_empty_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call without arguments is sent back to it with a filler; a call that it makes with the filler runs."""
    gateway = ScriptedGateway([Calls("look", {}), Calls("look", {"_": ""}), Says(WELL)])
    async with gateway.serve() as base_url:
        redirect_all(monkeypatch, base_url)
        stage = vp.LLMStreamStage(model="claude-sonnet-5", api_key="key")
        async with agent(stage, router=vp.ToolRouter([look])).session() as session:
            assert (await session.user_says("How are you?")).failure is None

    assert sent_arguments(chats(gateway)[-1]) == ['{"_":""}'] * 2
    calls = [call for message in session.history if isinstance(message, vp.AssistantMessage) for call in message.calls]
    assert [(call.status, call.result) for call in calls] == [("done", "nothing here")] * 2


async def test_each_model_reads_empty_arguments_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one conversation the model that needs a filler gets one, before and after another model that needs none."""
    models = ["gpt-5.2", "claude-sonnet-5", "not-claude", "claude-sonnet-5"]
    gateway = ScriptedGateway([Calls("look", {}), *[Says(WELL)] * 4])
    async with gateway.serve() as base_url:
        redirect_all(monkeypatch, base_url)
        asked = iter(["gpt-5.2", *models])
        stage = vp.LLMStreamStage(api_key="key", adjust=lambda request, _turn: replace(request, model=next(asked)))
        async with agent(stage, router=vp.ToolRouter([look])).session() as session:
            for _ in models:
                assert (await session.user_says("How are you?")).failure is None

    assert [sent_arguments(body) for body in chats(gateway)[1:]] == [["{}"], ['{"_":""}'], ["{}"], ['{"_":""}']]


async def test_the_gateways_routes_are_known_by_the_model() -> None:
    """The gateway may have another host name, so the model decides whether a filler is sent."""
    gateway = ScriptedGateway([Calls("look", {}), Says(WELL)])
    async with (
        gateway.serve() as base_url,
        agent(
            vp.LLMStreamStage(base_url=base_url, model="claude-sonnet-5"), router=vp.ToolRouter([look])
        ).session() as session,
    ):
        assert (await session.user_says("How are you?")).failure is None
    assert sent_arguments(chats(gateway)[-1]) == ['{"_":""}']


async def test_an_error_names_the_stage_that_was_written() -> None:
    """An error names the subclass of the application, wherever the setting is checked."""

    class OurModel(vp.LLMStreamStage):
        pass

    for options in ({"max_tokens": 0}, {"schemas": "loose"}, {"base_url": "https://api.example.com/v1", "model": ""}):
        with pytest.raises(ConfigurationError, match=r"^OurModel: "):
            OurModel(**{"model": "m", "api_key": "key", **options})  # type: ignore[arg-type]


def test_the_format_that_a_request_wants_goes_before_the_stages_own() -> None:
    """A body has one format: that of the request, not the one among the further fields."""
    asked = vp.Request(messages=(), model="m", extra_body={"response_format": JSON, "seed": 1})
    body = {"model": "m", "stream": True, "seed": 1, "messages": []}
    assert json.loads(Conversation().body(asked, stream=True)) == body | {"response_format": JSON}
    asked = replace(asked, response_format={"type": "json_schema"})
    assert json.loads(Conversation().body(asked, stream=True)) == body


# --- what is sent of a long call --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "most"), [(Window(messages=8), 7), (Window(), 99), (None, 241)], ids=str)
async def test_a_request_holds_a_window_of_the_call(window: Window | None, most: int) -> None:
    """A request of a long call holds its newest messages, from the caller on; without a window it holds all."""
    gateway = ScriptedGateway(lambda _: Says(WELL))
    before = [
        message for number in range(60) for message in (vp.UserMessage(f"{number}"), vp.AssistantMessage.said("Yes."))
    ]
    async with gateway.serve() as base_url, calling(base_url, window=window, history=before) as session:
        for number in range(61):
            await session.user_says(f"Question {number}")

    sizes = [len(body["messages"]) for body in chats(gateway)]
    assert max(sizes) == most
    assert all(body["messages"][0]["role"] == "user" for body in chats(gateway))
    assert chats(gateway)[-1]["messages"][-1] == {"role": "user", "content": "Question 60"}
    assert len(session.history) == 242


async def test_a_history_that_no_service_takes_is_never_sent() -> None:
    """Calls with the same id, put into the history while the call goes on, fail the turn by name before a request."""
    gateway = ScriptedGateway([])
    calls = [vp.ToolCall(call_id="call_7", name="look", arguments="{}", status="done", result=r) for r in "ab"]
    async with gateway.serve() as base_url, calling(base_url) as session:
        session.history.append(vp.AssistantMessage(calls=calls, is_settled=True))
        turn = await session.user_says("How are you?")
        with pytest.raises(ConfigurationError, match="two tool calls have the id 'call_7'"):
            async with calling(base_url, history=[vp.AssistantMessage(calls=calls, is_settled=True)]):
                pytest.fail("began with a broken history")

    assert isinstance(turn.failure, ConfigurationError)
    assert "two tool calls have the id 'call_7'" in str(turn.failure)
    assert chats(gateway) == []


# --- refused at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"model": ""},
        {"max_tokens": 0},
        {"temperature": 3.0},
        {"api_key": "a", "api_key_env": "B"},
        {"api_key": " "},
        {"extra_body": {"stream": False}},
        {"base_url": "api.example.com"},
        {"model": 5},
        {"max_tokens": True},
        {"temperature": "hot"},
        {"extra_body": [1]},
        {"extra_body": {"tools": []}},
        {"system": 5},
        {"schemas": "loose"},
        {"window": 100},
        {"adjust": 5},
    ],
    ids=str,
)
async def test_an_invalid_setting_is_refused(options: Any) -> None:
    """A setting that cannot work is refused when the stage is made."""
    with pytest.raises(ConfigurationError):
        vp.LLMStreamStage(**({"base_url": "https://api.example.com/v1", "model": "m"} | options))


async def test_unknown_options_are_refused() -> None:
    """A misspelt option raises."""
    options: dict[str, Any] = {"max_token": 3}
    with pytest.raises(TypeError, match="max_token"):
        vp.LLMStreamStage(base_url="https://api.example.com/v1", model="m", **options)


@pytest.mark.parametrize("limits", [{"gap_s": 0}, {"first_token_s": -1}, {"first_token_s": 9.0}], ids=str)
async def test_impossible_deadlines_are_refused(limits: dict[str, float]) -> None:
    """Deadlines are positive, and a sentence cannot be due before its first token."""
    with pytest.raises(ConfigurationError):
        vp.Deadlines(**limits)
