"""Flux's messages, without a network: its events become speech, early words and transcripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vendors.deepgram.test_nova_protocol import BEGAN_S, brief, clock
from voicepipe.flow import Hearing
from voicepipe.vendors.deepgram.flux_protocol import FluxHearing, FluxReader
from voicepipe.vendors.deepgram.parameters import FluxParameters
from voicepipe.vendors.line.hearing_watch import Sign


def info(event: str, text: str = "", *, index: int = 0, start_s: float = 2.0, until_s: float = 5.0) -> dict[str, Any]:
    """Half a second a word, from this position on."""
    words = [
        {"word": one, "confidence": 0.9, "start": start_s + 0.5 * n, "end": start_s + 0.5 * (n + 1)}
        for n, one in enumerate(text.split())
    ]
    window = {"audio_window_start": 0.0, "audio_window_end": until_s}
    return {"type": "TurnInfo", "event": event, "turn_index": index, "transcript": text, "words": words, **window}


def connected(oldest_s: float = BEGAN_S) -> FluxReader:
    reader = FluxReader()
    reader.connect(clock(), oldest_s=oldest_s, newest_s=oldest_s)
    return reader


def read(reader: FluxReader, *messages: dict[str, Any], now: float = 110.0) -> list[Hearing]:
    return [event for message in messages for event in reader.receive(message, now)]


BEGIN = [info("Update"), info("StartOfTurn", "Where")]
EAGER = info("EagerEndOfTurn", "Where is it?")

TABLE: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "a turn grows, is probably over, and is over": (
        [*BEGIN, info("Update", "Where is"), EAGER, info("EndOfTurn", "Where is it?")],
        ["(2", "Where", "Where is", "Where is it?!", "3.5)", "[Where is it?]"],
    ),
    "updates while it is probably over say nothing": (
        [*BEGIN, EAGER, info("Update", "Where is it?"), info("EndOfTurn", "Where is it?")],
        ["(2", "Where", "Where is it?!", "3.5)", "[Where is it?]"],
    ),
    "the caller goes on": (
        [*BEGIN, EAGER, info("TurnResumed", "Where is it? My")],
        ["(2", "Where", "Where is it?!", "3.5)", "(3.5", "Where is it? My"],
    ),
    "or makes a sound": (
        [*BEGIN, EAGER, info("TurnResumed", "Where is it?"), EAGER],
        ["(2", "Where", "Where is it?!", "3.5)", "(5", "Where is it?", "Where is it?!", "5)"],
    ),
    "an update without news says nothing": ([*BEGIN, info("Update", "Where")], ["(2", "Where"]),
    "a turn may begin with an update": (
        [info("Update", "Yes."), info("EndOfTurn", "Yes.")],
        ["(2", "Yes.", "2.5)", "[Yes.]"],
    ),
    "or with its end": ([info("EndOfTurn", "Yes.")], ["(2", "2.5)", "[Yes.]"]),
    "an end without words is none": ([*BEGIN[:1], info("EndOfTurn")], []),
    "an end that comes twice counts once": (
        [info("EndOfTurn", "Yes."), info("EndOfTurn", "Yes."), info("EndOfTurn", "No.", index=1, start_s=6.0)],
        ["(2", "2.5)", "[Yes.]", "(6", "6.5)", "[No.]"],
    ),
    "events that do not exist yet say nothing": ([info("SomethingNew", "Yes."), {"type": "Somewhat"}], []),
}


@pytest.mark.parametrize(("messages", "heard"), TABLE.values(), ids=TABLE)
def test_events_become_what_was_heard(messages: list[dict[str, Any]], heard: list[str]) -> None:
    """Each event of a turn is reported in our words, and each turn gives one transcript."""
    assert brief(read(connected(), *messages)) == heard


def test_the_end_of_a_call_ends_the_turn() -> None:
    """Closing the stream ends no turn, so the newest words are taken."""
    reader = connected()
    read(reader, *BEGIN, info("Update", "Where is"))
    assert (brief(reader.flush(110.0)), reader.flush(110.0)) == (["3)", "[Where is]"], [])


def test_a_turn_goes_on_over_a_lost_connection() -> None:
    """Words too old to be sent again are kept, and the numbers of the turns begin again."""
    reader = connected()
    read(reader, info("EndOfTurn", "Yes."), info("StartOfTurn", "One two three", index=1, start_s=6.0))
    reader.connect(clock(107.0), oldest_s=107.0, newest_s=110.0)
    assert brief(read(reader, info("EndOfTurn", "three four.", start_s=0.0), now=112.0)) == [
        "8)", "[One two three four.]",
    ]  # fmt: skip


def test_a_turn_that_ended_while_the_connection_was_lost_is_heard() -> None:
    """Updates without words are no words of the turn, which ends when the new connection hears nothing of it."""
    reader = connected()
    read(reader, info("StartOfTurn", "One two"))
    reader.connect(clock(108.0), oldest_s=108.0, newest_s=108.0)
    assert read(reader, info("Update"), info("Update"), now=109.0) == []
    assert (reader.due(110.9), brief(reader.due(111.0))) == ([], ["[One two]"])


def test_silence_need_not_be_sent_again() -> None:
    """An update without words settles the audio before it, but for the last second."""
    reader = connected()
    read(reader, info("Update", until_s=4.0))
    assert reader.settled_s == BEGAN_S + 3.0


def test_thresholds_change_as_one_message() -> None:
    """Only what has changed is sent; hints exist for the multilingual model alone."""
    english, many = (
        FluxHearing("flux-general-en", FluxParameters()),
        FluxHearing("flux-general-multi", FluxParameters()),
    )
    sent = []
    for call, changes in (
        (english, {"eot_threshold": 0.9, "eot_timeout_s": 7.5}),
        (many, {"language_hints": ["de"], "keyterms": ["Müller"]}),
    ):
        session = call.dial()
        call.parameters = call.parameters.changed(changes)
        session.refresh()
        sent.append(json.loads(session.update(0.0) or ""))
    assert sent == [
        {
            "type": "Configure",
            "thresholds": {"eager_eot_threshold": 0.5, "eot_threshold": 0.9, "eot_timeout_ms": 7500},
        },
        {"type": "Configure", "keyterms": ["Müller"], "language_hints": ["de"]},
    ]


@pytest.mark.parametrize(
    ("raw", "sign", "said"),
    [
        (b'{"type":"Connected","request_id":"r"}', Sign.BEGUN, ""),
        (b'{"type":"TurnInfo","transcript":"Hi"}', Sign.WORDS, ""),
        (b'{"type":"TurnInfo","transcript":""}', Sign.SILENCE, ""),
        (
            b'{"type":"Error","code":"INTERNAL_SERVER_ERROR","description":"Oh."}',
            Sign.REFUSED,
            "INTERNAL_SERVER_ERROR Oh.",
        ),
        (b'{"type":"Warning","code":"FORCE_END_TURN_NO_ACTIVE_TURN"}', Sign.OTHER, ""),
        (b"[]", Sign.OTHER, ""),
    ],
)
def test_a_message_shows_how_the_service_is(raw: bytes, sign: Sign, said: str) -> None:
    """A session begins with `Connected`; an `Error` ends it."""
    session = FluxHearing("flux-general-en", FluxParameters()).dial()
    reading = session.read(raw)
    assert (reading.sign, reading.said, session.has_begun) == (sign, said, sign is Sign.BEGUN)
