"""The model over HTTP: connections, and which key goes where."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.questions import agent, ask, calling, redirect_all
from tests.helpers.raw_server import END, HEAD, Act, RawServer, answer, data, text
from voicepipe.errors import AuthenticationError, ConfigurationError
from voicepipe.testing import RecordingOutput, Says, ScriptedGateway, ScriptedVoice
from voicepipe.testing.simulators.gateway import GatewaySimulator

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a"
WELL = "Very well."
OTHER = "https://api.example.com/v1"


@pytest.mark.parametrize(("options", "sent"), [({}, None), ({"api_key": KEY}, "***")])
async def test_a_gateway_on_this_machine_is_named_by_its_endpoint_alone(
    options: dict[str, str], sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a model the service is AssemblyAI's gateway: its model, its bare key, no hidden retry. A simulator
    needs no key, and does not get the one of the environment."""
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", "sk-of-the-environment")
    gateway = GatewaySimulator([Says(WELL)], **options)
    async with gateway.serve() as base_url:
        row = vp.Pipeline(vp.LLMStreamStage(base_url=base_url, **options), vp.SentenceChunker(), ScriptedVoice())
        async with row.session(output=RecordingOutput()) as session:
            turn = await session.user_says("Hello")
    assert turn.failure is None
    (asked,) = [request for request in gateway.requests if request.method == "POST"]
    assert asked.headers.get("authorization") == sent
    assert asked.body["model"] == "gpt-5.2"
    assert asked.body["fallback_config"] == {"retry": False}


async def test_turns_share_a_connection() -> None:
    """The connection that opening made serves every turn: responses are read to their end."""
    gateway = ScriptedGateway(lambda _: Says(WELL))
    async with gateway.serve() as base_url, calling(base_url) as session:
        with anyio.fail_after(1.0):
            while not gateway.requests:  # noqa: ASYNC110 - a gateway only lists its requests
                await anyio.sleep(0.001)
            await gateway.requests[0].wait_ended()
        for _ in range(3):
            await session.user_says("Hello")

    assert [(request.method, request.connection) for request in gateway.requests] == [
        ("GET", 1),
        ("POST", 1),
        ("POST", 1),
        ("POST", 1),
    ]


async def test_an_interruption_closes_the_request() -> None:
    """Interrupting a turn closes its request at that moment, and the next turn is answered."""
    gateway = ScriptedGateway([Says("This takes a while to say. " * 9, token_s=0.1), Says(WELL)])
    async with gateway.serve() as base_url, calling(base_url) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Tell me everything")
        await anyio.sleep(0.35)
        session.interrupt()
        interrupted_s = anyio.current_time()
        await session.user_says("Stop. How are you?")
        first, second = [request for request in gateway.requests if request.method == "POST"]
        assert first.closed_by_client_s is not None
        assert round(first.closed_by_client_s - interrupted_s, 6) == 0.0
        assert second.closed_by_client_s is None


async def test_many_interruptions_leave_nothing_behind() -> None:
    """A hundred requests, each interrupted twice, are all closed; the next turn is answered."""
    gateway = ScriptedGateway(lambda chat: Says(WELL, after_s=0.0 if chat.last_user_text.endswith("now?") else 60.0))
    async with gateway.serve() as base_url, calling(base_url) as session, anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(session.user_says, f"Question {number}")
            await anyio.sleep(0.001 * (number % 5))
            session.interrupt()
            session.interrupt()
        turn = await session.user_says("And now?")
        assert turn.speech.heard_until(60.0) == {0: WELL}

    assert all(request.ended_s is not None for request in gateway.requests)


async def test_a_session_opens_while_the_service_is_away() -> None:
    """A connection that cannot be warmed does not keep a session from opening."""
    async with RawServer([]).serve() as base_url:
        pass
    async with calling(base_url) as session:
        assert not session.is_busy


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_the_key_is_sent_as_a_bearer() -> None:
    """The key goes into the authorization header, without the white space that came with it."""
    gateway = ScriptedGateway([Says(WELL)], api_key=KEY)
    async with gateway.serve() as base_url:
        asked = await ask(base_url, api_key=f" {KEY}\n")

    assert asked.said == WELL


async def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is read when the pipeline is opened, not before."""
    gateway = ScriptedGateway([Says(WELL)], api_key=KEY)
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="m", api_key_env="VOICEPIPE_TEST_KEY")
        monkeypatch.setenv("VOICEPIPE_TEST_KEY", KEY)
        async with agent(stage).session() as session:
            turn = await session.user_says("Hello")

    assert turn.failure is None


@pytest.mark.parametrize("value", [None, "", "  "])
async def test_a_missing_key_is_reported_before_any_request(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its key the pipeline does not open; the error names the variable, and nothing is sent."""
    monkeypatch.delenv("VOICEPIPE_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("VOICEPIPE_TEST_KEY", value)
    gateway = ScriptedGateway([])
    async with gateway.serve() as base_url:
        with pytest.raises(AuthenticationError, match="VOICEPIPE_TEST_KEY is not set"):
            async with calling(base_url, api_key_env="VOICEPIPE_TEST_KEY"):
                pytest.fail("opened without a key")

    assert gateway.requests == []


# --- AssemblyAI's LLM Gateway -----------------------------------------------------------------------------------------


GATEWAY = "llm-gateway.assemblyai.com"
NO_RETRY = {"fallback_config": {"retry": False}}


@pytest.mark.parametrize(
    ("options", "host", "model", "key", "extra"),
    [
        pytest.param({}, GATEWAY, "gpt-5.2", f"authorization: {KEY}", NO_RETRY, id="alone"),
        pytest.param(
            {"base_url": "https://llm-gateway.eu.assemblyai.com/v1", "model": "small"},
            "llm-gateway.eu.assemblyai.com",
            "small",
            f"authorization: {KEY}",
            NO_RETRY,
            id="in the EU",
        ),
        pytest.param({"api_key": "other"}, GATEWAY, "gpt-5.2", "authorization: other", NO_RETRY, id="a key of its own"),
        pytest.param(
            {"extra_body": {"fallbacks": [{"model": "small"}]}},
            GATEWAY,
            "gpt-5.2",
            f"authorization: {KEY}",
            {"fallbacks": [{"model": "small"}]},
            id="fallbacks",
        ),
        pytest.param(
            {"extra_body": {"fallback_config": {"retry": True}}},
            GATEWAY,
            "gpt-5.2",
            f"authorization: {KEY}",
            {"fallback_config": {"retry": True}},
            id="its own retry wanted",
        ),
        pytest.param(
            {"base_url": OTHER, "model": "m"}, "api.example.com", "m", None, {}, id="another host gets no key"
        ),
        pytest.param(
            {"base_url": f"https://{GATEWAY}.example.com/v1", "model": "m"},
            f"{GATEWAY}.example.com",
            "m",
            None,
            {},
            id="a host that only looks like it",
        ),
        pytest.param(
            {"base_url": OTHER, "model": "m", "api_key_env": "ASSEMBLYAI_API_KEY"},
            "api.example.com",
            "m",
            f"authorization: Bearer {KEY}",
            {},
            id="named for another host",
        ),
    ],
)
async def test_which_host_gets_which_key(
    options: dict[str, Any],
    host: str,
    model: str,
    key: str | None,
    extra: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By default it is the gateway, with its bare key and its retry off; no other host gets that key unless named."""
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", KEY)
    server = RawServer([HEAD, text(WELL), END])
    async with server.serve() as base_url:
        meant = redirect_all(monkeypatch, base_url)
        async with agent(vp.LLMStreamStage(**options)).session() as session:
            assert (await session.user_says("How are you?")).failure is None

    (request,) = server.requests
    assert {url.host for url in meant} == {host}
    assert {url.path for url in meant} == {"/v1/models", "/v1/chat/completions"}
    keys = [line for line in request.headers.splitlines() if line.lower().startswith("authorization")]
    assert keys == ([key] if key else [])
    said = {"messages": [{"role": "user", "content": "How are you?"}]}
    assert request.body == {"model": model, "stream": True, "max_tokens": 300, **extra, **said}


@pytest.mark.parametrize(
    "options",
    [{"base_url": OTHER}, {"base_url": OTHER, "api_key": KEY}, {"base_url": "http://llm-gateway.assemblyai.com/v1"}],
    ids=str,
)
def test_the_gateways_defaults_are_its_own(options: dict[str, Any]) -> None:
    """No other service has a default model, and the gateway's key is not sent in the clear."""
    with pytest.raises(ConfigurationError):
        vp.LLMStreamStage(**options)


async def test_without_the_gateways_key_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the gateway is not opened, and the error names the variable."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    with pytest.raises(AuthenticationError, match="the environment variable ASSEMBLYAI_API_KEY is not set"):
        async with agent(vp.LLMStreamStage()).session():
            pytest.fail("opened without a key")


# --- never shown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param([answer("401 Unauthorized", f"Incorrect API key provided: {KEY}".encode())], id="401 quotes it"),
        pytest.param([answer("500 Internal Server Error", f"header was {KEY}".encode())], id="500 quotes it"),
        pytest.param([HEAD, data({"error": f"bad key {KEY}"})], id="an event quotes it"),
        pytest.param([HEAD, text("Well"), data({"error": f"bad key {KEY}"})], id="an event quotes it later"),
        pytest.param([answer("200 OK", f"who is {KEY}?".encode(), kind="text/html")], id="a page quotes it"),
        pytest.param([answer("302 Found", b"", "location: http://127.0.0.1:9/")], id="redirect"),
        pytest.param(["reset"], id="reset"),
        pytest.param([b"nonsense\r\n\r\n"], id="garbage"),
        pytest.param(["hold"], id="silence"),
    ],
)
async def test_the_key_is_never_shown(reply: list[Act], caplog: pytest.LogCaptureFixture) -> None:
    """Whatever fails, the key is in no repr, event, error, traceback, and no log record of any logger at DEBUG."""
    caplog.set_level(logging.DEBUG)
    shown = []
    async with RawServer(reply).serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="m", api_key=KEY)
        pipeline = agent(stage)
        async with pipeline.session() as session:
            turn = await session.user_says("Hello")
            shown += [repr(stage), repr(vars(stage)), repr(pipeline), repr(session), repr(turn), repr(vars(turn))]
    shown += [repr(event) async for event in session]
    shown += traceback.format_exception(turn.failure)
    shown += [json.dumps(session.history.to_json())]

    assert turn.failure is not None
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    assert KEY not in "\n".join([*shown, caplog.text, *(repr(vars(record)) for record in caplog.records)])


@pytest.mark.parametrize("key", [f"{KEY}\nx-evil: 1", f"\u201c{KEY}\u201d"])
async def test_a_key_that_no_header_can_carry_is_refused_unseen(key: str, caplog: pytest.LogCaptureFixture) -> None:
    """A key with a line end or a typographic quote inside is refused at opening, and is not quoted."""
    caplog.set_level(logging.DEBUG)
    async with RawServer([]).serve() as base_url:
        with pytest.raises(ConfigurationError, match="copy the key again") as raised:
            async with calling(base_url, api_key=key):
                pytest.fail("opened with a broken key")

    assert KEY not in "".join(traceback.format_exception(raised.value)) + caplog.text
