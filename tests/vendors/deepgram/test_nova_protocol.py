"""Nova's messages, without a network: pieces are joined to turns, and a turn ends once, whatever ends it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.vendors.deepgram.nova_protocol import NovaHearing, NovaReader
from voicepipe.vendors.deepgram.parameters import NovaParameters
from voicepipe.vendors.line.audio_backlog import Piece
from voicepipe.vendors.line.audio_clock import AudioClock
from voicepipe.vendors.line.hearing_watch import Sign

RATE = 16_000
BEGAN_S = 100.0
"""When the audio of the connection began, on the loop's clock."""

FINAL, PAUSE = {"is_final": True}, {"is_final": True, "speech_final": True}
FINALIZED = {"is_final": True, "from_finalize": True}


def clock(start_s: float = BEGAN_S, seconds: float = 60.0) -> AudioClock:
    made = AudioClock(RATE)
    made.add(Piece(bytes(round(2 * RATE * seconds)), start_s, start_s + seconds, is_loud=False))
    return made


def results(text: str, start_s: float, **more: bool) -> dict[str, Any]:
    """Half a second a word, from this position on."""
    words = [
        {"word": one.lower(), "punctuated_word": one, "start": start_s + 0.5 * n, "end": start_s + 0.5 * (n + 1)}
        for n, one in enumerate(text.split())
    ]
    best = {"transcript": text, "confidence": 0.9, "words": [word | {"confidence": 0.9} for word in words]}
    times = {"start": start_s, "duration": max(1.0, 0.5 * len(words))}
    return {"type": "Results", **times, "channel": {"alternatives": [best]}, "is_final": False, **more}


STARTED = {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 2.0}
UTTERANCE_END = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 3.0}


def read(*messages: dict[str, Any], reader: NovaReader | None = None, now: float = 110.0) -> list[Hearing]:
    if reader is None:
        reader = NovaReader()
        reader.connect(clock(), oldest_s=BEGAN_S, newest_s=BEGAN_S)
    return [event for message in messages for event in reader.receive(message, now)]


def brief(events: list[Hearing]) -> list[str]:
    """What was heard in short: "(" and ")" for speech, early words in lower case if they may change, finals in [ ]."""
    found: list[str] = []
    for event in events:
        match event:
            case SpeechStarted(at_s=at_s):
                found.append(f"({at_s - BEGAN_S:g}")
            case SpeechEnded(at_s=at_s):
                found.append(f"{at_s - BEGAN_S:g})")
            case EarlyTranscript(text=text, stable=stable):
                found.append(f"{text}!" if stable else text)
            case Transcript(text=text):
                found.append(f"[{text}]")
            case _:
                found.append(repr(event))
    return found


FIELDS = ["type", "channel", "alternatives", "transcript", "words", "word", "start", "end", "is_final", "duration"]

TABLE: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "a pause ends a turn": ([STARTED, results("Four two", 2.0, **PAUSE)], ["(2", "3)", "[Four two]"]),
    "words may come without a start": ([results("Four two", 2.0, **PAUSE)], ["(2", "3)", "[Four two]"]),
    "pieces are joined until the pause": (
        [STARTED, results("My order", 2.0, **FINAL), results("is four two.", 3.0, **PAUSE)],
        ["(2", "My order", "4.5)", "[My order is four two.]"],
    ),
    "a piece, then what may change": (
        [STARTED, results("My order", 2.0, **FINAL), results("is for", 3.0), results("is four.", 3.0, **PAUSE)],
        ["(2", "My order", "My order is for", "4)", "[My order is four.]"],
    ),
    "the pause comes with nothing new": (
        [STARTED, results("My order", 2.0, **FINAL), results("", 3.0, **PAUSE)],
        ["(2", "My order", "3)", "[My order]"],
    ),
    "the same words again are stable": (
        [STARTED, results("My order", 2.0), results("My order", 2.0)],
        ["(2", "My order", "My order!"],
    ),
    "so is a sentence that will not change, but not one that may": (
        [STARTED, results("Yes.", 2.0), results("Yes. No.", 2.0, **FINAL)],
        ["(2", "Yes.", "Yes. No.!"],
    ),
    "no word for long ends what noise has hidden": (
        [STARTED, results("My order", 2.0, **FINAL), UTTERANCE_END],
        ["(2", "My order", "3)", "[My order]"],
    ),
    "but not words that may change": (
        [STARTED, results("My order", 2.0), UTTERANCE_END, results("My order.", 2.0, **PAUSE)],
        ["(2", "My order", "3)", "[My order.]"],
    ),
    "no word for long after the end says nothing": (
        [STARTED, results("Four two", 2.0, **PAUSE), UTTERANCE_END],
        ["(2", "3)", "[Four two]"],
    ),
    "a start that comes again within the turn says nothing": (
        [STARTED, results("My", 2.0), STARTED | {"timestamp": 2.4}, results("My order", 2.0, **PAUSE)],
        ["(2", "My", "3)", "[My order]"],
    ),
    "noise that does not end is none after a second": (
        [STARTED, results("", 1.5, **FINAL), results("", 2.5, **FINAL), STARTED | {"timestamp": 5.0}],
        ["(2", "3.5)", "(5"],
    ),
    "noise is speech without a turn": ([STARTED, results("", 2.0, **PAUSE)], ["(2", "3)"]),
    "noise may end without a report": ([STARTED, UTTERANCE_END, STARTED], ["(2", "10)"]),
    "silence says nothing": ([results("", 0.0), results("", 0.0, **FINAL), results("", 3.0, **PAUSE)], []),
    "what was asked for ends the turn": (
        [STARTED, results("Four", 2.0, **FINAL), results("two", 2.5, **FINALIZED)],
        ["(2", "Four", "3)", "[Four two]"],
    ),
}


@pytest.mark.parametrize(("messages", "heard"), TABLE.values(), ids=TABLE)
def test_messages_become_turns(messages: list[dict[str, Any]], heard: list[str]) -> None:
    """Pieces of audio are joined to one transcript a turn."""
    assert brief(read(*messages)) == heard


def test_a_transcript_has_its_times() -> None:
    """Positions in the audio become times, of each word and of the end of speech."""
    (*_, final) = read(results("Four two.", 2.0, **PAUSE), now=103.4)
    assert isinstance(final, Transcript)
    assert (final.speech_ended_s, final.endpoint_s) == (103.0, 103.4)
    assert [(word.text, word.start_s, word.end_s, word.confidence) for word in final.words] == [
        ("Four", 102.0, 102.5, 0.9),
        ("two.", 102.5, 103.0, 0.9),
    ]


def test_an_expected_number_may_have_pauses() -> None:
    """While something is expected, a short silence makes words stable, and only a long one ends the turn."""
    reader = NovaReader()
    reader.connect(clock(), oldest_s=BEGAN_S, newest_s=BEGAN_S)
    reader.waits_for_utterance_end = True
    messages = results("Four", 2.0, **PAUSE), results("two", 3.0, **PAUSE), UTTERANCE_END
    assert brief(read(*messages, reader=reader)) == ["(2", "Four!", "2.5)", "(3", "Four two!", "3.5)", "[Four two]"]


def test_a_turn_that_was_ended_does_not_wait_for_ever() -> None:
    """A service that has nothing left to transcribe does not answer; late words of it are not heard twice."""
    reader = NovaReader()
    sent = clock(seconds=5.0)
    reader.connect(sent, oldest_s=BEGAN_S, newest_s=BEGAN_S)
    read(STARTED, results("Four two", 2.0), reader=reader)
    reader.force(110.0)
    assert reader.due(110.9) == []
    assert brief(list(reader.due(111.0))) == ["3)", "[Four two]"]
    sent.add(Piece(bytes(2 * RATE * 5), BEGAN_S + 5.0, BEGAN_S + 10.0, is_loud=False))
    late = results("Four two", 2.0, **PAUSE), results("Next.", 5.5, **PAUSE)
    assert brief(read(*late, reader=reader)) == ["(5.5", "6)", "[Next.]"]


def test_a_turn_goes_on_over_a_lost_connection() -> None:
    """Words too old to be sent again are kept; the next connection's audio counts from its own beginning."""
    reader = NovaReader()
    reader.connect(clock(), oldest_s=BEGAN_S, newest_s=BEGAN_S)
    read(STARTED, results("One two", 2.0, **FINAL), results("three four five", 3.0), reader=reader)
    reader.connect(clock(103.2), oldest_s=103.2, newest_s=108.0)
    assert reader.carried_until_s == 103.5, "the word that the audio holds the end of is kept, too"
    assert brief(read(results("four five six", 0.3, **PAUSE), reader=reader)) == [
        "5)", "[One two three four five six]",
    ]  # fmt: skip


def test_a_turn_that_ended_while_the_connection_was_lost_is_heard() -> None:
    """When a new connection hears nothing of a turn that was broken off, its words so far are the turn."""
    reader = NovaReader()
    reader.connect(clock(), oldest_s=BEGAN_S, newest_s=BEGAN_S)
    read(STARTED, results("One two", 2.0, **FINAL), reader=reader)
    reader.connect(clock(108.0), oldest_s=108.0, newest_s=108.0)
    assert (reader.due(110.9), brief(reader.due(111.0))) == ([], ["[One two]"])


def test_words_that_were_none_are_not_taken() -> None:
    """What a breath was taken for is gone once the service says that there was nothing."""
    reader = NovaReader()
    reader.connect(clock(), oldest_s=BEGAN_S, newest_s=BEGAN_S)
    read(results("Okay.", 2.0), results("", 2.0, **FINAL), reader=reader)
    assert (reader.is_open, [event for event in reader.flush(110.0) if isinstance(event, Transcript)]) == (False, [])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["Results", "UtteranceEnd"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "channel",
                        "alternatives",
                        "transcript",
                        "words",
                        "word",
                        "start",
                        "end",
                        "is_final",
                        "duration",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_no_message_breaks_the_reader(message: object) -> None:
    """Fields of any kind, missing or of another type, cost the message and nothing else."""
    reader = NovaReader()
    reader.connect(clock(), oldest_s=BEGAN_S, newest_s=BEGAN_S)
    if isinstance(message, dict):
        read(message, results("", 0.0) | {"channel": message}, reader=reader)
    assert brief(read(results("Yes.", 20.0, **PAUSE), reader=reader, now=130.0))[-1].endswith("Yes.]")


def test_settings_change_one_message_at_a_time() -> None:
    """A change is sent once, and the next when the service has answered, or does not answer for 5 s."""
    call = NovaHearing("nova-3", NovaParameters(keyterms=["Müller"]))
    session = call.dial()
    assert (session.has_begun, session.update(0.0)) == (True, None)
    sent: list[str | None] = []
    for now, terms, answer in ((1.0, ["a"], b""), (2.0, ["b"], b'{"type":"ConfigureSuccess"}'), (3.0, ["b"], b"")):
        call.parameters = call.parameters.changed({"keyterms": terms})
        session.refresh()
        sent.append(session.update(now))
        if answer:
            session.read(answer)
            sent.append(session.update(now))
    call.parameters = call.parameters.changed({"keyterms": [], "numerals": True})
    session.refresh()
    sent += [session.update(6.9), session.update(7.0)]
    assert sent == [
        '{"type": "Configure", "keyterms": ["a"]}',
        None,
        '{"type": "Configure", "keyterms": ["b"]}',
        None,
        None,
        '{"type": "Configure", "keyterms": [], "features": {"numerals": true}}',
    ]


@pytest.mark.parametrize(
    ("raw", "sign"),
    [
        (b'{"type":"Results","channel":{"alternatives":[{"transcript":"Hi"}]}}', Sign.WORDS),
        (b'{"type":"Results","channel":{"alternatives":[{"transcript":""}]}}', Sign.SILENCE),
        (b'{"type":"Metadata","request_id":"r"}', Sign.ENDED),
        (b'{"type":"Error","variant":"SchemaError","description":"?"}', Sign.OTHER),
        (b'{"type":"ConfigureFailure","code":"CONFIGURE_INTERNAL_ERROR"}', Sign.OTHER),
        (b'{"type":"SomethingNew"}', Sign.OTHER),
        (b"no json", Sign.OTHER),
    ],
)
def test_a_message_shows_how_the_service_is(raw: bytes, sign: Sign) -> None:
    """Words and silences show that the service listens; what is unknown shows that it is there."""
    assert NovaHearing("nova-3", NovaParameters()).dial().read(raw).sign is sign
