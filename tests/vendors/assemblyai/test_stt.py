"""AssemblyAI's recogniser in a call: what it sends, what it hears, and how calls begin and end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.stt_server import KEY, Act, Caller, EarServer, Peer, agent, call, closing, good, text_of
from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.flow import EarlyTranscript, SpeechStarted
from voicepipe.testing import RecordingOutput
from voicepipe.testing.simulators.stt import Spoken, STTSimulator
from voicepipe.vendors.assemblyai.parameters import StreamingParameters
from voicepipe.vendors.assemblyai.stt import AssemblyAIRecogniser

pytestmark = pytest.mark.anyio

HEARD = (SpeechStarted, EarlyTranscript, vp.Transcript)

# --- how it is made ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "wss://streaming.assemblyai.com/v3/ws"),
        ({"region": "us"}, "wss://streaming.us.assemblyai.com/v3/ws"),
        ({"region": "eu"}, "wss://streaming.eu.assemblyai.com/v3/ws"),
        ({"host": "stt.example.com:8443"}, "wss://stt.example.com:8443/v3/ws"),
        ({"url": "wss://example.com/there/v3/ws"}, "wss://example.com/there/v3/ws"),
        ({"url": "ws://127.0.0.1:8098/f/ok/"}, "ws://127.0.0.1:8098/f/ok/v3/ws"),
        ({"url": "ws://localhost:8098"}, "ws://localhost:8098/v3/ws"),
    ],
)
def test_it_knows_where_the_service_is(settings: dict[str, Any], url: str) -> None:
    """A region, a host or a URL chooses the server; the path is always the service's."""
    assert AssemblyAIRecogniser(**settings).url == url


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"region": "us", "host": "example.com"}, "give one of region, host and url, not region= and host="),
        ({"region": "mars"}, "region must be 'us' or 'eu'"),
        ({"url": "ws://example.com"}, "would send the key to example.com unencrypted; use wss://"),
        ({"url": "https://example.com"}, "must start with wss://"),
        ({"url": "wss://user:pw@example.com"}, "the key goes into api_key"),
        ({"url": "wss://example.com/v3/ws?token=x"}, "the key goes into api_key"),
        ({"url": "wss://example.com:port"}, "is no URL"),
        ({"speech_model": " "}, "speech_model must name a model"),
        ({"parameters": {"prompt": "x"}}, "parameters must be StreamingParameters"),
        ({"api_key": " "}, "api_key is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], said: str) -> None:
    """A wrong address or setting is an error when the recogniser is made."""
    with pytest.raises(ConfigurationError) as raised:
        AssemblyAIRecogniser(**settings)
    assert said in str(raised.value)


async def test_a_missing_key_is_told_when_the_pipeline_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the pipeline does not open, and the message names the variable."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    row = vp.Pipeline(Caller(hangs_up_s=1.0), vp.STTStage(), *agent("ws://127.0.0.1:1", Caller(hangs_up_s=1)).parts[2:])
    with pytest.raises(AuthenticationError, match="ASSEMBLYAI_API_KEY is not set"):
        async with row.open():
            pass


@pytest.mark.parametrize("key", ["a\nb", "“quoted”"])
async def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    """A badly copied key is an error that does not show it."""
    row = agent("ws://127.0.0.1:1", Caller(hangs_up_s=1.0))
    row = row.replace({vp.STTStage: vp.STTStage(AssemblyAIRecogniser(url="ws://127.0.0.1:1", api_key=key))})
    with pytest.raises(ConfigurationError) as raised:
        async with row.open():
            pass
    assert key not in str(raised.value)


# --- a call -----------------------------------------------------------------------------------------------------------


async def test_a_call_is_heard() -> None:
    """Audio goes out in pieces of 50 ms with the key in a header, and transcripts come back on the loop's clock."""
    server = EarServer(good)
    async with server.serve() as url:
        told = await call(url, Caller(1.0, hangs_up_s=3.0))

    heard = [(round(at_s, 3), event) for at_s, event in told.events if isinstance(event, HEARD)]
    times = [round(word.end_s, 3) for word in heard[-1][1].words]
    assert [(at_s, type(event)) for at_s, event in heard] == [
        (1.06, SpeechStarted),
        (1.06, EarlyTranscript),
        (1.46, EarlyTranscript),
        (1.86, EarlyTranscript),
        (2.6, vp.Transcript),
    ]
    assert (heard[0][1].at_s, heard[-1][1].text, times) == (pytest.approx(1.0), "0a 0b 0c", [1.4, 1.8, 2.2])
    (peer,) = server.peers
    assert peer.headers["authorization"] == KEY
    assert peer.query == {
        "speech_model": "u3-rt-pro",
        "sample_rate": "16000",
        "session_heartbeat": "true",
        "acknowledge_silence": "true",
    }
    assert (peer.pieces, peer.kinds) == ({1600: 60}, ["UpdateConfiguration", "Terminate"])


async def test_settings_reach_the_service() -> None:
    """Settings are in the query, once; the agent's last words, and what is too long for a URL, come as a message."""
    parameters = StreamingParameters(
        sample_rate=8_000, min_turn_silence_s=0.2, keyterms_prompt=["é" * 50] * 30, agent_context="Your number?"
    )
    server = EarServer(good)
    async with server.serve() as url:
        await call(url, Caller(hangs_up_s=0.5), speech_model="u4", parameters=parameters)

    (peer,) = server.peers
    assert peer.query == {
        "speech_model": "u4",
        "sample_rate": "8000",
        "min_turn_silence": "200",
        "session_heartbeat": "true",
        "acknowledge_silence": "true",
    }
    assert peer.controls[0][1] == {
        "type": "UpdateConfiguration",
        "keyterms_prompt": ["é" * 50] * 30,
        "agent_context": "Your number?",
    }
    assert set(peer.pieces) == {800}


async def test_the_last_words_are_heard() -> None:
    """The caller's last words before hanging up are a turn, and the call ends once it was reported."""
    server = EarServer(good)
    async with server.serve() as url:
        told = await call(url, Caller(1.0, hangs_up_s=2.21))
    assert told.transcripts == [text_of(0)]
    assert server.peers[0].kinds[-1] == "Terminate"


async def test_a_real_service_takes_what_is_sent() -> None:
    """The simulated service, which refuses what the real one refuses, accepts everything in a call."""
    script = [Spoken("My order number is four two.", 1.2, 2.6), Spoken("Thank you.", 5.0, 5.8)]
    simulator = STTSimulator(script, api_key=KEY)
    async with simulator.serve() as url:
        told = await call(url, Caller(hangs_up_s=8.0))

    assert told.transcripts == ["My order number is four two.", "Thank you."]
    (session,) = simulator.sessions
    assert (session.error, session.was_terminated, session.close) == ("", True, (1000, "Session Ended"))


# --- what may be asked during a call ----------------------------------------------------------------------------------


async def controls_of(during: Callable[[vp.Session], Any], **settings: Any) -> list[tuple[float, dict[str, Any]]]:
    """Return the control messages of a call of 4 s with speech at 1.0, except the last."""
    server = EarServer(good)
    async with server.serve() as url:
        told = await call(url, Caller(1.0, hangs_up_s=4.0), during, **settings)
    assert told.error is None
    return [(round(at_s, 2), message) for at_s, message in server.peers[0].controls][:-1]


async def test_settings_change_without_a_new_connection() -> None:
    """A change is sent at once, and only what has changed; a block restores it at its end."""

    async def during(session: vp.Session) -> None:
        await anyio.sleep_until(0.51)
        session.recogniser.update(vad_threshold=0.5)
        await anyio.sleep_until(0.71)
        session.recogniser.update(vad_threshold=0.5)
        async with session.recogniser.updated(min_turn_silence_s=1.0, max_turn_silence_s=3.0):
            await anyio.sleep_until(0.91)

    assert await controls_of(during, sends_agent_context=False) == [
        (0.51, {"type": "UpdateConfiguration", "vad_threshold": 0.5}),
        (0.71, {"type": "UpdateConfiguration", "min_turn_silence": 1000, "max_turn_silence": 3000}),
        (0.91, {"type": "UpdateConfiguration", "min_turn_silence": 100, "max_turn_silence": 1000}),
    ]


async def test_a_wrong_change_is_refused_and_changes_nothing() -> None:
    """`update` raises an error for a change that would make the service end the session, and the call goes on."""

    async def during(session: vp.Session) -> None:
        for changes in ({"vad_threshold": 2.0}, {"sample_rate": 8_000}, {"min_silence": 1.0}):
            with pytest.raises(ConfigurationError):
                session.recogniser.update(**changes)

    assert await controls_of(during, sends_agent_context=False) == []


async def test_a_local_end_of_turn_ends_the_turn() -> None:
    """`force_endpoint` ends the turn, once all audio up to then was sent."""
    server = EarServer(good)

    async def during(session: vp.Session) -> None:
        await anyio.sleep_until(1.91)
        session.recogniser.force_endpoint()

    async with server.serve() as url:
        told = await call(url, Caller(1.0, hangs_up_s=4.0), during)
    assert (told.transcripts[0], round(told.of(vp.Transcript)[0][0], 2)) == ("0a 0b 0c", 1.91)


async def test_the_service_is_told_what_the_caller_heard() -> None:
    """After a reply its text, or the end of a long one, is the context of what the caller says next."""
    server = EarServer(good)

    async def during(session: vp.Session) -> None:
        session.say("So " + "very " * 400 + "long.")

    async with server.serve() as url:
        await call(url, Caller(hangs_up_s=25.0), during)
    ((_, update), _) = server.peers[0].controls
    assert update["agent_context"] == ("very " * 400 + "long.")[-1500:]


async def test_what_was_not_heard_is_not_told() -> None:
    """Of a reply that was cut, the service receives the part that was heard."""
    server = EarServer(good)

    async def during(session: vp.Session) -> None:
        session.say("One two three four five six seven eight nine ten.")
        await anyio.sleep(0.2)
        session.interrupt()

    async with server.serve() as url:
        await call(url, Caller(hangs_up_s=1.0), during)
    assert server.peers[0].controls[0][1]["agent_context"] == "One two three four"


@pytest.mark.parametrize("settings", [{"sends_agent_context": False}, {"speech_model": "universal-streaming-english"}])
async def test_context_can_be_left_out(settings: dict[str, Any]) -> None:
    """The service does not receive the agent's words when that is switched off, or the model does not use them."""

    async def during(session: vp.Session) -> None:
        session.say("Hello.")

    assert await controls_of(during, **settings) == []


async def test_a_tool_that_asks_for_patience_serves_without_audio() -> None:
    """In a call with typed text there is no connection, and requests have no effect."""
    row = agent("ws://127.0.0.1:1", Caller(hangs_up_s=1.0)).parts[2:]
    async with vp.Pipeline(*row, output=RecordingOutput()).session() as session:
        async with session.recogniser.updated(min_turn_silence_s=1.0):
            session.recogniser.force_endpoint()
            await session.user_says("Hi.")


# --- how a call fails to begin ----------------------------------------------------------------------------------------


async def error_before_begin(peer: Peer) -> None:
    await peer.send("Error", error_code=1008, error=f"Invalid API key {KEY}")
    await peer.connection.close(1008, "")


async def error_without_a_code(peer: Peer) -> None:
    await peer.connection.send('{"error": "not authorized"}')
    await peer.connection.close(4001, "nope")


async def no_begin(peer: Peer) -> None:
    await peer.connection.send("{}")
    await peer.listen()


async def close_before_begin(peer: Peer) -> None:
    await peer.connection.close(1013, "try again later")


@pytest.mark.parametrize(
    ("act", "kind", "retryable", "said"),
    [
        pytest.param(error_before_begin, AuthenticationError, False, "1008 (Invalid API key ***)", id="key"),
        pytest.param(error_without_a_code, AuthenticationError, False, "4001 (not authorized)", id="old error"),
        pytest.param(no_begin, VendorError, True, "did not begin a session within 4.5 s", id="no begin"),
        pytest.param(close_before_begin, VendorError, True, "1013 (try again later)", id="closed"),
        pytest.param(401, AuthenticationError, False, "HTTP 401; check the key", id="401"),
        pytest.param(402, VendorError, False, "HTTP 402; top up", id="402"),
        pytest.param(429, RateLimited, True, "HTTP 429; open fewer", id="429"),
        pytest.param(503, VendorError, True, "HTTP 503; try again later", id="503"),
        pytest.param(200, VendorError, False, "HTTP 200; there is no websocket", id="200"),
        pytest.param(307, VendorError, False, "HTTP 307; there is no websocket", id="redirect"),
    ],
)
async def test_a_refused_call_says_why(act: Act | int, kind: type[VendorError], retryable: bool, said: str) -> None:
    """A session does not start without its recogniser; the error has the code, the reason and the remedy."""
    server = EarServer(act)
    async with server.serve() as url:
        told = await call(url, Caller(hangs_up_s=1.0))
    assert isinstance(told.error, VendorError)
    assert (type(told.error), told.error.retryable) == (kind, retryable)
    assert said in str(told.error)
    assert KEY not in str(told.error)
    assert told.ended_s < 5.0


async def test_a_service_that_is_not_there_is_told() -> None:
    """A refused connection is an error that later may not have."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = await call(f"ws://127.0.0.1:{port}", Caller(hangs_up_s=1.0))
    assert isinstance(told.error, VendorError)
    assert told.error.retryable
    assert f"cannot connect to 127.0.0.1:{port}" in str(told.error)


async def test_a_handshake_that_hangs_is_given_up() -> None:
    """A host that accepts and says nothing costs 5 s, not the call."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = await call(f"ws://127.0.0.1:{silent.getsockname()[1]}", Caller(hangs_up_s=1.0))
    assert isinstance(told.error, VendorError)
    assert told.ended_s == pytest.approx(4.5)


async def test_what_was_given_up_is_closed() -> None:
    """A connection on which the session never began is cut as soon as it is given up."""
    closed_s: list[float] = []

    async def quiet(peer: Peer) -> None:
        await peer.connection.wait_closed()
        closed_s.append(anyio.current_time())

    async with EarServer(quiet).serve() as url:
        told = await call(url, Caller(hangs_up_s=1.0))
        await anyio.sleep(0.1)
        assert closed_s == [pytest.approx(told.ended_s, abs=0.01)]


# --- how a call ends --------------------------------------------------------------------------------------------------


async def ignoring_terminate(peer: Peer) -> None:
    await peer.begin()
    async for _ in peer.connection:
        pass


@pytest.mark.parametrize(("act", "within_s"), [(good, 0.1), (ignoring_terminate, 1.0)])
async def test_a_session_that_ends_is_terminated(act: Act, within_s: float) -> None:
    """However a call ends, its session is terminated, since it is billed by the hour, and within a time limit."""
    server = EarServer(act)
    async with server.serve() as url:
        async with agent(url, Caller(hangs_up_s=60.0)).session():
            await anyio.sleep(1.0)
            began_s = anyio.current_time()
        assert anyio.current_time() - began_s <= within_s
    if act is good:
        assert server.peers[0].kinds == ["Terminate"]


@pytest.mark.parametrize("acts", [[ignoring_terminate], [closing(1011, at_s=0.9), no_begin]])
async def test_a_hang_up_ends_the_call_whatever_the_service_does(acts: list[Act]) -> None:
    """A service that ignores `Terminate`, or is gone by then, delays the end of a call by 3 s at most."""
    server = EarServer(*acts)
    async with server.serve() as url:
        told = await call(url, Caller(hangs_up_s=1.0))
    assert (told.error, told.ended_s <= 4.0) == (None, True)


async def test_the_key_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """The key is in no log, event, representation or error, even when the service quotes it."""
    caplog.set_level(logging.DEBUG, logger="websockets.client")
    server = EarServer(closing(1011, at_s=0.5, error=True), closing(3006, at_s=0.5, error=True))
    async with server.serve() as url:
        told = await call(url, Caller(0.1, hangs_up_s=4.0))
        shown = repr(agent(url, Caller(hangs_up_s=1.0)).parts)

    assert "it does not like ***" in str(told.error)
    assert KEY not in f"{told.events} {told.error!r} {told.error.__cause__ if told.error else ''} {shown} {caplog.text}"
