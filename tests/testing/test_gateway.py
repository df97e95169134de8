"""The scripted LLM service, used by clients that are not ours: openai, httpx, and bytes on a socket.

Time is virtual and so exact, except where a client or a process of its own needs a real thread or clock.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import openai
import pytest
from httpx_sse import aconnect_sse
from pydantic import BaseModel

from voicepipe.testing.gateway import MAX_BODY_BYTES, ScriptedGateway
from voicepipe.testing.script import Breaks, Calls, ChatRequest, Refuses, Reply, Says, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from openai.types.chat import (
        ChatCompletionMessageParam,
        ChatCompletionStreamOptionsParam,
        ChatCompletionToolParam,
    )

pytestmark = pytest.mark.anyio

# The openai client asks for the platform in a thread, which virtual time refuses.
real_time = pytest.mark.parametrize("anyio_backend", ["asyncio"])

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}
STREAM = ASK | {"stream": True}


@asynccontextmanager
async def asked_by_openai(gateway: ScriptedGateway, api_key: str = "any") -> AsyncGenerator[openai.AsyncOpenAI]:
    async with (
        gateway.serve() as base_url,
        openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client,
    ):
        yield client


@asynccontextmanager
async def asked_by_httpx(gateway: ScriptedGateway) -> AsyncGenerator[httpx.AsyncClient]:
    # A minute of virtual time is over at once when nothing comes any more.
    async with gateway.serve() as base_url, httpx.AsyncClient(base_url=base_url, timeout=60) as client:
        yield client


@asynccontextmanager
async def asked_by_bytes(gateway: ScriptedGateway) -> AsyncGenerator[anyio.abc.SocketStream]:
    async with gateway.serve() as base_url:
        port = httpx.URL(base_url).port
        assert port is not None
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            yield stream


async def read_until(stream: anyio.abc.SocketStream, end: bytes) -> bytes:
    read = b""
    with anyio.fail_after(60):
        while end not in read:
            read += await stream.receive()
    return read


def post(body: bytes, *more: bytes) -> bytes:
    head = [b"POST /v1/chat/completions HTTP/1.1", b"host: h", b"content-length: %d" % len(body), *more]
    return b"\r\n".join([*head, b"", body])


async def words(client: httpx.AsyncClient) -> list[tuple[float, str]]:
    """Ask for a stream, and return each piece of text with the microsecond of its arrival."""
    start_s = anyio.current_time()
    async with aconnect_sse(client, "POST", "/chat/completions", json=STREAM) as reply:
        return [
            (round(anyio.current_time() - start_s, 6), text)
            async for event in reply.aiter_sse()
            if event.data != "[DONE]" and (text := json.loads(event.data)["choices"][0]["delta"].get("content"))
        ]


# --- replies, as the openai client reads them -------------------------------------------------------------------------


@real_time
async def test_a_stream_gives_the_text_in_tokens() -> None:
    """The role comes first, then the tokens, then why the model stopped."""
    async with asked_by_openai(ScriptedGateway([Says("Hello there.", finish_reason="length")])) as client:
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        choices = [chunk.choices[0] async for chunk in stream]
    assert [(choice.delta.role, choice.delta.content, choice.finish_reason) for choice in choices] == [
        ("assistant", "", None),
        (None, "Hello", None),
        (None, " there", None),
        (None, ".", None),
        (None, None, "length"),
    ]


@real_time
async def test_a_whole_reply_holds_all_of_it() -> None:
    """Without `stream` the same script gives one completion, with the model's name and the tokens used."""
    async with asked_by_openai(ScriptedGateway([Says("Hello there.")])) as client:
        reply = await client.chat.completions.create(model="some-model", messages=HELLO)
    assert (reply.model, reply.choices[0].finish_reason) == ("some-model", "stop")
    assert (reply.choices[0].message.role, reply.choices[0].message.content) == ("assistant", "Hello there.")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (2, 3, 5)


TWO_CALLS: Reply = (Calls("find", {"city": "Lyon", "n": 2}, say="One moment."), Calls("book", "no json"))


@real_time
async def test_streamed_calls_come_in_fragments_that_join() -> None:
    """A call opens with id and name and no arguments; its later pieces carry the index alone, and join."""
    opened: list[tuple[int, str | None, str | None, str | None]] = []
    arguments = {0: "", 1: ""}
    async with asked_by_openai(ScriptedGateway([TWO_CALLS])) as client:
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
        deltas = [delta async for chunk in stream for delta in chunk.choices[0].delta.tool_calls or ()]
    for delta in deltas:
        assert delta.function is not None
        if delta.id is None:
            assert (delta.type, delta.function.name) == (None, None)
            arguments[delta.index] += delta.function.arguments or ""
        else:
            opened.append((delta.index, delta.id, delta.function.name, delta.function.arguments))
    assert opened == [(0, "call_1", "find", ""), (1, "call_2", "book", "")]
    assert arguments == {0: '{"city": "Lyon", "n": 2}', 1: "no json"}
    assert len(deltas) > 6


@real_time
async def test_a_whole_reply_holds_words_and_calls() -> None:
    """Without `stream` the calls come complete, together with the words before them."""
    async with asked_by_openai(ScriptedGateway([TWO_CALLS, Calls("find", {})])) as client:
        first = (await client.chat.completions.create(model="m", messages=HELLO)).choices[0]
        second = (await client.chat.completions.create(model="m", messages=HELLO)).choices[0]
    assert (first.message.content, first.finish_reason) == ("One moment.", "tool_calls")
    assert [call.to_dict() for call in first.message.tool_calls or ()] == [
        {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"city": "Lyon", "n": 2}'}},
        {"id": "call_2", "type": "function", "function": {"name": "book", "arguments": "no json"}},
    ]
    assert second.message.content is None


@real_time
async def test_a_stream_ends_with_the_usage_where_it_is_asked_for() -> None:
    """`stream_options.include_usage` adds one chunk without choices, after the last one with a choice."""
    async with asked_by_openai(ScriptedGateway(lambda _: Says("Hello."))) as client:
        options: list[ChatCompletionStreamOptionsParam] = [{"include_usage": True}, {}]
        seen: list[list[tuple[int, int | None]]] = []
        for option in options:
            stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True, stream_options=option)
            seen.append(
                [(len(chunk.choices), chunk.usage.total_tokens if chunk.usage else None) async for chunk in stream]
            )
    assert seen == [[(1, None)] * 4 + [(0, 4)], [(1, None)] * 4]


@real_time
async def test_a_function_can_hold_a_conversation_with_tools() -> None:
    """A script that is a function sees tools and results, and can call first and speak later."""

    def reply(request: ChatRequest) -> Reply:
        if request.tool_results:
            return Says(f"It is {request.tool_results['c1']}.")
        return Calls(request.tools[0], {"city": request.last_user_text}, call_id="c1")

    tool: ChatCompletionToolParam = {"type": "function", "function": {"name": "weather"}}
    async with asked_by_openai(ScriptedGateway(reply)) as client:
        asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Lyon"}]
        call = (await client.chat.completions.create(model="m", messages=asked, tools=[tool])).choices[0].message
        assert [one.to_dict()["function"] for one in call.tool_calls or ()] == [
            {"name": "weather", "arguments": '{"city": "Lyon"}'}
        ]
        sent_back: ChatCompletionMessageParam = {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        }
        result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
        asked += [sent_back, result]
        answer = await client.chat.completions.create(model="m", messages=asked, tools=[tool])
    assert answer.choices[0].message.content == "It is sunny."


@real_time
async def test_structured_output_reaches_the_script_and_comes_back() -> None:
    """The schema that a client asks for is in the request, and JSON text from the script validates against it."""

    class Ticket(BaseModel):
        urgency: str

    gateway = ScriptedGateway([Says('{"urgency": "high"}')])
    async with asked_by_openai(gateway) as client:
        reply = await client.chat.completions.parse(model="m", messages=HELLO, response_format=Ticket)
    assert reply.choices[0].message.parsed == Ticket(urgency="high")
    chat = gateway.requests[0].chat
    assert chat is not None
    assert chat.response_format is not None
    assert chat.response_format["type"] == "json_schema"


@real_time
async def test_a_tool_that_has_to_be_called_reaches_the_script() -> None:
    """`tool_choice` names the tool, and the request shows it; the other choices name none."""
    gateway = ScriptedGateway(lambda request: Calls(request.must_call, {}) if request.must_call else Says("No."))
    tool: ChatCompletionToolParam = {"type": "function", "function": {"name": "ticket"}}
    choices: list[Any] = [{"type": "function", "function": {"name": "ticket"}}, "auto", "required", "none"]
    async with asked_by_openai(gateway) as client:
        replies = [
            await client.chat.completions.create(model="m", messages=HELLO, tools=[tool], tool_choice=choice)
            for choice in choices
        ]
    named = [[call.to_dict()["function"] for call in reply.choices[0].message.tool_calls or ()] for reply in replies]
    assert named == [[{"name": "ticket", "arguments": "{}"}], [], [], []]


@real_time
async def test_models_are_listed() -> None:
    """`GET /v1/models` gives one model."""
    async with asked_by_openai(ScriptedGateway([])) as client:
        assert [model.id async for model in client.models.list()] == ["scripted"]


# --- refusals ---------------------------------------------------------------------------------------------------------


@real_time
@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, openai.BadRequestError, "invalid_request_error"),
        (401, openai.AuthenticationError, "invalid_request_error"),
        (403, openai.PermissionDeniedError, "invalid_request_error"),
        (404, openai.NotFoundError, "invalid_request_error"),
        (409, openai.ConflictError, "invalid_request_error"),
        (422, openai.UnprocessableEntityError, "invalid_request_error"),
        (429, openai.RateLimitError, "invalid_request_error"),
        (500, openai.InternalServerError, "server_error"),
        (503, openai.InternalServerError, "server_error"),
    ],
)
async def test_a_scripted_refusal_is_the_client_s_error(
    status: int, error: type[openai.APIStatusError], kind: str
) -> None:
    """`Refuses` gives the status, in an envelope the openai client maps to its own exception."""
    async with asked_by_openai(ScriptedGateway([Refuses(status, "not now", retry_after_s=1.5)])) as client:
        with pytest.raises(error, match="not now") as raised:
            await client.chat.completions.create(model="m", messages=HELLO)
    assert (raised.value.status_code, raised.value.type) == (status, kind)
    assert raised.value.response.headers["retry-after"] == "1.5"


def schema_format(schema: object, **described: object) -> dict[str, object]:
    asked = {"name": "ticket", "strict": True, "schema": schema} | described
    return {"type": "json_schema", "json_schema": {name: value for name, value in asked.items() if value is not None}}


def closed(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


TEXT = {"type": "string"}
OPEN = {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}
LOOSE = closed(a=TEXT, b=TEXT) | {"required": ["a"]}
STRICT = closed(
    a=TEXT, b={"anyOf": [closed(c=TEXT), {"type": "null"}]}, d={"type": "array", "items": {"$ref": "#/$defs/D"}}
)

STRUCTURED: dict[str, tuple[dict[str, object], str | None]] = {
    "text": ({"response_format": {"type": "text"}}, None),
    "an object": ({"response_format": {"type": "json_object"}}, None),
    "a strict schema": ({"response_format": schema_format(STRICT | {"$defs": {"D": closed(e=TEXT)}})}, None),
    "a loose schema": ({"response_format": schema_format(OPEN, strict=False)}, None),
    "a schema that does not say": ({"response_format": schema_format({"type": "array"}, strict=None)}, None),
    "unknown type": ({"response_format": {"type": "yaml"}}, "response_format.type"),
    "no type": ({"response_format": {}}, "response_format.type"),
    "nothing in it": ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    "no name": ({"response_format": schema_format(closed(), name=None)}, "response_format.json_schema.name"),
    "a bad name": ({"response_format": schema_format(closed(), name="a b")}, "response_format.json_schema.name"),
    "no schema": ({"response_format": schema_format(None)}, "response_format.json_schema.schema"),
    "open": ({"response_format": schema_format(OPEN)}, "response_format.json_schema.schema"),
    "not required": ({"response_format": schema_format(LOOSE)}, "response_format.json_schema.schema"),
    "a list at the root": ({"response_format": schema_format({"type": "array"})}, "response_format.json_schema.schema"),
    "anyOf at the root": (
        {"response_format": schema_format(closed() | {"anyOf": [closed()]})},
        "response_format.json_schema.schema",
    ),
    "open in a field": (
        {"response_format": schema_format(closed(x=OPEN))},
        "response_format.json_schema.schema.properties.x",
    ),
    "open in a list": (
        {"response_format": schema_format(closed(x={"type": "array", "items": OPEN}))},
        "response_format.json_schema.schema.properties.x.items",
    ),
    "open in a choice": (
        {"response_format": schema_format(closed(x={"anyOf": [TEXT, LOOSE]}))},
        "response_format.json_schema.schema.properties.x.anyOf.1",
    ),
    "open in a definition": (
        {"response_format": schema_format(closed() | {"$defs": {"X": OPEN}})},
        "response_format.json_schema.schema.$defs.X",
    ),
    "open or null": (
        {"response_format": schema_format(closed(x={"type": ["object", "null"]}))},
        "response_format.json_schema.schema.properties.x",
    ),
    "a loose tool": ({"tools": [{"type": "function", "function": {"name": "f", "parameters": OPEN}}]}, None),
    "an open strict tool": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": OPEN, "strict": True}}]},
        "tools.0.function.parameters",
    ),
    "a choice without tools": ({"tool_choice": "auto"}, "tool_choice"),
    "an unknown choice": (
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "f"},
        "tool_choice",
    ),
    "an unknown tool": (
        {
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "tool_choice": {"type": "function", "function": {"name": "g"}},
        },
        "tool_choice",
    ),
}


@real_time
@pytest.mark.parametrize(("fields", "param"), STRUCTURED.values(), ids=STRUCTURED)
async def test_a_format_that_no_service_takes_is_refused(fields: dict[str, object], param: str | None) -> None:
    """A format, strict schema or tool choice that OpenAI refuses is a 400 that names the field at fault."""
    gateway = ScriptedGateway(lambda _: Says("{}"))
    async with asked_by_openai(gateway) as client:
        with (
            nullcontext() if param is None else pytest.raises(openai.BadRequestError, match=re.escape(param)) as raised
        ):
            await client.chat.completions.create(model="m", messages=HELLO, extra_body=fields)
    assert (raised.value.param if raised else None) == param
    assert (gateway.requests[0].chat is None) == (param is not None)


@real_time
async def test_a_wrong_key_is_refused_before_the_script_is_asked() -> None:
    """A wrong key is a 401, and uses up no reply."""
    gateway = ScriptedGateway([Says("Hello.")], api_key="right")
    async with asked_by_openai(gateway, api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError, match="API key is missing or wrong"):
            await client.chat.completions.create(model="m", messages=HELLO)
    assert gateway.script.unused == (Says("Hello."),)


@pytest.mark.parametrize(
    ("authorization", "status"), [("Bearer right", 200), ("right", 200), ("Bearer wrong", 401), ("", 401), ("é", 401)]
)
async def test_a_key_may_come_with_or_without_bearer(authorization: str, status: int) -> None:
    """The right key is accepted in both forms; every other header is refused."""
    async with asked_by_httpx(ScriptedGateway(lambda _: Says("Hello."), api_key="right")) as client:
        headers = {"authorization": authorization.encode()}
        reply = await client.post("/chat/completions", headers=headers, json=ASK)  # type: ignore[arg-type]  # bytes do
    assert reply.status_code == status


async def test_no_key_is_kept_or_shown() -> None:
    """Neither the right key nor a key that a client sent appears in the record or in a repr."""
    gateway = ScriptedGateway(lambda _: Says("Hello."), api_key="canary-1")
    async with asked_by_httpx(gateway) as client:
        for key in ("canary-1", "canary-2"):
            await client.post("/chat/completions", headers={"authorization": f"Bearer {key}", "api-key": key}, json=ASK)
    assert [request.headers["authorization"] for request in gateway.requests] == ["***", "***"]
    assert "canary" not in repr((gateway, gateway.requests))


OTHER_REQUESTS = {
    "no json": ("POST", "/chat/completions", b"{", 400, "the body must be JSON"),
    "no utf-8": ("POST", "/chat/completions", b'"\xff"', 400, "the body must be JSON"),
    "too deep": ("POST", "/chat/completions", b"[" * 200_000, 400, "the body must be JSON"),
    "no model": ("POST", "/chat/completions", b'{"messages": []}', 400, "model: Field required"),
    "unknown path": ("POST", "/completions", b"{}", 404, "there is no /v1/completions, only /v1/chat/completions"),
    "wrong method": ("GET", "/chat/completions", b"", 405, "/v1/chat/completions takes POST, not GET"),
    "wrong method for models": ("DELETE", "/models", b"", 405, "/v1/models takes GET, not DELETE"),
    "too long": ("POST", "/chat/completions", b" " * (MAX_BODY_BYTES + 1), 413, "longer than 4194304 bytes"),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), OTHER_REQUESTS.values(), ids=OTHER_REQUESTS)
async def test_a_bad_request_is_told_what_is_wrong(
    method: str, path: str, body: bytes, status: int, message: str
) -> None:
    """Every refusal has OpenAI's envelope, says what was found, and keeps the connection."""
    gateway = ScriptedGateway([Says("Hello.")])
    async with asked_by_httpx(gateway) as client:
        reply = await client.request(method, path, content=body)
        good = await client.post("/chat/completions", json=ASK)
    assert reply.status_code == status
    assert message in reply.json()["error"]["message"]
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
    assert [(request.status, request.connection) for request in gateway.requests] == [(status, 1), (200, 1)]
    assert good.status_code == 200


async def test_a_request_at_the_limit_is_read() -> None:
    """A body of exactly 4 MiB is accepted."""
    async with asked_by_httpx(ScriptedGateway([Says("Hello.")])) as client:
        body = json.dumps(ASK).encode().ljust(MAX_BODY_BYTES)
        assert (await client.post("/chat/completions", content=body)).status_code == 200


async def test_the_field_at_fault_is_named() -> None:
    """A 400 about one field names it in `param`."""
    async with asked_by_httpx(ScriptedGateway([])) as client:
        reply = await client.post("/chat/completions", json=ASK | {"messages": [{"role": "bot", "content": "hi"}]})
    assert reply.json()["error"]["param"] == "messages.0.role"


async def test_a_head_request_has_no_body() -> None:
    """A refused HEAD gets its status without a body, and the connection stays usable."""
    async with asked_by_httpx(ScriptedGateway([])) as client:
        refused = await client.head("/models")
        assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "GET", b"")
        assert (await client.get("/models")).status_code == 200


# --- faults on purpose ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "Half a"])
async def test_a_broken_stream_is_cut_in_the_middle(text: str) -> None:
    """After its text the connection is closed, without a finish reason and without an end of the response."""
    read: list[object] = []

    async def ask(client: httpx.AsyncClient) -> None:
        async with aconnect_sse(client, "POST", "/chat/completions", json=STREAM) as reply:
            async for event in reply.aiter_sse():
                choice = json.loads(event.data)["choices"][0]
                read.append((choice["delta"]["content"], choice["finish_reason"]))

    async with asked_by_httpx(ScriptedGateway([Breaks(text)])) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await ask(client)
    assert read == [(token, None) for token in ["", *tokens(text)]]


async def test_a_stream_may_break_cleanly() -> None:
    """With `cleanly` the response ends properly in HTTP, but without finish reason and `[DONE]`."""
    async with asked_by_httpx(ScriptedGateway([Breaks("Half a", cleanly=True)])) as client:
        assert [text for _, text in await words(client)] == ["Half", " a"]


async def test_a_whole_reply_breaks_in_the_middle_too() -> None:
    """Without `stream`, half of the body is sent; with `cleanly`, all of it and no finish reason."""
    gateway = ScriptedGateway([Breaks("Half a"), Breaks("Half a", cleanly=True)])
    async with asked_by_httpx(gateway) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
            await client.post("/chat/completions", json=ASK)
        choice = (await client.post("/chat/completions", json=ASK)).json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == (None, "Half a")


async def test_an_exhausted_script_is_told_to_both_sides() -> None:
    """One request too many gets a 500 that names the script, and an error when the block ends."""

    async def ask() -> None:
        async with asked_by_httpx(ScriptedGateway([])) as client:
            reply = await client.post("/chat/completions", json=ASK)
            told.append((reply.status_code, reply.json()["error"]["message"]))

    told: list[tuple[int, str]] = []
    with pytest.raises(AssertionError, match="script holds 0 replies") as raised:
        await ask()
    assert told == [(500, f"AssertionError in the script: {raised.value}")]


async def test_an_error_of_a_script_s_function_is_told_to_both_sides() -> None:
    """An exception of the function is raised unchanged when the block ends."""

    def reply(request: ChatRequest) -> Reply:
        return Says(request.tool_results["c1"])

    async def ask() -> None:
        async with asked_by_httpx(ScriptedGateway(reply)) as client:
            told.append((await client.post("/chat/completions", json=ASK)).status_code)

    told: list[int] = []
    with pytest.raises(KeyError, match="c1"):
        await ask()
    assert told == [500]


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    """An exception of the test is neither wrapped in a group nor replaced by an error of the script."""

    async def ask_and_fail() -> None:
        async with asked_by_httpx(ScriptedGateway([])) as client:
            await client.post("/chat/completions", json=ASK)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask_and_fail()


# --- time -------------------------------------------------------------------------------------------------------------


async def test_tokens_arrive_when_they_are_due() -> None:
    """The first token comes `after_s` after the request, each further one `token_s` later."""
    async with asked_by_httpx(ScriptedGateway([Says("One two three.", after_s=0.2, token_s=0.05)])) as client:
        assert await words(client) == [(0.2, "One"), (0.25, " two"), (0.3, " three"), (0.35, ".")]


async def test_the_gateway_s_delays_hold_for_replies_that_set_none() -> None:
    """`first_token_s` and `token_s` of the gateway are defaults; a reply's own win."""
    gateway = ScriptedGateway([Says("One two"), Says("One two", after_s=2.0)], first_token_s=0.5, token_s=0.25)
    async with asked_by_httpx(gateway) as client:
        assert await words(client) == [(0.5, "One"), (0.75, " two")]
        assert await words(client) == [(2.0, "One"), (2.25, " two")]


async def test_tokens_do_not_drift() -> None:
    """Token 300 is due 300 steps after the first: each wait has an absolute time, so rounding does not add up."""
    async with asked_by_httpx(ScriptedGateway([Says("a " * 301, token_s=0.1 / 3)])) as client:
        arrived = await words(client)
    assert arrived[300] == (10.0, " a")


async def test_a_whole_reply_comes_when_its_last_token_was_due() -> None:
    """Without `stream` a reply takes as long, and its first byte comes at the end."""
    gateway = ScriptedGateway([Says("One two", after_s=0.5, token_s=0.25)])
    async with asked_by_httpx(gateway) as client:
        await client.post("/chat/completions", json=ASK)
    (request,) = gateway.requests
    assert request.first_byte_s == request.ended_s == request.received_s + 0.75


async def test_a_refusal_may_be_slow() -> None:
    """`Refuses` waits for its own `after_s`; the gateway's default for first tokens does not apply."""
    gateway = ScriptedGateway([Refuses(503, "busy", after_s=0.5), Refuses(503, "busy")], first_token_s=9.0)
    async with asked_by_httpx(gateway) as client:
        for _ in range(2):
            await client.post("/chat/completions", json=ASK)
    assert [round((request.first_byte_s or -1) - request.received_s, 6) for request in gateway.requests] == [0.5, 0.0]


async def test_requests_are_answered_side_by_side() -> None:
    """Two streams on two connections keep their own times."""
    replies = [Says("a b", after_s=1.0, token_s=1.0), Says("a b", after_s=1.5, token_s=0.25)]
    seen: list[list[tuple[float, str]]] = []
    async with asked_by_httpx(ScriptedGateway(replies)) as client, anyio.create_task_group() as group:

        async def ask() -> None:
            seen.append(await words(client))

        group.start_soon(ask)
        group.start_soon(ask)
    assert seen == [[(1.5, "a"), (1.75, " b")], [(1.0, "a"), (2.0, " b")]]


# --- connections ------------------------------------------------------------------------------------------------------


async def test_a_connection_is_kept_between_requests() -> None:
    """A stream, a whole reply and a refusal all come over one socket."""
    gateway = ScriptedGateway([Says("One."), Says("Two."), Refuses(429, "slow down"), Says("Three.")])
    sockets: set[object] = set()
    async with asked_by_httpx(gateway) as client:
        for body in (STREAM, ASK, ASK, STREAM):
            reply = await client.post("/chat/completions", json=body)
            sockets.add(reply.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(sockets) == 1
    assert [(request.number, request.connection) for request in gateway.requests] == [(1, 1), (2, 1), (3, 1), (4, 1)]


async def test_a_client_may_ask_for_a_connection_to_be_closed() -> None:
    """`Connection: close` ends the connection after the reply."""
    gateway = ScriptedGateway(lambda _: Says("One."))
    async with asked_by_httpx(gateway) as client:
        for _ in range(2):
            await client.post("/chat/completions", json=ASK, headers={"connection": "close"})
    assert [request.connection for request in gateway.requests] == [1, 2]


@pytest.mark.parametrize(
    ("leaves_after_s", "status"), [(1.5, 200), (0.5, None)], ids=["between tokens", "before the first token"]
)
async def test_a_client_that_hangs_up_is_noticed_at_once(leaves_after_s: float, status: int | None) -> None:
    """When a client disconnects, the time is recorded and its reply stops, without waiting for the next token."""
    gateway = ScriptedGateway([Says("a b c", after_s=1.0, token_s=1.0)])
    async with asked_by_httpx(gateway) as client:
        with anyio.move_on_after(leaves_after_s):
            await words(client)
        (request,) = gateway.requests
        await request.wait_ended()
    assert request.status == status
    assert request.closed_by_client_s == request.ended_s == request.received_s + leaves_after_s


async def test_a_client_that_heard_all_has_not_hung_up() -> None:
    """Closing the connection at `[DONE]` does not count as disconnecting."""
    gateway = ScriptedGateway([Says("a b")])
    async with asked_by_httpx(gateway) as client:
        async with aconnect_sse(client, "POST", "/chat/completions", json=STREAM) as reply:
            async for event in reply.aiter_sse():
                if event.data == "[DONE]":
                    break
        await gateway.requests[0].wait_ended()
    assert (gateway.requests[0].status, gateway.requests[0].closed_by_client_s) == (200, None)


async def test_leaving_the_block_ends_replies_that_are_under_way() -> None:
    """When the block ends, a waiting client is cut off, its request ends, and the port is free again."""
    gateway = ScriptedGateway([Says("a b", token_s=1000.0)])
    async with httpx.AsyncClient(timeout=None) as client:
        async with gateway.serve() as base_url:
            response = await client.send(
                client.build_request("POST", f"{base_url}/chat/completions", json=STREAM), stream=True
            )
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await response.aread()
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{base_url}/models")
    assert gateway.requests[0].ended_s is not None
    assert gateway.requests[0].closed_by_client_s is None


async def test_a_gateway_can_serve_again() -> None:
    """A second `serve` continues with the same script and the same record."""
    gateway = ScriptedGateway([Says("One."), Says("Two.")])
    for _ in range(2):
        async with asked_by_httpx(gateway) as client:
            assert (await client.post("/chat/completions", json=ASK)).status_code == 200
    assert [request.number for request in gateway.requests] == [1, 2]
    assert gateway.script.unused == ()


async def test_a_gateway_that_runs_for_long_need_not_record() -> None:
    """With `record=False` replies are sent and nothing is kept."""
    gateway = ScriptedGateway([Says("One.")], record=False)
    async with asked_by_httpx(gateway) as client:
        assert (await client.post("/chat/completions", json=ASK)).status_code == 200
    assert repr(gateway) == "<ScriptedGateway 0 requests <Script script answered=1 0 left>>"


# --- bytes ------------------------------------------------------------------------------------------------------------


async def test_a_stream_is_server_sent_events_and_nothing_else() -> None:
    """Each event is one line of JSON with the same id, and the last one is `[DONE]`."""
    async with (
        asked_by_httpx(ScriptedGateway([Says("Ça va\u2028?")])) as client,
        aconnect_sse(client, "POST", "/chat/completions", json=STREAM) as reply,
    ):
        events = [event async for event in reply.aiter_sse()]
    assert reply.response.headers["content-type"] == "text/event-stream"
    assert reply.response.headers["transfer-encoding"] == "chunked"
    assert {(event.event, event.id, event.retry) for event in events} == {("message", "", None)}
    assert events[-1].data == "[DONE]"
    chunks = [json.loads(event.data) for event in events[:-1]]
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks} == {
        ("chatcmpl-1", "chat.completion.chunk", "m")
    }
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Ça va\u2028?"


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    """Requests that arrive together with the first one, or during its reply, are answered in order."""
    asked = anyio.Event()
    replies = iter([Says("First", after_s=1.0), Says("Second"), Says("Third")])

    def reply(_: ChatRequest) -> Reply:
        asked.set()
        return next(replies)

    gateway = ScriptedGateway(reply)
    async with asked_by_bytes(gateway) as stream:
        await stream.send(post(json.dumps(ASK).encode()) * 2)
        await asked.wait()
        await stream.send(post(json.dumps(ASK).encode()))
        read = await read_until(stream, b"Third")
    assert read.index(b"First") < read.index(b"Second") < read.index(b"Third")
    assert [request.closed_by_client_s for request in gateway.requests[:2]] == [None, None]


async def test_a_body_that_waits_for_leave_is_let_in() -> None:
    """`Expect: 100-continue` is answered before the body is sent."""
    async with asked_by_bytes(ScriptedGateway([Says("Hello.")])) as stream:
        body = json.dumps(ASK).encode()
        await stream.send(post(body, b"expect: 100-continue").removesuffix(body))
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await stream.send(body)
        assert (await read_until(stream, b"}")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"no http at all\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000, b"431")],
    ids=["no http", "endless header"],
)
async def test_what_is_no_http_is_refused_and_the_connection_closed(sent: bytes, status: bytes) -> None:
    """Bytes that are not a request get an error in the same envelope; the next client is served."""
    gateway = ScriptedGateway([])
    async with asked_by_bytes(gateway) as stream:
        await stream.send(sent)
        reply = await read_until(stream, b"}}")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
    assert reply.startswith(b"HTTP/1.1 " + status)
    assert b'{"error": {"message": ' in reply
    assert gateway.requests == []


async def test_a_client_that_leaves_within_a_request_harms_nobody() -> None:
    """Half a request is not recorded, and the next client is served."""
    gateway = ScriptedGateway([Says("Hello.")])
    async with asked_by_httpx(gateway) as client:
        async with await anyio.connect_tcp("127.0.0.1", client.base_url.port or 0) as stream:
            await stream.send(post(b"x" * 100)[:-50])
        assert (await client.post("/chat/completions", json=ASK)).status_code == 200
    assert len(gateway.requests) == 1


# --- a process of its own ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@real_time
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_a_process_of_its_own_prints_where_it_is_and_ends_when_told(stop: signal.Signals) -> None:
    """The first line is the base URL, the reply has three sentences, and both signals end it with status 0."""
    command = [sys.executable, "-m", "voicepipe.testing", "--token-s", "0.001"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    async with await anyio.open_process(command, env=environment, stderr=None) as process:
        assert process.stdout is not None
        base_url = (await process.stdout.receive()).decode()
        assert base_url.endswith("/v1\n")
        async with httpx.AsyncClient(base_url=base_url.strip()) as client:
            said = "".join(text for _, text in await words(client))
        process.send_signal(stop)
        assert await process.wait() == 0
    assert "scripted" in said
    assert said.count(".") == 3
