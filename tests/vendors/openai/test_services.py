"""What the services in use need in addition to the format, and what another service is asked for by its errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.questions import agent, ask, ask_raw, redirect_all
from tests.helpers.raw_server import END, HEAD, RawServer, answer, text
from voicepipe.errors import AuthenticationError, ConfigurationError
from voicepipe.flow import Sentence
from voicepipe.testing import Says, ScriptedGateway
from voicepipe.vendors.openai.speech import OpenAITTS

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a"

SERVICES = [
    ("https://api.openai.com/v1", "OPENAI_API_KEY", "authorization: Bearer ", "max_completion_tokens"),
    ("https://eu.api.openai.com/v1", "OPENAI_API_KEY", "authorization: Bearer ", "max_completion_tokens"),
    ("https://ada.openai.azure.com/openai/v1", "AZURE_OPENAI_API_KEY", "api-key: ", "max_completion_tokens"),
    (
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        "GEMINI_API_KEY",
        "authorization: Bearer ",
        "max_tokens",
    ),
    ("https://api.groq.com/openai/v1", "GROQ_API_KEY", "authorization: Bearer ", "max_completion_tokens"),
    ("https://api.mistral.ai/v1", "MISTRAL_API_KEY", "authorization: Bearer ", "max_tokens"),
    ("https://api.deepseek.com", "DEEPSEEK_API_KEY", "authorization: Bearer ", "max_tokens"),
    ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "authorization: Bearer ", "max_tokens"),
    ("https://llm-gateway.assemblyai.com/v1", "ASSEMBLYAI_API_KEY", "authorization: ", "max_tokens"),
]


@pytest.mark.parametrize(("url", "variable", "header", "field"), SERVICES)
async def test_a_known_service_gets_its_own_key_and_its_own_limit(
    url: str, variable: str, header: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is read from the service's usual variable and sent in its header; the limit is in the field it takes."""
    monkeypatch.setenv(variable, KEY)
    server = RawServer([HEAD, text("Very well."), END])
    async with server.serve() as base_url:
        redirect_all(monkeypatch, base_url)
        asked = await ask(url)

    (request,) = server.requests
    keys = [line for line in request.headers.splitlines() if KEY in line]
    assert keys == [f"{header}{KEY}"]
    assert {name: value for name, value in request.body.items() if name.startswith("max_")} == {field: 300}
    assert asked.said == "Very well."


@pytest.mark.parametrize(("url", "variable"), [row[:2] for row in SERVICES])
async def test_a_known_service_without_its_key_is_not_opened(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key the error names the variable, for a language model as for a voice."""
    monkeypatch.delenv(variable, raising=False)
    for part in (vp.LLMStreamStage(base_url=url, model="m"), OpenAITTS(base_url=url)):
        with pytest.raises(AuthenticationError, match=f"the environment variable {variable} is not set"):
            async with part.open():
                pytest.fail("opened without a key")


async def test_only_its_own_host_gets_a_key_that_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that only looks like a known one gets no key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = RawServer([HEAD, text("Very well."), END])
    async with server.serve() as base_url:
        redirect_all(monkeypatch, base_url)
        for host in ("api.openai.com.example.org", "myapi.openai.com", "openai.com"):
            await ask(f"https://{host}/v1")

    assert all(KEY not in request.headers for request in server.requests)
    assert all("max_tokens" in request.body for request in server.requests)


# --- behind a gateway -------------------------------------------------------------------------------------------------


async def test_headers_and_parameters_go_with_each_request() -> None:
    """A language model sends them with the request that warms its connection and with each other, a voice as well."""
    gateway, voice = ScriptedGateway([Says("Very well.")]), RawServer([answer("200 OK", b"\0\0", kind="audio/pcm")])
    extras: dict[str, Any] = {"headers": {"X-Tenant": "ada"}, "params": {"api-version": "2024-10-21"}}
    async with gateway.serve() as base_url:
        await ask(base_url, **extras)
    async with voice.serve() as base_url:
        tts = OpenAITTS(base_url=base_url, **extras)
        async with tts.open():
            assert [piece async for piece in tts.synthesize(Sentence("Hello."))] == [b"\0\0"]

    paths = ["/v1/models?api-version=2024-10-21", "/v1/chat/completions?api-version=2024-10-21"]
    assert sorted({request.path for request in gateway.requests}) == sorted(paths)
    assert all(request.headers["x-tenant"] == "ada" for request in gateway.requests)
    head = voice.requests[0].headers
    assert head.startswith("POST /v1/audio/speech?api-version=2024-10-21 ")
    assert "x-tenant: ada" in head


async def test_a_header_of_the_application_takes_the_place_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of another kind is sent as it is, and the usual variable is not needed."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server = RawServer([HEAD, text("Very well."), END])
    async with server.serve() as base_url:
        redirect_all(monkeypatch, base_url)
        await ask("https://api.openai.com/v1", headers={"Authorization": f"Bearer {KEY}"})
    assert f"authorization: Bearer {KEY}" in server.requests[0].headers

    with pytest.raises(ConfigurationError, match="headers hold authorization already"):
        vp.LLMStreamStage(base_url="https://a.com/v1", model="m", headers={"authorization": KEY}, api_key=KEY)


async def test_a_key_in_a_parameter_is_not_shown() -> None:
    """An error that quotes the service shows neither a key of a header nor one of a parameter."""
    refusal = [answer("400 Bad Request", f"bad {KEY}".encode())]
    for extras in ({"params": {"key": KEY}}, {"headers": {"x-api-key": KEY}}):
        asked, _ = await ask_raw(refusal, **extras)
        assert "bad ***" in str(asked.end.error)


# --- options that another service needs -------------------------------------------------------------------------------


async def test_the_field_of_the_limit_is_an_option() -> None:
    """One field carries the limit: the one that is set, or the one that further fields of the body hold."""
    gateway = ScriptedGateway([Says("Very well.")] * 3)
    limits: list[dict[str, int]] = []
    async with gateway.serve() as base_url:
        await ask(base_url, max_tokens_field="max_completion_tokens")
        await ask(base_url, max_tokens_field="max_completion_tokens", max_tokens=None)
        await ask(base_url, extra_body={"max_completion_tokens": 7})
    for body in (request.body for request in gateway.requests if request.method == "POST"):
        assert isinstance(body, dict)
        limits.append({name: value for name, value in body.items() if name.startswith("max_")})  # type: ignore[misc]
    assert limits == [{"max_completion_tokens": 300}, {}, {"max_completion_tokens": 7}]

    with pytest.raises(ConfigurationError, match="max_tokens_field must be 'max_tokens' or 'max_completion_tokens'"):
        vp.LLMStreamStage(base_url="https://a.com/v1", model="m", max_tokens_field="n")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            'set max_tokens_field="max_completion_tokens"',
        ),
        ("Unrecognized request argument supplied: max_completion_tokens", 'set max_tokens_field="max_tokens"'),
        ("Extra inputs are not permitted: max_completion_tokens", 'set max_tokens_field="max_tokens"'),
        ("Unsupported value: 'temperature' does not support 0.5 with this model.", "set temperature=None"),
        ("Missing required query parameter: api-version", "set params={'api-version': '...'}"),
    ],
)
async def test_a_refusal_of_a_default_names_the_option_that_helps(words: str, advice: str) -> None:
    """A refusal of what the library sends by itself ends with the option that changes it; it is not sent again."""
    body = json.dumps({"error": {"message": words, "type": "invalid_request_error"}}).encode()
    asked, server = await ask_raw([answer("400 Bad Request", body)])

    assert str(asked.end.error).endswith(f"; {advice}")
    assert len(server.requests) == 1


async def test_any_other_refusal_gets_no_advice() -> None:
    """A refusal for another reason ends as the service wrote it."""
    for words in (
        "max_tokens is too large: 300",
        "models/m is not in API version v1beta",
        "Invalid content type",
    ):
        asked, _ = await ask_raw([answer("400 Bad Request", words.encode())])
        assert str(asked.end.error).endswith(words)


async def test_a_404_names_the_path() -> None:
    """A base URL that ends too early or too late is seen in the error."""
    asked, _ = await ask_raw([answer("404 Not Found", b"")])
    assert "answered HTTP 404 for the path /v1/chat/completions: (empty); is base_url right?" in str(asked.end.error)


def test_the_parts_show_no_key() -> None:
    """The description of a part holds no header and no parameter."""
    stage = vp.LLMStreamStage(base_url="https://a.com/v1", model="m", headers={"api-key": KEY}, params={"key": KEY})
    assert KEY not in repr(stage)
    assert KEY not in repr(agent(stage))
