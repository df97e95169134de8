"""The service's messages, without a network: what was heard, and when it was."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import EarlyTranscript, Hearing, SpeechStarted, Transcript, Word
from voicepipe.vendors.assemblyai.stt_messages import MessageReader
from voicepipe.vendors.assemblyai.stt_protocol import TurnReader
from voicepipe.vendors.assemblyai.stt_session import update_message
from voicepipe.vendors.line.audio_backlog import Piece
from voicepipe.vendors.line.audio_clock import AudioClock

RATE = 16_000


def clock_from(start_s: float, seconds: float = 60.0) -> AudioClock:
    """A clock of audio that was sent from `start_s` on."""
    clock = AudioClock(RATE)
    clock.add(Piece(bytes(int(2 * RATE * seconds)), start_s, start_s + seconds, is_loud=False))
    return clock


def turn(text: str, *, order: int = 0, end: bool = False, start_ms: int = 1000, **more: Any) -> dict[str, Any]:
    """A message of a turn, each word 300 ms long."""
    words = [
        {
            "text": word,
            "start": start_ms + 300 * n,
            "end": start_ms + 300 * (n + 1),
            "confidence": 0.9,
            "word_is_final": end,
        }
        for n, word in enumerate(text.split())
    ]
    return {
        "type": "Turn",
        "turn_order": order,
        "turn_is_formatted": end,
        "end_of_turn": end,
        "end_of_turn_confidence": 0.0,
        "transcript": text,
        "words": words,
        **more,
    }


class Reader(TurnReader):
    """A reader that is connected, on a clock that begins at 100 s."""

    def __init__(self, *, waits_for_format: bool = False) -> None:
        super().__init__(waits_for_format=waits_for_format)
        self.messages = MessageReader()
        self.connect(clock_from(100.0), oldest_s=100.0, newest_s=100.0)

    def read(self, *messages: dict[str, Any], now: float = 110.0) -> list[Hearing]:
        sent = [json.dumps(message).encode() for message in messages]
        return [event for raw in sent for event in self.receive(self.messages.read(raw), now)]

    def finals(self, *messages: dict[str, Any], now: float = 110.0) -> list[str]:
        return [event.text for event in self.read(*messages, now=now) if isinstance(event, Transcript)]


def test_a_turn_becomes_one_transcript_on_the_loops_clock() -> None:
    """The end of a turn gives its text, when speech ended, when that was known, and each word's time."""
    assert Reader().read(turn("Four two.", end=True, start_ms=2000), now=103.1) == [
        Transcript(
            "Four two.",
            speech_ended_s=102.6,
            endpoint_s=103.1,
            words=(Word("Four", 102.0, 102.3, 0.9), Word("two.", 102.3, 102.6, 0.9)),
        )
    ]


def test_speech_does_not_end_in_the_future() -> None:
    """A turn does not end in the future, although the service pads its last word."""
    (final,) = Reader().read(turn("Hi.", end=True, start_ms=1000), now=101.2)
    assert isinstance(final, Transcript)
    assert (final.speech_ended_s, final.endpoint_s) == (101.2, 101.2)


def test_words_without_times_end_now() -> None:
    """A turn without word times ended when it came."""
    assert Reader().read({"type": "Turn", "end_of_turn": True, "transcript": "Hi."}, now=104.0) == [
        Transcript("Hi.", speech_ended_s=104.0, endpoint_s=104.0)
    ]


def test_what_is_said_before_any_audio_was_sent_is_of_now() -> None:
    """A position before any audio was sent means the present, not the start of the clock."""
    reader = Reader()
    reader.connect(AudioClock(RATE), oldest_s=100.0, newest_s=100.0)
    assert reader.read({"type": "SpeechStarted", "timestamp": 40}, now=101.0) == [SpeechStarted(at_s=101.0)]
    (final,) = reader.read(turn("Hi.", end=True), now=101.0)
    assert isinstance(final, Transcript)
    assert final.speech_ended_s == 101.0


def test_partials_are_early_transcripts() -> None:
    """Partials are reported as they grow, and a partial without news is not."""
    reader = Reader()
    assert reader.read(turn(""), turn("My"), turn("My order number")) == [
        EarlyTranscript("My"),
        EarlyTranscript("My order number"),
    ]


@pytest.mark.parametrize(
    ("message", "is_stable"),
    [
        (turn("My order number is"), False),
        (turn("My order number is four two."), True),
        (turn("Really?"), True),
        (turn("本当ですか\uff1f"), True),
        (turn('He said "no."'), True),
        (turn("It costs 3.5"), False),
        (turn("Four two", utterance="Four two"), True),
        (turn("Four two", utterance=""), False),
        (turn("Four two", end_of_turn_confidence=0.85), True),
        (turn("Four two", end_of_turn_confidence=0.5), False),
        (turn("Four two", end_of_turn_confidence=1.0), False),
        (turn("Four two", end_of_turn_confidence=0), False),
    ],
)
def test_an_early_transcript_is_stable_when_a_reply_may_be_drafted(message: dict[str, Any], is_stable: bool) -> None:
    """Text is stable if it ends like a sentence, is an utterance, or probably ends the turn; 0 and 1 say nothing."""
    assert Reader().read(message) == [EarlyTranscript(message["transcript"], stable=is_stable)]


def test_what_came_twice_is_stable() -> None:
    """Text that a second partial repeats is stable, and is reported as such once."""
    assert Reader().read(turn("Four two"), turn("Four two"), turn("Four two")) == [
        EarlyTranscript("Four two"),
        EarlyTranscript("Four two", stable=True),
    ]


@pytest.mark.parametrize(
    ("messages", "texts"),
    [
        pytest.param([turn("Yes.", end=True)] * 3, ["Yes."], id="sent three times"),
        pytest.param([turn("Yes.", end=True), turn("Yes.")], ["Yes."], id="a partial that comes late"),
        pytest.param(
            [turn("Yes.", end=True), turn("Yes.", end=True, order=1, start_ms=3000)], ["Yes.", "Yes."], id="said twice"
        ),
        pytest.param(
            [turn("Yes.", end=True), turn("No.", end=True, start_ms=3000)], ["Yes.", "No."], id="numbers begin again"
        ),
        pytest.param([turn("", end=True), turn("  ", end=True, order=1)], [], id="nothing was said"),
    ],
)
def test_each_turn_is_told_once(messages: list[dict[str, Any]], texts: list[str]) -> None:
    """A final that is sent again is the same turn; the same words said again are another."""
    assert Reader().finals(*messages) == texts


def test_speech_is_told_when_it_began() -> None:
    """Speech is reported with its true time although the message is late; a repeated message is ignored."""
    reader = Reader()
    started = {"type": "SpeechStarted", "timestamp": 1480, "confidence": 0.93}
    assert reader.read(started, started, now=103.0) == [SpeechStarted(at_s=101.48)]
    assert reader.is_open


def test_a_formatted_turn_is_waited_for() -> None:
    """Where formatting was asked for, the plain text is early, and the formatted one ends the turn."""
    reader = Reader(waits_for_format=True)
    plain = turn("four two", end=True, turn_is_formatted=False)
    assert reader.read(plain) == [EarlyTranscript("four two", stable=True)]
    assert reader.finals(turn("Four two.", end=True, turn_is_formatted=True)) == ["Four two."]
    assert reader.flush() == []


@pytest.mark.parametrize(
    ("message", "now", "texts"),
    [
        pytest.param(turn("next", order=1, start_ms=4000), 110.0, ["four two"], id="the next turn comes"),
        pytest.param({"type": "Heartbeat"}, 110.5, ["four two"], id="half a second has passed"),
        pytest.param({"type": "Heartbeat"}, 110.4, [], id="it may still come"),
    ],
)
def test_a_formatted_turn_is_not_waited_for_in_vain(message: dict[str, Any], now: float, texts: list[str]) -> None:
    """A turn whose formatted text does not come is reported as it is, once."""
    reader = Reader(waits_for_format=True)
    reader.read(turn("four two", end=True, turn_is_formatted=False))
    assert reader.finals(message, now=now) == texts
    late = reader.finals(turn("Four two.", end=True, turn_is_formatted=True), now=now)
    assert late == ([] if texts else ["Four two."])


def test_the_last_words_are_not_lost_with_the_connection() -> None:
    """A turn that waits for its formatted text when the call ends is reported as it is."""
    reader = Reader(waits_for_format=True)
    reader.read(turn("bye", end=True, turn_is_formatted=False))
    assert [event.text for event in reader.flush() if isinstance(event, Transcript)] == ["bye"]
    assert reader.flush() == []


def test_a_new_connection_goes_on_in_the_same_turn() -> None:
    """Numbers and times start again on a new connection, but the turn goes on."""
    reader = Reader()
    reader.read({"type": "SpeechStarted", "timestamp": 2000}, turn("My order", start_ms=2000), now=103.0)
    reader.connect(clock_from(101.5), oldest_s=101.5, newest_s=103.0)

    assert reader.read(
        {"type": "SpeechStarted", "timestamp": 500},
        turn("My order number is four.", end=True, start_ms=500),
        now=106.0,
    ) == [
        Transcript(
            "My order number is four.",
            speech_ended_s=pytest.approx(103.5),
            endpoint_s=106.0,
            words=tuple(
                Word(word, pytest.approx(102 + 0.3 * n), pytest.approx(102.3 + 0.3 * n), 0.9)
                for n, word in enumerate(["My", "order", "number", "is", "four."])
            ),
        )
    ]


@pytest.mark.parametrize(
    ("message", "sent_s", "texts"),
    [
        pytest.param(turn("Yes.", end=True, start_ms=3000), 0.5, [], id="audio that was not sent"),
        pytest.param(turn("Yes.", end=True, start_ms=0), 0.0, [], id="nothing was sent"),
        pytest.param(turn("Yes.", end=True, start_ms=100), 0.5, ["Yes."], id="the caller said it again"),
        pytest.param(turn("No.", end=True, start_ms=3000), 0.5, ["No."], id="other words"),
    ],
)
def test_a_turn_of_the_connection_before_is_not_told_again(
    message: dict[str, Any], sent_s: float, texts: list[str]
) -> None:
    """A final that a service repeats on a new connection is recognised by words for which no audio was sent."""
    reader = Reader()
    reader.read(turn("Yes.", end=True, start_ms=3000), now=104.0)
    reader.connect(clock_from(105.0, sent_s) if sent_s else AudioClock(RATE), oldest_s=105.0, newest_s=105.0)
    assert reader.finals(message) == texts
    assert reader.finals(turn("Bye.", order=1, end=True, start_ms=400)) == ["Bye."]
    assert reader.finals(turn("Yes.", order=2, end=True, start_ms=5000)) == ["Yes."]


def test_new_speech_on_a_new_connection_is_told() -> None:
    """Speech that was not reported before is reported on a new connection."""
    reader = Reader()
    reader.read({"type": "SpeechStarted", "timestamp": 2000}, now=103.0)
    reader.connect(clock_from(101.5), oldest_s=101.5, newest_s=103.0)
    assert reader.read({"type": "SpeechStarted", "timestamp": 3500}, now=106.0) == [SpeechStarted(at_s=105.0)]


def test_words_too_old_to_be_sent_again_are_kept() -> None:
    """When a long turn is cut, its words before the audio that is sent again stand in front of the rest."""
    reader = Reader()
    reader.read(turn("one two three four", start_ms=1000), now=103.0)
    reader.connect(clock_from(101.6), oldest_s=101.6, newest_s=103.0)
    assert reader.finals(turn("three four five.", end=True, start_ms=0), now=106.0) == ["one two three four five."]
    assert reader.finals(turn("Six.", end=True, order=1, start_ms=5000), now=108.0) == ["Six."]


def test_audio_is_done_with_up_to_the_last_final_word() -> None:
    """Audio up to the last word of a finished turn is settled, and that time never goes back."""
    reader = Reader()
    reader.read(turn("Yes.", end=True, start_ms=3000))
    assert reader.settled_s == pytest.approx(103.3)
    reader.read(turn("No.", end=True, order=1, start_ms=1000))
    assert reader.settled_s == pytest.approx(103.3)


def test_silence_need_not_be_sent_again() -> None:
    """What the service found silent is settled, but for its last second, in which a word may have begun."""
    reader = Reader()
    reader.read({"type": "Silence", "start_ms": 3000, "end_ms": 4000})
    assert reader.settled_s == pytest.approx(103.0)
    reader.read({"type": "Silence", "start_ms": 0, "end_ms": 2000})  # an old one settles nothing back
    reader.read({"type": "Silence"})
    assert reader.settled_s == pytest.approx(103.0)


def test_a_pause_within_a_turn_settles_nothing() -> None:
    """While a turn is open, its audio is needed on a new connection, silent or not."""
    reader = Reader()
    reader.read(turn("I would like", start_ms=1000))
    reader.read({"type": "Silence", "start_ms": 3000, "end_ms": 4000})
    assert reader.settled_s == -math.inf


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
word_values = st.fixed_dictionaries({}, optional=dict.fromkeys(("text", "start", "end", "confidence"), json_values))


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Turn", "SpeechStarted", "Silence", "Error", "Begin"])},
        optional={
            "turn_order": json_values,
            "end_of_turn": json_values,
            "transcript": json_values | st.just("Yes."),
            "words": json_values | st.lists(word_values, max_size=3),
            "timestamp": json_values,
            "end_of_turn_confidence": json_values,
            "utterance": json_values,
            "error_code": json_values,
            "error": json_values,
        },
    )
)
def test_no_field_breaks_the_reader(message: dict[str, Any]) -> None:
    """Fields of any kind, missing or of another type, give events with times in the past, or no event."""
    reader = Reader()
    for event in reader.read(message):
        if isinstance(event, Transcript):
            assert event.speech_ended_s <= 110.0
            assert event.text.strip()
            assert all(word.start_s <= word.end_s <= 110.0 for word in event.words)
    assert reader.finals(turn("Yes.", end=True, order=7, start_ms=8000), now=120.0) == ["Yes."]


def test_memory_does_not_grow_with_the_call() -> None:
    """After ten thousand turns the reader remembers a few."""
    reader = Reader()
    for number in range(10_000):
        reader.read(turn("Yes.", end=True, order=number, start_ms=number))
    assert len(reader._ended) <= 64


def test_changes_are_sent_as_one_message() -> None:
    """Changed settings travel in one message, with their types."""
    sent = json.loads(update_message({"min_turn_silence": 1000, "keyterms_prompt": ["é"]}))
    assert sent == {"type": "UpdateConfiguration", "min_turn_silence": 1000, "keyterms_prompt": ["é"]}
