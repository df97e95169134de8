"""One warm session with the service: how it is opened, lost, replaced and closed."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate

import anyio
import pytest
from pydantic import SecretStr

from tests.helpers.tts_server import FRAME, SESSION_ID, Peer, Script, SpeechServer, good
from voicepipe.core.failures import single_error
from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.http.network import Route
from voicepipe.http.tls import Trust
from voicepipe.vendors.assemblyai.tts_protocol import TTSProtocol
from voicepipe.vendors.line.backoff import Backoff
from voicepipe.vendors.line.socket import Endpoint
from voicepipe.vendors.line.speech_line import SpeechLine
from voicepipe.vendors.line.speech_protocol import SpeechRequest

pytestmark = pytest.mark.anyio

KEY = "canary-5d1f"

ROUTE = Route(proxy=None, tls=None, trust=Trust())


def spread(*pauses_s: float) -> list[float]:
    """Return these pauses as they are spread after a session has begun."""
    backoff = Backoff()
    backoff.began(SESSION_ID)
    return [backoff.spread(pause_s) for pause_s in pauses_s]


(SOON,) = spread(0.0)
"""The pause from a loss to the first attempt."""


def line_to(url: str) -> SpeechLine:
    """Return the line of AssemblyAI's protocol to this server."""
    key = SecretStr(KEY)
    endpoint = Endpoint(vendor="AssemblyAI", url=url, key=key, route=ROUTE)
    return SpeechLine(endpoint, lambda now: TTSProtocol(now, sample_rate=24_000, key=key))


@asynccontextmanager
async def calling(server: SpeechServer) -> AsyncGenerator[SpeechLine]:
    async with server.serve() as url:
        line = line_to(f"{url}/v1/ws?voice_id=aai-jane")
        with single_error():
            async with line.open():
                yield line


async def finished(line: SpeechLine, request: SpeechRequest) -> bytes:
    """Wait for the end of a request, and return its audio."""
    while not (request.is_done or request.error):
        await line.news.wait()
    return b"".join(request.audio)


async def spoken(line: SpeechLine, text: str) -> bytes:
    return await finished(line, line.ask(text))


def closes(code: int, *, after: str = "Flush", audio: bool = False, steady: bool = True) -> Script:
    """A service that closes after a client's message, once the session is some seconds old."""

    async def script(peer: Peer) -> None:
        await peer.begin()
        if steady:
            await peer.read_until(after)
        if audio:
            await peer.audio(0)
        await peer.connection.close(code, "why")

    return script


def refuses(code: int, **fields: object) -> Script:
    """A service that accepts the handshake and then refuses."""

    async def script(peer: Peer) -> None:
        await peer.error(code, **fields)

    return script


async def breaks(peer: Peer) -> None:
    await peer.begin()
    await peer.read_until("Flush")
    peer.connection.transport.abort()


async def says_nothing(peer: Peer) -> None:
    await peer.connection.wait_closed()


async def never_speaks(peer: Peer) -> None:
    await peer.begin()
    while True:
        await peer.read()


async def test_a_session_is_open_before_anything_is_asked() -> None:
    """Opening waits for `Begin`; leaving sends `Terminate`; the key goes bare into the handshake."""
    server = SpeechServer(good)
    async with calling(server) as line:
        assert repr(line).endswith("open>")
    (peer,) = server.peers

    assert peer.kinds == ["Terminate"]
    assert peer.headers["Authorization"] == KEY
    assert KEY not in peer.path
    assert peer.connection.close_code == 1000


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (refuses(1008, error="Invalid API key"), AuthenticationError, "Invalid API key"),
        (refuses(3006, error_type="voice_not_found", error="no voice"), ConfigurationError, "voice_id"),
        (refuses(3009, retry_after_seconds=7), RateLimited, "code 3009"),
        (closes(1011, steady=False), None, ""),
        (says_nothing, VendorError, "did not begin within 5 s"),
        (401, AuthenticationError, "HTTP 401"),
        (402, VendorError, "HTTP 402"),
        (404, VendorError, "HTTP 404"),
        (429, RateLimited, "HTTP 429"),
        (503, VendorError, "HTTP 503"),
    ],
)
async def test_a_session_that_cannot_be_had_is_an_error(
    script: Script | int, error: type[Exception] | None, words: str
) -> None:
    """A first session that cannot begin raises a typed error; a session that has begun is replaced."""
    server = SpeechServer(script, good)
    if error is None:
        async with calling(server) as line:
            assert await spoken(line, "One.") == FRAME
        return
    with pytest.raises(error, match=words):
        async with calling(server):
            raise AssertionError("it opened")
    assert len(server.peers) + server.refused == 1


async def test_an_unreachable_service_is_an_error() -> None:
    """A refused connection is an error that names the host, and is retryable."""
    async with SpeechServer(good).serve() as url:
        pass
    with pytest.raises(VendorError, match="cannot connect to 127") as raised, single_error():
        async with line_to(url).open():
            raise AssertionError("it opened")
    assert raised.value.retryable


async def test_a_handshake_that_hangs_is_given_up() -> None:
    """A host that accepts the connection and sends nothing is an error after four seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = line_to(f"ws://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(VendorError, match="did not answer the handshake within 4 s"), single_error():
            async with line.open():
                raise AssertionError("it opened")
    assert anyio.current_time() == 4.0


async def test_a_redirect_is_not_followed() -> None:
    """The key goes only to the host that it was given for, so a redirect is not followed."""
    other = SpeechServer(good)
    async with other.serve() as elsewhere:
        server = SpeechServer(307, headers={"Location": elsewhere})
        with pytest.raises(VendorError, match="HTTP 307"):
            async with calling(server):
                raise AssertionError("it opened")
    assert (server.refused, other.peers) == (1, [])


RETRYABLE = [1000, 1001, 1011, 1012, 1013, 3005, 3008]


@pytest.mark.parametrize("script", [*map(closes, RETRYABLE), breaks], ids=[*map(str, RETRYABLE), "1006"])
async def test_a_sentence_without_audio_is_said_on_another_socket(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost connection is soon replaced, and the sentence is requested once more."""
    server = SpeechServer(script, good)
    async with calling(server) as line:
        await anyio.sleep(60)
        assert await spoken(line, "One.") == FRAME

    assert [peer.kinds for peer in server.peers] == [["One.", "Flush"], ["One.", "Flush", "Terminate"]]
    assert server.peers[1].at_s == pytest.approx(60.0 + SOON)
    assert caplog.messages[0].startswith("text-to-speech was lost: ")


async def test_each_connection_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An operator reads at INFO when the voice was connected, and at WARNING when it was lost."""
    caplog.set_level(logging.INFO, logger="voicepipe")
    async with calling(SpeechServer(closes(1011), good)) as line:
        await spoken(line, "One.")
    assert [(record.levelname, record.getMessage().partition(":")[0]) for record in caplog.records] == [
        ("INFO", "AssemblyAI text-to-speech is connected"),
        ("WARNING", "text-to-speech was lost"),
        ("INFO", "AssemblyAI text-to-speech is connected"),
    ]


@pytest.mark.parametrize("code", [1011, 3006])
async def test_a_sentence_with_audio_is_not_said_twice(code: int) -> None:
    """A sentence that breaks off keeps the audio that had come, and then raises an error."""
    server = SpeechServer(closes(code, audio=True), good)
    async with calling(server) as line:
        request = line.ask("One.")
        audio = await finished(line, request)
        after = await spoken(line, "Two.")

    assert (audio, after) == (FRAME, FRAME)
    assert isinstance(request.error, VendorError)
    assert [peer.kinds[0] for peer in server.peers] == ["One.", "Two."]


@pytest.mark.parametrize("code", [1008, 1009, 3006, 3010, 3011, 3012, 3014])
async def test_a_refused_sentence_is_not_sent_again(code: int) -> None:
    """A refusal fails the waiting request at once, typed; the next session is started when somebody speaks again."""
    server = SpeechServer(closes(code), good)
    async with calling(server) as line:
        request = line.ask("One.")
        assert await finished(line, request) == b""
        await anyio.sleep(100)
        sessions_before = len(server.peers)
        assert await spoken(line, "Two.") == FRAME

    assert f"code {code}" in str(request.error)
    assert sessions_before == 1
    assert server.peers[1].kinds == ["Two.", "Flush", "Terminate"]


async def test_a_rate_limit_is_waited_out() -> None:
    """After 3009 there is no attempt before the time the service named, and a new request gets the error at once."""
    server = SpeechServer(closes(1012), refuses(3009, retry_after_seconds=20), good)
    async with calling(server) as line:
        first, second = line.ask("One."), SpeechRequest("")
        await finished(line, first)
        second = line.ask("Two.")
        await finished(line, second)
        told_s = anyio.current_time()
        await anyio.sleep(30)
        assert await spoken(line, "Three.") == FRAME

    assert (type(first.error), type(second.error), told_s) == (RateLimited, RateLimited, pytest.approx(SOON))
    assert [peer.at_s for peer in server.peers] == pytest.approx([0.0, SOON, sum(spread(0.0, 20.0))])


async def test_a_short_rate_limit_delays_a_sentence() -> None:
    """A short pause that the service asks for is kept, and then the request succeeds."""
    server = SpeechServer(closes(1012), refuses(3009, retry_after_seconds=2), good)
    async with calling(server) as line:
        assert await spoken(line, "One.") == FRAME
        assert anyio.current_time() == pytest.approx(sum(spread(0.0, 2.0)))


async def test_a_service_that_is_down_is_tried_less_and_less() -> None:
    """Attempts become rare; waiting requests fail after the second; a later request makes another attempt at once."""
    times: list[float] = []

    async def refused(peer: Peer) -> None:
        times.append(anyio.current_time())
        await peer.connection.close(1011)

    server = SpeechServer(closes(1011), *[refused] * 6, good)
    async with calling(server) as line:
        request = line.ask("One.")
        await finished(line, request)
        told_s = anyio.current_time()
        await anyio.sleep_until(110)
        assert await spoken(line, "Two.") == FRAME
        assert anyio.current_time() == 110.0

    tries = list(accumulate(spread(0.0, 0.5, 4.0, 15.0, 30.0, 30.0)))
    assert told_s == pytest.approx(tries[1])
    assert server.peers[-1].kinds == ["Two.", "Flush", "Terminate"]
    assert "code 1011" in str(request.error)
    assert times == pytest.approx(tries)


async def test_a_service_that_dies_at_once_is_not_stormed() -> None:
    """A session that ends soon counts as a failed attempt, so that attempts become rare."""
    server = SpeechServer(closes(1011, steady=False))
    async with calling(server):
        await anyio.sleep(60)
    firsts = [spread(pause_s)[0] for pause_s in (0.0, 0.5, 4.0, 15.0, 30.0)]  # each session has the same name
    assert [peer.at_s for peer in server.peers] == pytest.approx([0.0, *accumulate(firsts)])


async def test_a_silent_service_is_given_up_in_time_for_another() -> None:
    """Without audio for 2.5 s the sentence is requested on a second socket, and its audio still comes before 5 s."""
    server = SpeechServer(never_speaks, good)
    async with calling(server) as line:
        await anyio.sleep(10)
        assert await spoken(line, "One.") == FRAME
        assert anyio.current_time() == 12.5


async def test_a_cancel_that_is_not_answered_costs_the_socket() -> None:
    """When a `Cancel` is not answered, the next turn speaks on another socket after a second."""
    server = SpeechServer(never_speaks, good)
    async with calling(server) as line:
        await anyio.sleep(10)
        line.drop(line.ask("One."))
        dead = line.ask("Two.")
        await anyio.sleep(0.1)
        line.drop(dead)
        assert await spoken(line, "Three.") == FRAME
        assert anyio.current_time() == 11.1

    assert [peer.kinds for peer in server.peers] == [["Two.", "Flush", "Cancel"], ["Three.", "Flush", "Terminate"]]


async def test_a_session_is_replaced_before_it_ends() -> None:
    """A minute before a session ends another takes over; speech in progress goes on, and then the old one is closed."""

    async def slow(peer: Peer) -> None:
        await peer.begin(session_ttl_sec=3600, inactivity_timeout=120)
        await peer.read_until("Flush")
        await peer.audio(0)
        await anyio.sleep(2)
        await peer.audio(0)
        await peer.done(0)
        await peer.serve(number=1)

    server = SpeechServer(slow, good)
    async with calling(server) as line:
        await anyio.sleep(3539)
        request = line.ask("One.")
        await anyio.sleep(1.5)
        after = await spoken(line, "Two.")
        assert await finished(line, request) == FRAME * 2
        await anyio.sleep(1)
        old_code = server.peers[0].connection.close_code

    old, new = server.peers
    assert (after, old_code, new.at_s) == (FRAME, 1000, 3540.0)
    assert old.kinds == [*["KeepAlive"] * 58, "One.", "Flush", "Terminate"]
    assert new.kinds == ["Two.", "Flush", "Terminate"]


async def test_each_loss_of_a_good_session_is_soon_made_good() -> None:
    """A session that was steady resets the count of failures: only those in a row count."""

    async def restarts(peer: Peer) -> None:
        await peer.begin()
        await anyio.sleep(60)
        await peer.connection.close(1012)

    server = SpeechServer(*[restarts] * 4, good)
    async with calling(server):
        await anyio.sleep(300)
    assert [peer.at_s for peer in server.peers] == pytest.approx([number * (60.0 + SOON) for number in range(5)])


async def test_a_request_of_a_session_that_was_replaced_is_not_lost() -> None:
    """When the old session breaks after another has taken over, its unfinished requests move to the new one."""

    async def short(peer: Peer) -> None:
        await peer.begin(session_ttl_sec=100, inactivity_timeout=120)
        await peer.read_until("Flush")
        await anyio.sleep(1)
        peer.connection.transport.abort()

    server = SpeechServer(short, good)
    async with calling(server) as line:
        await anyio.sleep(49.5)
        assert await spoken(line, "One.") == FRAME
    assert [peer.at_s for peer in server.peers] == [0.0, 50.0]
    assert server.peers[1].kinds == ["One.", "Flush", "Terminate"]


async def test_what_is_dropped_while_there_is_no_session_is_never_asked_for() -> None:
    """A request that is withdrawn while it waits for a socket is forgotten."""

    async def late(peer: Peer) -> None:
        await anyio.sleep(1)
        await good(peer)

    server = SpeechServer(closes(1012), late)
    async with calling(server) as line:
        first = line.ask("One.")
        await anyio.sleep(0.5)
        line.drop(first)
        assert await spoken(line, "Two.") == FRAME
    assert server.peers[1].kinds == ["Two.", "Flush", "Terminate"]


async def test_leaving_waits_for_the_answer_to_a_cancel() -> None:
    """A call that ends with a barge-in still ends its session properly."""

    async def slow(peer: Peer) -> None:
        await peer.begin()
        await peer.read_until("Cancel")
        await anyio.sleep(0.2)
        await peer.send("Cancelled")
        await peer.serve()

    server = SpeechServer(slow)
    async with calling(server) as line:
        request = line.ask("One.")
        await anyio.sleep(0.1)
        line.drop(request)
    assert server.peers[0].kinds == ["One.", "Flush", "Cancel", "Terminate"]
    assert server.peers[0].connection.close_code == 1000


async def test_a_renewal_that_fails_leaves_the_old_session() -> None:
    """While the old session lasts, a failed renewal goes unnoticed, and there is another attempt."""

    async def short(peer: Peer) -> None:
        await peer.begin(session_ttl_sec=200)
        await peer.serve()

    server = SpeechServer(short, 503, 503, good)
    async with calling(server) as line:
        await anyio.sleep(140.2)
        assert await spoken(line, "One.") == FRAME
        await anyio.sleep(10)
        assert await spoken(line, "Two.") == FRAME

    assert [peer.kinds for peer in server.peers] == [
        ["KeepAlive", "KeepAlive", "One.", "Flush", "Terminate"],
        ["Two.", "Flush", "Terminate"],
    ]
    assert server.refused == 2


async def test_an_idle_hour_costs_one_socket_a_session() -> None:
    """In three hours of silence there are signs of life and one renewal an hour, nothing else."""
    server = SpeechServer(good)
    async with calling(server):
        await anyio.sleep(3 * 3600)
    assert [peer.at_s for peer in server.peers] == [0.0, 3540.0, 7080.0, 10620.0]
    assert {kind for peer in server.peers for kind in peer.kinds} == {"KeepAlive", "Terminate"}


@pytest.mark.parametrize(
    "ignores", [("Terminate",), ("Terminate", "close")], ids=["Terminate ignored", "close ignored, too"]
)
async def test_leaving_takes_no_longer_than_a_second(ignores: Sequence[str]) -> None:
    """A service that does not answer `Terminate` cannot delay the exit."""

    async def stubborn(peer: Peer) -> None:
        await peer.begin()
        await peer.read_until("Terminate")
        if "close" in ignores:
            peer.connection.transport.pause_reading()
        await anyio.sleep(3)

    async with SpeechServer(stubborn).serve() as url:
        line = line_to(url)
        async with line.open():
            left_s = anyio.current_time()
        assert anyio.current_time() - left_s <= 1.0


async def test_what_is_wanted_while_there_is_no_session_is_asked_in_order() -> None:
    """Requests that wait for a new session are sent in their order; a dropped one is not sent."""
    server = SpeechServer(closes(1012, after="One."), good)
    async with calling(server) as line:
        requests = [line.ask(text) for text in ("One.", "Two.", "Three.", "Four.")]
        line.drop(requests[2])
        assert [await finished(line, requests[at]) for at in (0, 1, 3)] == [FRAME] * 3
    assert server.peers[1].kinds == ["One.", "Flush", "Two.", "Flush", "Four.", "Flush", "Terminate"]


async def test_an_oversized_message_costs_only_the_socket() -> None:
    """A message beyond the limit ends the connection, not the call."""

    async def huge(peer: Peer) -> None:
        await peer.begin()
        await peer.read_until("Flush")
        await peer.send("News", text="x" * (1 << 21))

    server = SpeechServer(huge, good)
    async with calling(server) as line:
        assert await spoken(line, "One.") == FRAME
    assert len(server.peers) == 2


async def test_strange_messages_and_parameters_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Parameters that the service does not know, and messages that we cannot read, are logged once a session."""

    async def strange(peer: Peer) -> None:
        await peer.begin(unknown_params=["voice_id"])
        await peer.connection.send("{")
        await peer.connection.send(b"\xff")
        await peer.serve()

    async with calling(SpeechServer(strange)) as line:
        assert await spoken(line, "One.") == FRAME
    assert caplog.messages == [
        "AssemblyAI text-to-speech does not know voice_id; ignored",
        "AssemblyAI text-to-speech sent 2 unreadable messages",
    ]
