"""The simulated LLM Gateway: each peculiarity alone, used by our model stage in whole sessions, and by others.

What the application writes is the same in all of them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

import anyio
import assemblyai
import httpx
import pytest
from pydantic import BaseModel, Field

import voicepipe as vp
from tests.helpers.questions import Asked, agent
from voicepipe.errors import AuthenticationError, IncompleteReply, RateLimited, VendorError
from voicepipe.testing import Breaks, Calls, ChatRequest, Refuses, Reply, Says, ScriptedVoice
from voicepipe.testing.simulators.gateway import ASSEMBLYAI, GatewayQuirks, GatewaySimulator

pytestmark = pytest.mark.anyio

KEY = "canary-7f3a"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]}
ORDER: list[Reply] = [Calls("find_order", {"number": 42}, say="One moment. "), Says("It is on its way. Anything else?")]
PLAIN = GatewayQuirks()


class Shop:
    """Remembers which orders were looked up."""

    def __init__(self) -> None:
        self.numbers: list[int] = []


@vp.tool(effect="read")
async def find_order(number: Annotated[int, Field(gt=0)], call: vp.ToolContext[Shop]) -> str:
    """Find an order."""
    call.deps.numbers.append(number)
    return "shipped"


@vp.tool(effect="read")
async def opening_hours(call: vp.ToolContext[Shop]) -> str:
    """Say when the shop is open."""
    call.deps.numbers.append(0)
    return "always"


async def hold(gateway: GatewaySimulator, *, says: int = 1, **options: Any) -> tuple[Asked, Shop]:
    """Hold a session in which the caller asks about an order; the model is `gpt-5.2` unless another is named."""
    asked, voice, shop = Asked(), ScriptedVoice(character_s=0.0), Shop()
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, **{"model": "gpt-5.2", **options})
        row = agent(stage, voice, vp.ToolRouter([find_order, opening_hours]))
        async with row.session(deps=shop) as session:
            began_s = anyio.current_time()
            for _ in range(says):
                await session.user_says("Where is my order?")
            asked.took_s = round(anyio.current_time() - began_s, 3)
        asked.events = [event async for event in session]
    asked.said = "".join(sentence for _, sentence in voice.sentences)
    return asked, shop


async def post(gateway: GatewaySimulator, body: dict[str, Any], **headers: str) -> httpx.Response:
    async with gateway.serve() as base_url, httpx.AsyncClient() as client:
        return await client.post(f"{base_url}/chat/completions", json=body, headers=headers)


def events(response: httpx.Response) -> list[Any]:
    """The data of a stream's events."""
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


TOOLS = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]
STREAM: dict[str, Any] = HELLO | {"stream": True, "tools": TOOLS}


# --- one call, whatever the gateway does ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quirks",
    [
        pytest.param(PLAIN, id="none"),
        *(
            pytest.param(GatewayQuirks(thoughts=thoughts, thinking_s=0.5), id=f"thoughts in {thoughts}")
            for thoughts in ("tags", "brackets", "channels", "field")
        ),
        pytest.param(GatewayQuirks(thoughts="tags", streams=False), id="thoughts in a whole answer"),
        pytest.param(GatewayQuirks(calls_as_text="repeated"), id="calls as text as well"),
        pytest.param(GatewayQuirks(end_mark="<|im_end|>"), id="a mark at the end"),
        pytest.param(GatewayQuirks(blank_tool_delta=True), id="blank tool delta"),
        pytest.param(GatewayQuirks(nested_call_id=True), id="id within the function"),
        pytest.param(GatewayQuirks(calls_on_choice=True), id="calls on the choice"),
        pytest.param(GatewayQuirks(calls_on_choice=True, streams=False), id="calls on the choice of a whole answer"),
        pytest.param(GatewayQuirks(vendor_reasons=True), id="vendor's finish reasons"),
        pytest.param(GatewayQuirks(null_choices=True), id="null choices"),
        pytest.param(GatewayQuirks(null_choices=True, usage="last"), id="null choices at the end"),
        pytest.param(GatewayQuirks(usage="last"), id="usage on a last chunk"),
        pytest.param(GatewayQuirks(usage="every"), id="usage on every chunk"),
        pytest.param(GatewayQuirks(sends_done=False), id="no [DONE]"),
        pytest.param(GatewayQuirks(streams=False), id="a whole answer to a stream"),
        pytest.param(GatewayQuirks(other_model="vendor/m-2"), id="another model's name"),
        pytest.param(GatewayQuirks(refuses_parts=True), id="no content in parts"),
        pytest.param(GatewayQuirks(unsupported=frozenset({"parallel_tool_calls", "stream_options"})), id="unsupported"),
        pytest.param(GatewayQuirks(requests_per_minute=30), id="rate limit"),
        pytest.param(ASSEMBLYAI, id="the gateway as it is"),
        pytest.param(replace(ASSEMBLYAI, usage="every", null_choices=True, sends_done=False), id="more of it"),
    ],
)
@pytest.mark.slow
async def test_a_call_with_a_tool_is_the_same_with_each_quirk(quirks: GatewayQuirks) -> None:
    """The tool runs once with its argument, all words are said in order, and the turn completes."""
    gateway = GatewaySimulator(ORDER, quirks=quirks)
    asked, shop = await hold(gateway)

    assert isinstance(asked.end, vp.TurnCompleted), asked.end
    assert (asked.said, shop.numbers, asked.retries) == ("One moment. It is on its way. Anything else?", [42], 0)
    assert gateway.script.unused == ()


@pytest.mark.parametrize("model", ["claude-haiku-4-5-20251001", "gpt-5.2"])
async def test_calls_without_arguments_go_back_as_the_route_wants_them(model: str) -> None:
    """If a route refuses empty arguments in the history, the request after such a call still works."""
    script: list[Reply] = [Calls("opening_hours", {}), Says("Always."), Says("Still always.")]
    asked, shop = await hold(GatewaySimulator(script), model=model, says=2)
    assert (asked.said, shop.numbers) == ("Always.Still always.", [0])


async def test_gemini_takes_reduced_schemas() -> None:
    """A schema with keywords that the route refuses is an error; a reduced schema is accepted."""
    plain, _ = await hold(GatewaySimulator(ORDER), model="gemini-2.5-flash")
    assert "HTTP 400" in str(plain.end.error)
    assert "Unknown name" in str(plain.end.error)

    reduced, shop = await hold(GatewaySimulator(ORDER), model="gemini-2.5-flash", schemas="reduced")
    assert (reduced.said[:11], shop.numbers) == ("One moment.", [42])


class Ticket(BaseModel):
    """What a caller wants."""

    intent: str = Field(title="Intent", default="other")


@pytest.mark.parametrize(
    ("form", "reply"),
    [("response_format", Says('{"intent": "cancel"}')), ("tool", Calls("ticket", {"intent": "cancel"}))],
)
async def test_structured_output_takes_the_same_ways(form: Any, reply: Reply) -> None:
    """A classification through the gateway gives a model instance, in whichever form the answer comes."""

    def answer(chat: ChatRequest) -> Reply:
        return replace(reply, name=chat.must_call) if isinstance(reply, Calls) else reply

    gateway = GatewaySimulator(answer, quirks=replace(ASSEMBLYAI, calls_on_choice=True, vendor_reasons=True))
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="gpt-5.2")
        ticket = await vp.structured(Ticket, "I want to cancel.", llm=stage, form=form)
    assert ticket == Ticket(intent="cancel")


async def test_a_model_that_cannot_stream_is_not_asked_to() -> None:
    """With `streams=False` a whole answer is requested, may take long, and is said sentence by sentence."""
    gateway = GatewaySimulator([Says("One thing. Another thing.", after_s=8.0)], quirks=GatewayQuirks(streams=False))
    asked, _ = await hold(gateway, streams=False)

    sent = [request.body for request in gateway.requests if isinstance(request.body, dict)]
    assert [body["stream"] for body in sent] == [False]
    assert [event.text.strip() for event in asked.events if isinstance(event, vp.SentenceStarted)] == [
        "One thing.",
        "Another thing.",
    ]
    assert asked.took_s == 8.0


async def test_a_whole_answer_has_its_deadline() -> None:
    """A model that does not stream and takes longer than 10 s is given up."""
    gateway = GatewaySimulator([Says("Too late.", after_s=11.0)], quirks=GatewayQuirks(streams=False))
    asked, _ = await hold(gateway, streams=False)
    assert "did not answer within 10 s" in str(asked.end.error)
    assert asked.took_s == 10.0


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("envelope", ["by_status", "code", "status", "nested", "openai"])
@pytest.mark.parametrize(
    ("refuses", "error"),
    [
        (Refuses(400, "account does not have access to this model"), VendorError),
        (Refuses(401, "bad"), AuthenticationError),
        (Refuses(429, "slow down", retry_after_s=60), RateLimited),
    ],
)
async def test_every_envelope_is_told(envelope: Any, refuses: Refuses, error: type[Exception]) -> None:
    """In every shape of error, the turn fails with the right type and the gateway's message."""
    asked, _ = await hold(GatewaySimulator([refuses], quirks=GatewayQuirks(envelope=envelope)))
    assert type(asked.end.error) is error
    assert refuses.message in str(asked.end.error)


@pytest.mark.parametrize("envelope", ["code", "nested", "openai"])
async def test_an_error_in_the_midst_of_a_stream_is_told(envelope: Any) -> None:
    """An error event cuts the reply, and is not said."""
    quirks = GatewayQuirks(envelope=envelope, error_in_stream=True)
    asked, _ = await hold(GatewaySimulator([Breaks("First. Second")], quirks=quirks))
    assert isinstance(asked.end.error, IncompleteReply)
    assert "overloaded" in str(asked.end.error)
    assert asked.said == "First. Second"


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (
            {"envelope": "code"},
            {"code": 400, "message": "request failed", "request_id": "req-1", "metadata": {"errors": ["no"]}},
        ),
        ({"envelope": "status"}, {"error": "Authentication error: no", "status": "error", "request_id": "req-1"}),
        ({"envelope": "nested"}, {"error": {"code": 400, "message": "no", "metadata": {}}}),
    ],
)
async def test_envelopes_have_the_gateways_shapes(body: dict[str, Any], shape: dict[str, Any]) -> None:
    """The three shapes are those that were documented or observed."""
    response = await post(GatewaySimulator([Refuses(400, "no")], quirks=GatewayQuirks(**body)), HELLO)
    assert (response.status_code, response.json()) == (400, shape)


@pytest.mark.parametrize(
    ("quirks", "body", "status", "said"),
    [
        (
            GatewayQuirks(unsupported=frozenset({"response_format"})),
            HELLO | {"response_format": {"type": "json_object"}},
            400,
            "model m does not support response_format",
        ),
        (
            GatewayQuirks(refuses_parts=True),
            HELLO | {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]},
            500,
            "internal error",
        ),
        *[
            (
                GatewayQuirks(refuses_empty_arguments=True),
                {
                    "model": "claude-x",
                    "messages": [
                        {"role": "user", "content": "Hello?"},
                        {
                            "role": "assistant",
                            "tool_calls": [{"id": "a", "function": {"name": "t", "arguments": empty}}],
                        },
                        {"role": "tool", "tool_call_id": "a", "content": "1"},
                    ],
                },
                400,
                "Field required",
            )
            for empty in ("", "{}", " {} ")
        ],
        *[
            (
                GatewayQuirks(refuses_keywords=True),
                {
                    **HELLO,
                    "model": "gemini-x",
                    "tools": [{"type": "function", "function": {"name": "t", "parameters": s}}],
                },
                400,
                f'Unknown name "{keyword}"',
            )
            for keyword, s in (
                ("additionalProperties", {"type": "object", "additionalProperties": False}),
                ("title", {"properties": {"title": {"title": "Title"}}}),
                ("exclusiveMinimum", {"properties": {"n": {"anyOf": [{"exclusiveMinimum": 0}]}}}),
            )
        ],
    ],
)
async def test_what_the_gateway_refuses(quirks: GatewayQuirks, body: dict[str, Any], status: int, said: str) -> None:
    """With its switch on, a request is refused that is answered without it."""
    refused = await post(GatewaySimulator([Says("Hi.")], quirks=quirks), body)
    assert refused.status_code == status
    assert said in refused.json()["error"]["message"]
    assert (await post(GatewaySimulator([Says("Hi.")], quirks=PLAIN), body)).status_code == 200


async def test_a_propertys_name_is_no_keyword() -> None:
    """A property may have the name of a keyword."""
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "default": {"enum": [{"const": 1}]}}}
    tool = {"type": "function", "function": {"name": "t", "parameters": schema}}
    body = HELLO | {"model": "gemini-x", "tools": [tool]}
    response = await post(GatewaySimulator([Says("Hi.")], quirks=GatewayQuirks(refuses_keywords=True)), body)
    assert response.status_code == 200


@pytest.mark.parametrize("key", [KEY, f"Bearer {KEY}"])
async def test_the_key_is_taken_bare_and_as_a_bearer(key: str) -> None:
    """The gateway accepts both forms of the key, and refuses another key as an authentication error."""
    assert (await post(GatewaySimulator([Says("Hi.")], api_key=KEY), HELLO, authorization=key)).status_code == 200
    refused = await post(GatewaySimulator([Says("Hi.")], api_key=KEY), HELLO, authorization="wrong")
    assert (refused.status_code, refused.json()["status"]) == (401, "error")
    assert KEY not in refused.text


async def test_the_catalogue_is_open_to_all() -> None:
    """The list of models, and what each supports, needs no key."""
    quirks = GatewayQuirks(streams=False, unsupported=frozenset({"tools", "tool_choice"}))
    gateway = GatewaySimulator([], quirks=quirks, api_key=KEY, models=["gpt-oss-20b"])
    async with gateway.serve() as base_url, httpx.AsyncClient() as client:
        (model,) = (await client.get(f"{base_url}/models")).json()["data"]
    assert (model["id"], model["supported_parameters"]) == (
        "gpt-oss-20b",
        ["max_tokens", "response_format", "temperature"],
    )


# --- its own retry, its limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "took_s", "status"),
    [
        ({}, 0.7, 200),
        ({"fallback_config": {"depth": 1}}, 0.7, 200),
        ({"fallback_config": {"retry": False}}, 0.1, 503),
        ({"fallbacks": [{"model": "n"}]}, 0.2, 200),
    ],
)
async def test_a_server_error_is_tried_again_unseen(fields: dict[str, Any], took_s: float, status: int) -> None:
    """Half a second after a server error the gateway retries, unless the request forbids it or has fallbacks."""
    gateway = GatewaySimulator([Refuses(503, "busy", after_s=0.1), Says("Hi.", after_s=0.1)])
    response = await post(gateway, HELLO | fields)
    (request,) = gateway.requests
    assert request.ended_s is not None
    assert (round(request.ended_s - request.received_s, 3), response.status_code) == (took_s, status)


@pytest.mark.parametrize(
    ("fields", "broken", "model", "status"),
    [
        ({}, 1, "n", 200),
        ({}, 2, "", 503),
        ({"fallback_config": {"depth": 2}}, 2, "o", 200),
        ({"fallback_config": {"depth": 3}}, 0, "", 400),
        ({"fallbacks": "n"}, 0, "", 400),
        ({"fallbacks": [{}]}, 0, "", 400),
    ],
)
async def test_fallbacks_reply_in_their_turn(fields: dict[str, Any], broken: int, model: str, status: int) -> None:
    """After a server error the next of the named models is asked, as many as the request allows."""
    asked: list[str] = []

    def answer(request: ChatRequest) -> Reply:
        asked.append(request.model)
        return Refuses(503, "busy") if len(asked) <= broken else Says("Hi.")

    response = await post(GatewaySimulator(answer), HELLO | {"fallbacks": [{"model": "n"}, {"model": "o"}]} | fields)
    assert (response.status_code, response.json().get("model", "")) == (status, model)
    assert asked == ([HELLO["model"], "n", "o"][: len(asked)])


async def test_a_refusal_is_not_tried_again_unseen() -> None:
    """A 400 is not retried, because it would be a 400 again."""
    gateway = GatewaySimulator([Refuses(400, "no"), Says("Hi.")])
    assert (await post(gateway, HELLO)).status_code == 400
    assert len(gateway.script.unused) == 1


async def test_requests_are_limited_by_the_minute() -> None:
    """The headers count down for each model; one request too many is refused until the window ends."""
    gateway = GatewaySimulator(lambda _: Says("Hi."), quirks=GatewayQuirks(requests_per_minute=2))
    found: list[tuple[int, str, str, str | None]] = []
    async with gateway.serve() as base_url, httpx.AsyncClient() as client:
        for model, wait_s in (("a", 10), ("a", 10), ("b", 0), ("a", 40), ("a", 0)):
            response = await client.post(f"{base_url}/chat/completions", json=HELLO | {"model": model})
            told = response.headers
            left = told["x-ratelimit-remaining"], told["x-ratelimit-reset"]
            found.append((response.status_code, *left, told.get("retry-after")))
            await anyio.sleep(wait_s)
    assert found == [
        (200, "1", "60", None),
        (200, "0", "50", None),
        (200, "1", "60", None),
        (429, "0", "40", "40"),
        (200, "1", "60", None),
    ]


# --- on the wire ------------------------------------------------------------------------------------------------------


async def test_each_switch_is_seen_on_the_wire() -> None:
    """A switch changes the events of a stream as described; without switches they are OpenAI's."""

    async def seen(**switches: Any) -> list[Any]:
        gateway = GatewaySimulator([Calls("t", "{}", call_id="c")], quirks=GatewayQuirks(**switches))
        return events(await post(gateway, STREAM | {"model": "m"}))

    plain = await seen()
    first_call = {"index": 0, "id": "c", "type": "function", "function": {"name": "t", "arguments": ""}}
    assert plain[1]["choices"][0]["delta"] == {"tool_calls": [first_call]}
    assert plain[-1] == "[DONE]"
    assert all("usage" not in event for event in plain[:-1])

    blank = (await seen(blank_tool_delta=True))[1]["choices"][0]["delta"]["tool_calls"]
    assert blank == [{"index": 0, "type": "function", "function": {"id": "", "name": "", "arguments": ""}}]
    thoughts = [event["choices"][0]["delta"] for event in (await seen(thoughts="field"))[1:3]]
    assert thoughts == [{"content": None, "reasoning_content": word} for word in ("The", " caller")]
    repeated = (await seen(calls_as_text="repeated"))[1]["choices"][0]["delta"]
    assert repeated == {"content": "t", "tool_calls": [first_call]}
    for spelling, text in (
        ("tags", '<tool_call>\n{"name": "t", "arguments": {}}\n</tool_call>'),
        ("brackets", '[TOOL_CALLS][{"name": "t", "arguments": {}}]'),
        ("json", '{"name": "t", "parameters": {}}'),
    ):
        written = await seen(calls_as_text=spelling, end_mark="<|im_end|>")
        deltas = [event["choices"][0]["delta"] for event in written[:-1]]
        assert "".join(delta.get("content", "") for delta in deltas) == f"{text}<|im_end|>"
        assert written[-2]["choices"][0]["finish_reason"] == "stop"
    nested = (await seen(nested_call_id=True))[1]["choices"][0]["delta"]["tool_calls"][0]
    assert nested == {"index": 0, "type": "function", "function": {"name": "t", "arguments": "", "id": "c"}}
    assert (await seen(vendor_reasons=True))[-2]["choices"][0]["finish_reason"] == "tool_use"
    assert (await seen(null_choices=True))[0]["choices"] is None
    assert (await seen(usage="last"))[-2]["choices"] == []
    assert (await seen(usage="last"))[-2]["usage"]["completion_tokens"] == 3
    assert all("usage" in event for event in (await seen(usage="every"))[:-1])
    assert (await seen(sends_done=False)) == plain[:-1]
    assert {event["model"] for event in (await seen(other_model="n"))[:-1]} == {"n"}


async def test_without_switches_it_is_the_scripted_gateway() -> None:
    """A stream with everything off is the scripted service's, byte for byte."""
    from voicepipe.testing import ScriptedGateway

    script: list[Reply] = [Says("Hello there.")]
    body = STREAM | {"stream_options": {"include_usage": True}}
    ours = await post(GatewaySimulator(script, quirks=PLAIN), body)
    async with ScriptedGateway(script).serve() as base_url, httpx.AsyncClient() as client:
        theirs = await client.post(f"{base_url}/chat/completions", json=body)
    assert [event | {"created": 0} for event in events(ours)[:-1]] == [
        event | {"created": 0} for event in events(theirs)[:-1]
    ]


@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_whole_answer_can_break(cleanly: bool) -> None:
    """A reply that breaks is cut in the middle of its body, or has no finish reason."""
    gateway = GatewaySimulator([Breaks("Hel", cleanly=cleanly)], quirks=PLAIN)
    if cleanly:
        assert (await post(gateway, HELLO)).json()["choices"][0]["finish_reason"] is None
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(gateway, HELLO)


# --- the vendor's own client ------------------------------------------------------------------------------------------


async def test_the_vendors_client_reads_it() -> None:
    """The catalogue, a whole answer with a call, and a stream are what the vendor's client expects."""
    gateway = GatewaySimulator([Calls("find_order", {"number": 42}), Says("Hello there.")], api_key=KEY)
    settings = assemblyai.settings.copy()
    settings.api_key = KEY
    async with gateway.serve() as base_url:
        settings.llm_gateway_base_url = base_url.removesuffix("/v1")
        async with assemblyai.AsyncClient(settings=settings) as client:
            llm = assemblyai.AsyncLLMGateway(client=client)
            models = await llm.models.list()
            messages = [{"role": "user", "content": "Hello?"}]
            whole = await llm.chat.completions.create(model="m", messages=messages, tools=TOOLS)
            stream = await llm.chat.completions.create(model="m", messages=messages, stream=True)
            chunks = [chunk async for chunk in stream]

    assert [model.id for model in models.data][:1] == ["gpt-5.2"]
    call = whole.choices[0].message.tool_calls[0]
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == (
        "call_1",
        "find_order",
        {"number": 42},
    )
    assert (whole.usage.input_tokens, whole.usage.total_tokens) == (2, 10)
    words = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices or ())
    assert (words, chunks[-1].usage.completion_tokens) == ("Hello there.", 3)
