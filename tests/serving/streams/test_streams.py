"""Calls from the simulated networks of Telnyx, Plivo and Vonage to a whole server, on virtual time."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import voicepipe as vp
from tests.helpers.telephone_calls import Office, agent
from voicepipe.serving import Limits, Plivo, Refused, Serve, Telnyx, Vonage
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice
from voicepipe.testing.simulators.plivo import PlivoSimulator
from voicepipe.testing.simulators.telnyx import TelnyxSimulator
from voicepipe.testing.simulators.vonage import VonageSimulator

pytestmark = pytest.mark.anyio

LONG = "It left Lyon on Monday, was in Paris on Tuesday, and it is on the road to you since."

NETWORKS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "telnyx": (Telnyx, TelnyxSimulator, {}),
    "telnyx, in disorder, 16 kHz": (Telnyx, TelnyxSimulator, {"encoding": "L16", "sample_rate": 16_000, "swaps": True}),
    "plivo": (Plivo, PlivoSimulator, {}),
    "plivo, 16 kHz": (Plivo, PlivoSimulator, {"encoding": "audio/x-l16", "sample_rate": 16_000}),
    "vonage": (Vonage, VonageSimulator, {}),
}
every_network = pytest.mark.parametrize(
    ("transport", "simulator", "settings"), NETWORKS.values(), ids=[name.replace(", ", "-") for name in NETWORKS]
)
one_of_each = pytest.mark.parametrize(
    ("transport", "simulator", "settings"), [NETWORKS[name] for name in ("telnyx", "plivo", "vonage")]
)


def rate_of(simulator: Any, settings: dict[str, Any]) -> int:
    rate: int = simulator("ws://127.0.0.1:1", **settings).sample_rate
    return rate


@asynccontextmanager
async def calls(
    pipeline: vp.Pipeline, transport: Any, simulator: Any, settings: dict[str, Any], **options: Any
) -> AsyncGenerator[tuple[Any, Any, Office, Any]]:
    """Serve a pipeline, and yield the network, the transport, the application's notes and the server."""
    office, made = Office(), transport(**options.pop("arguments", {}))
    serve = Serve(pipeline, [made], **{"on_call": office.on_call, **options})
    async with serve.listening() as port:
        yield simulator(f"ws://127.0.0.1:{port}/{made.name}", **settings), made, office, serve


@every_network
async def test_a_conversation(transport: Any, simulator: Any, settings: dict[str, Any]) -> None:
    """The caller hears the greeting, interrupts the answer, and the history is what the line played."""
    rate = rate_of(simulator, settings)
    ears = ScriptedRecogniser(sample_rate=rate)
    ears.says("Where is my parcel?", at_s=1.5).interrupts("Stop, please.", at_s=4.0)
    row = agent(ears, [Says(LONG), Says("Yes?")], rate=rate)
    async with calls(row, transport, simulator, settings, greeting="Hello!") as (network, made, office, serve):
        token = await made.admit(serve.desk, {"from": vp.Personal("+15550100")})
        async with network.call(token) as call:
            await call.wait_speaking()
            await call.wait_silent()
            await call.wait_speaking()
            began_s = anyio.current_time()
            await call.wait_silent()
            stopped_s = anyio.current_time() - 0.3
            await call.wait_speaking()
            await call.wait_silent()
            received = [what for at_s, what in call.received if at_s >= began_s]
            assert received.count("clear") == 1
            after = received[received.index("clear") + 1 :]
            assert after.count("media") * 0.02 == pytest.approx(4 * 0.04)
            (cut,) = office.of(vp.TurnInterrupted)
            assert -1e-9 <= call.heard_s(began_s, stopped_s + 0.01) - cut.heard_s <= 0.2 + 1e-9
            await call.hang_up()
    (session,) = office.sessions
    assert [message.text for message in session.history][:2] == ["Hello!", "Where is my parcel?"]
    assert session.facts["from"] == "+15550100"
    assert (call.errors, "token" in session.facts, session.ended.is_set()) == ([], False, True)


@one_of_each
async def test_the_agent_ends_the_call(transport: Any, simulator: Any, settings: dict[str, Any]) -> None:
    """The caller hears the last word; the application hears how it ended, and then the stream closes."""
    noted: list[object] = []

    async def after(session: vp.Session[Any]) -> None:
        noted.append((bool(session.facts["call_id"]), session.result, call.closed_by))

    async def on_call(session: vp.Session[Any]) -> None:
        session.say("Goodbye!")
        session.end(after_reply=True, result=vp.Transfer("+15550111"))
        await anyio.sleep_forever()

    row = agent(None, [], rate=rate_of(simulator, settings))
    options: dict[str, Any] = {"arguments": {"after": after}, "on_call": on_call}
    async with calls(row, transport, simulator, settings, **options) as (network, made, _, serve):
        async with network.call(await made.admit(serve.desk, {})) as call:
            await call.wait_ended()
            assert call.heard_s() == pytest.approx(8 * 0.04)
    assert noted == [(True, vp.Transfer("+15550111"), "")]
    assert (call.closed_by, call.close_code, call.errors) == ("server", 1000, [])


@one_of_each
async def test_keys(transport: Any, simulator: Any, settings: dict[str, Any]) -> None:
    """Keys that the caller presses are one message."""
    model = ScriptedModel(lambda request: Says(f"You pressed {request.last_user_text}."))
    row = agent(None, model, rate=rate_of(simulator, settings))
    async with calls(row, transport, simulator, settings) as (network, made, _, serve):
        async with network.call(await made.admit(serve.desk, {})) as call:
            await anyio.sleep(0.1)
            await call.press("47#")
            await call.wait_speaking()
    assert model.requests[0].last_user_text == "47"


@one_of_each
@pytest.mark.parametrize("says_so", [True, False])
async def test_the_caller_hangs_up(transport: Any, simulator: Any, settings: dict[str, Any], says_so: bool) -> None:
    """With a message or by the end of the connection, in the middle of a reply: the session ends."""
    row = agent(None, [], rate=rate_of(simulator, settings))
    async with calls(row, transport, simulator, settings, greeting=LONG) as (network, made, office, serve):
        network.says_when_it_ends = says_so
        async with network.call(await made.admit(serve.desk, {})) as call:
            await call.wait_speaking()
            await call.hang_up()
        with anyio.fail_after(1.0):
            await serve.desk.wait_empty()
        assert office.sessions[0].ended.is_set()


@one_of_each
async def test_nobody_comes_in_without_a_token(transport: Any, simulator: Any, settings: dict[str, Any]) -> None:
    """Without one, with a guessed one, and with one that was used or has expired, no session is opened."""
    row = agent(None, [], rate=rate_of(simulator, settings))
    async with calls(row, transport, simulator, settings) as (network, made, office, serve):
        used, old = await made.admit(serve.desk, {}), await made.admit(serve.desk, {})
        async with network.call(used):
            await anyio.sleep(0.1)
        await anyio.sleep(30.0)
        for token in ("", "ab12", "ff", used, old):
            async with network.call(token) as call:
                await call.wait_ended()
            assert (call.closed_by, call.close_code) == ("server", 4401)
        assert len(office.sessions) == 1


async def test_who_shows_no_token_takes_no_place() -> None:
    """Strangers who connect and say nothing keep nobody out, neither by their number nor by how fast they come."""
    async with calls(agent(), Telnyx, TelnyxSimulator, {}, limits=Limits(sessions=30)) as (
        network,
        made,
        office,
        serve,
    ):
        async with AsyncExitStack() as stack:
            for _ in range(100):
                await stack.enter_async_context(connect(network.url, proxy=None))
            assert serve.desk._door.calls == 0
            with pytest.raises(InvalidStatus) as refused:
                await stack.enter_async_context(connect(network.url, proxy=None))
            assert refused.value.response.status_code == 503
            await anyio.sleep(5.1)  # by then they have been sent away
            await stack.enter_async_context(network.call(await made.admit(serve.desk, {"subject": "ada"})))
            await anyio.sleep(0.1)
            assert (serve.desk._door.calls, len(office.sessions)) == (1, 1)


async def test_a_token_that_comes_when_the_server_is_full() -> None:
    """The place is taken when the call begins: a stream that connected before another one, and shows later, is late."""
    async with calls(agent(), Telnyx, TelnyxSimulator, {}, limits=Limits(sessions=2)) as (network, made, office, serve):
        tokens = [await made.admit(serve.desk, {}) for _ in range(3)]
        async with connect(network.url, proxy=None) as late, network.call(tokens[0]), network.call(tokens[1]):
            await anyio.sleep(0.1)
            state = base64.b64encode(tokens[2].encode()).decode()
            form = {"encoding": "PCMU", "sample_rate": 8_000, "channels": 1}
            start = {"call_control_id": "late", "client_state": state, "media_format": form}
            await late.send(json.dumps({"event": "start", "stream_id": "late", "start": start}))
            await late.wait_closed()
        assert (late.close_code, len(office.sessions)) == (1013, 2)


class Ear(vp.Recogniser):
    """Keeps what it hears."""

    def __init__(self, rate: int, heard: bytearray) -> None:
        self.sample_rate = rate
        self.heard = heard

    async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
        async for frame in inbox:
            self.heard += frame.pcm


@pytest.mark.parametrize(
    ("transport", "simulator", "settings"),
    [
        (Telnyx, TelnyxSimulator, {"encoding": "L16", "sample_rate": 16_000}),
        (Telnyx, TelnyxSimulator, {"encoding": "L16", "sample_rate": 16_000, "swaps": True}),
        NETWORKS["plivo, 16 kHz"],
        NETWORKS["vonage"],
    ],
)
async def test_speech_arrives_as_it_was_said(transport: Any, simulator: Any, settings: dict[str, Any]) -> None:
    """Sample by sample, in whichever byte order and sequence the network brings it."""
    speech = b"".join(value.to_bytes(2, "little") for value in range(1, 16_001))
    heard = bytearray()
    voice = ScriptedVoice(sample_rate=16_000)
    row = vp.Pipeline(vp.STTStage(Ear(16_000, heard)), ScriptedModel([]), vp.SentenceChunker(), voice)
    async with calls(row, transport, simulator, settings) as (network, made, _, serve):
        async with network.call(await made.admit(serve.desk, {}), speech=speech) as call:
            await anyio.sleep(1.2)
            await call.hang_up()
        await serve.desk.wait_empty()
    assert bytes(heard).rstrip(b"\0") == speech.rstrip(b"\0")


async def test_a_server_that_is_full_admits_nobody() -> None:
    """The application hears of it before it answers the network's webhook."""
    async with calls(agent(), Telnyx, TelnyxSimulator, {}, limits=Limits(sessions=1)) as (network, made, _, serve):
        async with network.call(await made.admit(serve.desk, {})):
            await anyio.sleep(0.1)
            with pytest.raises(Refused) as refused:
                await made.admit(serve.desk, {})
            assert refused.value.reason == "full"


@pytest.mark.parametrize("path", ["telnyx", "/telnyx/", "/telnyx?a", ""])
def test_a_path_that_cannot_be_right(path: str) -> None:
    """It is refused when the transport is made."""
    with pytest.raises(vp.ConfigurationError, match='Telnyx: path must be like "/telnyx"'):
        Telnyx(path=path)


@pytest.mark.parametrize(
    ("simulator", "settings", "sent"),
    [
        (TelnyxSimulator, {}, '{"event": "stop"}'),
        (TelnyxSimulator, {}, '{"event": "media", "media": {"payload": "////"}}'),
        (TelnyxSimulator, {}, b"\0\0"),
        (PlivoSimulator, {}, '{"event": "media", "media": {"payload": "////"}}'),
        (PlivoSimulator, {}, '{"event": "clearAudio"}'),
        (PlivoSimulator, {}, '{"event": "playAudio", "media": {"payload": "////"}}'),
        (VonageSimulator, {}, b"\0" * 320),
        (VonageSimulator, {}, '{"action": "stop"}'),
    ],
)
def test_what_a_network_refuses(simulator: Any, settings: dict[str, Any], sent: str | bytes) -> None:
    """A simulator takes what its network takes, and nothing else."""
    from voicepipe.testing.simulators._stream_network import NotInProtocol

    with pytest.raises(NotInProtocol):
        simulator("ws://127.0.0.1:1", **settings).wire().read(sent)


@pytest.mark.parametrize(
    ("simulator", "settings"),
    [
        (TelnyxSimulator, {"encoding": "PCMU", "sample_rate": 16_000}),
        (PlivoSimulator, {"encoding": "audio/l16"}),
        (VonageSimulator, {"sample_rate": 44_100}),
    ],
)
def test_a_format_that_a_network_does_not_have(simulator: Any, settings: dict[str, Any]) -> None:
    """It cannot be simulated."""
    with pytest.raises(vp.ConfigurationError, match="there is no"):
        simulator("ws://127.0.0.1:1", **settings)
