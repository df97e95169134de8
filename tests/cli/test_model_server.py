"""Which model --llm-url and --llm-model mean."""

from __future__ import annotations

import json

import pytest

from tests.helpers.get_server import GetServer
from voicepipe.cli._model_server import model_at
from voicepipe.errors import ConfigurationError

pytestmark = pytest.mark.anyio


def answer(status: str, body: object) -> bytes:
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
    return head.encode() + text


def listing(*names: str) -> bytes:
    return answer("200 OK", {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


@pytest.mark.parametrize(
    ("listed", "wanted", "found"),
    [
        (listing("llama3.2:latest"), None, "llama3.2:latest"),
        (listing("qwen3", "llama3.2:latest"), "llama3.2", "llama3.2"),
        (listing("qwen3", "gemma3"), "qwen3", "qwen3"),
        (answer("404 Not Found", {"error": "no such path"}), "mine", "mine"),  # it does not list any: it is trusted
        (answer("200 OK", {"models": []}), "mine", "mine"),
    ],
)
async def test_the_model_is_the_wanted_one_or_the_only_one(listed: bytes, wanted: str | None, found: str) -> None:
    """A server with one model needs no name, and none is sent a key."""
    server = GetServer(listed)
    async with server.serve() as url:
        assert await model_at(f"{url}/v1", wanted) == found
    assert server.asked[0].startswith("GET /v1/models ")
    assert "authorization" not in server.asked[0].lower()


@pytest.mark.parametrize(
    ("listed", "wanted", "said"),
    [
        (listing("a", "b"), None, "has several models; choose one with --llm-model: a, b$"),
        (listing(*"abcdefghij"), None, "--llm-model: a, b, c, d, e, f, g, h and more$"),
        (listing(), None, "has no model; load one, e.g. with `ollama pull"),
        (listing("a", "b"), "c", "--llm-model: .* has no model 'c'; it has a, b$"),
        (listing(), "c", "has no model 'c'; it has none"),
        (answer("404 Not Found", {}), None, "does not list its models; name one with --llm-model"),
        (answer("200 OK", []), None, "does not list its models"),
        (answer("401 Unauthorized", {}), None, "does not list its models"),
    ],
)
async def test_a_model_that_is_not_clear_is_asked_for(listed: bytes, wanted: str | None, said: str) -> None:
    """Several models, none, or not the wanted one: the error names what there is and what to do."""
    async with GetServer(listed).serve() as url:
        with pytest.raises(ConfigurationError, match=said):
            await model_at(f"{url}/v1", wanted)


async def test_no_server_is_an_error() -> None:
    """A server that does not run, and a URL that is none."""
    async with GetServer(b"").serve() as url:
        gone = url
    with pytest.raises(
        ConfigurationError, match=r"no server answers at http://127.* start it, e\.g\. with `ollama serve`"
    ):
        await model_at(f"{gone}/v1", None)
    with pytest.raises(ConfigurationError):
        await model_at("localhost", None)
