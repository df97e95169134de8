"""Calls from the simulated Asterisk to a whole server, on virtual time."""

from __future__ import annotations

import resource
import socket
import struct
from contextlib import ExitStack, suppress
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.telephone_calls import agent, audiosocket_calls
from voicepipe.serving import AudioSocket, Limits
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser

pytestmark = pytest.mark.anyio

ID = "40325ec2-5efd-4bd3-805f-53576e581d13"
LONG = "It left Lyon on Monday, was in Paris on Tuesday, and it is on the road to you since."
GOODBYE = "Goodbye, and thanks for calling."


def line(**options: Any) -> AudioSocket:
    return AudioSocket(port=0, **options)


def says_goodbye(result: object, text: str = GOODBYE) -> Any:
    async def on_call(session: vp.Session[Any]) -> None:
        session.say(text)
        session.end(after_reply=True, result=result)
        await anyio.sleep_forever()

    return on_call


def refused(serve: Any, reason: str) -> float | None:
    count: float | None = serve.desk.metrics.registry.get_sample_value("voicepipe_refused_total", {"reason": reason})
    return count


@pytest.mark.parametrize("rate", [8_000, 16_000])
async def test_a_conversation(rate: int) -> None:
    """Greeting and answer are heard at the pace of speech, at the line's own rate."""
    ears = ScriptedRecogniser(sample_rate=rate)
    ears.says("Where is my parcel?", at_s=1.5)
    row = agent(ears, [Says("It is in Paris.")], rate=rate)
    calls = audiosocket_calls(row, line(), greeting="Hello!", network={"sample_rate": rate})
    async with calls as (asterisk, office, _), asterisk.call(ID) as call:
        for _ in range(2):
            await call.wait_speaking()
            await call.wait_silent()
        await call.hang_up()
        assert call.heard_s() == pytest.approx(21 * 0.04, abs=0.02)
        assert call.early_s <= 0.02
    (session,) = office.sessions
    assert [message.text for message in session.history] == ["Hello!", "Where is my parcel?", "It is in Paris."]
    assert (session.id, dict(session.facts)) == (ID, {"uuid": ID, "transport": "audiosocket"})
    assert (call.errors, call.closed_by) == ([], "caller")


async def test_an_interruption() -> None:
    """Nothing can be cleared, and nothing has to be: what was sent has been played."""
    ears = ScriptedRecogniser(sample_rate=8_000)
    ears.says("Where is my parcel?", at_s=0.5).interrupts("Stop, please.", at_s=3.0)
    calls = audiosocket_calls(agent(ears, [Says(LONG), Says("Yes?")]), line())
    async with calls as (asterisk, office, _), asterisk.call() as call:
        await call.wait_speaking()
        began_s = anyio.current_time()
        await call.wait_silent()
        stopped_s = anyio.current_time() - 0.3
        await call.wait_speaking()
        await call.wait_silent()
        (cut,) = office.of(vp.TurnInterrupted)
        assert -1e-9 <= call.heard_s(began_s, stopped_s + 0.01) - cut.heard_s <= 0.22
        assert call.heard_s(stopped_s + 0.01) == pytest.approx(4 * 0.04)
    assert call.errors == []


async def test_the_agent_hangs_up() -> None:
    """The caller hears the last word, the application hears how it ended, and then the dial plan goes on."""
    noted: list[object] = []

    async def after(uuid: str, result: object) -> None:
        noted.append((uuid, result, call.ended_s))

    ending = says_goodbye(vp.Transfer("+15550111"))
    async with audiosocket_calls(agent(), line(after=after), on_call=ending) as (asterisk, _, _):
        async with asterisk.call(ID) as call:
            await call.wait_ended()
            assert call.heard_s() == pytest.approx(len(GOODBYE) * 0.04)
    assert (call.closed_by, call.errors) == ("server", [])
    assert noted == [(ID, vp.Transfer("+15550111"), None)]


async def test_what_the_application_knows_of_a_call() -> None:
    """The facts of its UUID are those of the session; a UUID that it does not know is refused."""

    async def lookup(uuid: str) -> dict[str, str] | None:
        return {"from": vp.Personal("+15550123")} if uuid == ID else None

    async with audiosocket_calls(agent(), line(lookup=lookup)) as (asterisk, office, serve):
        async with asterisk.call(ID), asterisk.call() as stranger:
            await stranger.wait_ended()
            assert stranger.closed_by == "server"
            await anyio.sleep(0.1)
        assert [session.facts["from"] for session in office.sessions] == ["+15550123"]
        assert refused(serve, "token") == 1.0


async def test_keys() -> None:
    """Keys that the caller presses are one message."""
    model = ScriptedModel(lambda request: Says(f"You pressed {request.last_user_text}."))
    async with audiosocket_calls(agent(None, model), line()) as (asterisk, _, _), asterisk.call() as call:
        await call.press("4")  # before the first audio, while the call is being prepared
        await anyio.sleep(0.1)
        await call.press("7#")
        await call.wait_speaking()
    assert model.requests[0].last_user_text == "47"


@pytest.mark.parametrize("says_so", [True, False])
async def test_the_caller_hangs_up(says_so: bool) -> None:
    """With a message or by the end of the connection, in the middle of a reply: the session ends."""
    calls = audiosocket_calls(agent(), line(), greeting=LONG, network={"says_when_it_hangs_up": says_so})
    async with calls as (asterisk, office, serve):
        async with asterisk.call() as call:
            await call.wait_speaking()
            await call.hang_up()
        with anyio.fail_after(1.0):
            await serve.desk.wait_empty()
        assert office.sessions[0].ended.is_set()


async def test_a_line_that_sends_no_audio() -> None:
    """After a second the call begins at the rate that every Asterisk knows."""
    async with audiosocket_calls(agent(), line(), greeting="Hello!") as (asterisk, _, _):
        async with asterisk.call(gaps=[(0.0, 5.0)]) as call:
            await call.wait_speaking()
            assert anyio.current_time() == pytest.approx(1.0, abs=0.05)
    assert call.errors == []


async def test_only_the_named_addresses_may_call() -> None:
    """Another one is closed before a message is read."""
    async with audiosocket_calls(agent(), line(peers=["10.0.3.0/24", "::1"])) as (asterisk, office, serve):
        async with asterisk.call() as call:
            await call.wait_ended()
        assert (call.closed_by, office.sessions, refused(serve, "peer")) == ("server", [], 1.0)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x10\x00\x01a", "malformed"),
        (b"\x01\x00\x02ab", "malformed"),
        (b"\x10\x20\x00", "size"),
        (b"\x01\x00\x10" + bytes(16) + b"\x12\x00\x02ab\x10\x00\x02ab", "media_format"),
    ],
)
async def test_a_malformed_message_ends_its_call_only(sent: bytes, reason: str) -> None:
    """The connection is closed, and another call goes on."""
    async with audiosocket_calls(agent(), line(), greeting=LONG) as (asterisk, _, serve), asterisk.call() as good:
        async with await anyio.connect_tcp("127.0.0.1", asterisk.port) as bad:
            await bad.send(sent)
            with pytest.raises(anyio.EndOfStream):
                while True:
                    await bad.receive()
        assert refused(serve, reason) == 1.0
        await good.wait_speaking()
        await good.wait_silent()
        assert good.heard_s() == pytest.approx(len(LONG) * 0.04, abs=0.02)


async def test_a_peer_that_says_nothing() -> None:
    """A connection without a UUID is closed after 5 s."""
    async with audiosocket_calls(agent(), line()) as (asterisk, office, _):
        async with await anyio.connect_tcp("127.0.0.1", asterisk.port) as silent:
            with pytest.raises(anyio.EndOfStream):
                await silent.receive()
        assert (anyio.current_time(), office.sessions) == (pytest.approx(5.0, abs=0.1), [])


def knock(port: int) -> None:
    """Connect and reset the connection at once, as port scanners do."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_a_connection_that_is_reset_before_it_is_seen() -> None:
    """It concerns no call: the server goes on, and the next call is taken."""
    calls = audiosocket_calls(agent(), line(), greeting="Hello!")
    async with calls as (asterisk, _, _):
        for _ in range(3):
            knock(asterisk.port)
            await anyio.sleep(0.1)
        async with asterisk.call() as call:
            await call.wait_speaking()


async def test_a_process_without_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    """A call that cannot be accepted waits until there is a descriptor again; the others go on."""
    calls = audiosocket_calls(agent(), line(), greeting=LONG)
    async with calls as (asterisk, _, _), asterisk.call() as first:
        await first.wait_speaking()
        stream = socket.socket()
        with ExitStack() as taken:
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (stream.fileno() + 1, before[1]))
            taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
            with suppress(OSError):  # what was closed before left gaps
                while True:
                    taken.enter_context(socket.socket())
            stream.setblocking(False)
            with suppress(BlockingIOError):
                stream.connect(("127.0.0.1", asterisk.port))
            await anyio.sleep(0.5)
        stream.close()
        async with asterisk.call() as second:
            await second.wait_speaking()
            assert first.closed_by == ""
    assert caplog.text.count("cannot accept") == 1


@pytest.mark.slow
async def test_calls_leave_nothing() -> None:
    """Two hundred short calls, one after another: no call is left."""
    limits = Limits(opening_per_s=1_000)
    ending = says_goodbye(None, "Bye!")
    async with audiosocket_calls(agent(), line(), limits=limits, on_call=ending) as (asterisk, _, serve):
        for number in range(60):
            async with asterisk.call() as call:
                await call.wait_speaking()
                if number % 3:
                    await call.wait_ended()
        with anyio.fail_after(1.0):
            await serve.desk.wait_empty()


async def test_a_full_server() -> None:
    """A call that nobody can take is closed at once."""
    async with audiosocket_calls(agent(), line(), limits=Limits(sessions=1)) as (asterisk, office, serve):
        async with asterisk.call():
            await anyio.sleep(0.1)
            async with asterisk.call() as second:
                await second.wait_ended()
            assert (second.closed_by, refused(serve, "full"), len(office.sessions)) == ("server", 1.0, 1)


async def test_a_port_in_use() -> None:
    """The server does not start, and says which port it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(vp.ConfigurationError, match=rf"AudioSocket cannot listen on 127\.0\.0\.1:{port}"):
            async with audiosocket_calls(agent(), AudioSocket(port=port)):
                pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"port": 70_000}, "port must be 0 to 65535, not 70000"),
        ({"peers": []}, "name the addresses that may connect"),
        ({"peers": "10.0.3.7"}, "must be a list of addresses"),
        ({"peers": ["pbx.example"]}, "'pbx.example' does not appear to be"),
        ({"peers": ["10.0.3.7/24"]}, "has host bits set"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments: dict[str, Any], said: str) -> None:
    """A setting that can only be a mistake is an error at once."""
    with pytest.raises(vp.ConfigurationError, match=said):
        AudioSocket(**arguments)
