"""The simulated STT service: turns on the audio clock, their record, and the vendor's own client.

Time is virtual and so exact, except where a client or a recogniser needs a real clock or thread.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from assemblyai.streaming.v3 import (
    AsyncRealTimeTranscriber,
    RealTimeError,
    RealTimeEvents,
    RealTimeParameters,
    RealTimeSessionParameters,
    RealTimeTranscriberOptions,
    SpeechModel,
)
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from voicepipe.errors import ConfigurationError
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.hearing.recogniser import Recogniser
from voicepipe.testing.simulators._stt_turns import Listener, TurnWriter
from voicepipe.testing.simulators.stt import (
    Closes,
    Drops,
    Fault,
    Parameters,
    Quirks,
    Rejects,
    Spoken,
    STTSession,
    STTSimulator,
    Timing,
    remaining,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.session.session import Session
from tests.helpers.stt_calls import (
    AT_ONCE,
    END,
    FORCE,
    HELD,
    ORDER,
    RATE,
    U3,
    Frame,
    Step,
    Wait,
    called,
    control,
    dial,
    hold,
)

pytestmark = pytest.mark.anyio

real_time = pytest.mark.parametrize("anyio_backend", ["asyncio"])


# --- turns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "settings", "steps", "expected"),
    [
        pytest.param(
            [ORDER],
            {},
            [4.0],
            [(2.0, "SpeechStarted"), (2.0, "partial: My order"), (3.05, "final: My order number is four two.")],
            id="a sentence ends after min_turn_silence, and what it takes to send it",
        ),
        pytest.param(
            [HELD],
            {},
            [5.0],
            [
                (2.0, "SpeechStarted"),
                (2.0, "partial: My order"),
                (2.7, "partial: My order number is"),
                (3.95, "final: My order number is"),
            ],
            id="what is no sentence is held until max_turn_silence",
        ),
        pytest.param(
            [HELD, Spoken("four two.", 3.2, 3.8)],
            {},
            [5.0],
            [
                (2.0, "SpeechStarted"),
                (2.0, "partial: My order"),
                (2.7, "partial: My order number is"),
                (3.7, "partial: My order number is four"),
                (4.25, "final: My order number is four two."),
            ],
            id="what goes on in time is one turn",
        ),
        pytest.param(
            [Spoken("Yes.", 0.2, 0.4), Spoken("No!", 1.0, 1.2)],
            {},
            [3.0],
            [(0.5, "SpeechStarted"), (0.85, "final: Yes."), (1.3, "SpeechStarted"), (1.65, "final: No!")],
            id="a short sentence has no partial",
        ),
        pytest.param(
            [Spoken("One two three four five six seven eight nine ten", 0.0, 5.0)],
            {"interruption_delay": 0},
            [4.0],
            [
                (1.05, "SpeechStarted"),
                (1.05, "partial: One two"),
                (2.05, "partial: One two three four"),
                (3.05, "partial: One two three four five six"),
            ],
            id="the first partial is tried again after 750 ms, the others come every second",
        ),
        pytest.param(
            [ORDER],
            {"include_partial_turns": "false", "min_turn_silence": "500"},
            [4.0],
            [(2.0, "SpeechStarted"), (3.45, "final: My order number is four two.")],
            id="partials can be turned off, and the silence set",
        ),
        pytest.param(
            [ORDER],
            {"redact_pii": "true"},
            [4.0],
            [(2.0, "SpeechStarted"), (3.05, "final: My order number is four two.")],
            id="what is to be redacted has no partials",
        ),
        pytest.param(
            [Spoken("One two three four five six seven eight nine ten.", 0.0, 5.0)],
            {"continuous_partials": "false"},
            [6.0],
            [
                (0.8, "SpeechStarted"),
                (0.8, "partial: One two"),
                (5.45, "final: One two three four five six seven eight nine ten."),
            ],
            id="only the first partial of a stretch of speech, if asked for",
        ),
        pytest.param(
            [ORDER],
            {},
            [2.65, Wait(20)],
            [(2.0, "SpeechStarted"), (2.0, "partial: My order")],
            id="without further audio no turn ends",
        ),
        pytest.param([], {}, [3.0, FORCE, 1.0], [], id="a turn without words does not exist"),
        pytest.param(
            [ORDER],
            {},
            [2.0, FORCE, 2.0],
            [
                (2.0, "SpeechStarted"),
                (2.0, "partial: My order"),
                (2.27, "final: My order number"),
                (2.7, "SpeechStarted"),
                (3.05, "final: is four two."),
            ],
            id="ForceEndpoint ends the turn with what was heard, and the rest is the next turn",
        ),
        pytest.param(
            [HELD],
            {},
            [2.0, control("UpdateConfiguration", max_turn_silence=300), control("KeepAlive"), 2.0],
            [
                (2.0, "SpeechStarted"),
                (2.0, "partial: My order"),
                (2.7, "partial: My order number is"),
                (3.25, "final: My order number is"),
            ],
            id="UpdateConfiguration holds at once",
        ),
    ],
)
async def test_turns_follow_the_audio(
    script: list[Spoken], settings: dict[str, Any], steps: list[Step], expected: list[tuple[float, str]]
) -> None:
    """Partials and finals come when the audio says so, as a table of (time, message)."""
    call = await called(STTSimulator(script), *steps, query=U3 | settings)
    assert call.brief() == [(0.0, "Begin"), *expected]


async def test_terminate_ends_the_turn_and_the_session() -> None:
    """Terminate brings the words heard so far as a final turn, then the totals, then close code 1000."""
    call = await called(STTSimulator([HELD]), 2.3, END)
    assert call.brief()[3:] == [(2.85, "final: My order"), (2.85, "Termination")]
    assert call.events[-1][1] == control("Termination", audio_duration_seconds=2, session_duration_seconds=2)
    assert (call.close, call.closed_s) == ((1000, "Session Ended"), 2.85)


async def test_nothing_is_read_after_terminate() -> None:
    """What a client sends after Terminate changes nothing, however wrong it is."""
    call = await called(STTSimulator(), END, "{", Frame(bytes(1_000_000 // 10)), FORCE)
    assert (call.brief(), call.close) == ([(0.0, "Begin"), (0.55, "Termination")], (1000, "Session Ended"))


async def test_nothing_overtakes() -> None:
    """A slow final delays the messages after it."""
    script = [Spoken("Yes.", 0.2, 0.4), Spoken("And so on it goes", 0.6, 2.0)]
    simulator = STTSimulator(script, timing=Timing(final_s=1.5))
    call = await called(simulator, 2.0, query=U3 | {"interruption_delay": 0})
    assert call.brief()[1:5] == [
        (0.5, "SpeechStarted"),
        (0.5, "partial: Yes."),
        (2.0, "final: Yes."),
        (2.0, "SpeechStarted"),
    ]


async def test_a_word_that_is_being_said_begins_the_next_turn() -> None:
    """ForceEndpoint in the middle of a word leaves the word to the next turn, which begins there."""
    call = await called(STTSimulator([Spoken("Yes indeed.", 0.0, 1.0)]), 0.5, FORCE, 1.5)
    assert [text for _, text in call.brief() if text.startswith("final")] == ["final: Yes", "final: indeed."]
    assert [message["timestamp"] for message in call.of("SpeechStarted")] == [0, 500]
    assert call.of("Turn")[-1]["words"][0]["start"] == 500


async def test_languages_and_speakers_are_told_on_request() -> None:
    """Turns name their language and their speaker only if a client asks for it."""
    asked_for = {"language_detection": "true", "speaker_labels": "true"}
    plain = (await called(STTSimulator([ORDER]), 3.0)).of("Turn")[-1]
    told = (await called(STTSimulator([ORDER]), 3.0, query=U3 | asked_for)).of("Turn")[-1]
    assert told.keys() - plain.keys() == {
        "language_code",
        "language_confidence",
        "speaker_label",
        "speaker_confidence",
    }
    assert {word.get("speaker") for word in told["words"]} == {"A"}
    assert {word.get("speaker") for word in plain["words"]} == {None}


async def test_messages_have_the_fields_of_the_reference() -> None:
    """Begin echoes the configuration; turns carry their words with times on the audio clock, final or not."""
    call = await called(STTSimulator([Spoken("Four two.", 1.0, 1.8)]), 3.0, query=U3 | {"mode": "max_accuracy"})
    begin, started, partial, final = (message for _, message in call.events)
    assert begin["configuration"] == {
        "model": "u3-rt-pro",
        "mode": "max_accuracy",
        "api_version": "2025-05-12",
        "speaker_labels": False,
        "redact_pii": False,
        "filter_profanity": False,
        "domain": None,
        "voice_focus": None,
    }
    assert begin["expires_at"] > 4_102_444_800
    assert started == control("SpeechStarted", timestamp=1000, confidence=0.93)
    assert partial["words"] == [
        {"start": 1000, "end": 1400, "text": "Four", "confidence": 0.95, "word_is_final": False}
    ]
    assert (partial["utterance"], partial["end_of_turn_confidence"], partial["turn_order"]) == ("", 0.0, 0)
    assert [(word["start"], word["end"], word["word_is_final"]) for word in final["words"]] == [
        (1000, 1400, True),
        (1400, 1800, True),
    ]
    assert (final["utterance"], final["end_of_turn_confidence"], final["turn_is_formatted"]) == ("Four two.", 1.0, True)


async def test_a_guess_is_shown_until_the_turn_is_final() -> None:
    """Partials can show other words than the final, like a recogniser that changes its mind."""
    script = [Spoken("I want to recognise speech", 0.0, 2.0, guess="I want to wreck a nice beach")]
    call = await called(STTSimulator(script), 4.0)
    assert [text for _, text in call.brief() if "Turn" not in text][2:] == [
        "partial: I want to",
        "partial: I want to wreck a nice",
        "partial: I want to wreck a nice beach",
        "final: I want to recognise speech",
    ]


async def test_the_older_family_goes_word_by_word() -> None:
    """Its partials grow by a word, earlier words are final, nothing is formatted, and speech is not announced."""
    query = {"sample_rate": RATE, "speech_model": "universal-streaming-english"}
    call = await called(STTSimulator([Spoken("My order is.", 0.4, 0.95)]), 3.0, query=query)
    assert [older(at_s, turn) for at_s, turn in call.events if turn["type"] != "Begin"] == [
        "0.55 my (0/1) 0.0 False",
        "0.8 my order (1/2) 0.0 False",
        "0.95 my order is (2/3) 0.9 False",
        "1.7 FINAL my order is (3/3) 0.9 False",
    ]


@pytest.mark.parametrize(
    ("settings", "text", "final_s"),
    [
        ({}, "Yes.", 1.75),  # sure enough: after min_turn_silence, 400 ms
        ({}, "Well", 2.65),  # not sure: after max_turn_silence, 1280 ms
        ({"end_of_turn_confidence_threshold": "1"}, "Yes.", 2.65),
        ({"end_of_turn_confidence_threshold": "0"}, "Well", 1.75),
        ({"min_turn_silence": "160"}, "Yes.", 1.55),
    ],
)
async def test_a_confidence_decides_in_the_older_family(settings: dict[str, str], text: str, final_s: float) -> None:
    """A turn ends after the short silence if the confidence reaches the threshold, else after the long one."""
    query = {"sample_rate": RATE, "speech_model": "universal-streaming-multilingual"} | settings
    call = await called(STTSimulator([Spoken(text, 0.5, 1.0)]), 4.0, query=query)
    assert [at_s for at_s, message in call.events if message.get("end_of_turn")] == [final_s]


async def test_the_older_family_formats_afterwards() -> None:
    """With format_turns a second final follows, with the same number, cased and punctuated."""
    query = {"sample_rate": RATE, "speech_model": "universal-streaming-english", "format_turns": "true"}
    call = await called(STTSimulator([Spoken("Yes, four.", 0.5, 1.0)]), 3.0, query=query)
    finals = [message for message in call.of("Turn") if message["end_of_turn"]]
    assert [(turn["turn_order"], turn["turn_is_formatted"], turn["transcript"]) for turn in finals] == [
        (0, False, "yes four"),
        (0, True, "Yes, four."),
    ]


def older(at_s: float, turn: dict[str, Any]) -> str:
    final = sum(word["word_is_final"] for word in turn["words"])
    what = "FINAL " if turn["end_of_turn"] else ""
    sure, formatted = turn["end_of_turn_confidence"], turn["turn_is_formatted"]
    return f"{at_s:g} {what}{turn['transcript']} ({final}/{len(turn['words'])}) {sure} {formatted}"


async def test_a_message_may_come_in_pieces() -> None:
    """A message in several websocket frames is one message."""
    simulator = STTSimulator()
    async with simulator.serve() as url, dial(url) as socket:
        await socket.send(iter([b"\1" * 800, b"\2" * 800]))
        await socket.send(iter(['{"type":', ' "Terminate"}']))
        call = await hold(socket, [])
    assert call.close == (1000, "Session Ended")
    assert (simulator.sessions[0].first_frame, simulator.sessions[0].audio_s) == (b"\1" * 800 + b"\2" * 800, 0.05)


async def test_a_burst_is_heard_as_slowly_as_it_was_spoken() -> None:
    """A burst of audio is heard at the service's speed, so the messages about it come when they would have."""
    frames = [Frame(bytes(3200)) for _ in range(40)]  # 4 s in frames of 100 ms
    at_once = await called(STTSimulator([ORDER]), *frames)
    assert [at_s for at_s, text in at_once.brief() if text.startswith("final")] == [3.05]
    fast = await called(STTSimulator([ORDER], timing=Timing(speed=math.inf)), *frames)
    assert [at_s for at_s, text in fast.brief() if text.startswith("final")] == [0.35]


@given(
    starts=st.lists(st.tuples(st.floats(0, 2), st.floats(0.2, 4), st.sampled_from(["Yes.", "and", "one two three"]))),
    steps=st.lists(st.tuples(st.floats(0.05, 1.0), st.booleans()), max_size=60),
    model=st.sampled_from(["u3-rt-pro", "universal-streaming-english"]),
)
def test_each_word_is_in_one_final_turn(
    starts: list[tuple[float, float, str]], steps: list[tuple[float, bool]], model: str
) -> None:
    """However audio is cut and turns are forced, each word heard to its end is in exactly one final, in order."""
    script: list[Spoken] = []
    for pause_s, length_s, text in starts:
        start_s = (script[-1].end_s if script else 0.0) + pause_s
        script.append(Spoken(" ".join(f"{len(script)}-{word}" for word in text.split()), start_s, start_s + length_s))
    parameters = Parameters(sample_rate=RATE, speech_model=model, min_turn_silence=100)
    listener = Listener(script, TurnWriter(Quirks()), parameters)
    sent: list[dict[str, Any]] = []
    now_s = 0.0
    for step_s, is_forced in steps:
        now_s += step_s
        sent += listener.hear(now_s)
        if is_forced:
            sent += listener.end_turn()
    sent += listener.end_turn()
    finals = [message for message in sent if message.get("end_of_turn")]
    words = [word.text for spoken in script for word in spoken.words if word.end_s <= now_s]
    said = [word["text"] for turn in finals for word in turn["words"]]
    assert [word.strip(".").lower() for word in said] == [word.strip(".").lower() for word in words]
    assert [turn["turn_order"] for turn in finals] == list(range(len(finals)))


# --- records, and scripts that use them -------------------------------------------------------------------------------


async def test_what_a_client_sent_is_kept() -> None:
    """The record of a session has the query, the control messages with both clocks, the audio, and how it ended."""
    simulator = STTSimulator([ORDER], record_audio=True)
    await called(simulator, 4.0, FORCE, Frame(b"\1\0" * 1600), END)
    (session,) = simulator.sessions
    assert session.query == {"sample_rate": "16000", "speech_model": "u3-rt-pro"}
    assert [(sent.at_s, sent.audio_s, sent.kind) for sent in session.controls] == [
        (4.0, 4.0, "ForceEndpoint"),
        (4.0, 4.1, "Terminate"),
    ]
    assert (session.audio_s, dict(session.frames)) == (4.1, {1600: 80, 3200: 1})
    assert bytes(session.audio) == bytes(128_000) + b"\1\0" * 1600
    assert session.finals == ["My order number is four two."]
    assert (session.was_terminated, session.close, session.closed_by_client) == (True, (1000, "Session Ended"), False)
    assert (session.begin_s, session.ended_s, session.error) == (0.0, 4.65, "")


async def test_a_client_that_leaves_is_noticed() -> None:
    """The record shows that a client closed without Terminate."""
    simulator = STTSimulator()
    async with simulator.serve() as url, dial(url) as socket:
        await socket.close(1001, "bye")
        (session,) = simulator.sessions
        await session.wait_ended()
        assert (session.was_terminated, session.closed_by_client, session.close) == (False, True, (1001, "bye"))


async def test_an_open_session_does_not_hold_the_end() -> None:
    """Leaving the block of `serve` cuts what is still open, at once."""
    async with STTSimulator().serve() as url:
        socket = await dial(url)
        left_s = anyio.current_time()
    with pytest.raises(ConnectionClosed):
        while True:
            await socket.recv()
    assert anyio.current_time() == left_s


async def test_a_later_session_hears_the_rest() -> None:
    """A script can be a function of the session, so that a client that comes back hears the same call go on."""
    told: list[bytes] = []

    def script(session: STTSession) -> Sequence[Spoken]:
        told.append(session.first_frame)
        return remaining([ORDER, Spoken("Thank you.", 4.0, 4.5)], from_s=2.0 * (session.number - 1))

    simulator = STTSimulator(script, faults={1: Closes(1011, at_s=2.0)})
    async with simulator.serve() as url:
        async with dial(url) as socket:
            await hold(socket, [Frame(b"\1\0" * 800), 3.0])
        async with dial(url) as socket:
            await hold(socket, [Frame(b"\2\0" * 800), 4.0, END])
    assert [session.finals for session in simulator.sessions] == [[], ["four two.", "Thank you."]]
    assert [frame[:2] for frame in told] == [b"\1\0", b"\2\0"]


async def test_a_script_that_fails_is_not_hidden() -> None:
    """An error of a script function ends the session with 3005, and is raised when the simulator ends."""

    def script(session: STTSession) -> Sequence[Spoken]:
        raise LookupError("no such caller")

    simulator = STTSimulator(script)
    with pytest.raises(LookupError, match="no such caller"):
        async with simulator.serve() as url, dial(url) as socket:
            call = await hold(socket, [1.0])
            assert call.close == (3005, "")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Spoken(" ", 0, 1), "needs words and an end after its beginning, not ' ' from 0 to 1 s"),
        (lambda: Spoken("a", 1, 1), "not 'a' from 1 to 1 s"),
        (lambda: Spoken("a", -1, 1), "not 'a' from -1 to 1 s"),
        (lambda: STTSimulator([Spoken("a", 0, 2), Spoken("b", 1, 3)]), "'b' begins at 1 s, before 'a' ends at 2 s"),
    ],
)
def test_a_script_that_cannot_be_said_is_refused(make: Any, said: str) -> None:
    """Words without time, time without words, and two callers at once are errors before anything is served."""
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert said in str(refused.value)


async def test_a_taken_port_is_told() -> None:
    """A port that is in use is a configuration error that names it."""
    async with STTSimulator().serve() as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with STTSimulator().serve(port=port):
                pass


# --- a recogniser behind the protocol ---------------------------------------------------------------------------------


class Loud(Recogniser):
    """Understands one word for each loud frame; half a second of quiet, or a hang-up, ends the turn."""

    def __init__(self) -> None:
        self.opened = 0

    @asynccontextmanager
    async def attach(self, session: Session) -> AsyncGenerator[None]:
        assert session.recogniser is not None
        self.opened += 1
        yield

    async def recognise(self, inbox: Inbox[AudioFrame], outbox: Outbox[Hearing], session: Session) -> None:
        words, end_s = 0, 0.0

        async def finish() -> None:
            await outbox.send(SpeechEnded(at_s=end_s))
            await outbox.send(Transcript(" ".join(["loud"] * words), end_s, anyio.current_time()))

        async for frame in inbox:
            if any(frame.pcm):
                if not words:
                    await outbox.send(SpeechStarted(at_s=frame.start_s))
                words, end_s = words + 1, frame.start_s + frame.duration_s
                await outbox.send(EarlyTranscript(" ".join(["loud"] * words)))
            elif words and frame.start_s + frame.duration_s >= end_s + 0.5 - 1e-6:
                await finish()
                words = 0
        if words:
            await finish()


NOISE = Frame(b"\0\x10" * 320 + bytes(960))  # 20 ms of noise in a frame of 50


async def test_a_recogniser_hears_the_audio() -> None:
    """A recogniser's transcripts go through the protocol: cased and punctuated, with the times of the audio."""
    call = await called(STTSimulator(Loud()), 1.0, NOISE, NOISE, 1.0, END)
    assert [text for _, text in call.brief()] == [
        "Begin",
        "SpeechStarted",
        "partial: Loud",
        "partial: Loud loud",
        "final: Loud loud.",
        "Termination",
    ]
    words = call.of("Turn")[-1]["words"]
    assert (call.of("SpeechStarted")[0]["timestamp"], words[0]["start"], words[-1]["end"]) == (1000, 1000, 1070)


async def test_silence_is_acknowledged_for_a_recogniser() -> None:
    """Behind a recogniser, too, a Silence comes every second in which nobody speaks, if the client asks for it."""
    query = U3 | {"acknowledge_silence": "true"}
    call = await called(STTSimulator(Loud()), 2.5, NOISE, 2.6, query=query)
    spans = [(silence["start_ms"], silence["end_ms"]) for silence in call.of("Silence")]
    assert spans == [(0, 1000), (1000, 2000), (2520, 3520), (3520, 4520)]
    assert (await called(STTSimulator(Loud()), 2.5, query=U3)).of("Silence") == []


async def test_a_recogniser_is_ended_by_the_client() -> None:
    """ForceEndpoint and Terminate end a recogniser's turn with what it understood; without words they bring nothing."""
    simulator = STTSimulator(Loud())
    call = await called(simulator, 0.5, FORCE, NOISE, FORCE, NOISE, END)
    assert [text for _, text in call.brief() if not text.startswith("partial")] == [
        "Begin",
        "SpeechStarted",
        "final: Loud.",
        "SpeechStarted",
        "final: Loud.",
        "Termination",
    ]
    assert [turn["turn_order"] for turn in call.of("Turn") if turn["end_of_turn"]] == [0, 1]


async def test_a_recogniser_hears_its_own_rate() -> None:
    """Audio at another rate than the recogniser's is refused with 3006 as soon as it comes."""
    call = await called(STTSimulator(Loud()), Frame(bytes(1600)), query=U3 | {"sample_rate": 8_000})
    assert "hears pcm_s16le at 16000 Hz" in call.of("Error")[0]["error"]


MISSING = [name for name in ("pocketsphinx", "espeakng_loader", "soxr") if importlib.util.find_spec(name) is None]


@real_time
@pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason=f"not installed (extra local): {', '.join(MISSING)}",
)
async def test_real_speech_is_recognised() -> None:
    """A spoken sentence comes out of the protocol as text when an embedded recogniser stands behind it."""
    from voicepipe.audio.resample import Resampler
    from voicepipe.flow import Sentence
    from voicepipe.vendors.espeak.tts import EspeakTTS
    from voicepipe.vendors.pocketsphinx.recogniser import PocketsphinxRecogniser

    voice = EspeakTTS()
    async with voice.open():
        pieces = [piece async for piece in voice.synthesize(Sentence("where is my order")) if isinstance(piece, bytes)]
    resampler = Resampler(voice.sample_rate, RATE)
    pcm = bytes(16_000) + resampler.feed(b"".join(pieces)) + resampler.flush() + bytes(32_000)
    grammar = "#JSGF V1.0;\ngrammar shop;\npublic <request> = where is my order | cancel my order;\n"
    simulator = STTSimulator(PocketsphinxRecogniser(grammar), timing=AT_ONCE)
    frames = [Frame(pcm[at : at + 3200].ljust(3200, b"\0")) for at in range(0, len(pcm), 3200)]
    call = await called(simulator, *frames, END)
    assert [turn["transcript"] for turn in call.of("Turn") if turn["end_of_turn"]] == ["Where is my order."]


# --- the vendor's own client ------------------------------------------------------------------------------------------


def asked(**more: Any) -> RealTimeParameters:
    settings: Any = {"sample_rate": RATE, "speech_model": SpeechModel.u3_rt_pro} | more
    return RealTimeParameters(**settings)


class Told:
    """The events that the SDK passes to its handlers."""

    def __init__(self, url: str, key: str = "k") -> None:
        self.client = AsyncRealTimeTranscriber(RealTimeTranscriberOptions(api_key=key, api_host=url))
        self.events: list[Any] = []
        self.arrived = anyio.Event()
        for kind in RealTimeEvents:
            self.client.on(kind, self._note)

    async def _note(self, client: object, event: Any) -> None:
        self.events.append(event)
        self.arrived.set()

    async def until(self, kind: str) -> Any:
        with anyio.fail_after(10):
            while not (found := [event for event in self.events if type(event).__name__ == kind]):
                self.arrived = anyio.Event()
                await self.arrived.wait()
        return found[-1]


@real_time
async def test_the_sdk_holds_a_session() -> None:
    """The vendor's client understands each message, also with every quirk, and its own messages are understood."""
    quirks = Quirks(unknown_messages=True, extra_fields=True, utterances=True, warning=True)
    simulator = STTSimulator(
        [Spoken("My order number is four two.", 0.2, 1.6)], api_key="k", timing=AT_ONCE, quirks=quirks
    )
    async with simulator.serve() as url:
        told = Told(url)
        await told.client.connect(asked(keyterms_prompt=["Ozeki", "IBAN"], format_turns=True))
        await told.client.set_params(RealTimeSessionParameters(max_turn_silence=600, keyterms_prompt=[]))
        await told.client.stream([bytes(1600)] * 30)
        await told.client.force_endpoint()
        await told.client.stream([bytes(1600)] * 10)
        await told.client.disconnect(terminate=True)
    assert [type(event).__name__ for event in told.events] == [
        "BeginEvent",
        "WarningEvent",
        "SpeechStartedEvent",
        "TurnEvent",
        "TurnEvent",
        "SpeechStartedEvent",
        "TurnEvent",
        "TerminationEvent",
    ]
    finals = [event for event in told.events if getattr(event, "end_of_turn", False)]
    assert [(turn.turn_order, turn.transcript) for turn in finals] == [(0, "My order number is four"), (1, "two.")]
    (session,) = simulator.sessions
    assert session.parameters is not None
    assert (session.parameters.silences_s, session.parameters.keyterms_prompt) == ((0.1, 0.6), [])
    assert (session.query["keyterms_prompt"], session.was_terminated) == ('["Ozeki", "IBAN"]', True)


@real_time
@pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")  # the SDK reads what websockets deprecates
@pytest.mark.parametrize(
    ("key", "fault", "code", "said"),
    [
        ("wrong", None, 1008, "Invalid API key"),
        ("k", Closes(3005, error="Server error"), 3005, "Server error"),
        ("k", Drops(), 1006, ""),
        ("k", Rejects(401), 401, "HTTP 401"),
    ],
)
async def test_the_sdk_is_told_of_errors(key: str, fault: Fault | None, code: int, said: str) -> None:
    """The vendor's client recognises the simulator's refusals and faults."""
    async with STTSimulator(api_key="k", faults=fault).serve() as url:
        told = Told(url, key)
        await told.client.connect(asked())
        error = await told.until("RealTimeError")
        await told.client.disconnect()
    assert isinstance(error, RealTimeError)
    assert error.code == code
    assert said in str(error)
