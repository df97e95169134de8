"""Each message of Twilio Media Streams, in and out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio import from_ulaw, to_ulaw
from voicepipe.serving.telephony import AudioIn, Ended, KeyPressed, Played, Started
from voicepipe.serving.transport import Refused
from voicepipe.serving.twilio.protocol import TwilioProtocol

FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8_000, "channels": 1}
START: dict[str, Any] = {
    "streamSid": "MZ1",
    "accountSid": "AC1",
    "callSid": "CA1",
    "tracks": ["inbound"],
    "customParameters": {"token": "t", "shop": "Lyon"},
    "mediaFormat": FORMAT,
}
FRAME = bytes(range(160))
PAYLOAD = base64.b64encode(FRAME).decode()


def message(event: str, **fields: object) -> str:
    return json.dumps({"event": event, "sequenceNumber": "2", "streamSid": "MZ1", **fields})


def media(payload: object = PAYLOAD, track: str = "inbound") -> str:
    return message("media", media={"track": track, "chunk": "1", "timestamp": "20", "payload": payload})


def live() -> TwilioProtocol:
    protocol = TwilioProtocol()
    protocol.feed(message("start", start=START))
    return protocol


def test_a_call_begins() -> None:
    """`connected` says nothing yet; `start` names call, stream and account, and brings the application's parameters."""
    protocol = TwilioProtocol()
    assert protocol.feed(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"})) == ()
    started = Started(call_id="CA1", stream_id="MZ1", account_id="AC1", parameters={"token": "t", "shop": "Lyon"})
    assert protocol.feed(message("start", start=START)) == (started,)
    assert (protocol.sample_rate, protocol.ignored) == (8_000, 0)


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        (media(), (AudioIn(from_ulaw(FRAME), 0.02),)),
        (media(PAYLOAD, "outbound"), ()),
        (message("media", media={"payload": PAYLOAD}), (AudioIn(from_ulaw(FRAME)),)),
        (message("mark", mark={"name": "7"}), (Played("7"),)),
        (message("dtmf", dtmf={"track": "inbound_track", "digit": "#"}), (KeyPressed("#"),)),
        (message("stop", stop={"accountSid": "AC1", "callSid": "CA1"}), (Ended("stop"),)),
        (message("stop"), (Ended("stop"),)),
    ],
)
def test_what_twilio_sends(sent: str, reported: tuple[object, ...]) -> None:
    """Each message of a call is one event; the agent's own voice, on the outbound track, is none."""
    protocol = live()
    assert protocol.feed(sent) == reported
    assert (protocol.ignored, protocol.dropped) == (0, 0)


@pytest.mark.parametrize(
    "sent",
    [
        message("weather"),
        "{}",
        '{"event": 7}',
        message("media"),
        message("media", media={}),
        media(""),
        media(7),
        message("mark"),
        message("mark", mark={}),
        message("mark", mark={"name": 7}),
        message("dtmf"),
        message("dtmf", dtmf={"digit": ""}),
        message("dtmf", dtmf={"digit": "12"}),
        message("dtmf", dtmf={"digit": "x"}),
        message("start", start=START),
        message("start"),
    ],
)
def test_what_is_of_no_use_is_counted(sent: str) -> None:
    """Unknown messages, and those that lack what they are for, report nothing and end no call."""
    protocol = live()
    assert (protocol.feed(sent), protocol.ignored) == ((), 1)
    assert protocol.feed(media()) == (AudioIn(from_ulaw(FRAME), 0.02),)


@pytest.mark.parametrize("stamp", [None, True, "", "-20", "2.5", "1" * 16, "٣"])
def test_a_stamp_is_a_number_of_milliseconds(stamp: object) -> None:
    """Audio whose stamp is something else has none."""
    sent = message("media", media={"timestamp": stamp, "payload": PAYLOAD})
    assert live().feed(sent) == (AudioIn(from_ulaw(FRAME)),)


def test_audio_outside_of_the_call_is_dropped() -> None:
    """Audio before `start` and after `stop` reaches nobody and is counted; so are marks and keys."""
    protocol = TwilioProtocol()
    assert protocol.feed(media()) == ()
    protocol.feed(message("start", start=START))
    assert protocol.feed(message("stop")) == (Ended("stop"),)
    assert protocol.feed(media()) == ()
    assert protocol.dropped == 2
    for late in (message("mark", mark={"name": "1"}), message("dtmf", dtmf={"digit": "1"}), message("stop")):
        assert protocol.feed(late) == ()
    assert protocol.ignored == 3


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("", 1007),
        ("{", 1007),
        ("[]", 1007),
        ('"media"', 1007),
        ("[" * 60_000, 1007),
        (b"\x00\x01", 1003),
        (media("!"), 1007),
        (media(PAYLOAD[:-1]), 1007),
        (media("é" * 4), 1007),
    ],
)
def test_what_cannot_be_read_ends_the_call(sent: str | bytes, code: int) -> None:
    """Neither JSON nor base64: the call is refused with the websocket's code for it."""
    with pytest.raises(Refused) as refused:
        live().feed(sent)
    assert (refused.value.reason, refused.value.code) == ("malformed", code)


@pytest.mark.parametrize("lacking", [{"callSid": None}, {"streamSid": ""}, {"callSid": 7}])
def test_a_start_without_its_ids_is_refused(lacking: dict[str, object]) -> None:
    """Without the id of call or stream nothing can be sent."""
    with pytest.raises(Refused, match="expected callSid and streamSid"):
        TwilioProtocol().feed(message("start", start=START | lacking))


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (FORMAT | {"sampleRate": 16_000}, "found 'audio/x-mulaw' at 16000 Hz with 1 channels"),
        (FORMAT | {"encoding": "audio/x-l16"}, "found 'audio/x-l16' at 8000 Hz"),
        (FORMAT | {"channels": 2}, "with 2 channels"),
        (FORMAT | {"encoding": "x" * 500}, f"found '{'x' * 40}' at"),
        ({}, "found none"),
        (None, "found none"),
    ],
)
def test_another_format_is_refused_by_name(found: object, shown: str) -> None:
    """A format that would be noise is refused before the call begins, with what was expected and found."""
    with pytest.raises(Refused, match="expected audio/x-mulaw at 8000 Hz") as refused:
        TwilioProtocol().feed(message("start", start=START | {"mediaFormat": found}))
    assert (refused.value.reason, refused.value.code) == ("media_format", 1003)
    assert shown in refused.value.message


def test_parameters_that_are_no_texts_are_left_out() -> None:
    """What Twilio passes on is text; anything else is not a parameter."""
    (started,) = TwilioProtocol().feed(message("start", start=START | {"customParameters": {"a": 1, "b": "2"}}))
    assert isinstance(started, Started)
    assert started.parameters == {"b": "2"}
    (started,) = TwilioProtocol().feed(message("start", start=START | {"customParameters": "a"}))
    assert isinstance(started, Started)
    assert started.parameters == {}


def test_what_twilio_gets() -> None:
    """Audio, clear and mark have the fields of the reference and no others, whatever the stream is called."""
    protocol = TwilioProtocol()
    protocol.feed(message("start", start=START | {"streamSid": 'M"Z\\'}))
    pcm = b"\x10\x20" * 160
    payload = base64.b64encode(to_ulaw(pcm)).decode()
    sent = [json.loads(text) for text in (protocol.audio(pcm), protocol.clear(), protocol.mark('4"'))]
    assert sent == [
        {"event": "media", "streamSid": 'M"Z\\', "media": {"payload": payload}},
        {"event": "clear", "streamSid": 'M"Z\\'},
        {"event": "mark", "streamSid": 'M"Z\\', "mark": {"name": '4"'}},
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(PAYLOAD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*START, "payload", "name"]), inner),
    max_leaves=8,
)
EVENTS = st.sampled_from(["connected", "start", "media", "mark", "dtmf", "stop", "other"])
SHAPED = st.builds(
    lambda event, inner, start: json.dumps({"event": event, event: START | inner if start else inner}),
    EVENTS,
    st.dictionaries(st.sampled_from([*START, "payload", "track", "name", "digit"]), JSON, max_size=3),
    st.booleans(),
)


@given(st.lists(st.text() | st.binary() | SHAPED | JSON.map(json.dumps), max_size=6))
def test_nothing_but_a_refusal_comes_out(messages: list[str | bytes]) -> None:
    """Whatever arrives, in whatever order, it is an event, counted or refused."""
    protocol = TwilioProtocol()
    for one in messages:
        try:
            protocol.feed(one)
        except Refused:
            break
