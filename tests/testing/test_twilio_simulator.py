"""The simulated network of Twilio: it signs, plays, reports and refuses as the real one says that it does."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl

import anyio
import pytest

from tests.helpers.asgi_server import needs_server, serving
from voicepipe.audio import to_ulaw
from voicepipe.testing.simulators.twilio import CallEnded, TwilioSimulator

pytestmark = [pytest.mark.anyio, needs_server]

PUBLIC = "https://voice.example.com"
VOICE = f"{PUBLIC}/twilio"
CONNECT = '<Response><Connect><Stream url="wss://voice.example.com/twilio">{}</Stream></Connect>{}</Response>'
QUARTER = to_ulaw(b"\x00\x10" * 2_000)  # 0.25 s

Socket = Any


class Server:
    """A server with scripted answers: TwiML by path, and what it does with a stream.

    Attributes:
        asked: The webhooks' path, form and headers.
        got: What the stream received: when, and the message.
    """

    def __init__(self, stream: Callable[[Server, Socket], Awaitable[None]] | None = None, **answers: str) -> None:
        self.answers = {"twilio": CONNECT.format("", ""), **answers}
        self.stream = stream
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.got: list[tuple[float, dict[str, Any]]] = []
        self.upgrade: dict[str, str] = {}

    async def webhook(self, request: Any) -> Any:
        from starlette.responses import Response

        path = request.path_params["path"]
        self.asked.append((path, dict(parse_qsl((await request.body()).decode())), dict(request.headers)))
        return Response(self.answers[path], media_type="text/xml")

    async def connected(self, socket: Socket) -> None:
        from starlette.websockets import WebSocketDisconnect

        self.upgrade = dict(socket.headers)
        if self.stream is None:
            await socket.close()
            return
        await socket.accept()
        try:
            await self.stream(self, socket)
            await socket.close()
        except WebSocketDisconnect:
            pass

    async def next(self, socket: Socket, event: str) -> dict[str, Any]:
        while True:
            message = await socket.receive_json()
            self.got.append((round(anyio.current_time(), 3), message))
            if message["event"] == event:
                return message

    @asynccontextmanager
    async def run(self, **options: Any) -> AsyncGenerator[TwilioSimulator]:
        from starlette.applications import Starlette
        from starlette.routing import Route, WebSocketRoute

        routes = [
            WebSocketRoute("/twilio", self.connected),
            Route("/{path}", self.webhook, methods=["POST"]),
        ]
        async with serving(Starlette(routes=routes)) as port:
            yield TwilioSimulator("12345", server=f"http://127.0.0.1:{port}", public_url=PUBLIC, **options)


async def send(socket: Socket, stream: str, event: str, **fields: object) -> None:
    await socket.send_json({"event": event, "streamSid": stream, **fields})


async def say(socket: Socket, stream: str, ulaw: bytes) -> None:
    await send(socket, stream, "media", media={"payload": base64.b64encode(ulaw).decode()})


async def until_stop(server: Server, socket: Socket) -> None:
    await server.next(socket, "stop")


@pytest.mark.skipif(
    find_spec("twilio") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason="not installed: twilio"
)
@pytest.mark.parametrize("key", [None, ("webhooks_key_1", "secret")])
async def test_it_signs_as_the_vendors_library_expects(key: tuple[str, str] | None) -> None:
    """Twilio's own validator accepts the signature of the webhook, and that of the websocket."""
    from twilio.request_validator import RequestValidator, get_signature_algorithm

    server = Server(until_stop)
    async with server.run(shared_key=key) as twilio, twilio.call(VOICE, fields={"Empty": "", "City": "Zoë"}) as call:
        await anyio.sleep(0.1)
        await call.hang_up()
    (_, form, headers), validator = server.asked[0], RequestValidator(key[1] if key else "12345")
    form["Empty"] = ""
    for url, fields, signed in ((VOICE, form, headers), ("wss://voice.example.com/twilio", {}, server.upgrade)):
        algorithm = get_signature_algorithm(signed.get("x-twilio-webhooks-signature-settings"))
        assert algorithm == ("HMAC_SHA256" if key else "HMAC_SHA1")
        assert validator.validate(url, fields, signed["x-twilio-signature"], algorithm)


async def test_a_call_from_its_beginning_to_its_end() -> None:
    """Messages are numbered as texts, 20 ms apart; the parameters arrive; the call ends with `stop`."""
    server = Server(until_stop, twilio=CONNECT.format('<Parameter name="shop" value="Lyon"/>', ""))
    async with server.run() as twilio, twilio.call(VOICE, speech=b"\x00\x10" * 240, caller="+15550123") as call:
        assert call.status == "ringing"
        await anyio.sleep(0.05)
        await call.press("5#")
        await call.hang_up()
        assert (call.status, call.closed_by, call.errors) == ("completed", "server", [])
    form = server.asked[0][1]
    assert {name: form[name] for name in ("CallSid", "From", "To", "Direction", "CallStatus")} == {
        "CallSid": call.sid,
        "From": "+15550123",
        "To": "+15550199",
        "Direction": "inbound",
        "CallStatus": "ringing",
    }
    assert [(at_s, message["event"], message.get("sequenceNumber")) for at_s, message in server.got] == [
        (0.0, "connected", None),
        (0.0, "start", "1"),
        (0.02, "media", "2"),
        (0.04, "media", "3"),
        (0.05, "dtmf", "4"),
        (0.05, "dtmf", "5"),
        (0.05, "stop", "6"),
    ]
    started, first, second, key = (server.got[at][1] for at in (1, 2, 3, 4))
    assert (started["start"]["customParameters"], started["start"]["callSid"]) == ({"shop": "Lyon"}, call.sid)
    assert (first["media"]["chunk"], first["media"]["timestamp"]) == ("1", "0")
    assert base64.b64decode(first["media"]["payload"]) == to_ulaw(b"\x00\x10" * 160)
    assert base64.b64decode(second["media"]["payload"]) == to_ulaw(b"\x00\x10" * 80 + b"\0\0" * 80)
    assert key["dtmf"] == {"track": "inbound_track", "digit": "5"}


async def test_marks_are_reported_when_their_audio_has_been_played() -> None:
    """A mark is due at the end of what was sent before it, and at once if there is nothing."""

    async def stream(server: Server, socket: Socket) -> None:
        sid = (await server.next(socket, "start"))["streamSid"]
        await send(socket, sid, "mark", mark={"name": "first"})
        for name in ("half", "whole"):
            await say(socket, sid, QUARTER)
            await send(socket, sid, "mark", mark={"name": name})
        for _ in range(3):
            await server.next(socket, "mark")

    server = Server(stream)
    async with server.run() as twilio, twilio.call(VOICE) as call:
        await call.wait_ended()
        assert call.heard_s() == pytest.approx(0.5)
    marks = [(at_s, message["mark"]["name"]) for at_s, message in server.got if message["event"] == "mark"]
    assert marks == [(0.0, "first"), (0.25, "half"), (0.5, "whole")]
    assert call.errors == [(31921, "the server closed the stream")]


async def test_a_clear_drops_the_audio_and_reports_its_marks() -> None:
    """What was not played is not heard, and its marks are reported at once, in order."""

    async def stream(server: Server, socket: Socket) -> None:
        sid = (await server.next(socket, "start"))["streamSid"]
        for name in "abc":
            await say(socket, sid, QUARTER)
            await send(socket, sid, "mark", mark={"name": name})
        await server.next(socket, "mark")
        await anyio.sleep(0.1)
        await send(socket, sid, "clear")
        await server.next(socket, "mark")
        await server.next(socket, "mark")

    server = Server(stream)
    async with server.run() as twilio, twilio.call(VOICE) as call:
        await call.wait_speaking()
        await call.wait_silent()
        await call.wait_ended()
        assert call.heard_s() == pytest.approx(0.35)
        assert len(call.heard) == 2 * 2_800
    marks = [(at_s, message["mark"]["name"]) for at_s, message in server.got if message["event"] == "mark"]
    assert marks == [(0.25, "a"), (0.35, "b"), (0.35, "c")]


@pytest.mark.parametrize(
    "sent",
    [
        "{",
        "[]",
        '{"event": "stop", "streamSid": "SID"}',
        '{"event": "media", "media": {"payload": "////"}}',
        '{"event": "media", "streamSid": "MZ0", "media": {"payload": "////"}}',
        '{"event": "media", "streamSid": "SID", "media": {"payload": "!"}}',
        '{"event": "media", "streamSid": "SID"}',
        '{"event": "mark", "streamSid": "SID"}',
        '{"event": "mark", "streamSid": "SID", "mark": {}}',
        '{"event": "clear"}',
        b"\x00\x01",
    ],
)
async def test_a_message_that_is_not_in_the_protocol(sent: str | bytes) -> None:
    """The stream ends with Twilio's error 31924, and the call goes on with the next instruction."""

    async def stream(server: Server, socket: Socket) -> None:
        sid = (await server.next(socket, "start"))["streamSid"]
        if isinstance(sent, bytes):
            await socket.send_bytes(sent)
        else:
            await socket.send_text(sent.replace("SID", sid))
        await server.next(socket, "stop")

    server = Server(stream, twilio=CONNECT.format("", "<Redirect>https://voice.example.com/after</Redirect>"))
    server.answers["after"] = "<Response><Dial>+15550111</Dial></Response>"
    async with server.run() as twilio, twilio.call(VOICE) as call:
        await call.wait_ended()
    assert ([code for code, _ in call.errors], call.closed_by, call.dialed) == ([31924], "network", ["+15550111"])


@pytest.mark.parametrize(
    ("twiml", "codes", "status"),
    [
        ("<Response>", [12100], "failed"),
        ("<Answer/>", [12100], "failed"),
        ("<Response><Dance/></Response>", [12200], "failed"),
        ("<Response><Redirect>https://other.example.com/</Redirect></Response>", [11205], "failed"),
        (f"<Response><Redirect>{VOICE}</Redirect></Response>", [11215], "failed"),
        (CONNECT.replace("/twilio", "/twilio?a=b").format("", ""), [31920], "completed"),
        (CONNECT.replace("voice.", "other.").format("", ""), [31901], "completed"),
        (CONNECT.replace("wss:", "https:").format("", ""), [31920], "completed"),
        (CONNECT.format("", ""), [31920], "completed"),
        (CONNECT.format(f'<Parameter name="a" value="{"b" * 500}"/>', ""), [12200], "completed"),
        ('<Response><Reject reason="busy"/></Response>', [], "busy"),
        ("<Response><Say>Hello</Say><Hangup/></Response>", [], "completed"),
    ],
)
async def test_instructions_that_twilio_refuses(twiml: str, codes: list[int], status: str) -> None:
    """Each mistake in an answer has Twilio's code; a stream that cannot be connected ends no call."""
    server = Server(None, twilio=twiml)
    async with server.run() as twilio, twilio.call(VOICE) as call:
        await call.wait_ended()
    assert ([code for code, _ in call.errors], call.status) == (codes, status)


async def test_a_server_that_is_not_there() -> None:
    """Nobody at the address is Twilio's error 11205."""
    async with TwilioSimulator("12345", server="http://127.0.0.1:1").call("http://127.0.0.1:1/twilio") as call:
        await call.wait_ended()
        with pytest.raises(CallEnded, match="before the agent spoke"):
            await call.wait_speaking()
        with pytest.raises(CallEnded, match="no stream to send dtmf to"):
            await call.press("1")
    assert ([code for code, _ in call.errors], call.status) == ([11205], "failed")


async def test_audio_that_the_network_held_back_arrives_at_once() -> None:
    """In a gap nothing comes; at its end everything does, and later audio is on time again."""
    server = Server(until_stop)
    async with server.run() as twilio, twilio.call(VOICE, gaps=[(0.1, 0.4)]) as call:
        await anyio.sleep(0.605)
        await call.hang_up()
    came = [at_s for at_s, message in server.got if message["event"] == "media"]
    assert came == [0.02, 0.04, 0.06, 0.08, *[0.5] * 21, 0.52, 0.54, 0.56, 0.58, 0.6]


async def test_a_stream_that_ends_without_stop() -> None:
    """A network may lose the last message: the connection closes all the same."""
    server = Server(until_stop)
    async with server.run(loses_stop=True) as twilio, twilio.call(VOICE) as call:
        await anyio.sleep(0.03)
        await call.hang_up()
    assert [message["event"] for _, message in server.got] == ["connected", "start", "media"]
    assert (call.closed_by, call.errors) == ("caller", [])


async def test_a_stream_whose_connection_breaks() -> None:
    """The call goes on with the instruction that follows, here with a second stream."""
    server = Server(until_stop, twilio=CONNECT.format("", f"<Redirect>{PUBLIC}/again</Redirect>"))
    server.answers["again"] = CONNECT.format("", "")
    async with server.run() as twilio, twilio.call(VOICE) as call:
        await anyio.sleep(0.03)
        call.break_off()
        await anyio.sleep(0.1)
        await call.hang_up()
    assert ([code for code, _ in call.errors], [path for path, _, _ in server.asked]) == ([31903], ["twilio", "again"])
    streams = {message["streamSid"] for _, message in server.got if message["event"] == "start"}
    assert len(streams) == 2


async def test_a_caller_who_does_not_wait() -> None:
    """A caller who hangs up while the webhook is asked, or before the stream begins, waits for nothing."""
    server = Server(until_stop)
    async with server.run(connects_after_s=5.0) as twilio, twilio.call(VOICE) as call:
        await anyio.sleep(1.0)
        await call.hang_up()
    assert (call.ended_s, call.status, server.got) == (1.0, "completed", [])
    async with server.run() as twilio, twilio.call(VOICE) as call:
        pass
    assert (call.status, server.asked[1:]) == ("completed", [])


async def test_a_server_that_does_not_close() -> None:
    """After `stop` the network waits for 2 s, and closes the stream itself."""

    async def stream(server: Server, socket: Socket) -> None:
        await server.next(socket, "stop")
        await server.next(socket, "never")

    server = Server(stream)
    async with server.run(connects_after_s=0.3, starts_after_s=0.2) as twilio, twilio.call(VOICE) as call:
        await anyio.sleep(1.0)
        await call.hang_up()
    assert [(at_s, message["event"]) for at_s, message in server.got[:3]] == [
        (0.3, "connected"),
        (0.5, "start"),
        (0.52, "media"),
    ]
    assert (call.closed_by, call.stopped_s, call.closed_s) == ("caller", 1.0, 3.0)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.example/voice/x?y", "http://127.0.0.1:80/x?y"),
        ("wss://a.example/voice", "ws://127.0.0.1:80"),
        ("https://a.example/voices", None),
        ("http://a.example/voice", None),
        ("https://b.example/voice", None),
    ],
)
def test_the_public_name_leads_to_the_server(url: str, address: str | None) -> None:
    """The server's public name is replaced by where it is, for webhooks and streams; other names lead nowhere."""
    twilio = TwilioSimulator("t", server="http://127.0.0.1:80/", public_url="https://a.example/voice")
    assert twilio.signer.address_of(url) == address
