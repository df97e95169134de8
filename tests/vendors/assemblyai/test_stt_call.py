"""One call over several connections: whatever breaks, each of the caller's turns is heard once, with its true time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.stt_server import KEY, Act, Caller, EarServer, Peer, Told, agent, call, closing, good, text_of
from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.testing import RecordingOutput
from voicepipe.testing.simulators.stt import Closes, Drops, HangsUp, Stalls, STTSimulator, TurnsDeaf
from voicepipe.vendors.assemblyai.parameters import StreamingParameters
from voicepipe.vendors.line.backoff import Backoff

pytestmark = pytest.mark.anyio


async def held(*acts: Act | int, caller: Caller, during: Callable[[vp.Session], Any] | None = None, **settings: Any):
    """Hold a call with a server that follows these acts."""
    server = EarServer(*acts)
    async with server.serve() as url:
        told = await call(url, caller, during, **settings)
    return told, server.peers


def said_when(told: Told) -> list[tuple[str, list[float]]]:
    """What was said, and when each word began."""
    return [(event.text, [round(word.start_s, 2) for word in event.words]) for _, event in told.of(vp.Transcript)]


async def dropping(peer: Peer) -> None:
    """Break the connection without a close frame, in the middle of an utterance."""
    await peer.begin()
    await peer.listen(until_s=1.5)
    peer.connection.transport.abort()


async def terminating(peer: Peer) -> None:
    """End the session properly, though the client has not asked for it."""
    await peer.begin()
    await peer.listen(until_s=1.5)
    await peer.send("Termination", audio_duration_seconds=1, session_duration_seconds=1)
    await peer.connection.close(1000, "Session Ended")


async def erring(peer: Peer) -> None:
    """Report an error and stay."""
    await peer.begin()
    await peer.listen(until_s=1.5)
    await peer.send("Error", error_code=3005, error="bad")
    await peer.connection.wait_closed()


async def huge(peer: Peer) -> None:
    """Send an invalid message."""
    await peer.begin()
    await peer.listen(until_s=1.5)
    await peer.send("Turn", transcript="word " * 300_000, end_of_turn=True)
    await peer.listen()


def spread(*pauses_s: float) -> list[float]:
    """Return these pauses as they are spread in a call whose first session has the id of `Peer.begin`."""
    backoff = Backoff()
    backoff.began("t")
    return [backoff.spread(pause_s) for pause_s in pauses_s]


@pytest.mark.parametrize(
    "act",
    [
        *(pytest.param(closing(code, at_s=1.5), id=str(code)) for code in (1000, 1001, 1011, 1012, 1013, 3005, 3008)),
        *(pytest.param(closing(code, at_s=1.5, error=True), id=f"error {code}") for code in (3005, 3008)),
        *(pytest.param(act, id=act.__name__) for act in (dropping, terminating, erring, huge)),
    ],
)
async def test_a_connection_that_breaks_is_made_anew(act: Act) -> None:
    """Wherever a connection breaks, within a second another one hears what was said, once and with its true times."""
    told, peers = await held(act, good, caller=Caller(1.0, 5.0, hangs_up_s=8.0))

    ((lost_s, _),) = told.lost
    assert peers[1].at_s - lost_s <= 1.0
    assert said_when(told) == [(text_of(0), [1.0, 1.4, 1.8]), (text_of(1), [5.0, 5.4, 5.8])]
    assert told.error is None
    assert [len(peers), peers[1].kinds[-1]] == [2, "Terminate"]


async def test_each_connection_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An operator reads when the recogniser was connected, lost and connected again, and in which call."""
    caplog.set_level(logging.INFO, logger="voicepipe")
    told, _ = await held(closing(1011, at_s=1.5), good, caller=Caller(hangs_up_s=4.0))
    of_call = f"session {told.events[0][1].session_id}: "
    assert [message.removeprefix(of_call).partition(":")[0] for message in caplog.messages] == [
        "AssemblyAI speech-to-text is connected, with the model u3-rt-pro",
        "began",
        "the recogniser was lost",
        "AssemblyAI speech-to-text is connected, with the model u3-rt-pro",
        "ended after 4.0 s and 0 turns",
    ]


@pytest.mark.parametrize("at_s", [round(0.5 + 0.15 * step, 2) for step in range(20)])
async def test_it_may_break_at_any_time(at_s: float) -> None:
    """A break before, during or after an utterance, or its transcript, leaves one transcript of it."""
    told, _ = await held(closing(1011, at_s=at_s), good, caller=Caller(1.0, hangs_up_s=5.0))
    assert said_when(told) == [(text_of(0), [1.0, 1.4, 1.8])]


async def test_a_turn_begins_once() -> None:
    """Speech that was reported before the break is not reported again after it."""
    told, _ = await held(closing(1011, at_s=1.5), good, caller=Caller(1.0, hangs_up_s=4.0))
    assert [round(event.at_s, 2) for _, event in told.of(vp.SpeechStarted)] == [1.0]


async def test_a_long_turn_is_not_cut_short() -> None:
    """Words older than the 5 s that are sent again were recognised before, and stand in front of the rest."""
    caller = Caller(*[1.2 * step for step in range(8)], hangs_up_s=12.0)
    told, _ = await held(closing(1011, at_s=8.0), good, caller=caller)
    assert told.transcripts == [" ".join(text_of(number) for number in range(8))]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1008, AuthenticationError), (3006, VendorError), (3007, VendorError), (1009, VendorError), (4001, VendorError)],
)
async def test_a_refusal_in_mid_call_ends_it(code: int, kind: type[VendorError]) -> None:
    """An error that a new connection would repeat ends the session at once, under its stage's name."""
    told, peers = await held(closing(code, at_s=1.5, error=True), good, caller=Caller(1.0, hangs_up_s=8.0))
    assert isinstance(told.error, kind)
    assert (len(peers), str(code) in str(told.error)) == (1, True)
    assert "in AssemblyAIRecogniser" in told.error.__notes__
    assert told.ended_s < 2.5


BEGIN = '{"type":"Begin","id":"t","expires_at":1}'
HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("first", "later"),
    [
        pytest.param([BEGIN], [BEGIN, BEGIN], id="Begin again"),
        pytest.param(['{"type":"Begin","id":{},"expires_at":"x","configuration":[1]}'], [], id="an odd Begin"),
        pytest.param(["{", b"\x00\xff", "[]", "null", "1" * 5000, BEGIN], [], id="garbage before Begin"),
        pytest.param(['{"type":"Turn","transcript":"Early.","end_of_turn":true}', BEGIN], [], id="a Turn before Begin"),
        pytest.param([BEGIN], [bytes(3200), b"", "", '{"type":["Turn"]}', '{"type":{}}'], id="no messages"),
        pytest.param([BEGIN], ["[" * 100_000, f'{{"type":"Turn","words":{"[" * 50_000}'], id="deep"),
        pytest.param([BEGIN], ['{"type":"Nope"}'] * 5000, id="a flood of what is not known"),
        pytest.param([BEGIN], ['{"type":"Termination"}', '{"type":"Warning","warning_code":1}'], id="unasked"),
        pytest.param([BEGIN], [f'{{"type":"SpeechStarted","timestamp":{HUGE}}}'], id="a time that no float can hold"),
        pytest.param(
            [BEGIN],
            [f'{{"type":"Turn","turn_order":{HUGE},"transcript":" ","end_of_turn":true,"words":[{{"start":NaN}}]}}'],
            id="a turn of nothing with odd numbers",
        ),
    ],
)
async def test_odd_messages_are_borne(first: list[str | bytes], later: list[str | bytes]) -> None:
    """Whatever else a service sends, the call goes on on the same connection, and nothing is lost."""

    async def odd(peer: Peer) -> None:
        for message in first:
            await peer.connection.send(message)
        await peer.listen(until_s=1.5)
        for message in later:
            await peer.connection.send(message)
        await peer.listen()

    told, peers = await held(odd, caller=Caller(1.0, 4.0, hangs_up_s=6.0))
    assert (told.transcripts, told.lost, told.error) == ([text_of(0), text_of(1)], [], None)
    assert len(peers) == 1


async def test_a_service_that_always_breaks_is_given_up() -> None:
    """The call reconnects a few times, later and later, and no more often than the smallest account may."""
    told, peers = await held(closing(1011, at_s=0.05), caller=Caller(hangs_up_s=60.0))
    lasted = [peer.arrivals_s[-1] - peer.at_s for peer in peers]
    waited = [
        round(after.at_s - before.at_s - own, 6) for (before, after), own in zip(pairwise(peers), lasted, strict=False)
    ]
    assert waited == spread(0.0, 0.5, 1.0, 2.0, 4.0)
    assert isinstance(told.error, VendorError)
    assert len(told.lost) == 6


async def test_a_service_that_asks_to_slow_down_gets_a_pause() -> None:
    """The call reconnects about 4 s later, then about 8 s later, and then ends with the error."""
    told, peers = await held(closing(3009, at_s=0.05), caller=Caller(hangs_up_s=60.0))
    (lost_s, _), (again_s, _), _ = told.lost
    (first_s, second_s) = spread(4.0, 8.0)
    assert round(peers[1].at_s - lost_s, 3) == first_s <= 5.0
    assert round(peers[2].at_s - again_s, 3) == second_s <= 10.0
    assert isinstance(told.error, RateLimited)


async def test_audio_that_had_to_wait_too_long_is_counted() -> None:
    """While there is no connection 5 s of audio are kept, sent in vain or not; the loss of older audio is reported."""
    told, _ = await held(closing(3009, at_s=0.5), 503, 503, good, caller=Caller(1.0, 9.5, hangs_up_s=12.0))
    dropped_s = sum(event.seconds for _, event in told.of(vp.AudioDropped))
    outage_s = sum(spread(4.0, 0.5, 1.0))
    assert dropped_s == pytest.approx(0.5 + outage_s - 5.0, abs=0.5)
    assert said_when(told)[-1] == (text_of(1), [9.5, 9.9, 10.3])


async def nothing(peer: Peer) -> None:
    """Accept the connection, and send nothing."""
    await peer.connection.wait_closed()


async def test_what_was_never_sent_is_counted_when_the_call_ends() -> None:
    """A call that ends while there is no connection ends soon, and its last audio is reported as dropped."""
    told, _ = await held(closing(1011, at_s=0.5), nothing, caller=Caller(1.0, hangs_up_s=2.0))
    assert sum(event.seconds for _, event in told.of(vp.AudioDropped)) == pytest.approx(2.0)
    assert (told.error, told.ended_s <= 5.0) == (None, True)


async def answering_late(peer: Peer) -> None:
    """Take two seconds for the last words."""
    await peer.begin()
    async for message in peer.connection:
        if isinstance(message, bytes):
            await peer.hear(message)
            continue
        await anyio.sleep(2.0)
        await peer.end_turn()
        await peer.send("Termination", audio_duration_seconds=1, session_duration_seconds=1)


async def test_last_words_may_be_late() -> None:
    """A caller who hangs up is heard to the end even if the service is slow; the call ends within 3 s."""
    told, _ = await held(answering_late, caller=Caller(1.0, hangs_up_s=2.3))
    assert told.transcripts == [text_of(0)]
    assert told.ended_s <= 5.3


async def silent(peer: Peer) -> None:
    """Send `Begin` and nothing more, but read audio and answer pings."""
    await peer.begin()
    await peer.connection.wait_closed()


async def deaf_in_mid_word(peer: Peer) -> None:
    """Transcribe half an utterance, then send nothing; the connection stays."""
    await peer.begin()
    await peer.listen(until_s=1.5)
    peer.connection.transport.pause_reading()
    await anyio.sleep(60.0)


@pytest.mark.parametrize("act", [silent, deaf_in_mid_word])
async def test_a_service_that_falls_silent_is_noticed(act: Act) -> None:
    """Within 5 s of its last message another connection is made, and nothing that was said meanwhile is lost."""
    told, _ = await held(act, good, caller=Caller(1.0, 6.4, hangs_up_s=10.0))
    ((lost_s, why),) = told.lost
    assert lost_s - (1.46 if act is deaf_in_mid_word else 0.0) <= 5.0
    assert "no longer responds" in why
    assert said_when(told) == [(text_of(0), [1.0, 1.4, 1.8]), (text_of(1), [6.4, 6.8, 7.2])]


@pytest.mark.slow
async def test_the_service_may_be_slow_to_be_read() -> None:
    """A service does not look dead because the application takes long to accept an event."""

    class Slow(vp.SessionStage[vp.Hearing, vp.Hearing]):
        async def run(self, inbox: Any, outbox: Any, session: vp.Session) -> None:
            await anyio.sleep(20.0)
            async for event in inbox:
                await outbox.send(event)

    server = EarServer(good)
    async with server.serve() as url:
        row = agent(url, Caller(*range(0, 40, 2), hangs_up_s=60.0)).parts
        slow = vp.Pipeline(row[0], row[1], Slow(), *row[2:], output=RecordingOutput())
        async with slow.session() as session:
            events = [event async for event in session]
    assert len(server.peers) == 1
    assert len([event for event in events if isinstance(event, vp.Transcript)]) == 20


async def test_settings_outlive_a_connection() -> None:
    """Changed settings, and the agent's last words, also apply to the next connection."""

    async def during(session: vp.Session) -> None:
        session.recogniser.update(min_turn_silence_s=0.5, prompt="A bank.")
        session.say("Hello!")

    _, (_, peer) = await held(closing(1011, at_s=1.5), good, caller=Caller(hangs_up_s=3.0), during=during)
    assert (peer.query["min_turn_silence"], peer.query["prompt"]) == ("500", "A bank.")
    assert [message for _, message in peer.controls][:-1] == [
        {"type": "UpdateConfiguration", "agent_context": "Hello!"}
    ]


async def test_a_service_that_is_behind_catches_up() -> None:
    """After a break in silence hardly any audio is sent again, so the next words are heard as they are said."""
    told, peers = await held(closing(1011, at_s=4.0), good, caller=Caller(6.0, hangs_up_s=9.0))
    first_s, early = told.of(vp.EarlyTranscript)[0]
    assert (early.text, round(first_s, 2)) == ("0a", 6.06)
    assert peers[1].audio_ms < 6_000


async def test_what_is_sent_again_is_sent_in_measure() -> None:
    """Waiting audio goes out at twice the pace of speech and no faster: faster would end the session for good."""
    _, (_, peer) = await held(closing(1011, at_s=2.0), good, caller=Caller(0.2, hangs_up_s=3.0))
    gaps_s = [after - before for before, after in pairwise(peer.arrivals_s)]
    assert min(gaps_s) == pytest.approx(0.025)
    assert sum(gap_s < 0.03 for gap_s in gaps_s) > 10


async def test_a_local_end_of_turn_waits_for_the_audio_before_it() -> None:
    """When audio still waits to be sent, the turn ends where `force_endpoint` was called, not where the service is."""

    async def during(session: vp.Session) -> None:
        await anyio.sleep_until(2.7)  # 1.9 has been sent again by now
        session.recogniser.force_endpoint()

    caller = Caller(1.0, hangs_up_s=5.0)
    told, _ = await held(closing(1011, at_s=2.15), good, caller=caller, during=during)
    assert told.transcripts == [text_of(0)]


async def test_the_last_turn_need_not_be_formatted() -> None:
    """A text that waits to be formatted when the call ends is reported as it is."""
    parameters = StreamingParameters(format_turns=True)

    async def act(peer: Peer) -> None:
        await peer.begin()
        await peer.connection.recv()
        await peer.send("Turn", turn_order=0, turn_is_formatted=False, end_of_turn=True, transcript="bye", words=[])
        await peer.listen()

    told, _ = await held(
        act, caller=Caller(hangs_up_s=0.3), speech_model="universal-streaming-english", parameters=parameters
    )
    assert told.transcripts == ["bye"]


# --- age --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_session_is_renewed_before_it_is_too_old() -> None:
    """In a quiet moment a new session takes over, the old one is terminated, and no turn is lost or reported twice."""
    caller = Caller(1.0, 5.0, 9.0, hangs_up_s=12.0, pauses={3.0: 9_899.0})
    told, peers = await held(good, good, caller=caller)
    assert told.transcripts == [text_of(0), text_of(1), text_of(2)]
    assert (told.lost, told.error) == ([], None)
    assert [peer.kinds[-1] for peer in peers] == ["Terminate", "Terminate"]
    assert 9_900.0 <= peers[1].at_s <= 9_906.0


@pytest.mark.slow
async def test_a_session_is_not_renewed_while_somebody_speaks() -> None:
    """While somebody speaks, the renewal waits for the end of the turn."""
    caller = Caller(3.0, hangs_up_s=12.0, pauses={3.0: 9_899.0})
    told, peers = await held(good, good, caller=caller)
    assert told.transcripts == [text_of(0)]
    assert peers[1].at_s > told.of(vp.Transcript)[0][0]


@pytest.mark.slow
async def test_a_refused_renewal_does_not_end_the_call() -> None:
    """When a new session is refused, the old one goes on, and the next try comes later."""
    caller = Caller(5.0, 9.0, hangs_up_s=75.0, pauses={3.0: 9_899.0})
    told, peers = await held(good, 503, good, caller=caller)
    assert (told.transcripts, told.error) == ([text_of(0), text_of(1)], None)
    assert [round(peer.at_s, -1) for peer in peers] == [0.0, 9_960.0]


@pytest.mark.slow
async def test_an_old_session_is_closed_whatever_it_does() -> None:
    """A service that sends `Termination` and stays is cut off, so that no connection is held twice."""
    left: list[float] = []

    async def lingering(peer: Peer) -> None:
        await good(peer)
        await peer.connection.wait_closed()
        left.append(anyio.current_time())

    caller = Caller(hangs_up_s=12.0, pauses={3.0: 9_899.0})
    told, peers = await held(lingering, good, caller=caller)
    assert (len(peers), told.error) == (2, None)
    assert left[0] < told.ended_s - 5.0


@pytest.mark.slow
async def test_a_call_that_ends_during_a_renewal_ends_both_sessions() -> None:
    """When a call ends during a renewal, neither the old session nor the new one stays open."""

    async def stubborn(peer: Peer) -> None:
        await peer.begin()
        while True:
            await peer.connection.recv()
            await peer.send("Silence", start_ms=0, end_ms=0)

    server = EarServer(stubborn, good)
    async with server.serve() as url:
        async with agent(url, Caller(hangs_up_s=60.0, pauses={3.0: 9_899.0})).session():
            await anyio.sleep_until(9_902.5)
            assert [len(server.peers), server.peers[1].audio_ms] == [2, 0]
    assert server.peers[1].kinds == ["Terminate"]


@pytest.mark.slow
async def test_a_renewal_that_comes_too_late_is_dropped() -> None:
    """When the old session breaks while the new one is slow to begin, a third takes over, and the slow one ends."""

    async def slow(peer: Peer) -> None:
        await anyio.sleep(2.0)
        await good(peer)

    caller = Caller(5.0, hangs_up_s=9.0, pauses={3.0: 9_899.0})
    told, peers = await held(closing(1011, at_s=11.8), slow, good, caller=caller)  # 8 s of it are the pause
    assert told.transcripts == [text_of(0)]
    assert [(peer.audio_ms, peer.kinds[-1]) for peer in peers[1:2]] == [(0, "Terminate")]
    assert len(peers) == 3


# --- against the simulated service ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Closes(1013, 2.0), Drops(2.0), HangsUp(2.0), Stalls(2.0), TurnsDeaf(2.0)])
async def test_the_simulated_service_may_fail_in_every_way(fault: Any) -> None:
    """The call survives and reports each simulated fault, and audio that is sent again keeps the service's rules."""
    simulator = STTSimulator(api_key=KEY, faults={1: fault}, max_lead_s=5.0)
    async with simulator.serve() as url:
        told = await call(url, Caller(1.0, hangs_up_s=12.0))
    assert (len(told.lost), told.error) == (1, None)
    assert told.lost[0][0] <= 2.0 + 5.0
    assert [session.error for session in simulator.sessions] == ["", ""]
    assert set(simulator.sessions[1].frames) == {1600}


# --- long calls -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_long_call_full_of_breaks() -> None:
    """In twenty minutes with a break every two each turn comes once, with its time; nothing grows or is left."""
    tasks = {task.id for task in anyio.get_running_tasks()}
    starts_s = [float(start_s) for start_s in range(5, 1200, 15)]
    codes = (1001, 1006, 1011, 1012, 1013, 3005, 3008, 1000)
    acts = [dropping if code == 1006 else closing(code, at_s=130.0) for code in codes]
    told, peers = await held(*acts, good, caller=Caller(*starts_s, hangs_up_s=1200.0, frame_s=0.1))

    assert told.error is None
    assert len(peers) == len(codes) + 1
    assert said_when(told) == [
        (text_of(number), [start_s, start_s + 0.4, start_s + 0.8]) for number, start_s in enumerate(starts_s)
    ]
    assert {task.id for task in anyio.get_running_tasks()} == tasks


# --- audio that stops, or comes late ----------------------------------------------------------------------------------


class Held(Caller):
    """A caller whose network holds their audio back for a time, and then delivers all of it, or none."""

    def __init__(self, *starts_s: float, hangs_up_s: float, from_s: float, for_s: float, loses: bool = False) -> None:
        super().__init__(*starts_s, hangs_up_s=hangs_up_s)
        self.until_s = from_s + for_s
        self.from_s = from_s
        self.loses = loses

    async def frames(self) -> AsyncIterator[bytes]:
        held = list[bytes]()
        async for frame in super().frames():
            now = anyio.current_time()
            if self.from_s + 1e-6 < now < self.until_s - 1e-6:
                held.append(frame)
                continue
            if not self.loses:
                for late in held:
                    yield late
            held.clear()
            yield frame


@pytest.mark.parametrize(("from_s", "for_s"), [(1.5, 0.5), (1.5, 1.9), (2.4, 3.0), (2.4, 9.9)])
async def test_audio_that_was_held_back_is_understood(from_s: float, for_s: float) -> None:
    """Whatever a network held back, up to 10 s, reaches the service: no word is lost, twice there, or misdated."""
    caller = Held(1.0, 3.0, 5.0, 7.0, 9.0, 11.4, hangs_up_s=25.0, from_s=from_s, for_s=for_s)
    told, peers = await held(good, caller=caller)
    assert (len(peers), told.of(vp.AudioDropped), told.lost) == (1, [], [])
    words = [word for _, event in told.of(vp.Transcript) for word in event.words]
    assert [word.text for word in words] == " ".join(map(text_of, range(6))).split()
    assert [round(word.start_s, 2) for word in words] == [
        round(start_s + 0.4 * number, 2) for start_s in caller.starts_s for number in range(3)
    ]


async def test_frames_that_stop_after_speech_end_the_turn() -> None:
    """A caller who is muted after the last word is answered: the service hears silence after 2 s."""
    caller = Held(1.0, hangs_up_s=12.0, from_s=2.2, for_s=8.0, loses=True)
    told, _ = await held(good, caller=caller)
    assert told.transcripts == [text_of(0)]
    assert 4.2 <= told.of(vp.Transcript)[0][0] <= 4.5
    assert [(round(at_s, 2), event.at_s) for at_s, event in told.of(vp.AudioStopped)] == [(4.2, pytest.approx(2.2))]
    assert [round(at_s, 2) for at_s, _ in told.of(vp.AudioResumed)] == [10.2]


async def test_a_local_end_of_turn_needs_no_more_audio() -> None:
    """Push to talk: the key is released, nothing follows, and the words so far are answered, to the last piece."""

    async def during(session: vp.Session) -> None:
        await anyio.sleep_until(2.21)
        session.recogniser.force_endpoint()

    caller = Held(1.0, hangs_up_s=6.0, from_s=2.2, for_s=3.5, loses=True)
    told, (peer,) = await held(good, caller=caller, during=during)
    assert told.transcripts == [text_of(0)]
    assert [round(at_s, 2) for at_s, _ in told.of(vp.Transcript)] == [2.21]
    assert peer.audio_ms % 50 == 0


async def test_a_local_end_of_turn_follows_audio_that_was_pushed_just_before() -> None:
    """A recording that is pushed at once and ended at once: the service hears all of it first."""
    server, caller = EarServer(good), Caller(0.0, hangs_up_s=1.23)

    class AtOnce(vp.Source):
        async def frames(self) -> AsyncIterator[bytes]:
            await anyio.sleep(0.1)
            frames = [caller.sample_at(0.02 * number) for number in range(62)]
            session = sessions[0]
            for height in frames:
                yield (height.to_bytes(2, "little") + (-height).to_bytes(2, "little", signed=True)) * 160
            session.recogniser.force_endpoint()
            await anyio.sleep(3.0)

    sessions = list[vp.Session]()

    async def during(session: vp.Session) -> None:
        sessions.append(session)

    async with server.serve() as url:
        told = await call(url, AtOnce(), during)
    (peer,) = server.peers
    assert told.transcripts == [text_of(0)]
    assert next((round(at_s, 2), message["type"]) for at_s, message in peer.controls) == (0.7, "ForceEndpoint")
