"""What the simulated STT service refuses, and with which code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import anyio
import pytest

from voicepipe.http.client import HTTPClient
from voicepipe.testing.simulators.stt import (
    STTSimulator,
)

if TYPE_CHECKING:
    pass
from tests.helpers.stt_calls import AT_ONCE, END, U3, Frame, Step, Wait, called, control, dial, hold, shaken_by_hand

pytestmark = pytest.mark.anyio


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in U3.items() if key != name}


async def test_a_token_opens_one_session() -> None:
    """A client with the key gets a token, whose bearer needs no key: once, and within its time."""

    async def asked(url: str, key: str, query: str) -> tuple[int, Any]:
        client = HTTPClient(url.replace("ws", "http"), {"authorization": key})
        async with client.open(), client.get(f"/v3/token{query}", limit_s=1.0) as response:
            return response.status, json.loads(await response.body(1_000))

    admitted: list[str] = []
    async with STTSimulator(api_key="secret", timing=AT_ONCE).serve() as url:
        assert await asked(url, "wrong", "?expires_in_seconds=60") == (401, {"error": "Unauthorized", "code": 401})
        assert [(await asked(url, "secret", f"?expires_in_seconds={s}"))[0] for s in ("", "0", "601", "x")] == [400] * 4
        tokens = [(await asked(url, "secret", "?expires_in_seconds=60"))[1]["token"] for _ in range(2)]
        for token in (tokens[0], tokens[0], tokens[1]):
            async with dial(url, U3 | {"token": token}, key="") as socket:
                (_, first), *_ = (await hold(socket, [END])).events
            admitted.append(first.get("error", "admitted"))
            await anyio.sleep(61.0 if len(admitted) == 2 else 0.0)
    assert admitted == ["admitted", "Invalid API key", "Signature has expired"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (without("sample_rate"), "sample_rate"),
        (U3 | {"sample_rate": 7_999}, "sample_rate"),
        (U3 | {"sample_rate": 96_001}, "sample_rate"),
        (U3 | {"sample_rate": "fast"}, "sample_rate"),
        (U3 | {"encoding": "mp3"}, "encoding"),
        (U3 | {"speech_model": "universal-3-5-pro-realtime"}, "speech_model"),
        (U3 | {"mode": "quick"}, "mode"),
        (U3 | {"min_turn_silence": "soon"}, "min_turn_silence"),
        (U3 | {"end_of_turn_confidence_threshold": 1.1}, "end_of_turn_confidence_threshold"),
        (U3 | {"vad_threshold": -0.1}, "vad_threshold"),
        (U3 | {"keyterms_prompt": json.dumps(["a"] * 101)}, "keyterms_prompt"),
        (U3 | {"keyterms_prompt": json.dumps(["a" * 51])}, "keyterms_prompt"),
        (U3 | {"keyterms_prompt": "Ozeki"}, "keyterms_prompt"),
        (f"{urlencode(U3)}&keyterms_prompt=%5B%22a%22%5D&keyterms_prompt=%5B%22b%22%5D", "keyterms_prompt"),
        (U3 | {"prompt": "p" * 1751}, "prompt"),
        (U3 | {"agent_context": "p" * 1751}, "agent_context"),
        (U3 | {"interruption_delay": 1001}, "interruption_delay"),
        (U3 | {"previous_context_n_turns": 101}, "previous_context_n_turns"),
        (U3 | {"language_codes": json.dumps(["en"] * 11)}, "language_codes"),
        (U3 | {"inactivity_timeout": 4}, "inactivity_timeout"),
        (U3 | {"voice_focus": "mid-field"}, "voice_focus"),
        (U3 | {"format_turns": "perhaps"}, "format_turns"),
    ],
)
async def test_bad_parameters_are_refused(query: dict[str, Any] | str, said: str) -> None:
    """A bad value brings an Error that names the parameter and close code 3006, and neither Begin nor Termination."""
    call = await called(STTSimulator(), query=query)
    ((_, error),) = call.events
    assert (error["type"], error["error_code"]) == ("Error", 3006)
    assert f"Invalid parameter: {said}" in error["error"]
    assert call.close == (3006, "See Error message for details")


@pytest.mark.parametrize(
    "query",
    [
        U3 | {"min_turn_silnce": 1},
        U3 | {"min_turn_silence": 1, "max_turn_silence": 99_999},  # clamped
        U3 | {"format_turns": "True", "language_detection": "false"},
        U3 | {"keyterms_prompt": json.dumps(["a" * 50] * 100), "prompt": "p" * 1750},
        U3 | {"sample_rate": 8_000, "encoding": "pcm_mulaw"},
        U3 | {"min_end_of_turn_silence_when_confident": 160},
        without("speech_model"),
    ],
)
async def test_what_the_service_takes_is_taken(query: dict[str, Any]) -> None:
    """Unknown names, values out of the silences' range, both spellings of booleans and old names are no error."""
    call = await called(STTSimulator(), END, query=query)
    assert [text for _, text in call.brief()] == ["Begin", "Termination"]


@pytest.mark.parametrize(
    ("steps", "code", "after"),
    [
        (["{"], 3006, 0),
        (["[]"], 3006, 0),
        ([control("Dance")], 3006, 0),
        ([{"kind": "Terminate"}], 3006, 0),
        ([control("UpdateConfiguration", max_turn_silence="long")], 3006, 0),
        ([control("UpdateConfiguration", keyterms_prompt=["a"] * 101)], 3006, 0),
        ([control("UpdateConfiguration", agent_context="p" * 1751)], 3006, 0),
        ([control("UpdateConfiguration", format_turns="true")], 3006, 0),
        ([Frame(bytes(32_002))], 3007, 1),
        ([Frame(bytes(640))] * 60, 3007, 50),
        ([Frame(b"")] * 60, 3007, 50),
        ([Frame(bytes(32_000))] * 20, 3007, 11),
    ],
)
async def test_bad_messages_are_refused(steps: list[Step], code: int, after: int) -> None:
    """A bad message, frames of a wrong length and audio far ahead of its time end the session with their codes."""
    simulator = STTSimulator()
    call = await called(simulator, *steps)
    assert [text for _, text in call.brief()] == ["Begin", "Error"]
    assert call.of("Error")[0]["error_code"] == code
    assert call.close == (code, "See Error message for details")
    assert simulator.sessions[0].frames.total() == after


@pytest.mark.parametrize(
    "steps",
    [
        [Frame(bytes(32_000))] * 3,
        [Frame(bytes(1_600))] * 60,
        [Frame(bytes(640))] * 49,
        [control("UpdateConfiguration", sample_rate=1, min_turn_silnce="x", keyterms_prompt=[])],
    ],
)
async def test_good_messages_are_taken(steps: list[Step]) -> None:
    """Frames of 50 to 1000 ms, a few shorter ones, and changes of fixed settings are no error."""
    call = await called(STTSimulator(), *steps, END)
    assert call.close == (1000, "Session Ended")


async def test_a_long_message_is_refused() -> None:
    """A message of more than 128 KB is answered with close code 1009, without an Error message."""
    simulator = STTSimulator()
    call = await called(simulator, 0.1, json.dumps(control("KeepAlive", padding="p" * 131_072)))
    assert [text for _, text in call.brief()] == ["Begin"]
    assert call.close is not None
    assert call.close[0] == 1009
    assert simulator.sessions[0].close == call.close


@pytest.mark.parametrize(
    ("key", "query", "said"),
    [
        ("", {}, "Missing Authorization header"),
        ("wrong", {}, "Invalid API key"),
        ("Bearer right", {}, "Invalid API key"),
        ("", {"token": "wrong"}, "Invalid API key"),
    ],
)
async def test_credentials_are_refused_after_the_upgrade(key: str, query: dict[str, str], said: str) -> None:
    """The handshake succeeds whatever the key; then comes an Error, and close code 1008."""
    call = await called(STTSimulator(api_key="right"), key=key, query=U3 | query)
    assert [message for _, message in call.events] == [control("Error", error_code=1008, error=said)]
    assert call.close == (1008, "See Error message for details")


@pytest.mark.parametrize(("key", "query"), [("right", {}), ("", {"token": "right"})])
async def test_no_key_is_written_down(key: str, query: dict[str, str]) -> None:
    """A right key is accepted from the header or the query, and appears in nothing that is kept or shown."""
    simulator = STTSimulator(api_key="right")
    call = await called(simulator, END, key=key, query=U3 | query)
    assert call.close == (1000, "Session Ended")
    assert "right" not in repr((simulator, simulator.sessions, simulator.sessions[0].headers, call.events))


async def test_sessions_per_minute_are_limited() -> None:
    """One session more than allowed within 60 s is refused with 3009; a minute later there is room again."""
    simulator = STTSimulator(sessions_per_minute=2, timing=AT_ONCE)
    closes: list[int] = []
    async with simulator.serve() as url:
        for at_s in (0, 0, 0, 59, 60):
            await anyio.sleep_until(at_s)
            async with dial(url) as socket:
                closes.append((await hold(socket, [END])).code)
    assert closes == [1000, 1000, 3009, 3009, 1000]


async def test_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The server's side logs nothing at any level, since the protocol's own logger would print the headers."""
    caplog.set_level("DEBUG")
    await called(STTSimulator(api_key="right"), END, key="right")
    assert {record.name for record in caplog.records} <= {"asyncio", "websockets.client"}


async def test_a_client_that_does_not_answer_is_cut_off() -> None:
    """A client that never answers the close frame has its connection closed within a second."""
    async with STTSimulator(api_key="k").serve() as url:
        async with await shaken_by_hand(url) as stream:
            with pytest.raises(anyio.EndOfStream):
                while True:
                    await stream.receive()
        assert anyio.current_time() == 1.0


@pytest.mark.parametrize(
    ("query", "steps", "code", "said", "at_s"),
    [
        (U3, [1.0, Wait(100)], 3008, "Session expired: maximum session duration exceeded", 20.0),
        (U3 | {"inactivity_timeout": 5}, [1.0, Wait(100)], 3006, "No messages received for 5 seconds", 6.0),
        (
            U3 | {"inactivity_timeout": 5},
            [Wait(4), control("KeepAlive"), Wait(100)],
            3006,
            "No messages received for 5 seconds",
            9.0,
        ),
    ],
)
async def test_sessions_end_in_time(
    query: dict[str, Any], steps: list[Step], code: int, said: str, at_s: float
) -> None:
    """A session ends when it is too old, or, if the client asks for it, when no message comes for some time."""
    call = await called(STTSimulator(max_session_s=20), *steps, query=query)
    assert call.events[-1] == (at_s, control("Error", error_code=code, error=said))
    assert call.close == (code, "See Error message for details")
