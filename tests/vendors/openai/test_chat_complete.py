"""A whole answer from the model over HTTP, without a session."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.raw_server import DONE, END, HEAD, Act, RawServer, answer, data, delta, text
from voicepipe.errors import AuthenticationError, ConfigurationError, IncompleteReply, RateLimited, VendorError
from voicepipe.model.model import Completion
from voicepipe.testing import Breaks, Calls, Refuses, Says, ScriptedGateway, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio

QUESTION = vp.Request(messages=(vp.UserMessage("What is it?"),))
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "ticket", "parameters": {"type": "object"}}}
CALL = {"id": "a", "function": {"name": "ticket", "arguments": '{"n":1}'}}


def whole(finish_reason: str | None = "stop", **message: Any) -> list[Act]:
    """A completion that is not streamed."""
    choice = {"message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return [answer("200 OK", json.dumps({"choices": [choice]}).encode())]


@asynccontextmanager
async def opened(base_url: str, system: Any = "", **options: Any) -> AsyncGenerator[vp.LLMStreamStage]:
    model = vp.LLMStreamStage(system, base_url=base_url, model="m", **options)
    async with model.open():
        yield model


async def complete(*replies: Sequence[Act], request: vp.Request = QUESTION) -> tuple[Completion, RawServer]:
    server = RawServer(*replies)
    async with server.serve() as base_url, opened(base_url) as model:
        return await model.complete(request), server


async def failing(*replies: Sequence[Act]) -> tuple[VendorError, RawServer, float]:
    """Send a request that must fail; return the error, the server, and how long it took."""
    server = RawServer(*replies)
    async with server.serve() as base_url, opened(base_url) as model:
        asked_s = anyio.current_time()
        with pytest.raises(VendorError) as raised:
            await model.complete(QUESTION)
        return raised.value, server, round(anyio.current_time() - asked_s, 3)


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        pytest.param(whole(content="Well."), Completion(text="Well.", finish_reason="stop"), id="words"),
        pytest.param(whole(content=None, refusal="No."), Completion(text="No.", finish_reason="stop"), id="refusal"),
        pytest.param(
            whole("tool_calls", content=None, tool_calls=[CALL, {**CALL, "id": "b"}]),
            Completion(arguments='{"n":1}', finish_reason="tool_calls"),
            id="the first call counts",
        ),
        pytest.param(
            whole("stop", content="", tool_calls=[{"function": {"name": "ticket", "arguments": ""}}]),
            Completion(arguments="{}", finish_reason="stop"),
            id="a call without arguments",
        ),
        pytest.param([HEAD, text("We"), text("ll."), END], Completion(text="Well.", finish_reason="stop"), id="stream"),
        pytest.param([HEAD, text("Well."), DONE], Completion(text="Well."), id="[DONE] alone"),
        pytest.param(whole(None, content="Well."), Completion(text="Well."), id="a whole body without a reason"),
        pytest.param(
            [
                HEAD,
                data(delta(tool_calls=[{**CALL, "index": 0}])),
                data(delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "ticket"}}])),
                END,
            ],
            Completion(arguments='{"n":1}', finish_reason="stop"),
            id="calls in a stream",
        ),
        pytest.param(
            [HEAD, text("Well."), END, "hold"], Completion(text="Well.", finish_reason="stop"), id="left open"
        ),
    ],
)
async def test_an_answer_is_read(reply: list[Act], found: Completion) -> None:
    """Words, refusals and the arguments of the first call are the answer, also when the service streams it unasked."""
    assert (await complete(reply))[0] == found


async def test_it_is_not_streamed() -> None:
    """The request asks for no stream; the stage's settings apply where the request has none."""
    gateway = ScriptedGateway([Says("{}"), Calls("ticket", {})])
    forced = vp.Request(
        messages=QUESTION.messages, tools=(TOOL,), must_call="ticket", system="", max_tokens=7, extra_body={"seed": 1}
    )
    options: dict[str, Any] = {"temperature": 0.5, "extra_body": {"seed": 0, "user": "ada"}}
    async with gateway.serve() as base_url, opened(base_url, "Be brief.", **options) as model:
        await model.complete(vp.Request(messages=QUESTION.messages, response_format={"type": "json_object"}))
        await model.complete(forced)

    first, second = (request.body for request in gateway.requests if request.method == "POST")
    said = {"role": "user", "content": "What is it?"}
    assert first == {
        "model": "m",
        "stream": False,
        "max_tokens": 300,
        "temperature": 0.5,
        "seed": 0,
        "user": "ada",
        "response_format": {"type": "json_object"},
        "messages": [{"role": "system", "content": "Be brief."}, said],
    }
    assert second == {
        "model": "m",
        "stream": False,
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 1,
        "user": "ada",
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "ticket"}},
        "messages": [said],
    }


async def test_what_needs_a_session_is_left_out() -> None:
    """Without a session neither a system prompt that is a function of one nor `adjust` is called."""

    def never(*_: object) -> Any:
        raise AssertionError("called without a session")

    gateway = ScriptedGateway([Says("Well.")])
    async with gateway.serve() as base_url, opened(base_url, never, adjust=never) as model:
        await model.complete(QUESTION)

    (asked,) = (request.chat for request in gateway.requests if request.chat)
    assert [message.role for message in asked.messages] == ["user"]


@pytest.mark.parametrize(
    ("reply", "said", "requests"),
    [
        pytest.param(whole("length", content="We"), "cut the answer short (length): raise max_tokens", 1, id="length"),
        pytest.param(whole("max_tokens", content="We"), "cut the answer short (max_tokens)", 1, id="max_tokens"),
        pytest.param(whole("content_filter", content="We"), "the service refuses", 1, id="content_filter"),
        pytest.param([HEAD, text("We"), data(delta("length")), DONE], "(length)", 1, id="length in a stream"),
        pytest.param([HEAD, text("We")], "without an end of the reply", 3, id="a stream that just ends"),
        pytest.param([HEAD, text("word " * 200), 0.001, "repeat"], "longer than 262144", 1, id="an endless stream"),
    ],
)
async def test_a_cut_answer_is_no_answer(reply: list[Act], said: str, requests: int) -> None:
    """An answer that was stopped, or does not say that it is whole, is an `IncompleteReply` that says what to do."""
    error, server, _ = await failing(reply)

    assert isinstance(error, IncompleteReply)
    assert said in str(error)
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([answer("503 Service Unavailable", b"busy")], id="503"),
        pytest.param(["reset"], id="reset"),
        pytest.param([HEAD, text("We"), "reset"], id="reset after words"),
        pytest.param([HEAD, text("We")], id="cut after words"),
        pytest.param(whole("error", content="We"), id="the provider failed"),
        pytest.param(whole("stop", content=""), id="an empty answer"),
        pytest.param([HEAD, DONE], id="an empty stream"),
    ],
)
async def test_what_may_pass_is_asked_again(first: list[Act]) -> None:
    """Nothing of a whole answer is used before its end, so any passing failure is answered by asking again."""
    found, server = await complete(first, whole(content="Well."))

    assert found.text == "Well."
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("reply", "kind", "took_s", "requests"),
    [
        pytest.param([answer("401 Unauthorized", b"who?")], AuthenticationError, 0.0, 1, id="401"),
        pytest.param([answer("400 Bad Request", b"what?")], VendorError, 0.0, 1, id="400"),
        pytest.param([answer("429 Too Many", b"", "retry-after: 30")], RateLimited, 0.0, 1, id="429"),
        pytest.param([answer("200 OK", b"<html>", kind="text/html")], VendorError, 0.0, 1, id="a page"),
        pytest.param(["hold"], VendorError, 10.0, 1, id="silence"),
        pytest.param([HEAD, text("a"), 1.0, "repeat"], VendorError, 10.0, 1, id="dribble"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\n\r\n", b" ", 1.0, "repeat"], VendorError, 10.0, 1, id="a body that dribbles"
        ),
    ],
)
async def test_a_failure_is_typed_and_in_time(
    reply: list[Act], kind: type[VendorError], took_s: float, requests: int
) -> None:
    """A final failure is not retried; a whole answer may take ten seconds, and is not retried after that."""
    error, server, took = await failing(reply)

    assert (type(error), took, len(server.requests)) == (kind, took_s, requests)
    assert took_s == 0.0 or str(error).endswith(("did not answer within 10 s", "the whole answer (10 s) did not come"))


async def test_retry_after_must_fit_the_deadline_around_it() -> None:
    """A caller with one second left does not wait for two."""
    gateway = ScriptedGateway([Refuses(429, "slow down", retry_after_s=2)])
    async with gateway.serve() as base_url, opened(base_url) as model:
        asked_s = anyio.current_time()
        with anyio.fail_after(1.0), pytest.raises(RateLimited):
            await model.complete(QUESTION)
        assert anyio.current_time() == asked_s


async def test_cancelling_closes_the_request() -> None:
    """Cancelling `complete` closes the connection to the service."""
    gateway = ScriptedGateway([Says("Well.", after_s=5.0)])
    async with gateway.serve() as base_url, opened(base_url) as model:
        with anyio.move_on_after(1.0):
            await model.complete(QUESTION)
        (asked,) = (request for request in gateway.requests if request.method == "POST")
        await asked.wait_ended()
        assert asked.closed_by_client_s == 1.0


# --- without HTTP -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (Says("Well."), Completion(text="Well.", finish_reason="stop")),
        (Calls("ticket", {"n": 1}), Completion(arguments='{"n": 1}', finish_reason="tool_calls")),
    ],
    ids=["words", "call"],
)
async def test_a_scripted_model_answers_in_the_same_way(reply: Reply, found: Completion) -> None:
    """The script is the answer, when its last piece is due, and the model records the request."""
    model = ScriptedModel([reply], first_token_s=0.5)
    asked = vp.Request(messages=QUESTION.messages, tools=(TOOL,), must_call="ticket", system="Sort it.", model="big")
    began_s = anyio.current_time()

    assert await model.complete(asked) == found
    assert anyio.current_time() - began_s == 0.5
    (chat,) = model.requests
    assert (chat.model, chat.must_call, [message.role for message in chat.messages]) == (
        "big",
        "ticket",
        ["system", "user"],
    )


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Says("We", finish_reason="length"), IncompleteReply),
        (Breaks("We"), IncompleteReply),
        (Refuses(429, "slow down"), RateLimited),
        (Refuses(500, "boom"), VendorError),
    ],
    ids=["length", "cut", "429", "500"],
)
async def test_a_scripted_model_fails_in_the_same_way(reply: Reply, kind: type[VendorError]) -> None:
    """A scripted failure has the class of the service's failure."""
    with pytest.raises(VendorError) as raised:
        await ScriptedModel([reply]).complete(QUESTION)
    assert type(raised.value) is kind


async def test_an_invalid_request_is_not_sent() -> None:
    """A request is checked like the settings of a stage."""
    gateway = ScriptedGateway([])
    async with gateway.serve() as base_url, opened(base_url) as model:
        with pytest.raises(ConfigurationError, match="must_call names 'ticket', which is not among the tools: none"):
            await model.complete(vp.Request(messages=QUESTION.messages, must_call="ticket"))
