"""Who may connect, what ends a connection, and what does not."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import voicepipe as vp
from tests.helpers.realtime_client import connected, ears, scripted, serving
from voicepipe.serving import Limits, Realtime, Serve
from voicepipe.testing import Says, ScriptedRecogniser

pytestmark = pytest.mark.anyio


def agent() -> vp.Pipeline:
    return scripted(ears(), lambda request: Says(f"You said {request.last_user_text}"))[0]


def bearer(key: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {key}"}}


async def refused(port: int, **options: Any) -> tuple[int, str]:
    """Return the status and the words with which the server refuses."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime", proxy=None, **options):
            pass
    response = caught.value.response
    return response.status_code, (response.body or b"").decode()


KEYS: list[tuple[dict[str, Any], int]] = [
    ({}, 401),
    (bearer("sk-wrong"), 401),
    (bearer("sk-right-and-more"), 401),
    (bearer("schlüssel"), 401),
    ({"additional_headers": {"Authorization": "Basic c2s="}}, 401),
    ({"subprotocols": ["realtime", "openai-insecure-api-key.sk-wrong"]}, 401),
]


@pytest.mark.parametrize(("options", "status"), KEYS)
async def test_a_wrong_key_is_refused_before_the_connection(options: dict[str, Any], status: int) -> None:
    """A client without the key gets 401, and no session."""
    async with serving(agent(), Realtime(key="sk-right")) as port:
        found, said = await refused(port, **options)
    assert (found, "key" in said, "sk-" in said) == (status, True, False)


@pytest.mark.parametrize("key", ["sk-one", "sk-two"])
async def test_each_key_opens(key: str) -> None:
    """Several keys may be valid at a time, so that one can be replaced."""
    async with serving(agent(), Realtime(keys=["sk-one", "sk-two"])) as port, connected(port, **bearer(key)) as client:
        await client.wait("session.created")


async def test_a_browser_shows_its_key_as_a_subprotocol() -> None:
    """Browsers cannot set headers; the connection has the subprotocol `realtime`, and the key is not sent back."""
    offered = ["realtime", "openai-insecure-api-key.sk-right"]
    async with serving(agent(), Realtime(key="sk-right")) as port:
        async with connect(f"ws://127.0.0.1:{port}/v1/realtime", subprotocols=offered, proxy=None) as socket:
            assert socket.subprotocol == "realtime"


async def test_the_application_says_whose_key_it_is() -> None:
    """What `authenticate` knows are the facts of the session; a stranger is refused."""
    seen: list[Mapping[str, Any]] = []

    async def owner(key: str) -> Mapping[str, Any] | None:
        return {"customer": 7} if key == "sk-ada" else None

    settings: dict[str, Any] = {"on_call": lambda session: seen.append(session.facts)}
    async with serving(agent(), Realtime(authenticate=owner), **settings) as port:
        assert (await refused(port, **bearer("sk-bob")))[0] == 401
        async with connected(port, **bearer("sk-ada")) as client:
            await client.says("Hello.")
            await client.wait("response.done")
    assert [facts["customer"] for facts in seen] == [7]


async def test_a_page_of_another_site_may_not_connect_without_a_key() -> None:
    """A page that the user happens to look at cannot use the server on their machine."""
    async with serving(agent()) as port:
        assert (await refused(port, origin="https://evil.example"))[0] == 403
        async with connected(port, origin=f"http://127.0.0.1:{port}") as client:
            await client.wait("session.created")


async def test_an_old_client_is_refused_in_words() -> None:
    """Clients of the beta get 400, and the reason."""
    async with serving(agent()) as port:
        status, said = await refused(port, additional_headers={"OpenAI-Beta": "realtime=v1"})
    assert (status, "OpenAI-Beta" in said) == (400, True)


async def test_deflate_is_declined_and_the_call_goes_on() -> None:
    """A client that offers compression talks without it."""
    async with serving(agent()) as port, connected(port, compression="deflate") as client:
        await client.says("Hello.")
        await client.wait("response.done")
    assert client.status() == ("completed", None)


async def test_two_clients_have_two_conversations() -> None:
    """What one client hears, the other does not."""
    async with serving(agent()) as port, connected(port) as one, connected(port) as other:
        await one.says("one")
        await other.says("two")
        texts = []
        for client in (one, other):
            done = await client.wait("response.done")
            texts.append(done["response"]["output"][0]["content"][0]["transcript"])
    assert texts == ["You said one", "You said two"]


async def test_a_client_that_connects_again_begins_anew() -> None:
    """A new connection is a new session, which knows nothing of the old one."""
    sessions = []
    async with serving(agent()) as port:
        for _ in range(2):
            async with connected(port) as client:
                await client.says("Hello.")
                await client.wait("response.done")
                await client.send("conversation.item.retrieve", item_id="item_1")
                await client.wait("conversation.item.retrieved")
                sessions.append(client.of("session.created")[0]["session"]["id"])
    assert sessions[0] != sessions[1]


MALFORMED: list[str | bytes] = [
    b"\0\0",
    "hello",
    "[" * 100_000,
    "[]",
    "{}",
    '{"type": "session.fly"}',
    '{"type": "session.update", "session": {"type": "transcription"}}',
    json.dumps({"type": "input_audio_buffer.append", "audio": "***"}),
    json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(b"abc").decode()}),
    json.dumps({"type": "input_audio_buffer.append", "audio": "A" * (256 * 1024 + 4)}),
    json.dumps({"type": "conversation.item.create", "item": {"type": "mcp_call"}}),
]


async def test_no_message_ends_the_call_by_its_content() -> None:
    """Each malformed message is an error, also as the first one, and the call goes on."""
    async with serving(agent()) as port, connected(port) as client:
        for count, message in enumerate(MALFORMED, 1):
            await client.send_text(message)
            await client.wait("error", count)
        await client.says("Hello.")
        await client.wait("response.done")
    assert client.code == 0


async def test_too_much_audio_ends_the_call() -> None:
    """More than 1.5 times real time for long is no call: 1008. A clip of a few seconds at once is fine."""
    async with serving(agent()) as port, connected(port) as client:
        await client.speak(9.0, at_once=True)
        await anyio.sleep(1.0)
        assert client.code == 0
        await client.speak(3.0, at_once=True)
        assert await client.wait_closed() == 1008


@pytest.mark.parametrize("name", ["audio/pcmu", "audio/pcma"])
async def test_a_telephone_format_is_heard_and_spoken(name: str) -> None:
    """In G.711 both sides are 8 kHz, a byte a sample."""
    ears = ScriptedRecogniser(sample_rate=8_000).says("Hi.", at_s=0.5)
    pipeline, _ = scripted(ears, [Says("Sunny.")], sample_rate=8_000)
    settings = {"type": "realtime", "audio": {side: {"format": {"type": name}} for side in ("input", "output")}}
    async with serving(pipeline) as port, connected(port) as client:
        await client.send("session.update", session=settings)
        for _ in range(6):
            await client.send("input_audio_buffer.append", audio=base64.b64encode(b"\xff" * 800).decode())
            await anyio.sleep(0.1)
        await client.wait("response.done")
    data = b"".join(base64.b64decode(event["delta"]) for event in client.of("response.output_audio.delta"))
    assert len(data) == 2_400  # 0.3 s


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": ""}, "a key is empty"),
        ({"keys": "sk-one"}, "keys is a list"),
        ({"allow": {"model"}}, "allow names model; it may name instructions, tools, voice"),
        ({"path": "realtime"}, 'path begins with "/"'),
        ({"tool_s": 0}, "tool_s must be seconds"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    """What is wrong is said when the transport is made."""
    with pytest.raises(vp.ConfigurationError, match=said):
        Realtime(**options)


def test_only_a_key_proves_who_calls() -> None:
    """Without a key the server listens on this machine only."""
    assert (Realtime().proof, Realtime(key="sk").proof) == ("", "a key")


async def test_a_key_for_one_connection_is_good_for_its_own_transport() -> None:
    """A server may have two of them, of which one allows more; a key that one has issued does not open the other."""
    free = Realtime(key="sk-free", path="/free", allow={"instructions"})
    free.name = "free"
    async with Serve(agent(), [Realtime(key="sk-right"), free]).listening() as port:
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.post(
                f"http://127.0.0.1:{port}/v1/realtime/client_secrets", headers={"Authorization": "Bearer sk-right"}
            )
        key = bearer(reply.json()["value"])
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://127.0.0.1:{port}/free", proxy=None, **key):
                pass
    assert caught.value.response.status_code == 401


async def test_a_key_that_nobody_knows_in_time() -> None:
    """An `authenticate` that does not return within `start_s` costs its request, and the refusal is counted."""

    async def authenticate(_: str) -> None:
        await anyio.sleep_forever()

    serve = Serve(agent(), [Realtime(authenticate=authenticate)], limits=Limits(start_s=1))
    async with serve.listening() as port, httpx.AsyncClient(trust_env=False) as http:
        url = f"http://127.0.0.1:{port}/v1/realtime/client_secrets"
        reply = await http.post(url, headers={"Authorization": "Bearer sk-some"})
    counted = serve.desk.metrics.registry.get_sample_value("voicepipe_refused_total", {"reason": "start"})
    assert (reply.status_code, reply.json()["error"]["code"], counted) == (503, "start", 1)
