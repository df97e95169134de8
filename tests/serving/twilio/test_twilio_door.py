"""Who is let in by the transport for Twilio: each refusal comes before a session, and most before the upgrade."""

from __future__ import annotations

import base64
import hmac
import json
import logging
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import voicepipe as vp
from tests.helpers.telephone_calls import AUTH_TOKEN, PUBLIC, VOICE, agent, twilio_calls
from voicepipe.serving import Twilio
from voicepipe.testing.simulators._http import post
from voicepipe.testing.simulators.twilio import TwilioSimulator

pytestmark = pytest.mark.anyio

STREAM = "wss://voice.example.com/twilio"
FORM = {"CallSid": "CA1", "AccountSid": "AC1", "From": "+15550100", "To": "+15550199"}


def line(auth_token: Any = AUTH_TOKEN, **options: Any) -> Twilio:
    return Twilio(auth_token, **options)


def signed(url: str, form: dict[str, str] | None = None, token: str = AUTH_TOKEN) -> str:
    text = url + "".join(name + value for name, value in sorted((form or {}).items()))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), "sha1")).decode()


def with_one_bit_wrong(signature: str) -> str:
    digest = bytearray(base64.b64decode(signature))
    digest[7] ^= 1
    return base64.b64encode(digest).decode()


RIGHT = signed(STREAM)

WRONG: dict[str, dict[str, str]] = {
    "none": {},
    "one bit": {"X-Twilio-Signature": with_one_bit_wrong(RIGHT)},
    "another key": {"X-Twilio-Signature": signed(STREAM, token="12346")},
    "https for wss": {"X-Twilio-Signature": signed(VOICE)},
    "trailing slash": {"X-Twilio-Signature": signed(f"{STREAM}/")},
    "another port": {"X-Twilio-Signature": signed("wss://voice.example.com:444/twilio")},
    "another host, as the request says": {
        "X-Twilio-Signature": signed("wss://evil.example.com/twilio"),
        "X-Forwarded-Host": "evil.example.com",
    },
    "unknown algorithm": {
        "X-Twilio-Signature": RIGHT,
        "X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=HMAC_MD5",
    },
    "unknown key": {
        "X-Twilio-Signature": RIGHT,
        "X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=HMAC_SHA1",
    },
}


def at(network: TwilioSimulator) -> str:
    return network.signer.server.replace("http", "ws")


def refused(serve: Any, reason: str) -> float | None:
    count: float | None = serve.desk.metrics.registry.get_sample_value("voicepipe_refused_total", {"reason": reason})
    return count


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG.keys())
async def test_a_websocket_that_is_not_signed(headers: dict[str, str]) -> None:
    """It gets 403 in place of the upgrade, and no session is opened."""
    async with twilio_calls(agent(), line()) as (network, office, serve):
        with pytest.raises(InvalidStatus) as answer:
            await connect(f"{at(network)}/twilio", additional_headers=headers, proxy=None)
        assert (answer.value.response.status_code, refused(serve, "signature"), office.sessions) == (403, 1.0, [])


@pytest.mark.parametrize("url", [STREAM, "wss://voice.example.com:443/twilio"])
async def test_a_websocket_that_is_signed(url: str) -> None:
    """It is accepted, with the usual port in its URL or without."""
    async with twilio_calls(agent(), line()) as (network, _, _):
        headers = {"X-Twilio-Signature": signed(url)}
        async with connect(f"{at(network)}/twilio", additional_headers=headers, proxy=None) as socket:
            assert socket.response is not None
            assert socket.response.status_code == 101


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Twilio-Signature": with_one_bit_wrong(signed(VOICE, FORM))}, 403),
        ({"X-Twilio-Signature": signed(VOICE)}, 403),
        ({"X-Twilio-Signature": signed(VOICE, FORM | {"From": "+15550101"})}, 403),
        ({"X-Twilio-Signature": signed(STREAM, FORM)}, 403),
        ({"X-Twilio-Signature": signed(VOICE, FORM)}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/twilio", "/twilio/after"])
async def test_a_webhook_answers_what_is_signed(headers: dict[str, str], status: int, path: str) -> None:
    """Neither a token nor an instruction leaves for anybody else."""
    if status == 200:
        headers = {"X-Twilio-Signature": signed(PUBLIC + path, FORM)}
    async with twilio_calls(agent(), line()) as (network, _, serve):
        got, kind, body = await post(network.signer.server + path, FORM, headers)
        assert (got, kind.startswith("text/xml"), b"<Response>" in body) == (status, status == 200, status == 200)
        assert len(serve.desk.tokens) == (1 if (status, path) == (200, "/twilio") else 0)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", json.dumps(FORM).encode(), 415),
        ("application/x-www-form-urlencoded", b"", 400),
        ("application/x-www-form-urlencoded", urlencode(FORM | {"CallSid": ""}).encode(), 400),
        ("application/x-www-form-urlencoded", b"CallSid=%ff", 400),
        ("application/x-www-form-urlencoded", b"\xff", 400),
        ("application/x-www-form-urlencoded", b"a=b&" * 300 + b"CallSid=CA1", 400),
        ("application/x-www-form-urlencoded", b"a" * 16_385, 413),
    ],
)
async def test_what_is_no_form_of_a_call(kind: str, body: bytes, status: int) -> None:
    """It is refused with a status of its own, and other calls come through."""
    async with twilio_calls(agent(), line()) as (network, _, _):
        port = int(network.signer.server.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            head = f"POST /twilio HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            await stream.send(head.encode() + body)
            assert (await stream.receive()).startswith(f"HTTP/1.1 {status} ".encode())
        async with network.call(VOICE) as call:
            await anyio.sleep(0.1)
            assert call.status == "in-progress"


async def test_a_form_that_does_not_end() -> None:
    """A peer that sends half of a form waits for 5 s, and others do not wait with it."""
    async with twilio_calls(agent(), line()) as (network, _, _):
        port = int(network.signer.server.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            head = "POST /twilio HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\n"
            await stream.send(f"{head}content-length: 100\r\n\r\nCallSid=".encode())
            answer = await stream.receive()
        assert (answer[:12], anyio.current_time()) == (b"HTTP/1.1 408", pytest.approx(5.0, abs=0.1))


# --- the token --------------------------------------------------------------------------------------------------------


async def stream(network: TwilioSimulator, token: str | None, call_sid: str = "CA1") -> ClientConnection:
    """Connect as Twilio does, with a right signature, and begin with this token."""
    headers = {"X-Twilio-Signature": RIGHT}
    socket = await connect(f"{at(network)}/twilio", additional_headers=headers, proxy=None, ping_interval=None)
    media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8_000, "channels": 1}
    start: dict[str, Any] = {"streamSid": "MZ1", "callSid": call_sid, "mediaFormat": media_format}
    start["customParameters"] = {} if token is None else {"token": token}
    await socket.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))
    return socket


async def token_of(network: TwilioSimulator, form: dict[str, str] = FORM) -> str:
    headers = {"X-Twilio-Signature": signed(VOICE, form)}
    _, _, body = await post(f"{network.signer.server}/twilio", form, headers)
    return body.decode().partition('name="token" value="')[2].partition('"')[0]


async def closed_with(socket: ClientConnection) -> int | None:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed:
        return socket.close_code


async def test_a_token_is_good_for_one_connection() -> None:
    """A replayed upgrade has a right signature, but its token has been used: no second session."""
    async with twilio_calls(agent(), line()) as (network, office, serve):
        token = await token_of(network)
        first, second = await stream(network, token), await stream(network, token)
        assert await closed_with(second) == 4401
        assert (len(office.sessions), refused(serve, "token")) == (1, 1.0)
        await first.close()


@pytest.mark.parametrize("shown", [None, "", "guessed"])
async def test_a_token_must_be_there(shown: str | None) -> None:
    """Without the webhook's token nobody gets a session, whoever has signed."""
    async with twilio_calls(agent(), line()) as (network, office, _):
        assert await closed_with(await stream(network, shown)) == 4401
        assert office.sessions == []


async def test_a_token_expires() -> None:
    """Thirty seconds after the webhook it is worth nothing."""
    async with twilio_calls(agent(), line()) as (network, office, _):
        token = await token_of(network)
        await anyio.sleep(30.1)
        assert await closed_with(await stream(network, token)) == 4401
        assert office.sessions == []


async def test_a_token_is_good_for_its_own_call() -> None:
    """Shown by another call it is refused, and used up."""
    async with twilio_calls(agent(), line()) as (network, office, _):
        token = await token_of(network)
        assert await closed_with(await stream(network, token, "CA2")) == 4401
        assert await closed_with(await stream(network, token)) == 4401
        assert office.sessions == []


async def test_a_stream_that_does_not_start() -> None:
    """Without `start` the connection is closed after 5 s."""
    async with twilio_calls(agent(), line()) as (network, office, _):
        headers = {"X-Twilio-Signature": RIGHT}
        async with connect(f"{at(network)}/twilio", additional_headers=headers, proxy=None) as socket:
            await socket.send('{"event": "connected"}')
            assert await closed_with(socket) == 4408
        assert (anyio.current_time(), office.sessions) == (pytest.approx(5.0, abs=0.1), [])


# --- whose secrets ----------------------------------------------------------------------------------------------------


async def test_several_accounts() -> None:
    """Each account is known by its own token, and none can call as another one."""
    transport = line({"AC1": "first", "AC2": SecretStr("second")})
    for account, token, status in (("AC1", "first", "completed"), ("AC2", "second", "completed")):
        async with twilio_calls(agent(), transport, network={"auth_token": token, "account_sid": account}) as (
            network,
            office,
            _,
        ):
            async with network.call(VOICE) as call:
                await anyio.sleep(0.1)
        assert (call.status, call.errors, office.sessions[0].facts["account_sid"]) == (status, [], account)
    for account, token in (("AC1", "second"), ("AC3", "first"), ("", "first")):
        async with twilio_calls(agent(), transport, network={"auth_token": token, "account_sid": account}) as (
            network,
            office,
            _,
        ):
            async with network.call(VOICE) as call:
                await call.wait_ended()
        assert ([code for code, _ in call.errors], office.sessions) == ([11200], [])


async def test_a_shared_key_signs_with_sha_256() -> None:
    """A key that the server knows is as good as the account's token; another one is not."""
    transport = line(shared_keys={"webhooks_key_1": "secret"})
    for key, codes in ((("webhooks_key_1", "secret"), []), (("webhooks_key_2", "secret"), [11200])):
        async with twilio_calls(agent(), transport, network={"shared_key": key}) as (network, _, _):
            async with network.call(VOICE) as call:
                await anyio.sleep(0.1)
        assert [code for code, _ in call.errors] == codes


async def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read when the server starts; without it, the server does not start."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", f" {AUTH_TOKEN}\n")
    async with twilio_calls(agent(), line(None)) as (network, _, _), network.call(VOICE) as call:
        await anyio.sleep(0.1)
        assert (call.status, call.errors) == ("in-progress", [])
    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    with pytest.raises(vp.ConfigurationError, match="the environment variable TWILIO_AUTH_TOKEN is not set"):
        async with twilio_calls(agent(), line(None)):
            pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"auth_token": ""}, "a secret is empty"),
        ({"auth_token": {}}, "auth_token names no account"),
        ({"auth_token": {"AC1": " "}}, "a secret is empty"),
        ({"shared_keys": {"k": ""}}, "a secret is empty"),
        ({"path": "twilio"}, "path must be like"),
        ({"path": "/twilio/"}, "path must be like"),
        ({"path": "/twilio?a"}, "path must be like"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments: dict[str, Any], said: str) -> None:
    """A setting that can only be a mistake is an error at once."""
    with pytest.raises(vp.ConfigurationError, match=said):
        line(**arguments)


async def test_a_mistake_of_the_application_ends_its_call_only(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that raises answers 500, so that Twilio's fallback takes the call; the next call comes through."""
    calls: list[str] = []

    def incoming(form: Any) -> None:
        calls.append(form["CallSid"])
        if len(calls) == 1:
            raise RuntimeError("the database is away")

    caplog.set_level(logging.CRITICAL, "uvicorn.error")
    async with twilio_calls(agent(), line(incoming=incoming)) as (network, _, _):
        async with network.call(VOICE) as first:
            await first.wait_ended()
        async with network.call(VOICE) as second:
            await anyio.sleep(0.1)
            assert second.status == "in-progress"
    assert [code for code, _ in first.errors] == [11200]


async def test_a_hook_that_does_not_return(caplog: pytest.LogCaptureFixture) -> None:
    """After 10 s the answer is 503, so that Twilio's fallback takes the call, and the log says whose fault it is."""

    async def incoming(_: Any) -> None:
        await anyio.sleep_forever()

    async with twilio_calls(agent(), line(incoming=incoming)) as (network, _, _):
        began_s = anyio.current_time()
        headers = {"X-Twilio-Signature": signed(VOICE, FORM)}
        with anyio.fail_after(30):
            got, _, _ = await post(network.signer.server + "/twilio", FORM, headers)
        assert (got, anyio.current_time() - began_s) == (503, pytest.approx(10.0, abs=0.1))
    assert "took longer than 10 s" in caplog.text
