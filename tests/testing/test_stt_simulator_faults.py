"""The simulated STT service breaks where it should, and its quirks change nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from voicepipe.testing.simulators.stt import (
    Closes,
    Drops,
    Fault,
    HangsUp,
    Quirks,
    Rejects,
    Spoken,
    Stalls,
    STTSimulator,
    TurnsDeaf,
)

if TYPE_CHECKING:
    pass
from tests.helpers.stt_calls import HELD, ORDER, U3, called, control, dial, hold, shaken_by_hand

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("fault", "events", "code", "at_s"),
    [
        (Closes(1011, at_s=None), [], 1011, 0.0),
        (Closes(1012, at_s=0, reason="restart"), ["Begin"], 1012, 0.0),
        (Closes(3005, at_s=1.5, error="cancelled"), ["Begin", "Error"], 3005, 1.5),
        (Closes(1000, at_s=1.5), ["Begin"], 1000, 1.5),
        (Drops(at_s=1.5), ["Begin"], 1006, 1.5),
        (Drops(at_s=None), [], 1006, 0.0),
        (HangsUp(at_s=1.5), ["Begin"], 1006, 1.5),
    ],
)
async def test_sessions_break_where_they_should(fault: Fault, events: list[str], code: int, at_s: float) -> None:
    """A session breaks in the chosen way, instead of Begin, immediately after it, or after some audio."""
    call = await called(STTSimulator(faults=fault), 3.0)
    assert [text for _, text in call.brief()] == events
    assert call.close is not None
    assert (call.close[0], call.closed_s) == (code, at_s)


@pytest.mark.parametrize(("fault", "end"), [(Drops(), anyio.BrokenResourceError), (HangsUp(), anyio.EndOfStream)])
async def test_a_break_is_a_reset_or_an_end(fault: Fault, end: type[Exception]) -> None:
    """A dropped connection is reset, while one that is hung up ends without a reset."""
    async with STTSimulator(faults=fault).serve() as url, await shaken_by_hand(url) as stream:
        with pytest.raises(end):
            while True:
                await stream.receive()


async def test_a_stall_says_all_afterwards() -> None:
    """A stalled service still reads and answers pings; when it resumes, it sends what has become due, in order."""
    async with STTSimulator([ORDER], faults=Stalls(at_s=1.0, for_s=10)).serve() as url, dial(url) as socket:
        call = await hold(socket, [4.0])
    assert call.brief() == [
        (0.0, "Begin"),
        (11.0, "SpeechStarted"),
        (11.0, "partial: My order"),
        (11.0, "final: My order number is four two."),
    ]


@pytest.mark.parametrize(("at_s", "events"), [(None, []), (0.0, ["Begin"])])
async def test_a_silent_service_answers_pings(at_s: float | None, events: list[str]) -> None:
    """A service that stalls for good keeps the connection, with Begin or without, and answers pings."""
    async with STTSimulator([ORDER], faults=Stalls(at_s=at_s)).serve() as url, dial(url) as socket:
        call = await hold(socket, [4.0])
        assert [text for _, text in call.brief()] == events
        await (await socket.ping())


async def test_a_half_open_connection_answers_nothing() -> None:
    """A half-open connection takes what is sent, and answers neither that nor a ping."""
    simulator = STTSimulator(faults=TurnsDeaf(at_s=1.0))
    async with simulator.serve() as url, dial(url) as socket:
        call = await hold(socket, [2.0])
        pong = await socket.ping()
        with anyio.move_on_after(60) as waiting:
            await pong
    assert ([text for _, text in call.brief()], waiting.cancelled_caught) == (["Begin"], True)
    assert simulator.sessions[0].audio_s == 1.0


async def test_a_handshake_can_fail_in_each_way() -> None:
    """A handshake can be refused in HTTP, cut, or never answered; the session after it is a good one."""
    simulator = STTSimulator(faults={1: Rejects(503), 2: TurnsDeaf(at_s=None)})
    async with simulator.serve() as url:
        with pytest.raises(InvalidStatus) as refused:
            await dial(url)
        assert refused.value.response.status_code == 503
        with pytest.raises(TimeoutError):
            await dial(url)
        async with dial(url) as socket:
            assert json.loads(await socket.recv())["type"] == "Begin"


async def test_only_its_path_is_served() -> None:
    """Another path gets a 404, and a request that is no websocket handshake an HTTP error."""
    async with STTSimulator().serve() as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url}/v2/realtime/ws", proxy=None)
        assert refused.value.response.status_code == 404
        async with await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])) as stream:
            await stream.send(b"GET /v3/ws HTTP/1.1\r\nhost: h\r\n\r\n")
            assert (await stream.receive()).startswith(b"HTTP/1.1 426 ")


async def test_quirks_change_nothing_else() -> None:
    """Each quirk adds to the messages, and the turns stay the same."""
    quirks = Quirks(
        unknown_messages=True,
        extra_fields=True,
        formatted_partials=False,
        climbing_confidence=True,
        utterances=True,
        warning=True,
        word_end_pad_s=0.24,
    )
    call = await called(STTSimulator([HELD], quirks=quirks), 5.0)
    assert [text for _, text in call.brief()] == [
        "Begin",
        "Warning",
        "SpeechStarted",
        "partial: My order",
        "SomethingNew",
        "partial: My order number is",
        "SomethingNew",
        "final: My order number is",
        "SomethingNew",
    ]
    early, held, final = call.of("Turn")
    assert all("something_new" in message for _, message in call.events)
    assert [turn["turn_is_formatted"] for turn in (early, held, final)] == [False, False, True]
    assert [turn["utterance"] for turn in (early, held, final)] == ["", "My order number is", "My order number is"]
    assert [turn["end_of_turn_confidence"] for turn in (early, held, final)] == [0.0, 0.1, 1.0]
    assert final["words"][-1]["end"] == 2840


async def test_without_quirks_the_end_is_not_foretold() -> None:
    """Without quirks no partial carries an utterance or a confidence, and all are formatted."""
    early, held, final = (await called(STTSimulator([HELD]), 5.0)).of("Turn")
    told = [(turn["utterance"], turn["end_of_turn_confidence"], turn["turn_is_formatted"]) for turn in (early, held)]
    assert told == [("", 0.0, True), ("", 0.0, True)]
    assert (final["utterance"], final["end_of_turn_confidence"], final["words"][-1]["end"]) == (HELD.text, 1.0, 2600)


async def test_heartbeats_and_silences_are_sent_on_request() -> None:
    """A heartbeat comes every 5 s of the session, and a Silence every second in which nobody speaks."""
    query = U3 | {"session_heartbeat": "true", "acknowledge_silence": "true"}
    call = await called(STTSimulator([Spoken("Yes.", 2.5, 3.0)]), 6.0, query=query)
    assert [at_s for at_s, text in call.brief() if text == "Silence"] == [1.0, 2.0, 4.0, 5.0, 6.0]
    assert call.of("Silence")[2] == control("Silence", start_ms=3000, end_ms=4000)
    beats = [(at_s, message) for at_s, message in call.events if message["type"] == "Heartbeat"]
    assert beats[0] == (
        5.0,
        control(
            "Heartbeat",
            total_audio_received_ms=beats[0][1]["total_audio_received_ms"],
            total_duration_ms=5000,
            realtime_factor=beats[0][1]["realtime_factor"],
            max_speech_probability=0.97,
        ),
    )
    assert [message["max_speech_probability"] for _, message in beats] == [0.97, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02]
